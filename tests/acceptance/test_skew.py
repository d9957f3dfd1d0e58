"""Engines of one tree that run different rules: whoever takes over would go by others than the owner does."""

from __future__ import annotations

from tests.acceptance.stage import Stage
from tests.helpers import HttpReceiver
from zkalert.rulefile import RULES_SKEW

SKEW = f"""
rules:
  - {{name: {RULES_SKEW}, metric: engine.rules_skew, comparator: "==", threshold: 1, severity: critical}}
"""
OTHER = SKEW + '  - {name: another, metric: memory_usage, comparator: ">", threshold: 99}\n'


def test_skew_is_an_alert_while_it_lasts(stage: Stage, http_receiver: HttpReceiver) -> None:
    channels = {"ops": (http_receiver.url("/hook", "webhook"),)}
    stage.engine(SKEW, channels).wait_owner()
    standby = stage.engine(OTHER, channels)
    (fired,) = http_receiver.wait(1)[0].json["alerts"]
    assert (fired["rule"], fired["host"], fired["state"]) == (RULES_SKEW, "-", "firing")
    standby.engine.reload(stage.settings(SKEW, channels))
    assert http_receiver.wait(2)[1].json["alerts"][0]["state"] == "resolved"
