"""One run: two engines as processes, one server or three, series that cross and clear, and all that can go wrong."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import txnlog
from tests.chaos.verdict import Got, Stay, Verdict, calm, judge, unseen
from tests.helpers import Answer, HttpReceiver, Request, wait_for
from zkalert.journal import JOURNAL_NAME, Kind, Wanted, read
from zkalert.localzk import LocalEnsemble, LocalServer, find_zookeeper
from zkalert.model import HostInfo, Sample, ZookeeperSettings
from zkalert.tree import Tree, encode_host, encode_sample
from zkalert.zk import UNCERTAIN, Client, KazooException, make_client, open_tree

CHANNELS = ("sound", "faulty")
HANGS_FOR = 7.0
"""Seconds: longer than a sender waits. The receiver has read the message, and its answer reaches nobody."""
ANSWERS_IN = 0.02
LONG = 8.0
"""Seconds without trouble after which an engine has seen what stands: both start, take over and look around in less."""
_NOT_TOLD = re.compile(
    r"/(?P<episode>[0-9a-f]{16})/(?P<phase>[a-z0-9-]+): (?P<channel>sound|faulty) is not told: over before it was told"
)
RULES = """
rules:
  - name: disk-full
    metric: disk_usage.percent
    instances: "*"
    comparator: ">"
    threshold: 90
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of what: transitions over series, kills of engines, restarts of a server, all within `seconds`.

    With several `servers` it is the leading one that is killed and started again.
    """

    transitions: int
    hosts: int = 20
    instances: int = 10
    kills: int
    restarts: int
    seconds: float
    seed: int = 0
    group_interval: str = "1s"
    servers: int = 1


@dataclass
class Receiver(HttpReceiver):
    """Fails one request in ten on `/faulty`, and hangs on one in fifty, while `is_faulty`."""

    is_faulty: bool = True
    got: list[Got] = field(default_factory=list)

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.is_faulty = True
        self.got = []
        self._random = random.Random(seed)

    @property
    def hung(self) -> int:
        return sum(one.answer == "hung" for one in self.got)

    def respond(self, request: Request) -> Answer:
        super().respond(request)
        with self._changed:
            draw = self._random.random() if self.is_faulty and request.path == "/faulty" else 1.0
            answer = "hung" if draw < 0.02 else "refused" if draw < 0.12 else "ok"
            document = request.json
            effects = tuple(".".join(alert["key"].split("/")[-2:]) for alert in document["alerts"])
            self.got.append(Got(request.path[1:], effects, document["repeat"], answer))
            self._changed.notify_all()
        self._released.wait(HANGS_FOR if answer == "hung" else ANSWERS_IN)
        return Answer(status=503 if answer == "refused" else 200)

    def wait_next(self, timeout: float) -> None:
        """Return as soon as a message has come, and before it is answered."""
        with self._changed:
            count = len(self.got)
            self._changed.wait_for(lambda: len(self.got) > count, timeout)


class Run:
    """A run in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.random = random.Random(plan.seed)
        self.receiver = Receiver(plan.seed + 1)
        self.ensemble = LocalEnsemble(folder / "zookeeper", plan.servers) if plan.servers > 1 else None
        self.servers: Sequence[LocalServer] = (LocalServer(folder / "zookeeper"),)
        self.tree = Tree("/zkalert")
        self.values: dict[str, dict[str, float]] = {}
        self.engines: list[subprocess.Popen[bytes] | None] = [None, None]
        self.kills = 0
        self.stays: list[Stay] = []
        self._crossed: dict[tuple[str, str], float] = {}
        self._troubles: list[tuple[float, float]] = []

    def __call__(self) -> Verdict:
        """Everything, from an empty server to the verdict."""
        self._start_servers()
        settings = ZookeeperSettings(hosts=self._hosts, session_timeout=2.0)
        client = make_client(settings)
        try:
            client.start(timeout=15)
            open_tree(client, self.tree)
            self._configure()
            for index in range(len(self.engines)):
                self._start(index)
            self._publish_all(client)
            self._trouble(client)
            self._settle(client)
        finally:
            for index in range(len(self.engines)):
                self._kill(index)
            client.stop()
            client.close()
            for server in self.servers:
                server.stop()
                self._keep(server)
            self.receiver.close()
        ledger = txnlog.read([self._kept(server) for server in self.servers], find_zookeeper(os.environ).class_path)
        allowed = self.kills * len(CHANNELS) + self.receiver.hung
        verdict = judge(ledger.written, self.receiver.got, ledger.dropped | self._dropped(), CHANNELS, allowed)
        return verdict._replace(problems=(*verdict.problems, *unseen(ledger.written, self.long_stays())))

    def long_stays(self) -> list[Stay]:
        """The stays that no trouble can have hidden from both engines."""
        return [stay for stay in self.stays if calm(stay, self._troubles) >= LONG]

    # Servers.

    def _start_servers(self) -> None:
        if self.ensemble is None:
            self.servers[0].start()
            return
        self.ensemble.start()
        self.servers = self.ensemble.servers

    @property
    def _hosts(self) -> str:
        return ",".join(server.hosts for server in self.servers)

    def _kept(self, server: LocalServer) -> Path:
        return self.folder / "kept" / str(self.servers.index(server))

    def _keep(self, server: LocalServer) -> None:
        txnlog.keep(server.data_dir, self._kept(server))

    def _restart(self) -> None:
        leader = 0 if self.ensemble is None else self.ensemble.leader()
        server = self.servers[leader or 0]
        server.kill()
        self._keep(server)
        server.start()

    # Engines.

    def _configure(self) -> None:
        (self.folder / "rules.yaml").write_text(RULES, encoding="utf-8")
        channels = {
            name: {
                "urls": [self.receiver.url(f"/{name}", "webhook")],
                "group_interval": self.plan.group_interval,
                "rate": "50/s",
            }
            for name in CHANNELS
        }
        config = {
            "zookeeper": {"hosts": self._hosts, "session_timeout": "2s"},
            "rules": ["rules.yaml"],
            "channels": channels,
            "host_down": False,
        }
        (self.folder / "zkalert.yaml").write_text(json.dumps(config), encoding="utf-8")

    def _start(self, index: int) -> None:
        with (self.folder / f"engine-{index}.log").open("ab") as log:
            self.engines[index] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "zkalert", "engine", "--config", "zkalert.yaml"),
                    *("--host", f"engine-{index}", "--state-dir", f"state-{index}"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def _kill(self, index: int) -> None:
        process = self.engines[index]
        if process is not None:
            process.kill()
            process.wait(10)

    def _owner(self, client: Client) -> int:
        """The engine that holds the lock, by what it wrote there; any if nobody knows."""
        with contextlib.suppress(KazooException, *UNCERTAIN, ValueError, IndexError):
            shard = self.tree.shard(0)
            first = min(client.get_children(shard), key=lambda name: name[-10:])
            host = json.loads(client.get(f"{shard}/{first}")[0])["host"]
            return int(host.rpartition("-")[2])
        return self.random.randrange(len(self.engines))

    # Series.

    def _publish_all(self, client: Client) -> None:
        for number in range(self.plan.hosts):
            host = f"host-{number}"
            self.values[host] = {f"/disk-{one}": 10.0 for one in range(self.plan.instances)}
            client.ensure_path(self.tree.metrics(host))
            client.set(self.tree.host(host), encode_host(HostInfo(name=host)))
            client.create(self.tree.family(host, "disk_usage"), self._sample(host))

    def _sample(self, host: str) -> bytes:
        instances = {name: {"percent": value} for name, value in self.values[host].items()}
        return encode_sample(
            Sample(family="disk_usage", at=time.time(), interval=1.0, max_age=60.0, values={}, instances=instances)
        )

    def _write(self, client: Client, host: str) -> None:
        """Publish until the server has it: a sampler would, too."""
        while not self._is_written(client, host):
            time.sleep(0.05)

    def _is_written(self, client: Client, host: str) -> bool:
        try:
            client.set(self.tree.family(host, "disk_usage"), self._sample(host))
        except (KazooException, *UNCERTAIN):
            return False
        return True

    def _flip(self, client: Client) -> None:
        """One series crosses, or clears."""
        host = self.random.choice(list(self.values))
        name = self.random.choice(list(self.values[host]))
        self.values[host][name] = 10.0 if self.values[host][name] > 90 else 95.0
        self._stay_ends(host, name)
        self._write(client, host)
        if self.values[host][name] > 90:
            self._crossed[host, name] = time.time()

    def _stay_ends(self, host: str, name: str) -> None:
        began = self._crossed.pop((host, name), None)
        if began is not None:
            self.stays.append(Stay(host, name, began, time.time()))

    # Trouble.

    def _trouble(self, client: Client) -> None:
        plan = self.plan
        pause = plan.seconds / plan.transitions
        events = sorted(
            [(self.random.uniform(0.05, 0.95), "kill") for _ in range(plan.kills)]
            + [(self.random.uniform(0.05, 0.95), "restart") for _ in range(plan.restarts)]
        )
        breaker = threading.Thread(target=self._break, args=(events, client, time.monotonic()))
        breaker.start()
        for _ in range(plan.transitions):
            began = time.monotonic()
            self._flip(client)
            time.sleep(max(0.0, pause - (time.monotonic() - began)))
        breaker.join()

    def _break(self, events: list[tuple[float, str]], client: Client, began: float) -> None:
        for share, what in events:
            time.sleep(max(0.0, began + share * self.plan.seconds - time.monotonic()))
            at = time.time()
            if what == "restart":
                self._restart()
            else:
                index = self._owner(client)
                if self.kills % 2:
                    self.receiver.wait_next(2.0)  # so that it dies between the send and the mark
                self._kill(index)
                self.kills += 1
                self._start(index)
            self._troubles.append((at, time.time()))

    def _settle(self, client: Client) -> None:
        """All clear: every series resolves, and everything is told."""
        self.receiver.is_faulty = False
        for host, name in list(self._crossed):
            self._stay_ends(host, name)
        for host in self.values:
            self.values[host] = dict.fromkeys(self.values[host], 10.0)
            self._write(client, host)
        folders = (self.tree.outbox(0), *(f"{self.tree.alerts}/{rule}" for rule in ("disk-full",)))

        def is_quiet() -> bool:
            return all(not client.get_children(folder) for folder in folders if client.exists(folder))

        wait_for(is_quiet, "an empty outbox, and no alert", timeout=120)

    def _dropped(self) -> set[tuple[str, str]]:
        """What the engines say was not to be told: over before it was.

        The journal is written a moment later than the log, and that much may be lost by a kill.
        """
        found = set()
        for index in range(len(self.engines)):
            path = self.folder / f"state-{index}" / JOURNAL_NAME
            for entry in read(path, Wanted(kinds=(Kind.DROPPED,))):
                found.add((entry.record.target, f"{entry.record.episode}.{entry.record.phase}"))
            log = (self.folder / f"engine-{index}.log").read_text(encoding="utf-8", errors="replace")
            found |= {(said["channel"], f"{said['episode']}.{said['phase']}") for said in _NOT_TOLD.finditer(log)}
        return found
