"""Other ensembles in zkalert.yaml, and the servers of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.configkit import findings, load
from zkalert.model import EnsembleSettings, Members, TlsSettings, ZookeeperSettings


def test_ensembles_are_read_with_all_their_keys(tmp_path: Path) -> None:
    text = """
ensembles:
  kafka:
    hosts: "${KAFKA}"
    session_timeout: 20s
    auth: {digest: "reader:${PASSWORD}"}
    tls: {ca: ca.pem}
    servers: [k1, "k2:2182", "k3:2181", "k1:2181"]
    admin: 8081
  hbase_2: {hosts: "h1:2181"}
"""
    found = load(tmp_path, text).ensembles
    assert found["kafka"] == EnsembleSettings(
        zookeeper=ZookeeperSettings(
            hosts="k1:2181,k2:2181/kafka",
            root="/",
            session_timeout=20.0,
            digest="reader:hunter2",
            tls=TlsSettings(ca=str(tmp_path / "ca.pem")),
        ),
        members=Members(servers=("k1:2181", "k2:2182", "k3:2181"), admin_port=8081, prefers_admin=True),
    )
    assert found["hbase_2"] == EnsembleSettings(zookeeper=ZookeeperSettings(hosts="h1:2181", root="/"))
    assert "hunter2" not in repr(found)


def test_without_the_keys_there_are_no_others_and_every_member_is_one_of_the_hosts(tmp_path: Path) -> None:
    read = load(tmp_path, 'zookeeper: {hosts: "a:1,b:2"}\n')
    assert (read.ensembles, read.members) == ({}, Members(servers=(), admin_port=8080, prefers_admin=False))


@pytest.mark.parametrize(
    ("written", "port", "is_first"), [("9090", 9090, True), ("true", 8080, True), ("false", None, False)]
)
def test_the_own_ensemble_says_where_its_servers_are_asked(
    tmp_path: Path, written: str, port: int | None, *, is_first: bool
) -> None:
    read = load(tmp_path, f"zookeeper: {{hosts: vip, servers: [zk1, zk2], admin: {written}}}\n")
    assert read.members == Members(servers=("zk1:2181", "zk2:2181"), admin_port=port, prefers_admin=is_first)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("ensembles: {kafka: {}}", "missing-key", "the key hosts is missing"),
        ("ensembles: {Kafka: {hosts: a}}", "wrong-key", '"Kafka" cannot be a key here'),
        ("ensembles: {znode: {hosts: a}}", "wrong-key", '"znode" stands for paths of zkalert\'s own ensemble'),
        ("ensembles: {zookeeper: {hosts: a}}", "wrong-key", '"zookeeper" stands for zkalert\'s own ensemble'),
        ("ensembles: {kafka: {hosts: 'a b'}}", "wrong-value", "hosts: not a list of servers"),
        ("ensembles: {kafka: {hosts: 'a b', auth: {digest: 'u:hunter2'}}}", "wrong-value", "hosts: not a list"),
        ("ensembles: {kafka: {hosts: a, auth: {digets: 'u:hunter2'}}}", "unknown-key", "unknown key"),
        ("ensembles: {kafka: {hosts: 'a:99999'}}", "wrong-value", "hosts: a port beyond 65535"),
        ("ensembles: {kafka: {hosts: 'a/x//y'}}", "wrong-value", "hosts: a path with an empty part, . or .."),
        ("ensembles: {kafka: {hosts: a, root: /k}}", "unknown-key", "unknown key"),
        ("ensembles: {kafka: {hosts: a, session_timeout: 5m}}", "wrong-duration", 'session_timeout: found "5m"'),
        ("ensembles: {kafka: {hosts: a, auth: {digest: '${PASSWORD}'}}}", "wrong-digest", "not of the form"),
        ("ensembles: {kafka: {hosts: a, tls: {cert: a}}}", "missing-key", "the key ca is missing"),
        ("ensembles: {kafka: {hosts: a, servers: []}}", "wrong-value", "servers"),
        ("ensembles: {kafka: {hosts: a, servers: ['a:1', 'b c']}}", "wrong-value", "servers: not a server"),
        ("ensembles: {kafka: {hosts: a, admin: 0}}", "wrong-value", "admin"),
        ("zookeeper: {admin: 70000}", "wrong-value", "admin"),
        ("zookeeper: {admin: '8080'}", "wrong-type", "admin"),
        ("zookeeper: {servers: 'a:1'}", "wrong-type", "servers"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, code: str, message: str) -> None:
    (finding, *_) = findings(tmp_path, text)
    assert finding.code == code
    assert message in finding.message


def test_a_wrong_key_in_an_ensemble_has_the_nearest_right_name(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, "ensembles: {kafka: {hosts: a, admin_port: 8080}}")
    assert finding.hint == "did you mean admin?"
