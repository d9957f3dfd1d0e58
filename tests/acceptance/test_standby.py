"""Two engines on one tree: the owner dies, stands still or is cut off, and the other goes on where it was."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from kazoo.exceptions import ConnectionLoss

from tests.acceptance.stage import EngineProcess, RunningEngine, Stage
from tests.acceptance.test_endurance import owner, rule
from tests.acceptance.test_takeover import keys, lose_one, ops
from tests.helpers import HttpReceiver, Relay, expire_session, wait_for
from zkalert.localzk import LocalServer
from zkalert.model import OutboxEntry, Silence, State
from zkalert.tree import encode_silence

WITHIN = 2.0 + 2.0 + 1.0
"""Seconds until another engine owns the tree: the session's timeout, one tick of the server, and one more."""
HELD = 7.0
RULES = f"""
rules:
  - {{name: memory-high, metric: memory_usage, comparator: ">", threshold: 90}}
  - {{name: cpu-high, metric: cpu_usage, comparator: ">", threshold: 90, duration: {HELD:g}s}}
"""


class Pair(NamedTuple):
    """The engine that owns the tree, behind a cable of its own, and the one that waits."""

    first: EngineProcess
    second: EngineProcess
    cable: Relay


@pytest.fixture
def apart(stage: Stage) -> Iterator[Callable[..., Stage]]:
    """Makes stages on the same tree whose engines have files of their own."""
    made: list[Stage] = []

    def make(name: str, hosts: str | None = None) -> Stage:
        folder = stage.folder / name
        folder.mkdir()
        made.append(Stage(replace(stage.zookeeper, hosts=hosts or stage.zookeeper.hosts), stage.client, folder))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def silence(stage: Stage) -> str:
    """The path of a silence of memory that is there before any engine is."""
    return quiet_until(stage, time.time() + 3600, rule="memory-high")


@pytest.fixture
def pair(
    stage: Stage, apart: Callable[..., Stage], zookeeper: LocalServer, http_receiver: HttpReceiver
) -> Iterator[Pair]:
    cable = Relay(zookeeper.hosts)
    stage.publish(50)
    stage.publish(50, family="cpu_usage")
    first = apart("first", cable.hosts).process(RULES, channels(http_receiver))
    owner(stage, first)
    second = apart("second").process(RULES, channels(http_receiver))
    second.wait_log("waiting to take over")
    yield Pair(first, second, cable)
    cable.close()


def channels(receiver: HttpReceiver, *names: str) -> str:
    lines = [
        f'  {name}:\n    group_interval: 0s\n    urls: ["{receiver.url(f"/{name}", "json")}"]\n'
        for name in names or ("ops",)
    ]
    return "channels:\n" + "".join(lines)


def killed(pair: Pair) -> None:
    pair.first.kill()


def stopped(pair: Pair) -> None:
    pair.first.signal(signal.SIGSTOP)


def cut(pair: Pair) -> None:
    pair.cable.cut()


def woken(pair: Pair) -> None:
    pair.first.signal(signal.SIGCONT)


def mended(pair: Pair) -> None:
    pair.cable.mend()


def quiet_until(stage: Stage, at: float, **more: Any) -> str:
    """The path of a silence of all alerts until `at` (epoch seconds), unless `more` says less."""
    stage.client.ensure_path(stage.tree.silences)
    path = stage.tree.silence("abcdef")
    silence = Silence(id="abcdef", starts_at=at - 3600, ends_at=at, **more)
    stage.client.create(path, encode_silence(silence))
    return path


def kept(stage: Stage) -> list[str]:
    """The entries of the outbox."""
    path = stage.tree.outbox(0)
    return stage.client.get_children(path) if stage.client.exists(path) else []


# Takeover -------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("breaks", "mends"), [(killed, None), (stopped, woken), (cut, mended)], ids=["killed", "stopped", "cut off"]
)
def test_the_other_engine_goes_on_with_what_was_held_and_with_what_fires(
    stage: Stage,
    pair: Pair,
    http_receiver: HttpReceiver,
    breaks: Callable[[Pair], None],
    mends: Callable[[Pair], None] | None,
) -> None:
    stage.publish(95)
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    stage.publish(95, family="cpu_usage")
    pending = next(alert for alert in stage.wait_states("firing", "pending") if alert.state is State.PENDING)
    crossed = time.monotonic()
    seen = stage.client.get(stage.tree.shard(0))[1].version
    wait_for(lambda: stage.client.get(stage.tree.shard(0))[1].version > seen, "a sign of life")
    broken = time.monotonic()
    breaks(pair)
    stage.publish(10)
    stage.publish(96, family="cpu_usage")
    resolved = http_receiver.wait(2, timeout=20)[1]
    took = resolved.at - broken
    assert took < WITHIN, f"it took {took:.1f} s"
    if mends is not None:
        mends(pair)
    told = http_receiver.wait(3, timeout=20)[2]
    assert told.at - crossed < broken - crossed + took + HELD - 2, "not anew: some of it was held before"
    fired = next(alert for alert in stage.wait_states("firing") if alert.rule == "cpu-high")
    assert fired.episode == pending.episode
    assert fired.fired_at is not None
    assert fired.fired_at - pending.since >= HELD, "and not a moment too soon"
    if mends is not None:
        pair.first.wait_log("waiting to take over")
    stage.publish(10, family="cpu_usage")
    http_receiver.wait(4)
    stage.publish(95)
    http_receiver.wait(5)
    stage.wait_outbox_empty()
    stage.wait_states("firing")
    assert keys(http_receiver) == [
        "memory-high/web1/firing",
        "memory-high/web1/resolved",
        "cpu-high/web1/firing",
        "cpu-high/web1/resolved",
        "memory-high/web1/firing",
    ]
    assert not any("repeat" in request.json["message"] for request in http_receiver.requests)


def test_who_waits_with_other_rules_leaves_the_tree_to_who_has_those_of_the_owner(
    stage: Stage, apart: Callable[..., Stage], http_receiver: HttpReceiver
) -> None:
    others = rule(name="another", threshold=99)
    stage.publish(95)
    first = apart("first").process(rule(), channels(http_receiver))
    http_receiver.wait(1, timeout=20)
    stage.wait_outbox_empty()
    second = apart("second").process(others, channels(http_receiver))
    second.wait_log("waiting to take over")
    third = apart("third").process(rule(), channels(http_receiver))
    third.wait_log("waiting to take over")
    first.kill()
    owner(stage, third)
    assert f"{third.process.pid}) runs the rules of the owner before" in second.log
    assert "has no rule here" not in second.log
    second.wait_log("owns this tree; waiting to take over", 2)
    third.kill()
    owner(stage, second)
    second.wait_log("has no rule here")
    assert keys(http_receiver) == ["memory-high/web1/firing"], "an orphan stands, and is not told again"
    assert [alert.rule for alert in stage.alerts()] == ["memory-high"]


# What is withheld -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_over", [False, True], ids=["still fires", "is over"])
def test_what_was_silenced_is_told_by_the_successor_if_it_still_fires_when_the_silence_ends(
    stage: Stage, silence: str, pair: Pair, http_receiver: HttpReceiver, *, is_over: bool
) -> None:
    stage.publish(95)
    wait_for(lambda: kept(stage), "an entry that is kept")
    pair.first.kill()
    owner(stage, pair.second)
    stage.publish(96)
    if is_over:
        stage.publish(10)
        stage.wait_states()
        stage.wait_outbox_empty()
    stage.client.delete(silence)
    if not is_over:
        http_receiver.wait(1)
        stage.publish(10)
        http_receiver.wait(2)
        stage.wait_outbox_empty()
    stage.publish(10)
    stage.publish(95)
    http_receiver.wait(1 if is_over else 3)
    stage.wait_outbox_empty()
    fired = ["memory-high/web1/firing"]
    assert keys(http_receiver) == (fired if is_over else [*fired, "memory-high/web1/resolved", *fired])


def test_the_end_reaches_those_who_heard_of_it_from_engines_before(
    stage: Stage, apart: Callable[..., Stage], http_receiver: HttpReceiver
) -> None:
    """The first tells ops, the second what a silence withheld; the third would tell nobody but chat."""
    to = rule() + "    action: {}\n"
    both = channels(http_receiver, "ops", "chat")
    path = quiet_until(stage, time.time() + 3600, host="web2")
    stage.publish(95)
    stage.publish(95, host="web2")
    first = apart("first").process(to.format("ops"), both)
    http_receiver.wait(1, timeout=20)
    wait_for(lambda: len(kept(stage)) == 1, "the second alert to be withheld alone")
    first.kill()
    second = apart("second").process(to.format("ops"), both)
    owner(stage, second)
    stage.client.delete(path)
    http_receiver.wait(2)
    stage.wait_outbox_empty()
    second.kill()
    third = apart("third").process(to.format("chat"), both)
    owner(stage, third)
    stage.publish(10)
    stage.publish(10, host="web2")
    http_receiver.wait(4)
    stage.wait_outbox_empty()
    stage.wait_states()
    assert {request.path for request in http_receiver.requests} == {"/ops"}
    assert sorted(keys(http_receiver)) == [
        f"memory-high/{host}/{phase}" for host in ("web1", "web2") for phase in ("firing", "resolved")
    ]


# Writes that nobody vouches for ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def unreachable(running: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ledger cannot be written meanwhile; what it yields has the effects whose change was tried."""
    tried: list[str] = []

    def lose(changes: Mapping[str, Callable[[OutboxEntry], OutboxEntry]]) -> Mapping[str, OutboxEntry]:
        tried.extend(changes)
        raise ConnectionLoss

    with monkeypatch.context() as patch:
        patch.setattr(running.engine._evaluator._ledger._outbox, "update_all", lose)
        yield tried


def silenced(stage: Stage, receiver: HttpReceiver) -> tuple[RunningEngine, str]:
    """An engine that withholds an alert, and the path of the silence."""
    path = quiet_until(stage, time.time() + 3600)
    stage.publish(95)
    running = stage.engine(rule(), ops(receiver)).wait_owner()
    wait_for(lambda: kept(stage), "an entry that is kept")
    return running, path


def test_a_release_that_was_not_written_before_the_session_ended_is_decided_again(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, path = silenced(stage, http_receiver)
    with unreachable(running, monkeypatch) as tried:
        stage.client.delete(path)
        wait_for(lambda: tried, "the release")
        expire_session(running.client)
        running.wait_owner()
    http_receiver.wait(1)
    stage.publish(10)
    http_receiver.wait(2)
    stage.wait_outbox_empty()
    assert keys(http_receiver) == ["memory-high/web1/firing", "memory-high/web1/resolved"]


def test_what_was_given_up_and_not_written_before_the_session_ended_is_given_up_again(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, path = silenced(stage, http_receiver)
    with unreachable(running, monkeypatch) as tried:
        stage.publish(10)
        stage.wait_states()
        wait_for(lambda: tried, "the end of what was kept")
        expire_session(running.client)
        running.wait_owner()
    stage.wait_outbox_empty()
    stage.client.delete(path)
    stage.publish(95)
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    assert keys(http_receiver) == ["memory-high/web1/firing"]


def test_what_a_silence_withheld_is_not_told_before_it_is_written_who_hears_of_its_end(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, path = silenced(stage, http_receiver)
    lost = lose_one(monkeypatch, lambda change: bool(change.alert.heard))
    stage.client.delete(path)
    http_receiver.wait(1)
    assert lost
    (alert,) = stage.alerts()
    assert alert.heard, "the record knows by then"
    running.stop()
    stage.engine(rule(), ops(http_receiver)).wait_owner()
    stage.publish(10)
    http_receiver.wait(2)
    stage.wait_outbox_empty()
    assert keys(http_receiver) == ["memory-high/web1/firing", "memory-high/web1/resolved"]
