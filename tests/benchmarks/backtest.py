"""Backtests: a day of history, played to rules."""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.tools import timed, zkalert
from zkalert.journal import History
from zkalert.metrics import FAMILIES, SAMPLED, Kind
from zkalert.model import Sample
from zkalert.sampler.band import max_age
from zkalert.sampler.collect import Collector

DAY = 86_400
START = 1_795_000_000.0
FIELDS = {
    "memory_usage": ("percent", "available", "used", "free", "cached"),
    "cpu_usage": ("percent", "user", "system", "iowait", "steal"),
    "disk_usage": ("percent", "free", "inodes_percent", "used", "error"),
    "process_number": ("count", "running", "sleeping", "zombie", "threads"),
    "swap_usage": ("percent", "total", "used", "in", "out"),
    "load_average": ("1m", "5m", "15m", "1m_per_cpu", "5m_per_cpu"),
    "disk_io": ("reads", "writes", "read_bytes", "write_bytes", "busy"),
    "network_io": ("rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_packets"),
    "uptime": ("seconds",) * 5,
    "host": ("alive",) * 5,
}
HOST_RULES = Path(__file__).parents[2] / "rules" / "host.yaml"
_READINGS = 24


def run(_hosts: str, folder: Path) -> None:
    made, rules = folder / "made.db", folder / "fifty.yaml"
    rules.write_text(_rules(), encoding="utf-8")
    _keep(made, (_tick(number) for number in range(DAY // 5)))
    _report("10 families every 5 s, 50 rules", made, rules)
    read = folder / "read.db"
    _keep(read, _collected())
    _report("what the collectors read, the rules of rules/host.yaml", read, HOST_RULES)


def _report(name: str, history: Path, rules: Path) -> None:
    with contextlib.closing(sqlite3.connect(history)) as db:
        count = db.execute("SELECT count(*) FROM samples").fetchone()[0]
    took = timed(zkalert("backtest", str(rules), "--history", str(history)), 3)
    bare = (
        "import json, sqlite3, sys\nfor (text,) in sqlite3.connect(sys.argv[1]).execute('SELECT sample FROM samples'):"
    )
    floor = timed([sys.executable, "-c", f"{bare} json.loads(text)", str(history)], 3)
    print(
        f"  {name}\n    {count:,} samples: {took:5.2f} s, {took / count * 1e6:4.1f} us a sample; "
        f"{took / floor:3.1f} times reading SQLite and JSON alone ({floor:.2f} s)"
    )


def _keep(path: Path, ticks: Iterator[list[Sample]]) -> None:
    history = History(path, 1e12, 2**40)
    for samples in ticks:
        history.append(samples, "web1")
    history.close()


def _tick(number: int) -> list[Sample]:
    """All fields of ten families, two instances each; one percentage after the other goes up and down."""
    samples = []
    for name in FIELDS:
        family = FAMILIES[name]

        def values(shift: int, name: str = name) -> dict[str, float | int | str]:
            found: dict[str, float | int | str] = {}
            for field in FAMILIES[name].fields.values():
                if field.kind is Kind.COUNTER:
                    found[field.name] = number * 1000 + shift
                elif field.name == "percent":
                    found[field.name] = round(50 + 45 * math.sin(number / 500 + shift) + random.random(), 1)
                elif field.kind is Kind.GAUGE:
                    found[field.name] = round(random.random() * 4, 2)
            return found

        samples.append(
            Sample(
                family=name,
                at=START + number * 5,
                interval=5.0,
                max_age=15.0,
                values=values(0) if family.has_whole else {},
                instances={f"i{shift}": values(shift) for shift in range(2)} if family.instance_kind else {},
            )
        )
    return samples


def _collected() -> Iterator[list[Sample]]:
    """What this machine's collectors read, over and over, at each family's own cadence."""
    collector = Collector(time.monotonic())
    readings = []
    for _ in range(_READINGS):
        found = {name: collector.read(name, time.monotonic()) for name in SAMPLED}
        readings.append({name: reading for name, reading in found.items() if reading is not None})
        time.sleep(0.25)
    for second in range(DAY):
        of = readings[second // 5 % _READINGS]
        due = [family for name, family in FAMILIES.items() if name in of and second % family.interval == 0]
        yield [
            Sample(
                family=family.name,
                at=START + second,
                interval=family.interval,
                max_age=max_age(family.interval),
                values=of[family.name].values,
                instances=of[family.name].instances,
                labels=of[family.name].labels,
                errors=of[family.name].errors,
            )
            for family in due
        ]


def _rules() -> str:
    lines = ["rules:"]
    metrics = [(family, field) for family, fields in FIELDS.items() for field in fields]
    for number, (family, field) in enumerate(metrics):
        comparator, threshold = ("==", 0) if field == "alive" else (">", 10**11)
        if field == "percent":
            threshold = 90 if family == "memory_usage" else 99
        elif field == "inodes_percent" or family == "cpu_usage":
            threshold = 99
        lines += [
            f"  - name: rule-{number}",
            f"    metric: {family}.{field}",
            f'    comparator: "{comparator}"',
            f"    threshold: {threshold}",
            "    duration: 2m",
            "    severity: warning",
        ]
    return "\n".join(lines) + "\n"
