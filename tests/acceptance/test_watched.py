"""Processes, files and check commands of a real sampler, judged by a real engine: each fires, and resolves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from zkalert.model import Problem, Sample
from zkalert.tree import decode_sample

RULES = """
rules:
  - {name: app-gone, metric: process, comparator: "<", threshold: 1, instances: app}
  - {name: lock-left, metric: file.exists, comparator: "==", threshold: 1, instances: lock}
  - {name: check-failed, metric: command, comparator: ">=", threshold: 2}
  - {name: queue-long, metric: command.waiting, comparator: ">", threshold: 10, instances: queue}
"""
CONFIG = """
sampler: {intervals: {process: 200ms, file: 200ms, command: 200ms}}
processes: {app: {command: "zk-acceptance-app"}}
files: {lock: app.lock}
commands:
  queue: {command: [./check_queue], interval: 1s}
  hangs: {command: [sleep, "300"], interval: 1s, timeout: 100s}
"""
PLUGIN = """#!/bin/sh
read -r waiting < waiting
echo "QUEUE - $waiting wait | waiting=$waiting;10;20"
[ "$waiting" -le 20 ] || exit 2
"""


@contextmanager
def sampler(stage: Stage) -> Iterator[Path]:
    """A real sampler in a process of its own, on host app1; its folder."""
    folder = stage.folder / "app1"
    folder.mkdir()
    (folder / "zkalert.yaml").write_text(
        f"zookeeper: {{hosts: {json.dumps(stage.zookeeper.hosts)}, root: {stage.zookeeper.root}}}\nhost: app1\n{CONFIG}"
    )
    plugin = folder / "check_queue"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    (folder / "waiting").write_text("3\n")
    line = [sys.executable, "-m", "zkalert", "sampler", "--config", "zkalert.yaml", "--state-dir", "state"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, cwd=folder, stdout=log, stderr=log, env=os.environ)
    try:
        yield folder
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, (folder / "log").read_text()
        _, left = psutil.wait_procs(children, 5)
        assert not left, "what ran ends with the sampler"
    finally:
        process.kill()
        process.wait(10)


def app() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "zk-acceptance-app"])


def published(stage: Stage, family: str) -> Sample | None:
    path = stage.tree.family("app1", family)
    found = decode_sample(family, stage.client.get(path)[0]) if stage.client.exists(path) else None
    assert not isinstance(found, Problem)
    return found


def firing(stage: Stage) -> list[tuple[str, str | None, str]]:
    return sorted(
        ((alert.rule, alert.instance, alert.state.value) for alert in stage.alerts()), key=lambda found: found[0]
    )


def test_what_the_configuration_names_fires_and_resolves(stage: Stage) -> None:
    process = app()
    try:
        with sampler(stage) as folder:
            stage.engine(RULES).wait_owner()
            for family in ("process", "file", "command"):
                wait_for(lambda f=family: (s := published(stage, f)) and s.instances, f"a sample of {family}", 20)  # type: ignore[misc]
            command = published(stage, "command")
            assert command is not None
            assert set(command.instances) == {"queue"}, "one that hangs says nothing, and delays nobody"
            assert command.instances["queue"]["waiting"] == 3
            assert firing(stage) == []

            process.kill()
            process.wait()
            (folder / "app.lock").touch()
            (folder / "waiting").write_text("25\n")
            expected = [
                ("app-gone", "app", "firing"),
                ("check-failed", "queue", "firing"),
                ("lock-left", "lock", "firing"),
                ("queue-long", "queue", "firing"),
            ]
            wait_for(lambda: firing(stage) == expected, f"{expected}", 15)

            process = app()
            (folder / "app.lock").unlink()
            (folder / "waiting").write_text("15\n")
            wait_for(lambda: firing(stage) == [("queue-long", "queue", "firing")], "all but the queue to be well", 15)
            (folder / "waiting").write_text("1\n")
            wait_for(lambda: firing(stage) == [], "everything to be well", 15)
    finally:
        process.kill()
        process.wait()
