"""Events through the whole engine, beside a bare re-arming `get_async(watch=)` loop that decodes the JSON.

Each consumer is a process of its own, fed by a writer that keeps a bounded number of writes on their way to many
znodes. What counts is the consumer's CPU time for each event that it saw.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.flooded import Owner, consume, under
from tests.benchmarks.tools import client_of, close, rules, sample
from zkalert.engine import Engine, EngineSettings
from zkalert.model import HostInfo, ZookeeperSettings
from zkalert.rulefile import parse
from zkalert.tree import Tree, encode_host

HOSTS = 50
ROUNDS = 3
TREE = Tree("/events")


def _bare(hosts: str, pipe: Any) -> None:
    """The floor: watch, read, decode, count."""
    client = client_of(hosts)
    seen = [0]

    def changed(event: Any) -> None:
        client.get_async(event.path, watch=changed).rawlink(answered)

    def answered(reply: Any) -> None:
        data, stat = reply.value
        json.loads(data)
        assert stat.version >= 0
        seen[0] += 1

    for number in range(HOSTS):
        client.get_async(TREE.family(f"h{number}", "memory_usage"), watch=changed).rawlink(answered)
    pipe.send("ready")
    consume(pipe, lambda: seen[0])


def _engine(hosts: str, pipe: Any, count: int) -> None:
    logging.disable()  # it waits for the former round's engine, and says so
    owner = Owner()
    parsed, _ = parse(rules(count), "rules.yaml")
    settings = EngineSettings(zookeeper=ZookeeperSettings(hosts=hosts, root="/events"), host="bench", rules=parsed)
    engine = Engine(settings, owner)
    threading.Thread(target=engine.run, daemon=True).start()
    while owner.last is None or owner.last.samples < HOSTS or not owner.last.is_owner:
        time.sleep(0.05)
    pipe.send("ready")
    consume(pipe, lambda: engine._evaluator._samples)


def _flood(hosts: str, stop: Any) -> None:
    """Write to one znode after the other, 32 writes on their way at most."""
    client = client_of(hosts)
    room = threading.Semaphore(32)
    payload = [sample(float(value)) for value in range(10)]
    number = 0
    while not stop.is_set():
        room.acquire()
        path = TREE.family(f"h{number % HOSTS}", "memory_usage")
        client.set_async(path, payload[number % 10]).rawlink(lambda _: room.release())
        number += 1
    close(client)


def _round(hosts: str, target: Any, *args: Any) -> tuple[float, float]:
    """Events a second, and CPU microseconds an event."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    consumer = context.Process(target=target, args=(hosts, theirs, *args))
    consumer.start()
    ours.recv()
    spent = under(_flood, context, hosts, ours)
    consumer.kill()
    consumer.join()
    return spent


def run(hosts: str, _folder: Path) -> None:
    client = client_of(hosts)
    for number in range(HOSTS):
        client.ensure_path(TREE.metrics(f"h{number}"))
        client.set(TREE.host(f"h{number}"), encode_host(HostInfo(name=f"h{number}")))
        client.create(TREE.family(f"h{number}", "memory_usage"), sample(1))
    close(client)
    names: dict[str, tuple[Any, ...]] = {"bare loop": (_bare,)}
    names |= {f"engine, {count} rules a znode": (_engine, count) for count in (1, 10, 100)}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):  # in turn, so that a machine that changes its pace hits all alike
        for name, (target, *args) in names.items():
            figures[name].append(_round(hosts, target, *args))
    floor = [cost for _, cost in figures["bare loop"]]
    for name, rounds in figures.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cost = statistics.median(cost for _, cost in rounds)
        ratio = statistics.median(cost / base for (_, cost), base in zip(rounds, floor, strict=True))
        print(f"  {name:28} {rate:7.0f} events/s  {cost:6.0f} us of CPU an event  {ratio:5.2f} times the bare loop")
