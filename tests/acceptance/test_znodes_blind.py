"""Rules about znodes while somebody is cut off, stands still or dies: what changed meanwhile is told once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from tests.acceptance.hearing import channels, heard, start, wait_heard
from tests.acceptance.stage import RunningEngine, Stage
from tests.acceptance.test_endurance import owner
from tests.acceptance.test_standby import apart
from tests.acceptance.watching import (
    all_of,
    ensembles,
    folder,
    process_channels,
    rules,
    series,
    session,
    wait_known,
    watch,
)
from tests.helpers import HttpReceiver, Relay, end_session, wait_for
from zkalert.localzk import LocalServer
from zkalert.model import State
from zkalert.zk import session as session_of

__all__ = ["apart"]

HELD = 4.0
MANY = 10_000
BROKER = """
import sys, threading
from kazoo.client import KazooClient
client = KazooClient(sys.argv[1], timeout=float(sys.argv[3]))
client.start()
client.create(sys.argv[2], ephemeral=True)
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def cable(zookeeper: LocalServer) -> Iterator[Relay]:
    relay = Relay(zookeeper.hosts)
    yield relay
    relay.close()


def cut_off_engine(stage: Stage, cable: Relay, receiver: HttpReceiver, text: str) -> RunningEngine:
    """An engine behind the cable, once it knows its znodes."""
    settings = stage.settings(text, channels(receiver, "ops"), replace(stage.zookeeper, hosts=cable.hosts))
    running = start(stage, settings)
    wait_known(running)
    return running


def lives_on(running: RunningEngine, cable: Relay, _server: LocalServer) -> None:
    """The cable is mended before the session is over."""
    wait_for(lambda: not running.client.connected, "the engine to notice")
    cable.mend()


def is_over(running: RunningEngine, cable: Relay, server: LocalServer) -> None:
    """The session ends in the server while the engine is away."""
    wait_for(lambda: not running.client.connected, "the engine to notice")
    end_session(running.client, server.hosts)
    cable.mend()


# An engine that is cut off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [lives_on, is_over])
def test_what_changed_while_an_engine_was_cut_off_is_told_once(
    stage: Stage,
    zookeeper: LocalServer,
    cable: Relay,
    http_receiver: HttpReceiver,
    ends: Callable[[RunningEngine, Relay, LocalServer], None],
) -> None:
    top = folder(stage)
    for name in ("stays", "crosses", "returns", "gone", "bounces"):
        stage.client.create(f"{top}/{name}", b"1")
    stage.client.set(f"{top}/stays", b"20")
    stage.client.set(f"{top}/returns", b"20")
    stage.client.set(f"{top}/gone", b"20")
    running = cut_off_engine(
        stage,
        cable,
        http_receiver,
        rules(
            {"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9},
            {"name": "moved", "metric": f"znode:{top}/lock#exists", "comparator": "==", "threshold": 1},
        ),
    )
    wait_for(lambda: len(heard(http_receiver)) == 3, "what is high from the start")
    stage.wait_outbox_empty()
    cable.cut()
    stage.client.set(f"{top}/crosses", b"20")
    stage.client.set(f"{top}/returns", b"2")
    stage.client.delete(f"{top}/gone")
    stage.client.set(f"{top}/bounces", b"20")
    stage.client.set(f"{top}/bounces", b"2")
    stage.client.create(f"{top}/new", b"20")
    stage.client.create(f"{top}/lock", ephemeral=True)
    ends(running, cable, zookeeper)
    wait_for(lambda: len(heard(http_receiver)) == 8, "all that changed", 20)
    stage.client.set(f"{top}/stays", b"3")
    wait_for(lambda: len(heard(http_receiver)) == 9, "what changed after it")
    stage.wait_outbox_empty()
    firing = [f"high {series(f'{top}/{name}')} firing" for name in ("stays", "returns", "gone")]
    after = [f"high {series(f'{top}/{name}')} firing" for name in ("crosses", "new")] + ["moved zookeeper firing"]
    after += [f"high {series(f'{top}/{name}')} resolved" for name in ("returns", "gone")]
    assert sorted(heard(http_receiver)[:3]) == sorted(firing)
    assert sorted(heard(http_receiver)[3:8]) == sorted(after)
    assert heard(http_receiver)[8:] == [f"high {series(f'{top}/stays')} resolved"]


@pytest.mark.timeout(120)
def test_of_ten_thousand_children_what_changed_while_the_session_was_lost_is_told_once(
    stage: Stage, zookeeper: LocalServer, cable: Relay, http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    all_of(partial(stage.client.create_async, f"{top}/n{number:05}", b"1") for number in range(MANY))
    stage.client.set(f"{top}/n00001", b"20")
    text = rules({"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9})
    running = cut_off_engine(stage, cable, http_receiver, text)
    wait_heard(http_receiver, f"high {series(f'{top}/n00001')} firing")
    stage.wait_outbox_empty()
    before = session_of(running.client)
    cable.cut()
    stage.client.set(f"{top}/n00001", b"2")
    stage.client.set(f"{top}/n09999", b"20")
    stage.client.delete(f"{top}/n05000")
    stage.client.create(f"{top}/new", b"20")
    is_over(running, cable, zookeeper)
    wait_for(lambda: len(heard(http_receiver)) == 4, "all that changed", 30)
    told = (("n00001", "resolved"), ("n09999", "firing"), ("new", "firing"))
    assert sorted(heard(http_receiver)[1:]) == sorted(f"high {series(f'{top}/{name}')} {phase}" for name, phase in told)
    assert session_of(running.client) != before
    stage.client.set(f"{top}/n07777", b"20")
    wait_for(lambda: len(heard(http_receiver)) == 5, "what changed after it")
    assert heard(http_receiver)[4:] == [f"high {series(f'{top}/n07777')} firing"]
    assert len(ensembles(running)) == MANY + 1


def test_a_lock_that_was_taken_while_nobody_looked_has_changed(
    stage: Stage, cable: Relay, http_receiver: HttpReceiver
) -> None:
    path = f"{folder(stage)}/lock"
    moved = {"name": "moved", "metric": f"znode:{path}#changes", "over": "20s", "stat": "delta", "threshold": 0}
    running = cut_off_engine(stage, cable, http_receiver, rules(moved))
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 11, "half of the window", 15)
    cable.cut()
    stage.client.create(path, ephemeral=True)
    wait_for(lambda: not running.client.connected, "the engine to notice")
    cable.mend()
    wait_heard(http_receiver, "moved zookeeper firing")


def test_what_nobody_saw_is_not_held(stage: Stage, cable: Relay, http_receiver: HttpReceiver) -> None:
    path = f"{folder(stage)}/app"
    missing = {"name": "missing", "metric": f"znode:{path}#exists", "comparator": "==", "threshold": 0}
    began = time.monotonic()
    running = cut_off_engine(stage, cable, http_receiver, rules(missing | {"duration": f"{HELD:g}s"}))
    stage.wait_states("pending")
    cable.cut()
    off = time.monotonic()
    wait_for(lambda: time.monotonic() > off + 2.5, "a while")
    cable.mend()
    wait_for(lambda: running.client.connected, "the engine to be back")
    dark = time.monotonic() - off
    wait_heard(http_receiver, "missing zookeeper firing", timeout=HELD + 5)
    took = http_receiver.requests[0].at - began
    assert took >= HELD + dark - 0.3, "it fired before it had been seen for so long"


def test_an_engine_that_stood_still_goes_on_counting_what_does_not_change(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    path = f"{folder(stage)}/app"
    missing = {"name": "missing", "metric": f"znode:{path}#exists", "comparator": "==", "threshold": 0}
    engine = stage.process(rules(missing | {"duration": f"{HELD:g}s"}), process_channels(http_receiver))
    stage.wait_states("pending", timeout=20)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + HELD - 0.5, "most of the duration")
    engine.signal(signal.SIGSTOP)
    time.sleep(1.0)  # it cannot tell that it stands; its session lives on
    assert heard(http_receiver) == []
    engine.signal(signal.SIGCONT)
    wait_heard(http_receiver, "missing zookeeper firing", timeout=HELD + 6)


# An engine that dies --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_the_standby_goes_on_where_the_engine_was_that_died(
    stage: Stage, apart: Callable[..., Stage], http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    text = rules(
        {"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9},
        {"name": "missing", "metric": f"znode:{top}/a/b#exists", "comparator": "==", "threshold": 0, "duration": "8s"},
    )
    for name in ("a", "b", "c"):
        stage.client.create(f"{top}/{name}", b"20" if name != "c" else b"1")
    began = time.monotonic()
    first = apart("first").process(text, process_channels(http_receiver))
    wait_for(lambda: len(heard(http_receiver)) == 2, "both to be told", 20)
    second = apart("second").process(text, process_channels(http_receiver))
    second.wait_log("waiting to take over")
    (pending,) = (alert for alert in stage.wait_states("firing", "firing", "pending") if alert.rule == "missing")
    seen = stage.client.get(stage.tree.shard(0))[1].version
    wait_for(lambda: stage.client.get(stage.tree.shard(0))[1].version > seen, "a sign of life")
    first.kill()
    stage.client.set(f"{top}/a", b"2")
    stage.client.set(f"{top}/c", b"20")
    stage.client.delete(f"{top}/b")
    owner(stage, second)
    wait_for(lambda: len(heard(http_receiver)) == 6, "the rest", 25)
    stage.wait_outbox_empty()
    assert sorted(heard(http_receiver)[2:5]) == sorted(
        [
            f"high {series(f'{top}/a')} resolved",
            f"high {series(f'{top}/b')} resolved",
            f"high {series(f'{top}/c')} firing",
        ]
    )
    assert heard(http_receiver)[5:] == ["missing zookeeper firing"]
    assert http_receiver.requests[-1].at - began >= 8
    (fired,) = (alert for alert in stage.alerts() if alert.rule == "missing")
    assert (fired.state, fired.episode) == (State.FIRING, pending.episode)


# Somebody else dies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", [0.5, 2.0], ids=["tick of 0.5 s", "tick of 2 s"])
def test_the_loss_of_a_broker_is_told_within_its_session_timeout_a_tick_and_a_second(
    tmp_path_factory: pytest.TempPathFactory, stage: Stage, http_receiver: HttpReceiver, tick: float
) -> None:
    timeout = 4.0
    with LocalServer(tmp_path_factory.mktemp("slow"), tick_ms=int(tick * 1000)) as server:
        own = replace(stage.zookeeper, hosts=server.hosts)
        with session(server.hosts) as admin:
            admin.ensure_path("/brokers/ids")
            broker = subprocess.Popen(
                [sys.executable, "-c", BROKER, server.hosts, "/brokers/ids/1", str(timeout)], stdout=subprocess.PIPE
            )
            assert broker.stdout is not None
            with broker.stdout as up:
                assert up.readline() == b"up\n"
            few = {"name": "few", "metric": "znode:/brokers/ids#children", "comparator": "<", "threshold": 1}
            gone = {"name": "gone", "metric": "znode:/brokers/ids/1#exists", "comparator": "==", "threshold": 0}
            running = start(stage, stage.settings(rules(few, gone), channels(http_receiver, "ops"), own))
            wait_known(running)
            assert heard(http_receiver) == []
            killed = time.monotonic()
            broker.kill()
            broker.wait(10)
            wait_for(lambda: len(heard(http_receiver)) == 2, "both rules", 15)
            took = max(request.at for request in http_receiver.requests) - killed
            print(f"told {took:.2f} s after the kill, at a session timeout of {timeout:g} s and a tick of {tick:g} s")
            assert sorted(heard(http_receiver)) == ["few zookeeper firing", "gone zookeeper firing"]
            assert took < timeout + tick + 1
        running.stop()
        stage._engines.remove(running)


def test_who_watches_is_told_of_a_session_that_ends_in_order_at_once(stage: Stage, http_receiver: HttpReceiver) -> None:
    top = folder(stage)
    with session(stage.zookeeper.hosts) as broker:
        broker.create(f"{top}/1", ephemeral=True)
        few = {"name": "few", "metric": f"znode:{top}#children", "comparator": "<", "threshold": 1}
        watch(stage, http_receiver, few)
        assert heard(http_receiver) == []
        began = time.monotonic()
    wait_heard(http_receiver, "few zookeeper firing")
    assert http_receiver.requests[0].at - began < 1.5
