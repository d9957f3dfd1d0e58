"""A value crosses its threshold in a znode, and somebody hears of it: web, mail, chat and shell, all real servers."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from apprise.plugins.slack import NotifySlack

from tests.acceptance.stage import Stage
from tests.helpers import Answer, HttpReceiver, SmtpReceiver, wait_for

HIGH = """
rules:
  - name: memory-high
    metric: memory_usage
    comparator: ">"
    threshold: 90
    severity: critical
    labels: {team: core}
    summary: "memory at {{ value }} on {{ host }}"
"""


def test_a_webhook_hears_of_firing_and_of_resolved(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    running = stage.engine(HIGH, {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    crossed = time.monotonic()
    stage.publish(95.5)
    (firing,) = http_receiver.wait(1)
    assert firing.at - crossed < 1, "well within a second of the sample"
    assert "memory at 95.5% on web1" in firing.json["title"]
    assert firing.json["type"] == "failure"
    stage.publish(96)
    # A watch tells of the newest value alone: the next one has to wait for this one to be seen.
    wait_for(lambda: running.witness.last and any(a.value == 96 for a in running.witness.last.alerts), "96 to be seen")
    stage.publish(40)
    _, resolved = http_receiver.wait(2)
    assert "resolved" in resolved.json["title"]
    assert resolved.json["type"] == "success"
    assert "40%" in resolved.json["message"]
    assert "96%" in resolved.json["message"], "the peak"
    stage.wait_outbox_empty()
    stage.wait_states()
    assert len(http_receiver.requests) == 2


def test_a_mail_says_it_in_plain_text(stage: Stage, smtp_receiver: SmtpReceiver) -> None:
    stage.publish(50)
    stage.engine(HIGH, {"ops": (smtp_receiver.url("ops@example.org"),)}).wait_owner()
    stage.publish(95.5)
    (mail,) = smtp_receiver.wait(1)
    assert list(mail.recipients) == ["ops@example.org"]
    assert "memory at 95.5% on web1" in mail.subject
    assert "memory_usage.percent" in mail.text
    stage.publish(10)
    assert "resolved" in smtp_receiver.wait(2)[1].subject


def test_slack_gets_its_own_payload(stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotifySlack, "webhook_url", http_receiver.url("/services"))
    stage.publish(50)
    stage.engine(HIGH, {"chat": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7/#alerts",)}).wait_owner()
    stage.publish(95.5)
    (request,) = http_receiver.wait(1)
    assert request.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
    attachment = request.json["attachments"][0]
    assert "memory at 95.5% on web1" in attachment["title"]
    assert attachment["color"] == "#A32037"
    stage.wait_outbox_empty()


def test_a_command_runs_once_with_the_alert_in_its_environment_and_on_its_input(stage: Stage) -> None:
    out = stage.folder / "out"
    rules = (
        HIGH
        + f"""
    action:
      run: "cat > {out}.json; env | grep ^ZKALERT_ | sort > {out}.env; echo done >> {out}"
      timeout: 10s
"""
    )
    stage.publish(50)
    stage.engine(rules).wait_owner()
    stage.publish(95.5)
    wait_for(out.exists, "the command to end")
    stage.wait_outbox_empty()
    environment = dict(line.split("=", 1) for line in Path(f"{out}.env").read_text().splitlines() if "=" in line)
    assert environment["ZKALERT_RULE"] == "memory-high"
    assert environment["ZKALERT_HOST"] == "web1"
    assert environment["ZKALERT_STATE"] == "firing"
    assert json.loads(Path(f"{out}.json").read_text())["rule"] == "memory-high"
    stage.publish(10)
    stage.wait_states()
    stage.wait_outbox_empty()
    assert out.read_text() == "done\n", "a command runs at firing alone unless it says otherwise"


def test_a_hanging_webhook_delays_no_other(stage: Stage, http_receiver: HttpReceiver) -> None:
    http_receiver.answer("/hangs", Answer(hang=True))
    stage.publish(50)
    channels = {"hung": (http_receiver.url("/hangs", "json"),), "healthy": (http_receiver.url("/healthy", "json"),)}
    stage.engine(HIGH, channels).wait_owner()
    for value in (95, 10, 95, 10):
        stage.publish(value)
        before = time.monotonic()
        count = len(http_receiver.at("/healthy")) + 1
        assert http_receiver.wait(count, path="/healthy")[-1].at - before < 1
    assert len(http_receiver.at("/hangs")) == 1
    http_receiver.release()
    stage.wait_outbox_empty(20)
    states = [request.json["state"] for request in http_receiver.at("/hangs")]
    assert states == ["firing", "resolved"], "an episode that was over before its first try is not told"


def test_a_broken_webhook_is_tried_again_until_it_answers(stage: Stage, http_receiver: HttpReceiver) -> None:
    http_receiver.answer("/hook", Answer(status=500), Answer(status=503), Answer())
    stage.publish(50)
    stage.engine(HIGH, {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    stage.publish(95)
    http_receiver.wait(3)
    stage.wait_outbox_empty()
    assert len(http_receiver.requests) == 3


def test_a_rule_without_channels_is_told_to_nobody_and_written_all_the_same(stage: Stage) -> None:
    stage.publish(50)
    running = stage.engine(HIGH).wait_owner()
    stage.publish(95)
    stage.wait_states("firing")
    wait_for(lambda: running.witness.effects, "the effect")
    assert stage.client.get_children(stage.tree.outbox(0)) == []


def test_the_end_of_a_host_or_of_its_rule_is_told_to_who_was_told_of_the_alert(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    rules = (
        HIGH
        + """
    action: ops
    overrides:
      - {hosts: {role: db}, action: dba}
"""
    )
    channels = {name: (http_receiver.url(f"/{name}", "json"),) for name in ("ops", "dba")}
    for host in ("db1", "db2"):
        stage.host(host, role="db")
        stage.publish(95, host=host)
    running = stage.engine(rules, channels).wait_owner()
    http_receiver.wait(2, path="/dba")
    stage.client.delete(stage.tree.host("db1"), recursive=True)
    http_receiver.wait(3, path="/dba")
    running.engine.reload(replace(stage.settings("rules: []", channels), rules=()))
    http_receiver.wait(4, path="/dba")
    assert http_receiver.at("/ops") == []


def test_two_rules_and_two_hosts_have_alerts_of_their_own(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = (
        HIGH
        + """
  - name: cpu-high
    metric: cpu_usage
    instances: "*"
    comparator: ">="
    threshold: 50
    hosts: {role: db}
"""
    )
    stage.host("db1", role="db")
    stage.host("web1", role="web")
    stage.engine(rules, {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    for host in ("db1", "web1"):
        stage.publish(95, host=host)
        stage.publish(1, host=host, family="cpu_usage", instances={"0": {"percent": 60}, "1": {"percent": 40}})
    alerts = stage.wait_states("firing", "firing", "firing")
    series = {(alert.rule, alert.host, alert.instance) for alert in alerts}
    assert series == {("memory-high", "db1", None), ("memory-high", "web1", None), ("cpu-high", "db1", "0")}
    http_receiver.wait(3)
