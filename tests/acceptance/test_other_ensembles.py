"""Rules about another ensemble, by engines as users run them: it is read and never written, and it may be away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from kazoo.security import make_acl, make_digest_acl

from tests.acceptance.hearing import channels, heard, start, wait_heard
from tests.acceptance.stage import EngineProcess, Stage
from tests.acceptance.watching import folder, process_channels, rules, series, session
from tests.helpers import HttpReceiver, Relay, wait_for
from zkalert.localzk import LocalServer
from zkalert.localzk.install import find_zookeeper
from zkalert.model import EnsembleSettings, ZookeeperSettings
from zkalert.zk import Client

HELD = 4.0
_TRANSACTION = re.compile(r"session (0x[0-9a-f]+) cxid 0x[0-9a-f]+ zxid 0x[0-9a-f]+ (\w+)")


class Transaction(NamedTuple):
    session: int
    what: str


@pytest.fixture
def admin(own_zookeeper: LocalServer) -> Iterator[Client]:
    """Who owns the other ensemble."""
    with session(own_zookeeper.hosts) as client:
        yield client


def engine(stage: Stage, receiver: HttpReceiver, hosts: str, text: str, **more: object) -> EngineProcess:
    """An engine process that knows the other ensemble as `kafka`."""
    ensembles = {"kafka": {"hosts": hosts, "session_timeout": "2s"} | more}
    return stage.process(text, process_channels(receiver) + f"ensembles: {json.dumps(ensembles)}\n")


def transactions(server: LocalServer) -> list[Transaction]:
    """All that was ever written in a server, by its own logs."""
    class_path = find_zookeeper(os.environ).class_path
    found = []
    for log in sorted(Path(server.data_dir).rglob("log.*")):
        command = ["java", "-cp", class_path, "org.apache.zookeeper.server.persistence.TxnLogToolkit", "-d", str(log)]
        dump = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode("utf-8", "replace")
        found += [Transaction(int(session, 16), what) for session, what in _TRANSACTION.findall(dump)]
    return found


FEW = {"name": "few", "metric": "kafka:/brokers/ids#children", "comparator": "<", "threshold": 2}
BUSY = {"name": "busy", "metric": "kafka:/brokers/{broker}#value", "threshold": 9}
OPEN = {"name": "open", "metric": "kafka:/brokers#acl_open", "comparator": "==", "threshold": 1}


def test_another_ensemble_is_watched_by_who_may_only_read_there_and_nothing_is_written(
    stage: Stage, own_zookeeper: LocalServer, admin: Client, http_receiver: HttpReceiver
) -> None:
    admin.add_auth("digest", "kafka:secret")
    acl = [make_digest_acl("kafka", "secret", all=True), make_digest_acl("zkalert", "reader", read=True)]
    for path in ("/brokers", "/brokers/ids", "/brokers/ids/1", "/brokers/ids/2", "/brokers/load"):
        admin.create(path, b"1", acl=acl)
    admin.set_acls("/", [*acl, make_acl("world", "anyone", read=True)])
    own = f"{folder(stage)}/own"
    running = engine(
        stage,
        http_receiver,
        own_zookeeper.hosts,
        rules(FEW, BUSY, OPEN, {"name": "own", "metric": f"znode:{own}#exists", "comparator": "==", "threshold": 1}),
        auth={"digest": "zkalert:reader"},
    )
    running.wait_log("connected to the ensemble kafka")
    admin.delete("/brokers/ids/2")
    wait_heard(http_receiver, "few kafka firing")
    admin.set("/brokers/load", b"20")
    wait_for(lambda: len(heard(http_receiver)) == 2, "the load")
    stage.client.create(own)
    wait_for(lambda: len(heard(http_receiver)) == 3, "the own ensemble's")
    admin.set("/brokers/load", b"2")
    wait_for(lambda: len(heard(http_receiver)) == 4, "the end of the load")
    admin.create("/brokers/ids/2", acl=acl)
    wait_for(lambda: len(heard(http_receiver)) == 5, "the end")
    load = series("/brokers/load", "kafka")
    assert heard(http_receiver)[1:] == [
        f"busy {load} firing",
        "own zookeeper firing",
        f"busy {load} resolved",
        "few kafka resolved",
    ]
    running.signal(signal.SIGTERM)
    running.process.wait(10)
    assert "NoAuth" not in running.log
    mine = admin.client_id[0] & 0xFFFFFFFFFFFFFFFF
    admin.stop()
    own_zookeeper.stop()
    found = transactions(own_zookeeper)
    assert {one.what for one in found if one.session == mine} >= {"create", "setData", "delete"}
    others = [one.what for one in found if one.session != mine]
    assert set(others) == {"createSession", "closeSession"}, "nothing but its session"


def test_rules_wait_for_an_ensemble_that_is_down_at_the_start_and_the_others_do_not(
    stage: Stage, own_zookeeper: LocalServer, http_receiver: HttpReceiver
) -> None:
    own = f"{folder(stage)}/own"
    hosts = own_zookeeper.hosts
    own_zookeeper.stop()
    own_rule = {"name": "own", "metric": f"znode:{own}#exists", "comparator": "==", "threshold": 0}
    engine(stage, http_receiver, hosts, rules(FEW, own_rule))
    wait_heard(http_receiver, "own zookeeper firing", timeout=20)
    stage.client.create(own)
    wait_heard(http_receiver, "own zookeeper firing", "own zookeeper resolved")
    own_zookeeper.start()
    with session(own_zookeeper.hosts) as admin:
        admin.create("/brokers/ids/1", makepath=True)
        wait_for(lambda: len(heard(http_receiver)) == 3, "the other ensemble's", 20)
        admin.create("/brokers/ids/2")
        wait_for(lambda: len(heard(http_receiver)) == 4, "its end")
    assert heard(http_receiver)[2:] == ["few kafka firing", "few kafka resolved"]


def test_an_ensemble_that_is_cut_off_keeps_its_rules_waiting_and_what_nobody_saw_is_not_held(
    stage: Stage, own_zookeeper: LocalServer, admin: Client, http_receiver: HttpReceiver
) -> None:
    own = f"{folder(stage)}/own"
    admin.create("/brokers/ids/1", makepath=True)
    admin.create("/brokers/ids/2")
    held = FEW | {"duration": f"{HELD:g}s"}
    own_rule = {"name": "own", "metric": f"znode:{own}#exists", "comparator": "==", "threshold": 1}
    cable = Relay(own_zookeeper.hosts)
    try:
        running = engine(stage, http_receiver, cable.hosts, rules(held, BUSY, own_rule))
        running.wait_log("connected to the ensemble kafka")
        admin.delete("/brokers/ids/2")
        stage.wait_states("pending")
        began = time.monotonic()
        cable.cut()
        running.wait_log("the connection to the ensemble kafka is gone")
        dark = time.monotonic()
        admin.create("/brokers/load", b"20")
        stage.client.create(own)
        wait_heard(http_receiver, "own zookeeper firing")
        wait_for(lambda: time.monotonic() > dark + 3, "a while")
        assert heard(http_receiver) == ["own zookeeper firing"]
        light = time.monotonic()
        cable.mend()
        wait_for(lambda: len(heard(http_receiver)) == 3, "both of the other ensemble", 20)
    finally:
        stage.close()  # who is connected does not connect anew while the cable is taken away
        cable.close()
    assert heard(http_receiver)[1:] == [f"busy {series('/brokers/load', 'kafka')} firing", "few kafka firing"]
    assert http_receiver.requests[-1].at - began >= HELD + light - dark - 0.2, "held for as long as it was seen"
    assert running.log.count("connected to the ensemble kafka") == 2


def test_an_ensemble_that_never_answers_is_told_of(stage: Stage, http_receiver: HttpReceiver) -> None:
    running = engine(stage, http_receiver, "127.0.0.1:1", rules(FEW))
    why = "Connection refused"
    running.wait_log(f"the ensemble kafka at 127.0.0.1:1 does not answer; its rules wait for it ({why})")


def test_an_ensemble_that_moved_is_watched_where_it_is_now_and_what_is_left_of_the_old_one_changes_nothing(
    stage: Stage, admin: Client, own_zookeeper: LocalServer, http_receiver: HttpReceiver
) -> None:
    for name in ("old", "new"):
        for child in ("1", "2"):
            admin.ensure_path(f"/{name}/brokers/ids/{child}")

    def known(name: str) -> dict[str, EnsembleSettings]:
        return {"kafka": EnsembleSettings(zookeeper=ZookeeperSettings(hosts=f"{own_zookeeper.hosts}/{name}"))}

    settings = stage.settings(rules(FEW | {"action": "ops"}), channels(http_receiver, "ops"))
    running = start(stage, settings, ensembles=known("old"))
    ensembles = running.engine._ensembles
    wait_for(lambda: ensembles.znodes() == 1 and not ensembles.unreached(), "the old one")
    before = ensembles._ensembles["kafka"].client
    assert before is not None
    running.engine.reload(replace(running.settings, ensembles=known("new")))
    wait_for(lambda: not before.connected, "the old session to end")
    wait_for(lambda: ensembles._ensembles["kafka"].client is not before and not ensembles.unreached(), "the new one")
    admin.delete("/old/brokers/ids/1")
    admin.delete("/new/brokers/ids/2")
    wait_heard(http_receiver, "few kafka firing")
    admin.create("/new/brokers/ids/3")
    wait_heard(http_receiver, "few kafka firing", "few kafka resolved")
