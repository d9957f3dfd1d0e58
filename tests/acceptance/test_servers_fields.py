"""Each field that servers of an ensemble have rises an alert and resolves it, all at once in one engine.

The servers are stand-ins, for a real one cannot be made slow, out of step or near the rollover of its zxid on demand.
They say by TLS what the servers of a real ensemble have just said, but for the lines that a test changes; none can be
changed that the real ones do not say. What real servers can be made to do is shown in test_servers.py.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.hearing import channels, heard, start
from tests.acceptance.stage import Stage
from tests.acceptance.watching import rules
from tests.helpers import HttpReceiver, wait_for
from tests.receivers import certificate, server_tls
from tests.test_servers import REFUSAL, listener
from zkalert import metrics, servers
from zkalert.localzk import LocalEnsemble
from zkalert.localzk.server import ask
from zkalert.model import EnsembleSettings, Members, TlsSettings, ZookeeperSettings

pytestmark = pytest.mark.timeout(120)

LEADER, SECOND, THIRD, WHOLE = "leader", "second", "third", "whole"


class Case(NamedTuple):
    """A field, of which server or of the whole, and when its rule rises."""

    field: str
    of: str
    rises: str

    @property
    def name(self) -> str:
        return f"{self.of}-{self.field}".replace("_", "-")


class Line(NamedTuple):
    """A line of the leader's mntr, by its key: what it says while all is well, and what once it is not."""

    key: str
    well: str
    ill: str


SAID = {
    Case("latency_avg", LEADER, "> 200ms"): Line("avg_latency", "1.5", "250.25"),
    Case("latency_min", LEADER, "> 10ms"): Line("min_latency", "0", "20"),
    Case("latency_max", LEADER, "> 1s"): Line("max_latency", "17", "3000"),
    Case("read_p99", LEADER, "> 200ms"): Line("p99_readlatency", "1", "400"),
    Case("update_p99", LEADER, "> 500ms"): Line("p99_updatelatency", "5", "900"),
    Case("commit_p99", LEADER, "> 500ms"): Line("p99_propagation_latency", "12", "800"),
    Case("fsync_max", LEADER, "> 1s"): Line("max_fsynctime", "1", "2500"),
    Case("uptime", LEADER, "< 1m"): Line("uptime", "3600000", "5000"),
    Case("connections", LEADER, "> 800"): Line("num_alive_connections", "3", "900"),
    Case("outstanding", LEADER, "> 10"): Line("outstanding_requests", "0", "120"),
    Case("znodes", LEADER, "> 1M"): Line("znode_count", "25", "2000000"),
    Case("watches", LEADER, "> 100k"): Line("watch_count", "4", "300000"),
    Case("ephemerals", LEADER, "> 1k"): Line("ephemerals_count", "2", "5000"),
    Case("data_size", LEADER, "> 2GB"): Line("approximate_data_size", "452", "3000000000"),
    Case("open_fds", LEADER, "> 400"): Line("open_file_descriptor_count", "47", "450"),
    Case("max_fds", LEADER, "< 1k"): Line("max_file_descriptor_count", "20000", "500"),
    Case("synced_followers", LEADER, "< 2"): Line("synced_followers", "2", "1"),
    Case("pending_syncs", LEADER, "> 5"): Line("pending_syncs", "0", "7"),
    Case("followers", LEADER, "< 2"): Line("learners", "2", "1"),
    Case("servers", WHOLE, "> 3"): Line("quorum_size", "3", "5"),
}
COUNTED = {
    Case("received", LEADER, "> 50"): "packets_received",
    Case("sent", LEADER, "> 50"): "packets_sent",
    Case("fsyncs", LEADER, "> 50"): "cnt_fsynctime",
    Case("fsync_time", LEADER, "> 5%"): "sum_fsynctime",
}
STEP = 1000
"""By how much the counters of a leader that is not well grow from one answer to the next."""
DERIVED = (
    Case("open_fds_percent", LEADER, "> 80%"),
    Case("zxid_percent", LEADER, "> 90%"),
    Case("zxid_percent", WHOLE, "> 90%"),
    Case("certificate_expires", LEADER, "< 7d"),
    Case("certificate_expires", WHOLE, "< 7d"),
    Case("lag", SECOND, "> 1k"),
    Case("lag", WHOLE, "> 1k"),
    Case("version", SECOND, "== 3.9.2"),
    Case("versions", WHOLE, "> 1"),
    Case("is_leader", SECOND, "> 0"),
    Case("leaders", WHOLE, "> 1"),
    Case("seconds", SECOND, "> 800ms"),
    Case("role", THIRD, "== read-only"),
    Case("read_only", THIRD, "> 0"),
    Case("refused", THIRD, "> 0"),
    Case("serving", THIRD, "< 1"),
    Case("serving", WHOLE, "< 3"),
    Case("quorum", WHOLE, "< 100%"),
    Case("followers", WHOLE, "< 2"),
    Case("synced", WHOLE, "< 2"),
)
CASES = (*SAID, *COUNTED, *DERIVED)
OF_REAL_SERVERS = {"ok", "has_leader"}
"""What test_servers.py shows with servers that it kills."""


class Face(NamedTuple):
    """How a stand-in shows itself: lines in place of those that were recorded, by their keys, and how it behaves."""

    tls: ssl.SSLContext
    mntr: Mapping[str, str]
    srvr: Mapping[str, str]
    step: int = 0
    pause: float = 0.0
    refused: str = ""


@dataclass
class StandIn:
    """Answers `mntr` and `srvr` as `face` has it, from what a real server said; one question at a time."""

    mntr: str
    srvr: str
    face: Face
    name: str = ""
    _count: int = field(default=0, init=False)

    def attend(self, connection: socket.socket) -> None:
        face = self.face
        with face.tls.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(self._answer(secure.recv(4).decode("ascii"), face))

    def _answer(self, word: str, face: Face) -> bytes:
        if word == face.refused:
            return REFUSAL % word.encode("ascii")
        if word == "srvr":
            time.sleep(face.pause)
            return changed(self.srvr, face.srvr, ": ")
        self._count += face.step
        counted = {key: str(self._count) for key in COUNTED.values()}
        return changed(self.mntr, {f"zk_{key}": value for key, value in (counted | {**face.mntr}).items()}, "\t")


def changed(text: str, lines: Mapping[str, str], separator: str) -> bytes:
    """The text with other values in these of its lines. Raises KeyError where it does not have one of them."""
    found = dict(line.split(separator, 1) for line in text.splitlines())
    if missing := lines.keys() - found:
        raise KeyError(missing)
    return "".join(f"{key}{separator}{value}\n" for key, value in (found | {**lines}).items()).encode()


class Certificates(NamedTuple):
    """What the stand-ins show, and the file with which both are accepted."""

    fresh: ssl.SSLContext
    old: ssl.SSLContext
    ca: str


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    for name in ("fresh", "old"):
        (tmp_path / name).mkdir()
    fresh, old = certificate(tmp_path / "fresh", days=30), certificate(tmp_path / "old", days=2)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(fresh.read_bytes() + old.read_bytes())
    return Certificates(server_tls(fresh), server_tls(old), str(ca))


def well(tls: ssl.SSLContext, epoch: int) -> dict[str, Face]:
    """How the stand-ins show themselves in an epoch in which all is well."""
    srvr = {"Zxid": f"{epoch:#x}00000016"}
    leader = Face(tls, {line.key: line.well for line in SAID.values()}, srvr)
    follower = Face(tls, {}, srvr)
    return {LEADER: leader, SECOND: follower, THIRD: follower}


def ill(tls: ssl.SSLContext, epoch: int) -> dict[str, Face]:
    """How they do when a leader is near the end of an epoch, another one leads beside it, and the third is alone."""
    version = "3.9.2-abc, built on 2024-02-12 20:59 UTC"
    return {
        LEADER: Face(tls, {line.key: line.ill for line in SAID.values()}, {"Zxid": f"{epoch:#x}fffffff0"}, step=STEP),
        SECOND: Face(
            tls,
            {"server_state": "leader", "version": version},
            {"Mode": "leader", "Zookeeper version": version, "Zxid": f"{epoch:#x}ffff0000"},
            pause=1.0,
        ),
        THIRD: Face(tls, {"server_state": "read-only"}, {}, refused="srvr"),
    }


@pytest.fixture
def stand_ins(ensemble: LocalEnsemble, certificates: Certificates) -> Iterator[dict[str, StandIn]]:
    """A leader and two followers that listen, each with the words of a real one."""

    def said_by_leader() -> str:
        leader = ensemble.leader()
        said = "" if leader is None else ask(ensemble.servers[leader].port, "mntr")
        return said if "zk_synced_followers\t2\n" in said else ""

    wait_for(said_by_leader, "a leader with both followers", 20)
    leader = ensemble.leader()
    assert leader is not None
    made = {}
    with ExitStack() as stack:
        for who, index in zip((LEADER, SECOND, THIRD), (leader, *ensemble.followers()), strict=True):
            port = ensemble.servers[index].port
            one = StandIn(ask(port, "mntr"), ask(port, "srvr"), well(certificates.fresh, 1)[who])
            one.name = f"127.0.0.1:{stack.enter_context(listener(one.attend))}"
            made[who] = one
        yield made


def test_every_field_of_the_servers_rises_and_resolves(
    stage: Stage,
    stand_ins: dict[str, StandIn],
    certificates: Certificates,
    http_receiver: HttpReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "INTERVAL", 0.5)
    running = start(
        stage,
        replace(
            stage.settings(rules(*(rule(case, stand_ins) for case in CASES)), channels(http_receiver, "ops")),
            ensembles={"kafka": kafka(stage, stand_ins, certificates)},
        ),
    )

    def told() -> list[str]:
        return sorted(line for line in heard(http_receiver) if " kafka" in line)  # the own one is no ensemble of three

    def wait_told(*expected: str) -> None:
        with suppress(pytest.fail.Exception):  # the comparison says better what is missing
            wait_for(lambda: set(told()) >= set(expected), "all to be told", 20)
        assert told() == sorted(expected)

    def show(faces: Mapping[str, Face]) -> None:
        for who, one in stand_ins.items():
            one.face = faces[who]

    series = [f"{case.name} kafka{'' if case.of == WHOLE else ',' + stand_ins[case.of].name}" for case in CASES]
    firing, resolved = ([f"{one} {phase}" for one in series] for phase in ("firing", "resolved"))
    wait_for(lambda: "kafka" in running.engine._ensembles._members, "the servers to be asked")
    assert running.engine._ensembles._members["kafka"].sample.errors == ()
    assert told() == []
    show(ill(certificates.old, 1))
    wait_told(*firing)
    show(well(certificates.fresh, 2))
    wait_told(*firing, *resolved)


def rule(case: Case, stand_ins: Mapping[str, StandIn]) -> dict[str, str]:
    comparator, threshold = case.rises.split(" ", 1)
    of_one = {} if case.of == WHOLE else {"instances": stand_ins[case.of].name}
    metric = {"name": case.name, "metric": f"zookeeper.{case.field}"}
    return metric | of_one | {"comparator": comparator, "threshold": threshold}


def kafka(stage: Stage, stand_ins: Mapping[str, StandIn], certificates: Certificates) -> EnsembleSettings:
    """An ensemble of the stand-ins; no rule is about its znodes, so that no client ever connects there."""
    return EnsembleSettings(
        zookeeper=ZookeeperSettings(hosts=stage.zookeeper.hosts, root="/", tls=TlsSettings(ca=certificates.ca)),
        members=Members(servers=tuple(one.name for one in stand_ins.values()), admin_port=None),
    )


def test_no_field_of_the_servers_is_left_out() -> None:
    shown = {case.field for case in CASES}
    assert shown | OF_REAL_SERVERS == set(metrics.FAMILIES["zookeeper"].fields)
    assert not shown & OF_REAL_SERVERS
