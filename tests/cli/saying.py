"""What the tests of `silence`, `hold` and `ack` share: a tree with alerts, and the commands as people run them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.rulekit import rule
from zkalert.lifecycle import inactive
from zkalert.model import Alert, HostInfo, Severity, Silence, State, ZookeeperSettings
from zkalert.store import AlertStore, Change
from zkalert.tree import Tree, decode_silence, encode_host
from zkalert.zk import Client

ROOT = Path(__file__).parents[2]


def firing(name: str = "disk-full", host: str = "db1", episode: str = "a1b2c3d4e5f60718", **more: Any) -> Alert:
    made = inactive(rule(name=name), host, more.pop("instance", None))
    fields: dict[str, Any] = {"state": State.FIRING, "episode": episode, "severity": Severity.WARNING, "fired_at": 1.0}
    return replace(made, **fields | more)


def write_alerts(client: Client, tree: Tree, *alerts: Alert) -> None:
    """Put records into the tree as an engine does."""
    fence = f"{tree.shard(0)}/lock"
    client.ensure_path(fence)
    store = AlertStore(client, tree, 0)
    store.load()
    store.commit([Change(alert) for alert in alerts], fence)


def write_host(client: Client, tree: Tree, host: str, **labels: str) -> None:
    client.create(tree.host(host), encode_host(HostInfo(name=host, labels=labels)), makepath=True)


def command(settings: ZookeeperSettings, *words: str) -> list[str]:
    """One of our commands on the test's tree; what is behind `--` stays there."""
    flags = ["--zookeeper", settings.hosts, "--root", settings.root]
    at = words.index("--") if "--" in words else len(words)
    return [sys.executable, "-m", "zkalert", *words[:at], *flags, *words[at:]]


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC", "ZKALERT_HOST": "here", **more}


def run(settings: ZookeeperSettings, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(settings, *words), env=environ(**more), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def silences(client: Client, tree: Tree) -> dict[str, Silence]:
    """What stands in the tree."""
    found = {}
    for id_ in client.get_children(tree.silences) if client.exists(tree.silences) else ():
        silence = decode_silence(id_, client.get(tree.silence(id_))[0])
        assert isinstance(silence, Silence)
        found[id_] = silence
    return found
