"""What an engine knows after it was blind: of writes nobody vouches for, of silence, of hosts and groups that went."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from kazoo.exceptions import ConnectionLoss

from tests.acceptance.stage import Stage
from tests.acceptance.test_endurance import channel, owner, rule
from tests.helpers import HttpReceiver, expire_session, lose_connection, wait_for
from zkalert.model import Alive, Severity, State
from zkalert.store import AlertStore, Change
from zkalert.tree import encode_alive
from zkalert.watch.follower import Follower

LADDER = """
rules:
  - name: memory-high
    metric: memory_usage
    comparator: ">"
    levels:
      - {severity: warning, threshold: 80}
      - {severity: critical, threshold: 95}
"""
QUIET = """
rules:
  - {name: silent, metric: memory_usage, comparator: ">", threshold: 90, no_data: {after: 1s, then: alert}}
"""
BY_ROLE = """
rules:
  - {name: role-high, metric: memory_usage, comparator: ">", threshold: 90, across: {of: hosts, by: role, stat: max}}
"""


def ops(receiver: HttpReceiver) -> dict[str, tuple[str, ...]]:
    return {"ops": (receiver.url("/hook", "json"),)}


def keys(receiver: HttpReceiver) -> list[str]:
    """Rule, series and phase of each message."""
    return [
        "/".join([*key.split("/")[:-2], key.split("/")[-1]]) for key in (one.json["key"] for one in receiver.requests)
    ]


@contextmanager
def steady(stage: Stage, percent: float) -> Iterator[None]:
    """A sample every tenth of a second, each of which speaks for half a second."""
    stop = Event()

    def publish() -> None:
        while not stop.wait(0.1):
            stage.publish(percent, max_age=0.5)

    thread = Thread(target=publish)
    thread.start()
    yield
    stop.set()
    thread.join()


def lose_one(monkeypatch: pytest.MonkeyPatch, is_it: Callable[[Change], bool]) -> list[Change]:
    """The first write of such a change does not reach ZooKeeper, and nobody knows; it is here once it was tried."""
    commit = AlertStore.commit
    lost: list[Change] = []

    def commit_or_not(store: AlertStore, changes: Sequence[Change], fence: str) -> None:
        if not lost and any(map(is_it, changes)):
            lost.extend(filter(is_it, changes))
            raise ConnectionLoss
        commit(store, changes, fence)

    monkeypatch.setattr(AlertStore, "commit", commit_or_not)
    return lost


# Writes that nobody vouches for ---------------------------------------------------------------------------------------


def test_a_rise_whose_write_was_lost_is_told_all_the_same(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.publish(85)
    stage.engine(LADDER, ops(http_receiver)).wait_owner()
    http_receiver.wait(1)
    lost = lose_one(monkeypatch, lambda change: change.alert.severity is Severity.CRITICAL)
    stage.publish(99)
    http_receiver.wait(2)
    assert lost
    assert keys(http_receiver) == ["memory-high/web1/firing", "memory-high/web1/escalated-critical"]


@pytest.mark.parametrize("key", ["duration", "clear_duration"])
def test_a_duration_whose_end_was_not_written_does_not_begin_anew(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    before, percent, state = (50, 95, State.FIRING) if key == "duration" else (95, 50, State.RESOLVED)
    stage.publish(before)
    rules = rule().replace("duration: 0s", f"{key}: 3s")
    running = stage.engine(rules, ops(http_receiver)).wait_owner()
    wait_for(lambda: len(http_receiver.requests) == (before > 90), "what was before")
    wait_for(lambda: running.witness.last and running.witness.last.samples, "the first sample")
    lost = lose_one(monkeypatch, lambda change: change.alert.state is state)
    with steady(stage, percent):
        began = time.monotonic()
        told = http_receiver.wait(1 + (before > 90))[-1]
    assert lost
    assert 2.9 < told.at - began < 5, "it took its time once"


# Silence --------------------------------------------------------------------------------------------------------------


def test_silence_that_was_told_is_neither_ended_nor_told_again_by_a_reload_or_a_restart(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    first = stage.engine(QUIET, ops(http_receiver)).wait_owner()
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    episode = stage.alerts()[0].episode
    first.engine.reload(stage.settings(QUIET.replace("after: 1s", "after: 1500ms"), ops(http_receiver)))
    lose_connection(first.client)
    expire_session(first.client)
    first.wait_owner()
    first.stop()
    second = stage.engine(QUIET, ops(http_receiver)).wait_owner()
    wait_for(lambda: second.witness.last and second.witness.last.alerts, "the alert to be read back")
    assert [alert.episode for alert in stage.alerts()] == [episode]
    stage.publish(50)
    http_receiver.wait(2)
    assert keys(http_receiver) == ["silent/web1/firing", "silent/web1/resolved"]


def test_reloads_do_not_put_off_the_end_of_patience(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    running = stage.engine(QUIET.replace("1s", "2s"), ops(http_receiver)).wait_owner()
    stage.publish(50)
    began = time.monotonic()
    settings = stage.settings(QUIET.replace("1s", "2s"), ops(http_receiver))
    while not http_receiver.requests and time.monotonic() - began < 8:
        running.engine.reload(settings)
        time.sleep(0.25)
    assert keys(http_receiver) == ["silent/web1/firing"]


# Hosts and groups -----------------------------------------------------------------------------------------------------


def test_a_host_that_goes_while_its_engine_stands_still_is_down_after_its_time(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    alive = stage.tree.alive("web1")
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=1, started_at=0.0)), ephemeral=True)
    rules = 'rules: [{name: host-down, metric: host.alive, comparator: "==", threshold: 0, duration: 700ms}]'
    engine = stage.process(rules, channel(http_receiver))
    owner(stage, engine)
    stage.client.delete(alive)
    stage.wait_states("pending")
    engine.signal(signal.SIGSTOP)
    after = stage.ensemble_ms() + 1100
    wait_for(lambda: stage.ensemble_ms() > after, "more than the duration")
    engine.signal(signal.SIGCONT)
    http_receiver.wait(1)
    assert keys(http_receiver) == ["host-down/web1/firing"]


def test_a_host_that_was_removed_while_no_engine_ran_takes_its_alerts_along(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(95)
    first = stage.engine(rule(), ops(http_receiver)).wait_owner()
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    first.stop()
    stage.client.delete(stage.tree.host("web1"), recursive=True)
    stage.engine(rule(), ops(http_receiver)).wait_owner()
    http_receiver.wait(2)
    assert keys(http_receiver) == ["memory-high/web1/firing", "memory-high/web1/resolved"]
    stage.wait_states()


@pytest.mark.parametrize("is_removed", [False, True], ids=["relabelled", "removed"])
def test_a_group_that_loses_its_last_host_takes_its_alert_along(
    stage: Stage, http_receiver: HttpReceiver, *, is_removed: bool
) -> None:
    stage.host("a", role="db")
    stage.host("b", role="web")
    stage.publish(95, host="a")
    stage.publish(50, host="b")
    stage.engine(BY_ROLE, ops(http_receiver)).wait_owner()
    http_receiver.wait(1)
    if is_removed:
        stage.client.delete(stage.tree.host("a"), recursive=True)
    else:
        stage.host("a", role="web")
    http_receiver.wait(2)
    assert keys(http_receiver) == ["role-high/-,db/firing", "role-high/-,db/resolved"]
    stage.wait_states()


def test_numbers_by_another_label_take_the_place_of_the_former(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.host("a", role="db", dc="gru1")
    stage.publish(95, host="a")
    running = stage.engine(BY_ROLE, ops(http_receiver)).wait_owner()
    http_receiver.wait(1)
    running.engine.reload(stage.settings(BY_ROLE.replace("by: role", "by: dc"), ops(http_receiver)))
    http_receiver.wait(3)
    assert sorted(keys(http_receiver)) == [
        "role-high/-,db/firing",
        "role-high/-,db/resolved",
        "role-high/-,gru1/firing",
    ]


def test_what_held_before_the_start_does_not_fire_before_all_samples_are_read(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        stage.publish(50, host=f"h{number}")
    stage.publish(95, host="h19")
    first = stage.engine(rule("500ms"), ops(http_receiver)).wait_owner()
    stage.wait_states("pending")
    first.stop()
    stage.publish(50, host="h19")
    answered = Follower._answered

    def slowly(follower: Follower, *args: Any) -> None:
        time.sleep(0.01)
        answered(follower, *args)

    monkeypatch.setattr(Follower, "_answered", slowly)
    after = stage.ensemble_ms() + 600
    wait_for(lambda: stage.ensemble_ms() > after, "more than the duration")
    stage.engine(rule("500ms"), ops(http_receiver)).wait_owner()
    stage.wait_states()
    assert http_receiver.requests == []
