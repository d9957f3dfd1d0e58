"""Thousands of series cross their threshold within a second, and clear again: an engine as a process of its own.

Beside it, what ZooKeeper alone takes for as many znodes: bare creations, a bounded number on their way.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.benchmarks.tools import client_of, close
from tests.helpers import HttpReceiver, Request, wait_for
from zkalert.model import HostInfo, Sample
from zkalert.tree import Tree, encode_host, encode_sample
from zkalert.zk import MOST_IN_FLIGHT, Client

HOSTS = 20
INSTANCES = 250
RATE = 4
GROUP_INTERVAL = 1.0
VALUES = {"firing": 95.0, "resolved": 10.0}
SESSION_TIMEOUT = 4.0
PATIENCE = 120.0
RULES = """
rules:
  - name: disk-full
    metric: disk_usage.percent
    instances: "*"
    comparator: ">"
    threshold: 90
    severity: critical
    duration: {hold}
    clear_duration: {hold}
"""


class Wave(NamedTuple):
    """What came of one turn of all series; in seconds since the first of the samples that made it was published.

    `phase` is what each message of it says of its alerts, `told` how many were told, `published` when the last sample
    was, `recorded` when ZooKeeper had all records.
    """

    phase: str
    published: float
    recorded: float
    first: float
    last: float
    messages: int
    told: int


class Storm(NamedTuple):
    """The turns up and down, what was told twice, memory of the engine (bytes) and all messages as they came."""

    up: Wave
    down: Wave
    doubled: int
    rss_before: int
    rss_most: int
    requests: tuple[Request, ...]

    @property
    def growth(self) -> int:
        return self.rss_most - self.rss_before

    def most_within(self, span: float) -> int:
        """Messages in the fullest `span` seconds."""
        times = [request.at for request in self.requests]
        return max(sum(at <= other < at + span for other in times) for at in times)


def storm(hosts: str, folder: Path, size: tuple[int, int] = (HOSTS, INSTANCES), hold: str = "0s") -> Storm:
    """Let `size` hosts and instances of each cross and clear, and wait until all of it was told.

    `hold` is how long each has to hold first, both ways.
    """
    root = f"/storm-{secrets.token_hex(4)}"
    tree, receiver, client = Tree(root), HttpReceiver(), client_of(hosts)
    try:
        _publish(client, tree, size, 10.0)
        with _engine(hosts, root, folder, receiver, hold) as process:
            wait_for(lambda: _owns(client, tree), "the engine to own the tree", 30)
            _warm(client, tree, receiver)
            before = process.memory_info().rss
            with _watched(process) as most:
                up, down = (_wave(client, tree, receiver, size, phase) for phase in VALUES)
        told = [alert["key"] for request in receiver.requests[2:] for alert in request.json["alerts"]]
        return Storm(up, down, len(told) - len(set(told)), before, most(), tuple(receiver.requests[2:]))
    finally:
        receiver.close()
        close(client)


def _wave(client: Client, tree: Tree, receiver: HttpReceiver, size: tuple[int, int], phase: str) -> Wave:
    opens = receiver.requests[-1].at + GROUP_INTERVAL
    wait_for(lambda: time.monotonic() > opens, "the first of a group to go at once again")
    count, seen, began = size[0] * size[1], len(receiver.requests), time.monotonic()
    folder, standing = tree.rule_alerts("disk-full"), count if phase == "firing" else 0
    _publish(client, tree, size, VALUES[phase])
    published = time.monotonic() - began

    def is_recorded() -> bool:
        stat = client.exists(folder)
        return stat is not None and stat.numChildren == standing

    wait_for(is_recorded, f"{standing} records", PATIENCE)
    recorded = time.monotonic() - began

    def requests() -> list[Request]:
        return receiver.requests[seen:]

    def told() -> int:
        return sum(len(request.json["alerts"]) for request in requests())

    wait_for(lambda: told() >= count, f"{count} alerts to be told", PATIENCE)
    came = requests()
    wait_for(lambda: not client.get_children(tree.outbox(0)), "an empty outbox", PATIENCE)
    times = [request.at - began for request in came]
    return Wave(phase, published, recorded, min(times), max(times), len(came), told())


def _publish(client: Client, tree: Tree, size: tuple[int, int], value: float) -> None:
    hosts, instances = size
    fields = {"percent": value, "total": 512_110_190_592.0, "used": 91_223_372_036.0, "free": 420_886_818_556.0}
    data = encode_sample(
        Sample(
            family="disk_usage",
            at=time.time(),
            interval=30.0,
            max_age=90.0,
            values={},
            instances={f"/srv/volume-{number:03}": fields for number in range(instances)},
        )
    )
    for number in range(hosts):
        _write(client, tree, f"host-{number}", data)


def _write(client: Client, tree: Tree, host: str, data: bytes) -> None:
    path = tree.family(host, "disk_usage")
    if client.exists(path):
        client.set(path, data)
        return
    client.ensure_path(tree.metrics(host))
    client.set(tree.host(host), encode_host(HostInfo(name=host)))
    client.create(path, data)


def _warm(client: Client, tree: Tree, receiver: HttpReceiver) -> None:
    """One alert up and down on another host: what is loaded with the first message counts for no storm."""
    for number, value in enumerate((95.0, 10.0), start=1):
        sample = Sample(
            family="disk_usage",
            at=time.time(),
            interval=30.0,
            max_age=90.0,
            values={},
            instances={"/": {"percent": value}},
        )
        _write(client, tree, "warm", encode_sample(sample))
        receiver.wait(number, 30)
    wait_for(lambda: not client.get_children(tree.outbox(0)), "an empty outbox")


def _owns(client: Client, tree: Tree) -> bool:
    path = tree.shard(0)
    return client.exists(path) is not None and bool(client.get_children(path))


@contextmanager
def _engine(hosts: str, root: str, folder: Path, receiver: HttpReceiver, hold: str) -> Iterator[psutil.Process]:
    (folder / "rules.yaml").write_text(RULES.format(hold=hold), encoding="utf-8")
    url = receiver.url("/hook", "webhook")
    config = {
        "zookeeper": {"hosts": hosts, "root": root, "session_timeout": f"{SESSION_TIMEOUT:g}s"},
        "rules": ["rules.yaml"],
        "channels": {"ops": {"urls": [url], "group_interval": f"{GROUP_INTERVAL:g}s", "rate": f"{RATE}/s"}},
        "host_down": False,
    }
    (folder / "zkalert.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "zkalert", "engine", "--config", "zkalert.yaml", "--state-dir", "state"]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def _watched(process: psutil.Process) -> Iterator[Callable[[], int]]:
    """Watch how much memory a process has meanwhile; what it yields tells the most (bytes)."""
    most, stop = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            most.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: max(most)
    finally:
        stop.set()
        watcher.join()


def bare(hosts: str, count: int) -> float:
    """Seconds for the creation of `count` znodes of a record's size, and nothing else."""
    client = client_of(hosts)
    folder, room, left = f"/bare-{secrets.token_hex(4)}", threading.Semaphore(MOST_IN_FLIGHT), threading.Event()
    client.ensure_path(folder)
    created = [0]

    def answered(_: Any) -> None:
        room.release()
        created[0] += 1
        if created[0] == count:
            left.set()

    began = time.perf_counter()
    for number in range(count):
        room.acquire()
        client.create_async(f"{folder}/{number}", b"x" * 700).rawlink(answered)
    left.wait(PATIENCE)
    took = time.perf_counter() - began
    close(client)
    return took


def run(hosts: str, folder: Path) -> None:
    own = folder / "storm"
    own.mkdir()
    found = storm(hosts, own)
    for wave in (found.up, found.down):
        print(
            f"  {wave.told} {wave.phase}: published {wave.published:.2f} s, recorded {wave.recorded:.2f} s, "
            f"first message {wave.first:.2f} s, last {wave.last:.2f} s, {wave.messages} messages"
        )
    series = HOSTS * INSTANCES
    took = bare(hosts, 2 * series)  # a record and an entry of the outbox for each
    print(
        f"  at most {found.most_within(1.0)} messages within a second at a rate of {RATE}/s, {found.doubled} told twice"
    )
    print(f"  memory of the engine {found.rss_before / 1e6:.0f} MB, at most {found.growth / 1e6:.0f} MB more")
    print(
        f"  {2 * series} bare creations take {took:.2f} s: the records stand after {found.up.recorded / took:.1f} "
        f"times that"
    )
