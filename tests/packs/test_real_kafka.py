"""Real brokers of Kafka keep their znodes where rules/kafka.yaml looks, in a chroot, and the pack tells what they lose.

It is Kafka 0.8.2, which the npm registry happens to have; what later ones added is not seen here.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.hearing import start
from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from tests.packs.layout import matches, pack, patterns
from tests.packs.programs import Programs, java
from zkalert.documents.packs import find_pack
from zkalert.localzk.server import free_ports
from zkalert.model import EnsembleSettings, Phase, ZookeeperSettings
from zkalert.zk import Client, make_client

JARS = Path(sys.prefix) / "kafka"
NEWEST_JAVA = 22
JAVA = java(NEWEST_JAVA) if JARS.exists() else ""
BROKER, TOPICS = "kafka.Kafka", "kafka.admin.TopicCommand"
BROKERS = ("0", "1", "2")
WINDOW = 8
OLD = "kafka-broker-protocol-old"
STATES = "znode:/brokers/topics/{topic}/partitions/{partition}/state"
DELETED = "znode:/admin/delete_topics/{topic}"
LATER = {
    "znode:/isr_change_notification",  # 0.9
    "znode:/log_dir_event_notification",  # 1.1
    "znode:/migration",  # 3.4
}
ONCE = {
    DELETED,  # while a topic is deleted
    "znode:/admin/preferred_replica_election",  # while an election is on
    "znode:/admin/reassign_partitions",  # while partitions are moved
}

pytestmark = pytest.mark.skipif(
    not JAVA, reason=f"no Kafka here, which `.ci/setup kafka` unpacks, or no Java up to {NEWEST_JAVA} to run it"
)


class Cluster:
    """Three brokers."""

    def __init__(self, folder: Path, hosts: str) -> None:
        self.hosts = hosts
        self._folder = folder
        self._brokers: dict[str, Programs] = {}
        for name, port in zip(BROKERS, free_ports(3), strict=True):
            place = folder / name
            place.mkdir()
            (place / "server.properties").write_text(
                f"broker.id={name}\nhost.name=127.0.0.1\nport={port}\nlog.dirs={place}/logs\n"
                f"zookeeper.connect={hosts}\nzookeeper.session.timeout.ms=4000\ndelete.topic.enable=true\n",
                encoding="utf-8",
            )
            self._brokers[name] = Programs(place, JAVA, JARS)

    def start(self, *names: str) -> None:
        for name in names:
            self._brokers[name].start(BROKER, str(self._folder / name / "server.properties"))

    def kill(self, *names: str) -> None:
        for name in names or BROKERS:
            self._brokers[name].kill()

    def topic(self, *words: str) -> None:
        """What `kafka-topics.sh` does."""
        self._brokers[BROKERS[0]].run(TOPICS, "--zookeeper", self.hosts, *words)


@pytest.fixture
def chroot(client: Client, settings: ZookeeperSettings) -> Iterator[Client]:
    """A client in the chroot of the cluster, which nobody else has."""
    place = f"/kafka-{secrets.token_hex(6)}"
    client.create(place)
    inside = make_client(replace(settings, hosts=settings.hosts + place))
    inside.start(timeout=15)
    yield inside
    inside.stop()
    inside.close()
    client.delete(place, recursive=True)


@pytest.fixture
def cluster(chroot: Client, settings: ZookeeperSettings, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, settings.hosts + chroot.chroot)
    try:
        made.start(*BROKERS)
        wait_for(lambda: len(matches(chroot, "znode:/brokers/ids/{broker}")) == 3, "the brokers", timeout=60)
        wait_for(lambda: chroot.exists("/controller"), "the controller", timeout=20)
        yield made
    finally:
        made.kill()


def hasty() -> str:
    """The pack on the ensemble `kafka`, with spans that a test can wait for."""
    text = find_pack("kafka", "kafka").text().decode()
    return re.sub(r"\bduration: \d+[smh]", "duration: 500ms", re.sub(r"\bover: \d+[smhd]", f"over: {WINDOW}s", text))


def controller(chroot: Client) -> str:
    """The broker that is the controller; it is an ephemeral of its session."""
    data, stat = chroot.get("/controller")
    assert stat.ephemeralOwner
    return str(json.loads(data)["brokerid"])


def test_what_brokers_lose_is_told_by_the_pack_until_they_are_back(
    cluster: Cluster, chroot: Client, stage: Stage
) -> None:
    """One long story, since a cluster takes its time to start."""
    leads = controller(chroot)
    victim, other = (name for name in BROKERS if name != leads)
    cluster.topic("--create", "--topic", "orders", "--partitions", "2", "--replication-factor", "3")
    cluster.topic("--create", "--topic", "lonely", "--replica-assignment", victim)
    wait_for(lambda: len(matches(chroot, STATES)) == 3, "the partitions", timeout=20)
    assert {family for family in patterns(pack("kafka")) if not matches(chroot, family)} == LATER | ONCE
    state = "/brokers/topics/orders/partitions/0/state"
    assert sorted(json.loads(chroot.get(state)[0])["isr"]) == [0, 1, 2]
    epoch = chroot.exists("/controller_epoch").version

    place = replace(stage.zookeeper, hosts=cluster.hosts)
    settings = replace(stage.settings(hasty()), ensembles={"kafka": EnsembleSettings(zookeeper=place)})
    running = start(stage, settings)

    def told(phase: Phase) -> set[str]:
        """Rules and what they are about, of all that was told."""
        effects = [effect for effect in tuple(running.witness.effects) if effect.phase is phase]
        assert {effect.alert.host for effect in effects} <= {"kafka"}
        return {f"{effect.alert.rule} {effect.alert.instance or ''}".strip() for effect in effects}

    def wait_told(phase: Phase, *expected: str) -> None:
        wait_for(lambda: told(phase) >= set(expected), f"{expected} to be {phase.value}", timeout=40)

    old = {f"{OLD} /brokers/ids/{name}" for name in BROKERS}
    wait_told(Phase.FIRING, *old)
    seen_at = time.monotonic()
    wait_for(lambda: time.monotonic() > seen_at + WINDOW / 2, "half of each window to be seen")
    assert told(Phase.FIRING) == old, "nothing else is wrong"

    lost = {
        "kafka-broker-left",
        "kafka-brokers-missing",
        "kafka-partitions-offline",
        "kafka-partitions-under-replicated",
    }
    cluster.kill(victim)
    wait_told(Phase.FIRING, *lost)
    wait_told(Phase.RESOLVED, f"{OLD} /brokers/ids/{victim}")
    cluster.topic("--delete", "--topic", "lonely")
    assert matches(chroot, DELETED) == ["/admin/delete_topics/lonely"], "it waits for its broker"
    cluster.start(victim)
    wait_told(Phase.RESOLVED, *lost)
    wait_for(lambda: not matches(chroot, DELETED), "the topic to be deleted", timeout=30)

    cluster.kill(leads)
    wait_for(lambda: chroot.exists("/controller_epoch").version > epoch, "another controller", timeout=30)
    cluster.kill(victim, other)
    wait_told(Phase.FIRING, "kafka-no-brokers")
    cluster.start(*BROKERS)
    wait_told(Phase.RESOLVED, "kafka-no-brokers")
    assert controller(chroot) in BROKERS
