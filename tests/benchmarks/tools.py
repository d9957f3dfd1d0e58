"""What the benchmarks share."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from zkalert.model import Sample, ZookeeperSettings
from zkalert.tree import encode_sample
from zkalert.zk import Client, make_client


def client_of(hosts: str) -> Client:
    client = make_client(ZookeeperSettings(hosts=hosts, root="/bench"))
    client.start(timeout=15)
    return client


def close(client: Client) -> None:
    client.stop()
    client.close()


def sample(value: float) -> bytes:
    """A sample of memory_usage as a sampler writes it, all fields."""
    fields = ("total", "available", "used", "free", "active", "inactive", "buffers", "cached", "shared", "slab")
    values = {"percent": value} | {field: 8_123_456_789 + index for index, field in enumerate(fields)}
    return encode_sample(Sample(family="memory_usage", at=1_700_000_000.123, interval=5, max_age=15, values=values))


def percentiles(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return "  ".join(f"{name} {cuts[at] * 1000:6.2f} ms" for name, at in (("p50", 49), ("p95", 94), ("p99", 98)))


def rules(count: int, threshold: float = 1000) -> str:
    """Plain rules on memory_usage, whose znode they all read."""
    lines = ["rules:"]
    for number in range(count):
        lines += [
            f"  - name: rule-{number}",
            "    metric: memory_usage.percent",
            '    comparator: ">"',
            f"    threshold: {threshold}",
            "    duration: 2m",
            "    severity: critical",
        ]
    return "\n".join(lines) + "\n"


def timed(command: Sequence[str], times: int = 5) -> float:
    """The median wall time (seconds) of a whole process, after one run that warms the caches."""
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return statistics.median(took[1:])


def zkalert(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("zkalert")), *words]
