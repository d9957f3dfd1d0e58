"""Clients, their words, and transactions that happened or did not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.helpers import wait_for
from zkalert import zk
from zkalert.localzk.server import free_ports
from zkalert.model import LayoutTooNew, ZookeeperSettings
from zkalert.tree import Tree


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        ("127.0.0.1:{port}", "Connection refused"),
        ("no-such-host.invalid:{port}", "Cannot resolve no-such-host.invalid"),
    ],
)
def test_who_waits_for_zookeeper_is_told_once_and_why(
    hosts: str, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zk, "SAY_AFTER", 0.3)
    client = zk.make_client(ZookeeperSettings(hosts=hosts.format(port=free_ports(1)[0])))
    stop = threading.Event()
    with caplog.at_level(logging.WARNING, "zkalert"):
        waiting = threading.Thread(target=zk.connect, args=(client, stop))
        waiting.start()
        wait_for(lambda: "waiting for it" in caplog.text, "the warning")
        stop.set()
        waiting.join(10)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "zkalert.zookeeper"]
    assert f"waiting for it ({why}" in said
    client.stop()
    client.close()


@pytest.fixture
def closed(settings: ZookeeperSettings) -> Iterator[zk.Client]:
    """A client with a password, whose znodes are its own."""
    client = zk.make_client(replace(settings, digest="zkalert:secret"))
    client.start(timeout=15)
    yield client
    client.stop()
    client.close()


def test_what_is_made_with_a_password_is_closed_to_others(
    closed: zk.Client, client: zk.Client, settings: ZookeeperSettings
) -> None:
    closed.create(f"{settings.root}-closed", b"x")
    with pytest.raises(zk.KazooException):
        client.get(f"{settings.root}-closed")
    assert closed.get(f"{settings.root}-closed")[0] == b"x"


def test_a_transaction_that_is_refused_names_what_was_refused_and_changes_nothing(
    client: zk.Client, tree: Tree
) -> None:
    path = f"{tree.root}/a"
    with pytest.raises(zk.TransactionFailed) as failed:
        zk.commit(client, [zk.Create(path, b"1"), zk.Set(f"{tree.root}/none", b"2"), zk.Delete(path)])
    assert failed.value.operation == zk.Set(f"{tree.root}/none", b"2")
    assert isinstance(failed.value.error, zk.NoNodeError)
    assert client.exists(path) is None


def test_a_check_refuses_the_whole(client: zk.Client, tree: Tree) -> None:
    with pytest.raises(zk.TransactionFailed) as failed:
        zk.commit(client, [zk.Check(f"{tree.root}/lock"), zk.Create(f"{tree.root}/b")])
    assert failed.value.operation == zk.Check(f"{tree.root}/lock")
    assert client.exists(f"{tree.root}/b") is None


def test_nothing_is_submitted_while_there_is_no_connection(settings: ZookeeperSettings) -> None:
    client = zk.make_client(settings)
    with pytest.raises(zk.UNCERTAIN):
        zk.commit(client, [zk.Create(f"{settings.root}-late")])


def test_children_are_read_many_at_a_time(client: zk.Client, tree: Tree) -> None:
    client.create(f"{tree.root}/many")
    for number in range(zk.MOST_IN_FLIGHT + 10):
        client.create(f"{tree.root}/many/{number}", str(number).encode())
    read = list(zk.read_below(client, f"{tree.root}/many"))
    assert sorted(int(data or b"") for _, data, _ in read) == list(range(zk.MOST_IN_FLIGHT + 10))
    assert all(path.rpartition("/")[2].encode() == data for path, data, _ in read)


@pytest.mark.parametrize("data", [b'{"version": 2}', b"rubbish"])
def test_a_tree_that_is_not_known_is_refused(client: zk.Client, tree: Tree, data: bytes) -> None:
    client.set(tree.layout, data)
    with pytest.raises(LayoutTooNew, match="upgrade zkalert, or choose another root"):
        zk.open_tree(client, tree)


def test_a_tree_can_stand_in_a_chroot(settings: ZookeeperSettings) -> None:
    client = zk.make_client(replace(settings, hosts=f"{settings.hosts}{settings.root}-chroot", root="/"))
    with pytest.warns(UserWarning, match="No chroot path exists"):
        client.start(timeout=15)
    tree = Tree("/")
    zk.open_tree(client, tree)
    assert client.exists("/layout")
    client.stop()
    client.close()


def test_the_password_is_in_no_log_line(settings: ZookeeperSettings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "kazoo"):
        client = zk.make_client(replace(settings, digest="zkalert:s3cret-word"))
        client.start(timeout=15)
        client.exists("/")
        client.stop()
        client.close()
    assert "Sending request" in caplog.text
    assert "s3cret-word" not in caplog.text
