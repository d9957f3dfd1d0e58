"""What an engine shows of the znodes and ensembles that its rules look at, on real ZooKeepers."""

from __future__ import annotations

import json
from dataclasses import replace

from kazoo.security import make_digest_acl

from tests.acceptance.hearing import channels, start
from tests.acceptance.stage import RunningEngine, Stage
from tests.acceptance.watching import folder, rules, watch
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine import Status
from zkalert.localzk import LocalServer
from zkalert.model import EnsembleSettings, ZookeeperSettings


def shown(running: RunningEngine) -> Status:
    last = running.witness.last
    assert last is not None
    return last


def test_znodes_are_counted_and_those_that_cannot_be_read_or_used_too(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    for name, data in (("good", b'{"n": 0}'), ("bad", b"{"), ("other", b'{"n": 0}')):
        stage.client.create(f"{top}/{name}", data)
    stage.client.create(f"{top}/secret", b"{}", acl=[make_digest_acl("somebody", "else", all=True)])
    running = watch(stage, http_receiver, {"name": "high", "metric": f"znode:{top}/*#/n"})
    wait_for(lambda: (shown(running).znodes, shown(running).unusable) == (4, 2), "four znodes, two of them of no use")
    stage.client.set(f"{top}/bad", json.dumps({"n": 0}).encode())
    stage.client.delete(f"{top}/other")
    wait_for(lambda: (shown(running).znodes, shown(running).unusable) == (3, 1), "what became of them")


def test_an_ensemble_that_does_not_answer_is_named_until_it_does(
    stage: Stage, own_zookeeper: LocalServer, http_receiver: HttpReceiver
) -> None:
    kafka = EnsembleSettings(zookeeper=ZookeeperSettings(hosts=own_zookeeper.hosts, root="/", session_timeout=2.0))
    unused = EnsembleSettings(zookeeper=ZookeeperSettings(hosts="127.0.0.1:1", root="/"))
    settings = stage.settings(
        rules({"name": "few", "metric": "kafka:/brokers/ids#children"}), channels(http_receiver, "ops")
    )
    running = start(stage, replace(settings, ensembles={"kafka": kafka, "unused": unused}))
    wait_for(lambda: shown(running).znodes == 1 and shown(running).unreached == (), "a connection")
    own_zookeeper.kill()
    wait_for(lambda: shown(running).unreached == ("kafka",), "the loss of it")
    own_zookeeper.start()
    wait_for(lambda: shown(running).unreached == (), "its return", 30)
