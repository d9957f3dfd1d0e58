"""What `zkalert cost` predicts, held against a real ZooKeeper, real samplers and real engines: within 20 %."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.helpers import wait_for
from zkalert.costs import Cost, Fleet, Published, predict, typical_sample
from zkalert.localzk import LocalServer
from zkalert.metrics import FAMILIES, SAMPLED
from zkalert.model import Alive, HostDown, HostInfo, Sample, ZookeeperSettings
from zkalert.rulefile import parse, with_builtin
from zkalert.tree import Tree, decode_sample, encode_alive, encode_host, encode_sample
from zkalert.zk import Client, make_client

WITHIN = 0.2
HOST = "db-{:04}.example.org"
RULES = """
rules:
  - {name: memory, metric: memory_usage.percent, comparator: ">", threshold: 100.5}
  - {name: load, metric: load_average.1m, comparator: ">", threshold: 1e6, summary: "{{ now('swap_usage.percent') }}"}
  - {name: disk, metric: disk_usage.percent, comparator: ">", threshold: 100.5}
  - {name: cores, metric: cpu_usage.percent, instances: "*", over: 20s, stat: max, comparator: ">", threshold: 101}
  - {name: leaders, metric: "znode:/kafka/{topic}/{partition}#value", comparator: "==", threshold: -1}
  - {name: replicas, metric: "znode:/kafka/{topic}/{partition}#children", comparator: "<", threshold: 0}
"""
PLAIN = "\n".join(line for line in RULES.splitlines() if "over:" not in line)
TOPICS, PARTITIONS = 8, 8
MORE_TOPICS = 64


def near(measured: float, predicted: float, what: str) -> None:
    off = predicted / measured - 1
    print(f"{what:34} measured {measured:14,.1f}  predicted {predicted:14,.1f}  {off:+.1%}")
    assert abs(off) <= WITHIN, f"{what}: measured {measured:,.1f}, predicted {predicted:,.1f} ({off:+.1%})"


def asked(hosts: str, word: str) -> dict[str, str]:
    """What a server answers to `mntr` or `srvr`, by the name of each line."""
    host, _, port = hosts.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(word.encode())
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    pairs = (line.split("\t" if word == "mntr" else ": ", 1) for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def written(hosts: str) -> int:
    """How many transactions there were."""
    return int(asked(hosts, "srvr")["Zxid"], 16)


@contextmanager
def program(folder: Path, *words: str) -> Iterator[psutil.Process]:
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "zkalert", *words, "--config", "zkalert.yaml", "--state-dir", "state"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(10)


def configured(folder: Path, hosts: str, rules: str, **more: object) -> Path:
    folder.mkdir()
    document = {"zookeeper": {"hosts": hosts}, "rules": ["rules.yaml"], **more}
    (folder / "zkalert.yaml").write_text(json.dumps(document), encoding="utf-8")
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    return folder


@pytest.fixture
def kafka(own_zookeeper: LocalServer) -> Iterator[Client]:
    """A client of the server, which holds some znodes that rules look at."""
    client = make_client(ZookeeperSettings(hosts=own_zookeeper.hosts))
    client.start(timeout=15)
    client.create("/kafka")
    make_topics(client, range(TOPICS), PARTITIONS)
    yield client
    client.stop()
    client.close()


def make_topics(client: Client, topics: Iterable[int], partitions: int) -> None:
    for topic in topics:
        transaction = client.transaction()
        transaction.create(f"/kafka/{topic}")
        for partition in range(partitions):
            transaction.create(f"/kafka/{topic}/{partition}", b"1")
        transaction.commit()


def prediction(
    text: str,
    published: Iterable[Published],
    *,
    hosts: int,
    resting: float | None = None,
    matches: int = TOPICS * PARTITIONS,
) -> Cost:
    rules, _ = parse(text, "rules.yaml")
    fleet = Fleet(
        hosts=hosts,
        published=tuple(published),
        matches=matches,
        resting=resting,
        has_channels=False,
    )
    return predict(with_builtin(rules, HostDown()), fleet)


def settled(hosts: str, name: str) -> int:
    """A number of the server's once it has stood still for a second."""
    seen: list[int] = []

    def stands() -> bool:
        time.sleep(0.25)
        seen.append(int(asked(hosts, "mntr")[name]))
        return len(seen) > 4 and len(set(seen[-4:])) == 1

    wait_for(stands, f"{name} to stand still", 60)
    return seen[-1]


@pytest.mark.parametrize(
    ("rules", "publish"), [(RULES, {"publish": "full"}), (PLAIN, {"resting": "2s"})], ids=["full rate", "at rest"]
)
def test_writes_watches_and_bytes_are_as_predicted(
    own_zookeeper: LocalServer, kafka: Client, tmp_path: Path, rules: str, publish: Mapping[str, str]
) -> None:
    """Three real samplers at ten times their usual pace, and an engine."""
    hosts, tree = own_zookeeper.hosts, Tree()
    before = numbers(hosts)
    intervals = {name: FAMILIES[name].interval / 10 for name in SAMPLED}
    sampler = {"intervals": {name: f"{every * 1000:g}ms" for name, every in intervals.items()}, **publish}
    names = [HOST.format(number) for number in range(3)]
    with ExitStack() as running:
        engine = running.enter_context(program(configured(tmp_path / "engine", hosts, rules), "engine"))
        wait_for(lambda: kafka.exists(tree.thresholds), "the engine", 30)
        samplers = [
            running.enter_context(
                program(configured(tmp_path / name, hosts, rules, host=name, sampler=sampler), "sampler")
            )
            for name in names
        ]
        for name in names:
            path = tree.family(name, "uptime")
            wait_for(partial(kafka.exists, path), f"samples of {name}", 30)
        watches = settled(hosts, "zk_watch_count")
        transactions = written_a_minute(hosts, 12.0)
        resting = 2.0 if "resting" in publish else None
        found = prediction(rules, publishes(kafka, tree, names[0], intervals), hosts=len(names), resting=resting)
        now = numbers(hosts)
        near(transactions, found.transactions.rest, "transactions a minute")
        near(watches, found.watches, "watches")
        near(now["zk_znode_count"] - before["zk_znode_count"], found.znodes, "znodes")
        size = "zk_approximate_data_size"
        near(now[size] - before[size], found.tree_bytes, "bytes in the tree")
        connections = "zk_num_alive_connections"
        assert now[connections] - before[connections] == found.connections
        near(engine.memory_info().rss, found.engine.memory, "memory of the engine")
        near(samplers[0].memory_info().rss, found.host.memory, "memory of a sampler")


def numbers(hosts: str) -> dict[str, int]:
    return {name: int(value) for name, value in asked(hosts, "mntr").items() if value.isdigit()}


def written_a_minute(hosts: str, seconds: float) -> float:
    """Transactions, over so many seconds of a steady state."""
    began, at = written(hosts), time.monotonic()
    time.sleep(seconds)
    return (written(hosts) - began) / (time.monotonic() - at) * 60


def publishes(client: Client, tree: Tree, host: str, intervals: Mapping[str, float]) -> Iterator[Published]:
    """What a sampler of this machine publishes, and how many instances."""
    for family in client.get_children(tree.metrics(host)):
        sample = decode_sample(family, client.get(tree.family(host, family))[0])
        assert isinstance(sample, Sample)
        yield Published(family=FAMILIES[family], interval=intervals[family], instances=len(sample.instances))


def test_a_fleet_takes_as_much_memory_as_predicted(own_zookeeper: LocalServer, kafka: Client, tmp_path: Path) -> None:
    """Hosts as they would be, each written again and again, and an engine that keeps their last samples."""
    hosts, tree, count = own_zookeeper.hosts, Tree(), 300
    shape = {"memory_usage": 0, "cpu_usage": 6, "disk_usage": 5, "load_average": 0, "swap_usage": 0, "network_io": 2}
    published = [
        Published(family=FAMILIES[name], interval=0.5 if name == "cpu_usage" else 5.0, instances=instances)
        for name, instances in shape.items()
    ]
    samples = {
        one.family.name: encode_sample(typical_sample(one.family, one.instances, interval=one.interval))
        for one in published
    }
    names = [HOST.format(number) for number in range(count)]
    kafka.ensure_path(tree.hosts)
    kafka.delete("/kafka", recursive=True)
    kafka.create("/kafka")
    make_topics(kafka, range(MORE_TOPICS), MORE_TOPICS)
    for name in names:
        appear(kafka, tree, name, samples)
    with program(configured(tmp_path / "engine", hosts, RULES), "engine") as engine:
        settled(hosts, "zk_watch_count")
        for tick in range(44):  # until the windows are full
            at = time.monotonic() + 0.5
            for family, payload in samples.items():
                if family == "cpu_usage" or tick % 10 == 0:
                    for name in names:
                        kafka.set_async(tree.family(name, family), payload)
            time.sleep(max(0.0, at - time.monotonic()))
        found = prediction(RULES, published, hosts=count, matches=MORE_TOPICS**2)
        watches = settled(hosts, "zk_watch_count")
        near(watches, found.engine.watches, "watches of the engine")
        near(engine.memory_info().rss, found.engine.memory, "memory of the engine")


def appear(client: Client, tree: Tree, name: str, samples: Mapping[str, bytes]) -> None:
    transaction = client.transaction()
    transaction.create(tree.host(name), encode_host(HostInfo(name=name, machine="0" * 16)))
    transaction.create(tree.metrics(name))
    transaction.create(tree.alive(name), encode_alive(Alive(machine="0" * 16, pid=1, started_at=1.0)))
    for family, payload in samples.items():
        transaction.create(tree.family(name, family), payload)
    assert not any(isinstance(result, Exception) for result in transaction.commit())
