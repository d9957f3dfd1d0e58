"""Whole commands: validate, its start, and a sampler over a minute."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.benchmarks.tools import rules, timed, zkalert

RULES = 10_000
ROUNDS = 7
SAMPLER_SECONDS = 60
BARE = "import time, psutil, kazoo.client; c = kazoo.client.KazooClient('{hosts}'); c.start(); time.sleep(1000)"


def validate(_hosts: str, folder: Path) -> None:
    floor = timed([sys.executable, "-c", "pass"])
    for count in (100, 1_000, 10_000):
        path = folder / f"rules-{count}.yaml"
        path.write_text(rules(count, threshold=90), encoding="utf-8")
        took = timed(zkalert("validate", str(path)), 3)
        parse = f"import yaml; yaml.compose(open({str(path)!r}), yaml.CSafeLoader)"
        bare = timed([sys.executable, "-c", parse], 3)
        print(
            f"  {count:6} rules: {took:5.2f} s, {(took - floor) / count * 1e6:6.0f} us a rule; "
            f"{took / bare:4.1f} times the C parser alone ({bare:.2f} s)"
        )
    _beside_promtool(folder)


class _Cost(NamedTuple):
    """Of a whole process: wall time and CPU time in seconds, the most memory that it had in MiB."""

    wall: float
    cpu: float
    memory: float


def _beside_promtool(folder: Path) -> None:
    """The same number of equivalent rules, checked by `zkalert validate` and `promtool check rules` in turn."""
    promtool = shutil.which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if promtool is None:
        print("  promtool is not here, so there is nothing to compare with (make bench looks for it)")
        return
    ours, theirs = folder / "rules-zkalert.yaml", folder / "rules-prometheus.yaml"
    ours.write_text("rules:\n" + "".join(map(_zkalert_rule, range(RULES))), encoding="utf-8")
    group = "groups:\n  - name: all\n    rules:\n"
    theirs.write_text(group + "".join(map(_prometheus_rule, range(RULES))), encoding="utf-8")
    commands = {
        "zkalert validate": zkalert("validate", str(ours)),
        "promtool check rules": [promtool, "check", "rules", str(theirs)],
    }
    costs: dict[str, list[_Cost]] = {name: [] for name in commands}
    for _ in range(ROUNDS):  # in turn, so that a machine that changes its pace hits both alike
        for name, command in commands.items():
            costs[name].append(_cost(command))
    middle = {name: _Cost(*map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}
    for name, cost in middle.items():
        print(f"  {name:22}{RULES} rules: {cost.wall:5.2f} s, {cost.cpu:5.2f} s of CPU, {cost.memory:4.0f} MiB")
    mine, other = middle.values()
    shares = (f"{one / another:.2f}" for one, another in zip(mine, other, strict=True))
    print("  zkalert takes {} of promtool's time, {} of its CPU, {} of its memory".format(*shares))


def _cost(command: Sequence[str]) -> _Cost:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return _Cost(took, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)


def _zkalert_rule(number: int) -> str:
    return (
        f"  - name: rule-{number}\n"
        "    metric: memory_usage.percent\n"
        '    comparator: ">"\n'
        f"    threshold: {number % 95}.5\n"
        "    duration: 2m\n"
        "    severity: critical\n"
    )


def _prometheus_rule(number: int) -> str:
    return (
        f"      - alert: rule-{number}\n"
        f"        expr: memory_usage_percent > {number % 95}.5\n"
        "        for: 2m\n"
        "        labels:\n"
        "          severity: critical\n"
    )


def start(_hosts: str, folder: Path) -> None:
    path = folder / "one.yaml"
    path.write_text(rules(1, threshold=90), encoding="utf-8")
    floor = timed([sys.executable, "-c", "pass"], 9)
    for name, command in {
        "zkalert --version": zkalert("--version"),
        "zkalert validate, one rule": zkalert("validate", str(path)),
    }.items():
        took = timed(command, 9)
        print(f"  {name:28} {took * 1000:5.0f} ms, {took / floor:4.1f} times an empty Python ({floor * 1000:.0f} ms)")


def sampler(hosts: str, folder: Path) -> None:
    command = zkalert("sampler", "--zookeeper", hosts, "--root", "/sampler", "--state-dir", str(folder / "state"))
    processes = {
        "bare psutil and kazoo": [sys.executable, "-c", BARE.format(hosts=hosts)],
        "zkalert sampler, with history": command,
    }
    running = {name: psutil.Popen(command, stderr=subprocess.DEVNULL) for name, command in processes.items()}
    time.sleep(5)  # imports and the first samples are not the steady state
    before = {name: sum(process.cpu_times()[:2]) for name, process in running.items()}
    time.sleep(SAMPLER_SECONDS)
    for name, process in running.items():
        share = (sum(process.cpu_times()[:2]) - before[name]) / SAMPLER_SECONDS * 100
        print(f"  {name:30} {process.memory_info().rss / 2**20:5.1f} MiB  {share:5.2f} % of a core")
        process.terminate()
        process.wait(10)
