"""The stage of the acceptance tests: hosts that publish what a test says, engines in this process or in their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert.engine import Engine, EngineSettings, Listener, Status, Told
from zkalert.model import Alert, Channel, Effect, HostInfo, Level, Rate, Sample, Target, ZookeeperSettings
from zkalert.rulefile import digest, parse
from zkalert.tree import Tree, decode_alert, encode_host, encode_sample
from zkalert.zk import Client, NoNodeError


class Witness(Listener):
    """Keeps what an engine tells."""

    wants_status = True

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.tries: list[Told] = []
        self.last: Status | None = None

    def effect(self, effect: Effect, targets: tuple[Target, ...], why: str = "") -> None:
        self.effects.append(effect)

    def told(self, told: Told) -> None:
        self.tries.append(told)

    def status(self, status: Status) -> None:
        self.last = status


class RunningEngine:
    """An engine on a thread of this process."""

    def __init__(self, settings: EngineSettings) -> None:
        self.witness = Witness()
        self.engine = Engine(settings, self.witness)
        self.settings = settings
        self._thread = threading.Thread(target=self.engine.run, name="engine-under-test")
        self._thread.start()

    def wait_owner(self, timeout: float = 15) -> RunningEngine:
        wait_for(lambda: self.witness.last is not None and self.witness.last.is_owner, "the engine to own", timeout)
        return self

    @property
    def client(self) -> Client:
        return self.engine._client

    def stop(self) -> None:
        self.engine.stop()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the engine did not stop"


@dataclass
class EngineProcess:
    """An engine as users run it: a process of its own, with its log in a file."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def wait_log(self, text: str, count: int = 1, timeout: float = 20) -> None:
        wait_for(lambda: self.log.count(text) >= count, f'"{text}" in the log:\n{self.log}', timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Stage:
    """One tree for one test."""

    def __init__(self, settings: ZookeeperSettings, client: Client, folder: Path) -> None:
        self.zookeeper = settings
        self.client = client
        self.folder = folder
        self.tree = Tree(settings.root)
        self._engines: list[RunningEngine] = []
        self._processes: list[EngineProcess] = []

    # Hosts.

    def host(self, name: str = "web1", **labels: str) -> None:
        """A host appears."""
        self.client.ensure_path(self.tree.metrics(name))
        self.client.set(self.tree.host(name), encode_host(HostInfo(name=name, labels=labels)))

    def publish(
        self,
        value: float | None = None,
        *,
        host: str = "web1",
        family: str = "memory_usage",
        field: str = "percent",
        instances: Mapping[str, Mapping[str, float]] | None = None,
        max_age: float = 15.0,
    ) -> None:
        """One sample of one family, as a sampler writes it."""
        sample = Sample(
            family=family,
            at=0.0,
            interval=5.0,
            max_age=max_age,
            values={} if value is None else {field: value},
            instances=instances or {},
        )
        self.publish_raw(encode_sample(sample), host=host, family=family)

    def publish_raw(self, data: bytes, *, host: str = "web1", family: str = "memory_usage") -> None:
        """Any bytes in a family's znode."""
        path = self.tree.family(host, family)
        if not self.client.exists(path):
            if not self.client.exists(self.tree.host(host)):
                self.host(host)
            self.client.create(path, data)
        else:
            self.client.set(path, data)

    # Engines.

    def engine(
        self,
        rules: str,
        channels: Mapping[str, tuple[str, ...]] | None = None,
        zookeeper: ZookeeperSettings | None = None,
    ) -> RunningEngine:
        """An engine in this process that owns the tree."""
        running = RunningEngine(self.settings(rules, channels, zookeeper))
        self._engines.append(running)
        return running

    def settings(
        self,
        rules: str,
        channels: Mapping[str, tuple[str, ...]] | None = None,
        zookeeper: ZookeeperSettings | None = None,
    ) -> EngineSettings:
        parsed, findings = parse(rules, "rules.yaml", channels=list(channels or {}))
        assert not any(finding.level is Level.ERROR for finding in findings), findings
        return EngineSettings(
            zookeeper=zookeeper or self.zookeeper,
            host="engine-host",
            rules=parsed,
            rules_digest=digest(parsed),
            channels={
                name: Channel(name=name, urls=urls, group_interval=0.0, rate=Rate(1000, 1.0))
                for name, urls in (channels or {}).items()
            },
            folder=self.folder,
        )

    def process(self, rules: str, config: str = "", *, source: str = "[rules.yaml]") -> EngineProcess:
        """An engine of its own process, with rules and configuration in files; `source` is where it has rules from."""
        (self.folder / "rules.yaml").write_text(rules, encoding="utf-8")
        (self.folder / "zkalert.yaml").write_text(
            f"zookeeper:\n  hosts: {json.dumps(self.zookeeper.hosts)}\n  root: {self.zookeeper.root}\n"
            f"  session_timeout: 2s\nrules: {source}\nhost_down: false\n{config}",
            encoding="utf-8",
        )
        log_path = self.folder / f"engine-{len(self._processes)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "zkalert", "engine", "--config", "zkalert.yaml", "--state-dir", "state"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        started = EngineProcess(process, log_path)
        self._processes.append(started)
        return started

    def ensemble_ms(self) -> int:
        """The ensemble's time, in milliseconds, by a write of our own."""
        path = f"{self.tree.top}/scratch"
        self.client.ensure_path(path)
        return int(self.client.set(path, b"").mtime)

    # What stands in the tree.

    def alerts(self) -> list[Alert]:
        """The alert records."""
        found = []
        if self.client.exists(self.tree.alerts):
            for rule in self.client.get_children(self.tree.alerts):
                for series in self.client.get_children(f"{self.tree.alerts}/{rule}"):
                    with contextlib.suppress(NoNodeError):  # resolved since it was listed
                        alert = decode_alert(self.client.get(f"{self.tree.alerts}/{rule}/{series}")[0])
                        assert isinstance(alert, Alert)
                        found.append(alert)
        return found

    def wait_states(self, *states: str, timeout: float = 10) -> list[Alert]:
        """Wait until the alert records have exactly these states."""
        wait_for(
            lambda: sorted(alert.state.value for alert in self.alerts()) == sorted(states),
            f"alerts {states}, have {[alert.state.value for alert in self.alerts()]}",
            timeout,
        )
        return self.alerts()

    def wait_outbox_empty(self, timeout: float = 10) -> None:
        """Wait until every effect was delivered and marked."""
        path = self.tree.outbox(0)
        wait_for(lambda: not self.client.exists(path) or not self.client.get_children(path), "an empty outbox", timeout)

    def close(self) -> None:
        for running in self._engines:
            running.stop()
        for started in self._processes:
            if started.process.poll() is None:
                started.kill()


@pytest.fixture
def stage(settings: ZookeeperSettings, client: Client, tmp_path: Path) -> Any:
    made = Stage(settings, client, tmp_path)
    yield made
    made.close()
