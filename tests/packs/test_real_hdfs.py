"""Real name nodes and failover controllers of HDFS elect where rules/hadoop-ha.yaml looks, and are told of."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from tests.packs.layout import RULES, matches
from tests.packs.programs import Programs, java
from zkalert.localzk.server import free_ports
from zkalert.model import ZookeeperSettings
from zkalert.zk import Client

JARS = Path(sys.prefix) / "hadoop"
NEWEST_JAVA = 22  # later ones refuse what Hadoop of that age asks of the security manager
TOP = "/hadoop-ha/demo"
LOCK, CRUMB = f"{TOP}/ActiveStandbyElectorLock", f"{TOP}/ActiveBreadCrumb"
NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
CONTROLLER = "org.apache.hadoop.hdfs.tools.DFSZKFailoverController"
JAVA = java(NEWEST_JAVA) if JARS.exists() else ""

pytestmark = pytest.mark.skipif(
    not JAVA, reason=f"no HDFS here, which `.ci/setup hadoop` unpacks, or no Java up to {NEWEST_JAVA} to run it"
)


class Side(Programs):
    """A name node and the failover controller beside it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        for part in ("webapps/hdfs", "webapps/static"):
            (folder / part).mkdir(parents=True)
        super().__init__(folder, JAVA, JARS, ("java.base/java.lang", "java.security.jgss/sun.security.krb5"))
        properties = "".join(
            f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items()
        )
        for name in ("core-site.xml", "hdfs-site.xml"):
            (folder / name).write_text(f"<configuration>{properties}</configuration>", encoding="utf-8")


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
