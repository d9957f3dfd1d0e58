"""A host whose clock is wrong: the engine compares what it says with when ZooKeeper heard it."""

from __future__ import annotations

from tests.acceptance.stage import Stage
from tests.helpers import HttpReceiver
from zkalert.model import Alive, Sample
from zkalert.tree import encode_alive, encode_sample

RULE = """
rules:
  - {name: clock-wrong, metric: host.clock_skew, comparator: outside, threshold: [-5, 5], severity: warning}
"""


def say(stage: Stage, seconds_ahead: float) -> None:
    """The host publishes its `host` family, by a clock that is so far ahead of the ensemble's."""
    sample = Sample(
        family="host",
        at=stage.ensemble_ms() / 1000 + seconds_ahead,
        interval=30.0,
        max_age=90.0,
        values={"kernel": "Linux 6.1", "clock_skew": 0.0},
    )
    stage.publish_raw(encode_sample(sample), family="host")


def test_a_clock_that_is_wrong_is_told_with_how_far_and_when_it_is_right_again(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.host("web1")
    alive = stage.tree.alive("web1")
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=1, started_at=1.0)), ephemeral=True)
    say(stage, 0)
    stage.engine(RULE, {"ops": (http_receiver.url("/hook", "webhook"),)}).wait_owner()
    say(stage, -40)
    (alert,) = http_receiver.wait(1)[0].json["alerts"]
    assert (alert["rule"], alert["host"], alert["state"]) == ("clock-wrong", "web1", "firing")
    assert -41 < alert["value"] < -39
    # The loss of its session says nothing of its clock.
    stage.client.delete(alive)
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=2, started_at=2.0)), ephemeral=True)
    say(stage, 1)
    (alert,) = http_receiver.wait(2)[1].json["alerts"]
    assert (alert["rule"], alert["state"]) == ("clock-wrong", "resolved")
    assert 0.5 < alert["value"] < 1.5
