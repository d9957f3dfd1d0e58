"""A real ClickHouse keeps its znodes where rules/clickhouse.yaml looks, and its replicas are told of."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from tests.packs.layout import RULES, matches, pack, patterns
from zkalert.localzk import LocalServer
from zkalert.localzk.server import free_ports
from zkalert.model import ZookeeperSettings
from zkalert.zk import Client, make_client

HOME = Path(sys.prefix) / "clickhouse"
TABLES = "/clickhouse/tables/01/hits"
QUEUE = "/clickhouse/task_queue/ddl"
ONCE = {
    "znode:/clickhouse/tables/{shard}/{table}/lost_part_count",  # servers later than this one
    "znode:/clickhouse/tables/{shard}/{table}/quorum/status",  # while an insert waits
    f"znode:{QUEUE}/{{query}}/active/{{server}}",  # while a server is at it
}
CONFIG = """<yandex>
    <logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
    <listen_host>127.0.0.1</listen_host><interserver_http_host>127.0.0.1</interserver_http_host>
    <http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><interserver_http_port>{between}</interserver_http_port>
    <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><mark_cache_size>1000000</mark_cache_size>
    <users_config>users.xml</users_config><default_profile>default</default_profile>
    <default_database>default</default_database>
    <zookeeper>
        <node><host>127.0.0.1</host><port>{zookeeper}</port></node><session_timeout_ms>4000</session_timeout_ms>
    </zookeeper>
    <macros><shard>01</shard><replica>{name}</replica></macros>
    <remote_servers><both><shard>
        <replica><host>127.0.0.1</host><port>{tcp}</port></replica>
        <replica><host>127.0.0.1</host><port>{other}</port></replica>
    </shard></both></remote_servers>
    <distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
</yandex>"""
USERS = """<yandex>
    <profiles><default/></profiles><quotas><default/></quotas>
    <users><default>
        <password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
    </default></users>
</yandex>"""

pytestmark = pytest.mark.skipif(
    not (HOME / "usr/sbin/clickhouse-server").exists(), reason="no ClickHouse here; `.ci/setup clickhouse` unpacks one"
)


class Replica:
    """One server, as a child process."""

    def __init__(self, folder: Path, name: str, zookeeper: int, ports: dict[str, int]) -> None:
        self._folder = folder
        self._http = ports["http"]
        folder.mkdir()
        values = {"folder": folder, "name": name, "zookeeper": zookeeper, **ports}
        (folder / "config.xml").write_text(CONFIG.format_map(values), encoding="utf-8")
        (folder / "users.xml").write_text(USERS, encoding="utf-8")
        self.start()

    def start(self) -> None:
        libraries = ":".join(str(HOME / path / "x86_64-linux-gnu") for path in ("usr/lib", "lib"))
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [HOME / "usr/sbin/clickhouse-server", "--config-file", self._folder / "config.xml"],
                cwd=self._folder,
                env=os.environ | {"LD_LIBRARY_PATH": libraries},
                stdout=out,
                stderr=out,
            )
        wait_for(self._answers, f"ClickHouse in {self._folder} to answer", timeout=30)

    def ask(self, query: str, **settings: object) -> str:
        """The answer to a query. Raises OSError where the server refuses it, or is not there."""
        given = "&".join(f"{key}={value}" for key, value in settings.items())
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/?{given}", query.encode(), timeout=20) as reply:
            text: str = reply.read().decode()
        return text

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return self.ask("SELECT 1").strip() == "1"
        except OSError:
            return False


@pytest.fixture
def own_settings(own_zookeeper: LocalServer) -> ZookeeperSettings:
    return ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=4.0)


@pytest.fixture
def own_client(own_settings: ZookeeperSettings) -> Iterator[Client]:
    client = make_client(own_settings)
    client.start(timeout=15)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def replicas(own_zookeeper: LocalServer, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """Two servers with one table, three inserts and a query on both of them behind them."""
    http1, tcp1, between1, http2, tcp2, between2 = free_ports(6)
    zookeeper = int(own_zookeeper.hosts.rpartition(":")[2])
    one = Replica(tmp_path / "r1", "r1", zookeeper, {"http": http1, "tcp": tcp1, "between": between1, "other": tcp2})
    two = Replica(tmp_path / "r2", "r2", zookeeper, {"http": http2, "tcp": tcp2, "between": between2, "other": tcp1})
    for replica in (one, two):
        replica.ask(
            "CREATE TABLE hits (day Date, number UInt64) ENGINE = "
            "ReplicatedMergeTree('/clickhouse/tables/{shard}/hits', '{replica}', day, number, 8192)"
        )
    for number in range(3):
        one.ask(f"INSERT INTO hits VALUES ('2026-01-01', {number})")
    one.ask("CREATE DATABASE shop ON CLUSTER both")
    one.ask("ALTER TABLE hits DELETE WHERE number = 1")
    wait_for(lambda: two.ask("SELECT count() FROM hits").strip() == "2", "the second replica to have all", timeout=20)
    yield one, two
    one.kill()
    two.kill()


def test_all_that_the_pack_looks_at_is_where_it_looks(replicas: tuple[Replica, Replica], own_client: Client) -> None:
    missing = {family for family in patterns(pack("clickhouse")) if not matches(own_client, family)}
    assert missing == ONCE
    assert set(own_client.get_children(f"{TABLES}/replicas")) == {"r1", "r2"}
    for replica in ("r1", "r2"):
        place = f"{TABLES}/replicas/{replica}"
        assert own_client.get(f"{place}/is_active")[1].ephemeralOwner
        assert own_client.get(f"{place}/is_lost")[0] == b"0"
        assert own_client.get(f"{place}/min_unprocessed_insert_time")[0] == b"0"
    assert len(own_client.get_children(f"{QUEUE}/query-0000000000/finished")) == 2


def test_an_insert_that_waits_for_its_quorum_has_a_znode(replicas: tuple[Replica, Replica], own_client: Client) -> None:
    one, two = replicas
    two.freeze()  # it still counts as active, so that the insert is begun
    with pytest.raises(OSError, match="500"):
        one.ask("INSERT INTO hits VALUES ('2026-01-01', 9)", insert_quorum=2, insert_quorum_timeout=500)
    assert matches(own_client, "znode:/clickhouse/tables/{shard}/{table}/quorum/status") == [f"{TABLES}/quorum/status"]
    two.thaw()
    wait_for(lambda: not own_client.exists(f"{TABLES}/quorum/status"), "the quorum", timeout=20)


def test_a_server_that_dies_is_told_of_by_the_pack_and_ends_when_it_is_back(
    replicas: tuple[Replica, Replica], own_client: Client, own_settings: ZookeeperSettings, tmp_path: Path
) -> None:
    rules = (RULES / "clickhouse.yaml").read_text(encoding="utf-8")
    stage = Stage(own_settings, own_client, tmp_path)
    try:
        stage.engine(re.sub(r"duration: \d+[smh]", "duration: 500ms", rules)).wait_owner()

        def firing() -> set[tuple[str, str | None]]:
            return {(alert.rule, alert.instance) for alert in stage.alerts() if alert.state.value == "firing"}

        at_rest = {("clickhouse-znodes-open", None)}
        wait_for(lambda: firing() == at_rest, "the alert of a tree without ACLs alone", timeout=20)
        replicas[1].kill()
        dead = {
            ("clickhouse-replica-inactive", f"{TABLES}/replicas/r2/is_active"),
            ("clickhouse-replicas-mostly-inactive", None),
        }
        wait_for(lambda: dead <= firing(), "its replica to be told of", timeout=20)
        replicas[1].start()
        wait_for(lambda: firing() == at_rest, "it to be over", timeout=20)
    finally:
        stage.close()
