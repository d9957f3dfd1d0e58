"""Real name nodes and failover controllers of HDFS elect where rules/hadoop-ha.yaml looks, and are told of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from tests.packs.layout import RULES, matches
from zkalert.localzk.install import find_zookeeper
from zkalert.localzk.server import free_ports
from zkalert.model import ServerUnavailable, ZookeeperSettings
from zkalert.zk import Client

JARS = Path(sys.prefix) / "hadoop"
NEWEST_JAVA = 22  # later ones refuse what Hadoop of that age asks of the security manager
TOP = "/hadoop-ha/demo"
LOCK, CRUMB = f"{TOP}/ActiveStandbyElectorLock", f"{TOP}/ActiveBreadCrumb"
NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
CONTROLLER = "org.apache.hadoop.hdfs.tools.DFSZKFailoverController"
LOGGING = """log4j.rootLogger=INFO,out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n
"""


def _java() -> str:
    """A Java that Hadoop runs on, or an empty text."""
    try:
        java = find_zookeeper(os.environ).java
    except ServerUnavailable:
        return ""
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    return java if version and int(version[1]) <= NEWEST_JAVA else ""


JAVA = _java() if JARS.exists() else ""

pytestmark = pytest.mark.skipif(
    not JAVA, reason=f"no HDFS here, which `.ci/setup hadoop` unpacks, or no Java up to {NEWEST_JAVA} to run it"
)


class Side:
    """A name node and the failover controller beside it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        for part in ("webapps/hdfs", "webapps/static"):
            (folder / part).mkdir(parents=True)
        properties = "".join(
            f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items()
        )
        for name in ("core-site.xml", "hdfs-site.xml"):
            (folder / name).write_text(f"<configuration>{properties}</configuration>", encoding="utf-8")
        (folder / "log4j.properties").write_text(LOGGING, encoding="utf-8")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, program: str, *arguments: str) -> None:
        """Run a program to its end, which has to be a good one."""
        process = self._start(program, *arguments)
        assert process.wait(60) == 0, self.log(program)

    def start(self, program: str) -> None:
        self._running[program] = self._start(program)

    def kill(self, *programs: str) -> None:
        for program in programs or tuple(self._running):
            process = self._running.pop(program)
            process.kill()
            process.wait(10)

    def log(self, program: str) -> str:
        return (self._folder / f"{program}.log").read_text(encoding="utf-8")

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        opened = ("java.base/java.lang=ALL-UNNAMED", "java.security.jgss/sun.security.krb5=ALL-UNNAMED")
        with (self._folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    JAVA,
                    "-Xmx160m",
                    *(f"--add-opens={one}" for one in opened),
                    "-cp",
                    f"{self._folder}:{JARS}/*",
                    program,
                    *arguments,
                ],
                stdout=log,
                stderr=log,
            )


@pytest.fixture
def sides(settings: ZookeeperSettings, client: Client, tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """The first one is active; a method that always succeeds fences it."""
    ports = free_ports(6)
    shared = tmp_path / "shared"
    shared.mkdir()
    common = {
        "fs.defaultFS": "hdfs://demo",
        "ha.zookeeper.quorum": settings.hosts,
        "ha.zookeeper.session-timeout.ms": "4000",
        "dfs.nameservices": "demo",
        "dfs.ha.namenodes.demo": "nn1,nn2",
        "dfs.ha.automatic-failover.enabled": "true",
        "dfs.ha.fencing.methods": "shell(/bin/true)",
        "dfs.namenode.shared.edits.dir": f"file://{shared}",
        "dfs.webhdfs.enabled": "false",
    }
    for number in (1, 2):
        for index, key in enumerate(("namenode.rpc-address", "namenode.http-address")):
            common[f"dfs.{key}.demo.nn{number}"] = f"127.0.0.1:{ports[2 * number - 2 + index]}"
        common[f"dfs.ha.zkfc.port.demo.nn{number}"] = str(ports[3 + number])
    one, two = (
        Side(
            tmp_path / name,
            {
                **common,
                "dfs.ha.namenode.id": name,
                "dfs.namenode.name.dir": f"file://{tmp_path}/{name}/name",
                "hadoop.tmp.dir": f"{tmp_path}/{name}/tmp",
            },
        )
        for name in ("nn1", "nn2")
    )
    one.run(NAME_NODE, "-format", "-nonInteractive")
    one.run(CONTROLLER, "-formatZK", "-nonInteractive")
    try:
        one.start(NAME_NODE)
        one.start(CONTROLLER)
        wait_for(lambda: "to active state" in one.log(CONTROLLER), "the first name node to be active", timeout=60)
        two.run(NAME_NODE, "-bootstrapStandby", "-nonInteractive")
        two.start(NAME_NODE)
        two.start(CONTROLLER)
        wait_for(lambda: "Successfully transitioned" in two.log(CONTROLLER), "the second to stand by", timeout=60)
        yield one, two
    finally:
        one.kill()
        two.kill()
        client.delete("/hadoop-ha", recursive=True)


def test_a_failover_and_its_end_are_told_of_by_the_pack(sides: tuple[Side, Side], client: Client, stage: Stage) -> None:
    """One long story, since a cluster takes its time to start."""
    assert matches(client, "znode:/hadoop-ha/{cluster}/ActiveStandbyElectorLock") == [LOCK]
    assert matches(client, "znode:/hadoop-ha/{cluster}/ActiveBreadCrumb") == [CRUMB]
    held, stat = client.get(LOCK)
    assert b"nn1" in held
    assert stat.ephemeralOwner
    assert client.get(CRUMB)[0] == held
    assert client.get(CRUMB)[1].version == 0

    rules = (RULES / "hadoop-ha.yaml").read_text(encoding="utf-8")
    stage.engine(re.sub(r"duration: \d+[smh]", "duration: 500ms", rules)).wait_owner()

    def firing() -> set[tuple[str, str | None]]:
        return {(alert.rule, alert.instance) for alert in stage.alerts() if alert.state.value == "firing"}

    at_rest = {("hdfs-election-open", TOP)}
    wait_for(lambda: firing() == at_rest, "the alert of a tree without ACLs alone", timeout=20)

    one, two = sides
    one.kill(CONTROLLER)
    wait_for(lambda: client.exists(CRUMB).version == 1, "the second name node to overwrite the bread crumb", timeout=30)
    assert b"nn2" in client.get(LOCK)[0]
    assert b"nn2" in client.get(CRUMB)[0]

    two.kill(CONTROLLER)
    gone = ("hdfs-no-active-namenode", LOCK)
    wait_for(lambda: gone in firing(), "nobody to be active", timeout=20)

    one.start(CONTROLLER)
    wait_for(lambda: gone not in firing() and client.exists(LOCK), "the first one to be active again", timeout=30)
    assert b"nn1" in client.get(LOCK)[0]
