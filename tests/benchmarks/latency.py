"""From `set` to the webhook, beside a raw kazoo watch of the same znode, in turn.

The engine is a process of its own, as its users run it.
"""

from __future__ import annotations

import json
import queue
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.tools import client_of, close, percentiles, sample, zkalert
from tests.helpers import HttpReceiver, wait_for
from zkalert.model import HostInfo
from zkalert.tree import Tree, encode_host

ROUNDS = 300
RULES = 'rules: [{name: high, metric: memory_usage, comparator: ">", threshold: 90}]'


def run(hosts: str, folder: Path) -> None:
    tree = Tree("/latency")
    client = client_of(hosts)
    client.ensure_path(tree.metrics("web1"))
    client.set(tree.host("web1"), encode_host(HostInfo(name="web1")))
    path = tree.family("web1", "memory_usage")
    client.create(path, sample(10))
    receiver = HttpReceiver()
    (folder / "latency.yaml").write_text(RULES, encoding="utf-8")
    (folder / "zkalert.yaml").write_text(
        f"channels: {{ops: {{group_interval: 0s, rate: 1000/s, urls: [{json.dumps(receiver.url('/hook', 'json'))}]}}}}",
        encoding="utf-8",
    )
    engine = subprocess.Popen(
        [
            *zkalert("engine", "--config", str(folder / "zkalert.yaml"), "--rules", str(folder / "latency.yaml")),
            "--zookeeper",
            hosts,
            "--root",
            "/latency",
            "--state-dir",
            str(folder / "state"),
        ],
        stderr=subprocess.DEVNULL,
    )
    raw = client_of(hosts)
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()

    def answered(_reply: Any) -> None:
        heard.put(time.monotonic())

    def changed(_event: Any) -> None:
        raw.get_async(path, watch=changed).rawlink(answered)

    changed(None)
    heard.get(timeout=5)
    watch, hook = [], []
    try:
        wait_for(lambda: client.exists(tree.outbox(0)), "the engine to own the tree", 20)
        for number in range(ROUNDS):
            began = time.monotonic()
            client.set(path, sample(95 if number % 2 == 0 else 10))
            watch.append(heard.get(timeout=5) - began)
            hook.append(receiver.wait(number + 1)[-1].at - began)
            wait_for(lambda: not client.get_children(tree.outbox(0)), "the mark")
    finally:
        engine.terminate()
        engine.wait(10)
        close(raw)
        close(client)
        receiver.close()
    # The first two load what is loaded on first use.
    floor, ours = statistics.median(watch[2:]), statistics.median(hook[2:])
    print(f"  raw kazoo watch: set to callback      {percentiles(watch[2:])}")
    print(f"  zkalert: set to webhook received      {percentiles(hook[2:])}")
    print(f"  p50 {(ours - floor) * 1000:.2f} ms above the raw watch, {ours / floor:.1f} times")
