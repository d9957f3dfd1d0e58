"""Znodes that rules watch: what one change costs, what each of many takes of memory, how long it takes to attach them.

The floor is kazoo alone: a `get_async(watch=)` that is set anew with each event, for as many znodes. Both are processes
of their own, fed by the same writer.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.flooded import Owner, consume, under
from tests.benchmarks.tools import client_of, close
from zkalert.engine import Engine, EngineSettings
from zkalert.model import ZookeeperSettings
from zkalert.rulefile import parse
from zkalert.zk import MOST_IN_FLIGHT

MANY = 20_000
BUSY = 2_000
ROUNDS = 3
TOP = "/znodes"
RULE = {"name": "high", "metric": f"znode:{TOP}/*#value", "comparator": ">", "threshold": 1_000_000}


def _path(number: int) -> str:
    return f"{TOP}/n{number:06}"


def _rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _bare(hosts: str, pipe: Any, count: int) -> None:
    """The floor: watch, read, count."""
    client = client_of(hosts)
    seen, first = [0], threading.Event()
    before, began = _rss(), time.perf_counter()
    room = threading.Semaphore(MOST_IN_FLIGHT)

    def changed(event: Any) -> None:
        client.get_async(event.path, watch=changed).rawlink(answered)

    def answered(reply: Any) -> None:
        data, stat = reply.value
        assert float(data) >= 0
        assert stat.version >= 0
        seen[0] += 1

    def attached(reply: Any) -> None:
        answered(reply)
        room.release()
        if seen[0] == count:
            first.set()

    names = client.get_children(TOP)
    for name in names[:count]:
        room.acquire()
        client.get_async(f"{TOP}/{name}", watch=changed).rawlink(attached)
    first.wait()
    took = time.perf_counter() - began
    pipe.send((took, _rss() - before))
    consume(pipe, lambda: seen[0])


def _engine(hosts: str, pipe: Any, count: int) -> None:
    logging.disable()  # it waits for the former round's engine, and says so
    owner = Owner()
    settings = EngineSettings(zookeeper=ZookeeperSettings(hosts=hosts, root="/watching"), host="bench", rules=())
    engine = Engine(settings, owner)
    threading.Thread(target=engine.run, daemon=True).start()
    while owner.last is None or not owner.last.is_owner:
        time.sleep(0.05)
    parsed, _ = parse(json.dumps({"rules": [RULE]}), "rules.yaml")
    before, began = _rss(), time.perf_counter()
    own = engine._ensembles._own
    znode_seen, seen = own.seen, [0]

    def counted(event: Any) -> None:
        seen[0] += 1
        znode_seen(event)

    own.seen = counted  # type: ignore[method-assign]
    engine.reload(EngineSettings(zookeeper=settings.zookeeper, host="bench", rules=parsed))
    while not own.matches or not all(one.is_known for one in own.matches.values()):
        time.sleep(0.01)
    took = time.perf_counter() - began
    assert len(own.znodes) == count + 1
    pipe.send((took, _rss() - before))
    consume(pipe, lambda: seen[0])


def _flood(hosts: str, stop: Any) -> None:
    """Write to one znode after the other, 32 writes on their way at most, none of them twice in a fifth of a second."""
    client = client_of(hosts)
    room = threading.Semaphore(32)
    number, lap = 0, time.monotonic()
    while not stop.is_set():
        if number % BUSY == 0:
            time.sleep(max(0.0, lap + 0.25 - time.monotonic()))
            lap = time.monotonic()
        room.acquire()
        client.set_async(_path(number % BUSY), b"%d" % (number % 1000)).rawlink(lambda _: room.release())
        number += 1
    close(client)


def _round(hosts: str, target: Any, count: int, *, is_busy: bool) -> tuple[tuple[float, int], tuple[float, float]]:
    """Seconds and bytes that it took to attach; events a second, and CPU microseconds an event, if it `is_busy`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    consumer = context.Process(target=target, args=(hosts, theirs, count))
    consumer.start()
    attached = ours.recv()
    spent = (0.0, 0.0)
    if is_busy:
        spent = under(_flood, context, hosts, ours)
    consumer.kill()
    consumer.join()
    return attached, spent


def _make(hosts: str, numbers: range) -> None:
    client = client_of(hosts)
    client.ensure_path(TOP)
    room = threading.Semaphore(MOST_IN_FLIGHT)
    for number in numbers:
        room.acquire()
        client.create_async(_path(number), b"1").rawlink(lambda _: room.release())
    for _ in range(MOST_IN_FLIGHT):
        room.acquire()
    close(client)


def run(hosts: str, _folder: Path) -> None:
    _make(hosts, range(BUSY))
    names = {"bare re-arming get": _bare, "engine, one rule on all": _engine}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):  # in turn, so that a machine that changes its pace hits all alike
        for name, target in names.items():
            figures[name].append(_round(hosts, target, BUSY, is_busy=True)[1])
    floor = [cost for _, cost in figures["bare re-arming get"]]
    for name, rounds in figures.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cost = statistics.median(cost for _, cost in rounds)
        ratio = statistics.median(cost / base for (_, cost), base in zip(rounds, floor, strict=True))
        print(f"  {name:24} {rate:6.0f} events/s  {cost:5.0f} us of CPU an event  {ratio:5.2f} times the bare loop")
    _make(hosts, range(BUSY, MANY))
    for name, target in names.items():
        (seconds, size), _ = _round(hosts, target, MANY, is_busy=False)
        print(f"  {name:24} {MANY} znodes attached in {seconds:5.1f} s, {size / MANY:5.0f} bytes of memory each")
