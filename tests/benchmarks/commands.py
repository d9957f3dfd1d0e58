"""Whole commands: validate, its start, and a sampler over a minute."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.benchmarks.tools import rules, timed, zkalert

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
