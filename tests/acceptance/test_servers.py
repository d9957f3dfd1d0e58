"""Rules about the servers of an ensemble: its quorum when one is killed, and every number that a test can move."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from tests.acceptance.hearing import channels, heard, start
from tests.acceptance.stage import RunningEngine, Stage
from tests.acceptance.watching import all_of, folder, rules, session
from tests.helpers import HttpReceiver, wait_for
from zkalert import servers
from zkalert.localzk import LocalEnsemble, LocalServer
from zkalert.localzk.server import ask
from zkalert.model import EnsembleSettings, Members, ZookeeperSettings
from zkalert.zk import Client

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "INTERVAL", 0.5)


def of_kafka(stage: Stage, ensemble: LocalEnsemble, receiver: HttpReceiver, *ones: dict[str, Any]) -> RunningEngine:
    """An engine that knows the three as `kafka`, and has its own tree elsewhere."""
    kafka = EnsembleSettings(zookeeper=ZookeeperSettings(hosts=ensemble.hosts, root="/"), members=Members())
    settings = stage.settings(rules(*ones), channels(receiver, "ops"))
    return start(stage, replace(settings, ensembles={"kafka": kafka}))


def wait_told(receiver: HttpReceiver, *expected: str, timeout: float = 30) -> None:
    """Wait until exactly these were told, in whatever order."""
    wait_for(lambda: set(heard(receiver)) >= set(expected), f"{expected}, have {heard(receiver)}", timeout)
    assert sorted(heard(receiver)) == sorted(expected)


def test_a_server_that_is_killed_is_an_alert_of_the_quorum_until_it_is_back(
    stage: Stage, ensemble: LocalEnsemble, http_receiver: HttpReceiver
) -> None:
    short = {"name": "short", "metric": "zookeeper.quorum", "comparator": "<", "threshold": "100%"}
    own = replace(stage.zookeeper, hosts=ensemble.hosts)
    running = start(stage, stage.settings(rules(short), channels(http_receiver, "ops"), own))
    wait_for(lambda: running.engine._ensembles._members, "the servers to be asked")
    assert heard(http_receiver) == []
    index = ensemble.followers()[0]
    began = time.monotonic()
    ensemble.kill(index)
    try:
        wait_told(http_receiver, "short zookeeper firing")
        assert http_receiver.requests[0].at - began < 10
        assert round(http_receiver.requests[0].json["alerts"][0]["value"]) == 67
    finally:
        ensemble.start(index)
    wait_told(http_receiver, "short zookeeper firing", "short zookeeper resolved")


def test_all_that_a_lost_follower_changes_rises_and_resolves(
    stage: Stage, ensemble: LocalEnsemble, http_receiver: HttpReceiver
) -> None:
    index = ensemble.followers()[0]
    name = ensemble.servers[index].hosts
    of_all = {"quorum": 100, "serving": 3, "followers": 2, "synced": 2}
    of_one = {"ok": 1, "serving": 1}
    ones = [
        {"name": f"all-{field}", "metric": f"zookeeper.{field}", "comparator": "<", "threshold": limit}
        for field, limit in of_all.items()
    ]
    ones += [
        {"name": f"one-{field}", "metric": f"zookeeper.{field}", "comparator": "<", "instances": "*"}
        | {"threshold": limit}
        for field, limit in of_one.items()
    ]
    ones.append({"name": "young", "metric": "zookeeper.uptime", "comparator": "<", "threshold": "2s", "instances": "*"})
    wait_for(lambda: all(_now(one, "uptime") > 2000 for one in ensemble.servers), "the servers to be older")
    running = of_kafka(stage, ensemble, http_receiver, *[one | {"action": "ops"} for one in ones])
    wait_for(lambda: "kafka" in running.engine._ensembles._members, "the servers to be asked")
    assert [line for line in heard(http_receiver) if " kafka" in line] == []
    ensemble.kill(index)
    firing = [f"all-{field} kafka firing" for field in of_all] + [
        f"one-{field} kafka,{name} firing" for field in of_one
    ]
    try:
        wait_for(lambda: set(heard(http_receiver)) >= set(firing), f"{firing}", 30)
    finally:
        ensemble.start(index)
    resolved = [line.replace("firing", "resolved") for line in firing]
    both = [f"young kafka,{name} {phase}" for phase in ("firing", "resolved")]
    wait_for(lambda: set(heard(http_receiver)) >= {*resolved, *both}, f"{resolved}", 30)
    told = [line for line in heard(http_receiver) if " kafka" in line]  # the own one is no ensemble of three
    assert sorted(told) == sorted([*firing, *resolved, *both])


def test_another_leader_and_no_leader_are_told(
    stage: Stage, ensemble: LocalEnsemble, http_receiver: HttpReceiver
) -> None:
    leads = {"name": "leads", "metric": "zookeeper.is_leader", "comparator": "==", "threshold": 1}
    none = {"name": "none", "metric": "zookeeper.has_leader", "comparator": "==", "threshold": 0}
    role = {"name": "role", "metric": "zookeeper.role", "comparator": "==", "threshold": "leader"}
    first = ensemble.leader()
    assert first is not None
    name = ensemble.servers[first].hosts
    running = of_kafka(stage, ensemble, http_receiver, none, *({**one, "instances": "127*"} for one in (leads, role)))
    wait_for(lambda: "kafka" in running.engine._ensembles._members, "the servers to be asked")

    def told(*lines: str) -> None:
        wait_for(lambda: set(heard(http_receiver)) >= set(lines), f"{lines}, have {heard(http_receiver)}", 40)

    told(f"leads kafka,{name} firing", f"role kafka,{name} firing")
    ensemble.kill(first)
    wait_for(lambda: ensemble.leader() is not None, "another leader", 20)
    second = next(index for index, one in enumerate(ensemble.servers) if one.mode() == "leader")
    other = ensemble.servers[second].hosts
    told(f"leads kafka,{name} resolved", f"leads kafka,{other} firing", f"role kafka,{other} firing")
    ensemble.kill(second)
    try:
        told("none kafka firing", f"leads kafka,{other} resolved")
    finally:
        ensemble.start(None)
    told("none kafka resolved")


# What one server says -------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """A field of a server, by how much it is to rise, and what makes it do so as long as it is entered."""

    by: float
    does: Callable[[Stage, str], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def clients(stage: Stage, _top: str) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(session(stage.zookeeper.hosts)) for _ in range(12)]


@contextlib.contextmanager
def znodes(stage: Stage, top: str) -> Iterator[None]:
    paths = [f"{top}/z{number}" for number in range(200)]
    all_of((lambda path=path: stage.client.create_async(path, b"x" * 1000)) for path in paths)
    yield
    all_of((lambda path=path: stage.client.delete_async(path)) for path in paths)


@contextlib.contextmanager
def ephemerals(stage: Stage, top: str) -> Iterator[None]:
    with session(stage.zookeeper.hosts) as other:
        all_of((lambda n=n: other.create_async(f"{top}/e{n}", ephemeral=True)) for n in range(100))
        yield


@contextlib.contextmanager
def watches(stage: Stage, top: str) -> Iterator[None]:
    with session(stage.zookeeper.hosts) as other:
        all_of((lambda n=n: other.exists_async(f"{top}/w{n}", watch=print)) for n in range(200))
        yield


@contextlib.contextmanager
def traffic(stage: Stage, top: str) -> Iterator[None]:
    stop = threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            all_of((lambda: stage.client.exists_async(top)) for _ in range(50))
            stop.wait(0.02)

    asker = threading.Thread(target=ask_on)
    asker.start()
    yield
    stop.set()
    asker.join()


MOVES = {
    "connections": Move(8, clients),
    "open_fds": Move(8, clients),
    "znodes": Move(150, znodes),
    "data_size": Move(150_000, znodes),
    "ephemerals": Move(80, ephemerals),
    "watches": Move(150, watches),
    "received": Move(300, traffic),
    "sent": Move(300, traffic),
    "zxid_percent": Move(100 * 100 / 2**32, znodes),
}
_KEYS = {
    "connections": "num_alive_connections",
    "open_fds": "open_file_descriptor_count",
    "znodes": "znode_count",
    "data_size": "approximate_data_size",
    "ephemerals": "ephemerals_count",
    "watches": "watch_count",
    "uptime": "uptime",
}


def _now(server: LocalServer, field: str) -> float:
    """What a server says of a field now; a rate starts from nothing."""
    if field == "zxid_percent":
        line = next(line for line in ask(server.port, "srvr").splitlines() if line.startswith("Zxid"))
        return 100 * (int(line.rpartition("0x")[2], 16) % 2**32) / 2**32
    if field not in _KEYS:
        return 0.0
    lines = dict(line.split("\t", 1) for line in ask(server.port, "mntr").splitlines() if "\t" in line)
    return float(lines[f"zk_{_KEYS[field]}"])


@pytest.mark.parametrize("field", MOVES)
def test_a_number_of_a_server_rises_and_resolves(
    stage: Stage, zookeeper: LocalServer, http_receiver: HttpReceiver, field: str
) -> None:
    top, move = folder(stage), MOVES[field]
    limit = _now(zookeeper, field) + move.by
    rule = {"name": "high", "metric": f"zookeeper.{field}", "threshold": limit, "instances": "*"}
    running = start(stage, stage.settings(rules(rule), channels(http_receiver, "ops")))
    wait_for(lambda: running.engine._ensembles._members, "the servers to be asked")
    assert heard(http_receiver) == []
    series = f"high zookeeper,{zookeeper.hosts}"
    with move.does(stage, top):
        wait_told(http_receiver, f"{series} firing")
    if field != "zxid_percent":  # which only an election takes down
        wait_told(http_receiver, f"{series} firing", f"{series} resolved")
