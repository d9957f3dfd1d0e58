"""What a sampler writes while nothing happens, and how soon somebody is told when something does.

Sampler and engine are processes of their own, as their users run them. `publishing` runs two samplers of this very
host side by side, one with each reading written and one that rests, under the rules in `rules/host.yaml`, and where
some of them hold here or are near, which is no rest, under the others too. `crossing` makes zombies at random moments,
and takes the time from the one that crosses the limit to the webhook.
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
from typing import Any, NamedTuple

import psutil
import yaml

from tests.benchmarks.tools import client_of, close, percentiles, zkalert
from tests.helpers import HttpReceiver, wait_for
from zkalert.metrics import SAMPLED
from zkalert.model import Alert, State
from zkalert.tree import Tree, decode_alert
from zkalert.zk import Client

SECONDS = 180
SETTLING = 240
"""Seconds after which what came with the start has been told, and families rest: disks come and go for as long."""
AT_REST = 1.5
"""Sets of one family in a minute: beyond that it was near a limit, or told something new."""
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


class Written(NamedTuple):
    """What a sampler wrote in a minute: sets of each family, and transactions; and its share of a core (percent)."""

    sets: Mapping[str, float]
    transactions: float
    share: float


def writes(hosts: str, folder: Path) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["rules"]
    holds, awake = _writes(hosts, folder, "all", shipped)
    calm = [rule for rule in shipped if rule["name"] not in holds and not awake & set(_families(rule))]
    if len(calm) < len(shipped):
        _writes(hosts, folder, "at rest", calm)


def _families(rule: dict[str, Any]) -> Iterator[str]:
    for condition in (rule, *rule.get("all", ()), *rule.get("any", ())):
        yield str(condition.get("metric", "")).partition(".")[0]


def _writes(hosts: str, folder: Path, name: str, rules: list[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """Print what two samplers write under these rules; which of the rules hold here, and which families do not rest."""
    root = f"/publishing-{name.replace(' ', '-')}"
    tree, path, pids = Tree(root), folder / f"{name}.yaml", {}
    path.write_text(json.dumps({"rules": rules}, default=str), encoding="utf-8")
    with _client(hosts) as client, contextlib.ExitStack() as running:
        running.enter_context(_running(folder, "engine", hosts, root, {"rules": [str(path)]}, "engine"))
        _wait_told(client, tree)
        for host, sampler in (("full", {"publish": "full", "fast": "off"}), ("adaptive", {})):
            config = {"host": host, "sampler": sampler}
            pids[host] = running.enter_context(_running(folder, host, hosts, root, config, "sampler"))
        time.sleep(SETTLING)
        counted = _count(client, tree, pids)
        holds = {alert.rule for alert in _alerts(client, tree) if alert.state is State.PENDING or alert.state.is_active}
    awake = {family for family, sets in counted["adaptive"].sets.items() if sets > AT_REST}
    print(f"  rules of host.yaml: {name} ({len(rules)}){''.join(f'; {rule} holds' for rule in sorted(holds))}")
    for host, one in counted.items():
        written = f"{sum(one.sets.values()):6.1f} sets  {one.transactions:6.1f} transactions a minute"
        print(f"    {host:9} {written}  {one.share:5.2f} % of a core")
    full, adaptive = counted["full"], counted["adaptive"]
    fewer = sum(full.sets.values()) / sum(adaptive.sets.values())
    print(f"    {fewer:.1f} times fewer sets, {full.transactions / adaptive.transactions:.1f} times fewer transactions")
    if awake:
        print(f"    not at rest: {', '.join(sorted(awake))}")
    return holds, awake


def _alerts(client: Client, tree: Tree) -> Iterator[Alert]:
    for rule in client.get_children(tree.alerts):
        for series in client.get_children(f"{tree.alerts}/{rule}"):
            alert = decode_alert(client.get(f"{tree.alerts}/{rule}/{series}")[0])
            assert isinstance(alert, Alert)
            yield alert


def _count(client: Client, tree: Tree, pids: Mapping[str, int]) -> dict[str, Written]:
    """What the sampler of each host wrote while this looked at it."""

    def stats(host: str) -> dict[str, Any]:
        found = ((family, client.exists(tree.family(host, family))) for family in SAMPLED)
        return {family: stat for family, stat in found if stat is not None}

    before = {host: (stats(host), _cpu(pid)) for host, pid in pids.items()}
    old = {host: {stat.mzxid for stat in found.values()} for host, (found, _) in before.items()}
    seen: dict[str, set[int]] = {host: set() for host in pids}
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        for host, zxids in seen.items():
            zxids.update(stat.mzxid for stat in stats(host).values())
        time.sleep(0.5)
    minutes = (time.monotonic() - began) / 60
    return {
        host: Written(
            {
                family: (stat.version - (before[host][0][family].version if family in before[host][0] else 0)) / minutes
                for family, stat in stats(host).items()
            },
            len(seen[host] - old[host]) / minutes,
            (_cpu(pid) - before[host][1]) / minutes / 60 * 100,
        )
        for host, pid in pids.items()
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
