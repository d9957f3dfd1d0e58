"""What a sampler writes while nothing happens, and how soon somebody is told when something does.

Sampler and engine are processes of their own, as their users run them. `publishing` runs two samplers of this very
host side by side, one with each reading written and one that rests, under the rules in `rules/host.yaml`, and under
those of them that need no window or quotient. `crossing` makes zombies at random moments, and takes the time from the
one that crosses the limit to the webhook.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.benchmarks.tools import client_of, close, percentiles, zkalert
from tests.helpers import HttpReceiver, wait_for
from zkalert.metrics import SAMPLED
from zkalert.tree import Tree
from zkalert.zk import Client

SECONDS = 180
SETTLING = 90
"""Seconds after which what came with the start has been told, and families rest."""
ROUNDS = 40
ZOMBIES = 12
SHIPPED = Path(__file__).parents[2] / "rules" / "host.yaml"


@contextlib.contextmanager
def _running(folder: Path, name: str, hosts: str, root: str, config: dict[str, Any], *words: str) -> Iterator[int]:
    """A command with a configuration of its own, while the block runs; its process id."""
    place = folder / f"{root.strip('/')}-{name}"
    place.mkdir()
    path = place / "zkalert.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = zkalert(*words, "--config", str(path), "--zookeeper", hosts, "--root", root, "--state-dir", str(place))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(15)


@contextlib.contextmanager
def _client(hosts: str) -> Iterator[Client]:
    client = client_of(hosts)
    try:
        yield client
    finally:
        close(client)


def _wait_told(client: Client, tree: Tree) -> None:
    """Until samplers are told what the rules ask for."""
    wait_for(
        lambda: client.exists(tree.thresholds) and client.get_children(tree.thresholds),
        "the engine to say what the rules ask for",
        30,
    )


def _cpu(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:2])


# At rest ------------------------------------------------------------------------------------------------------------


def writes(hosts: str, folder: Path) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["rules"]
    with _client(hosts) as client, contextlib.ExitStack() as running:
        trees, pids = {}, {}
        for name, rules in (("all", shipped), ("plain", [rule for rule in shipped if _is_plain(rule)])):
            root = f"/publishing-{name}"
            trees[name] = Tree(root)
            path = folder / f"{name}.yaml"
            path.write_text(json.dumps({"rules": rules}, default=str), encoding="utf-8")
            running.enter_context(_running(folder, "engine", hosts, root, {"rules": [str(path)]}, "engine"))
            _wait_told(client, trees[name])
            for host, sampler in (("full", {"publish": "full", "fast": "off"}), ("adaptive", {})):
                config = {"host": host, "sampler": sampler}
                pids[name, host] = running.enter_context(_running(folder, host, hosts, root, config, "sampler"))
        time.sleep(SETTLING)
        counted = _count(client, trees, pids)
    for name in trees:
        full, adaptive = counted[name, "full"], counted[name, "adaptive"]
        print(f"  rules of host.yaml: {name}")
        for host, (sets, transactions, share) in (("full", full), ("adaptive", adaptive)):
            print(f"    {host:9} {sets:6.1f} sets  {transactions:6.1f} transactions a minute  {share:5.2f} % of a core")
        fewer = f"{full[0] / adaptive[0]:.1f} times fewer sets, {full[1] / adaptive[1]:.1f} times fewer transactions"
        print(f"    {fewer}")


def _is_plain(rule: dict[str, Any]) -> bool:
    """Whether a rule does not need every sample, nor is about a rule that does."""
    parts = [rule, *rule.get("all", ()), *rule.get("any", ())]
    return "inhibited_by" not in rule and not any(key in part for part in parts for key in ("over", "relative_to"))


def _count(
    client: Client, trees: Mapping[str, Tree], pids: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Sets and transactions a minute, and the share of a core (percent), of each sampler (its tree and host)."""

    def stats(name: str, host: str) -> list[Any]:
        found = (client.exists(trees[name].family(host, family)) for family in SAMPLED)
        return [stat for stat in found if stat is not None]

    def versions(name: str, host: str) -> int:
        return sum(stat.version for stat in stats(name, host))

    before = {key: (versions(*key), _cpu(pid)) for key, pid in pids.items()}
    old = {key: {stat.mzxid for stat in stats(*key)} for key in pids}
    seen: dict[tuple[str, str], set[int]] = {key: set() for key in pids}
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        for key, zxids in seen.items():
            zxids.update(stat.mzxid for stat in stats(*key))
        time.sleep(0.5)
    minutes = (time.monotonic() - began) / 60
    return {
        key: (
            (versions(*key) - before[key][0]) / minutes,
            len(seen[key] - old[key]) / minutes,
            (_cpu(pid) - before[key][1]) / minutes / 60 * 100,
        )
        for key, pid in pids.items()
    }


# A crossing ---------------------------------------------------------------------------------------------------------


def crossing(hosts: str, folder: Path) -> None:
    limit = sum(process.status() == psutil.STATUS_ZOMBIE for process in psutil.process_iter()) + ZOMBIES // 2
    rule = {"name": "zombies", "metric": "process_number.zombie", "comparator": ">", "threshold": limit}
    for name, sampler in (("read every 5 s", {"fast": "off"}), ("looked at every 200 ms", {})):
        root = f"/crossing-{'slow' if sampler else 'fast'}"
        rounds = ROUNDS // 4 if sampler else ROUNDS
        took, share = _tell(hosts, folder, root, rule, sampler, rounds)
        print(f"  {name:24} crossing to webhook  {percentiles(took)}  sampler {share:.2f} % of a core")


def _tell(
    hosts: str, folder: Path, root: str, rule: dict[str, Any], sampler: dict[str, str], rounds: int
) -> tuple[Sequence[float], float]:
    """The seconds from each crossing to the webhook, and the sampler's share of a core meanwhile (percent)."""
    rules = folder / f"{root.strip('/')}.yaml"
    rules.write_text(json.dumps({"rules": [rule]}), encoding="utf-8")
    took = []
    with contextlib.ExitStack() as running:
        tree, client = Tree(root), running.enter_context(_client(hosts))
        receiver = running.enter_context(contextlib.closing(HttpReceiver()))
        channels = {"ops": {"urls": [receiver.url("/hook", "json")]}}
        engine = {"rules": [str(rules)], "channels": channels, "group_interval": "0s"}
        running.enter_context(_running(folder, "engine", hosts, root, engine, "engine"))
        host = {"host": "web1", "sampler": sampler}
        pid = running.enter_context(_running(folder, "sampler", hosts, root, host, "sampler"))
        _wait_told(client, tree)
        wait_for(lambda: client.exists(tree.family("web1", "process_number")), "the first sample", 30)
        time.sleep(12)  # so that it rests
        before, began = _cpu(pid), time.monotonic()
        for number in range(rounds):
            time.sleep(random.uniform(1.5, 4.0))
            with _zombies() as crossed_at:
                took.append(receiver.wait(2 * number + 1, 20)[-1].at - crossed_at)
            receiver.wait(2 * number + 2, 20)
        share = (_cpu(pid) - before) / (time.monotonic() - began) * 100
    return took, share


@contextlib.contextmanager
def _zombies() -> Iterator[float]:
    """Processes that ended and were not asked how, while the block runs; when (monotonic) one too many did."""
    crossed_at = 0.0
    pids = []
    for number in range(ZOMBIES):
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        pids.append(pid)
        if number == ZOMBIES // 2:
            crossed_at = time.monotonic()
    try:
        yield crossed_at
    finally:
        for pid in pids:
            os.waitpid(pid, 0)
