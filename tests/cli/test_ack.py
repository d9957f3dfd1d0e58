"""`zkalert ack`, as people run it, on a tree in a real ZooKeeper."""

from __future__ import annotations

import time

import pytest

from tests.cli.saying import command, firing, run, write_alerts
from zkalert import cli
from zkalert.model import Ack, State, ZookeeperSettings
from zkalert.tree import Tree, decode_ack
from zkalert.zk import Client

EPISODE = "a1b2c3d4e5f60718"


def acks(client: Client, tree: Tree) -> dict[str, Ack]:
    found = {}
    for name in client.get_children(tree.acks) if client.exists(tree.acks) else ():
        ack = decode_ack(client.get(tree.ack(name))[0])
        assert isinstance(ack, Ack)
        found[name] = ack
    return found


def test_an_alert_is_acknowledged_by_its_id(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    write_alerts(client, tree, firing(rises=2, instance="/data"), firing(host="db2", episode="b" * 16))
    done = run(settings, "ack", "A1B2C3", "--comment", "on it", "--author", "Ann")
    expected = "alert a1b2c3 is acknowledged until it ends: disk-full on db1 /data, warning\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", expected)
    ((name, ack),) = acks(client, tree).items()
    assert name == ack.episode == EPISODE
    assert (ack.ends_at, ack.rises, ack.author, ack.comment) == (None, 2, "Ann", "on it")
    assert abs(ack.at - time.time()) < 10


def test_it_may_end_and_may_be_said_again(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    write_alerts(client, tree, firing())
    assert run(settings, "ack", "a1b2c3").returncode == 0
    done = run(settings, "ack", "a1b2c3d4", "--for", "2h")
    assert "is acknowledged until 20" in done.stderr
    ack = acks(client, tree)[EPISODE]
    assert ack.ends_at is not None
    assert ack.ends_at - ack.at == pytest.approx(7200)
    assert ack.author.endswith("@here")


def test_it_is_taken_back(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    write_alerts(client, tree, firing())
    done = run(settings, "ack", "--remove", "a1b2c3")
    assert (done.returncode, done.stderr) == (1, "zkalert: error: alert a1b2c3 is not acknowledged\n")
    run(settings, "ack", "a1b2c3")
    done = run(settings, "ack", "--remove", "a1b2c3")
    assert (done.returncode, done.stderr) == (0, "alert a1b2c3 is not acknowledged any more\n")
    assert acks(client, tree) == {}


def test_what_is_not_there_is_told_with_what_is_near(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    done = run(settings, "ack", "a1b2c4")
    assert (done.returncode, done.stderr) == (1, 'zkalert: error: no alert "a1b2c4"; nothing is pending or firing\n')
    write_alerts(client, tree, firing(), firing(host="db2", episode="a1b2c3ffffffffff", state=State.PENDING))
    done = run(settings, "ack", "a1b2c4")
    assert (done.returncode, done.stderr) == (1, 'zkalert: error: no alert "a1b2c4"; did you mean a1b2c3?\n')
    done = run(settings, "ack", "a1b2c3")
    assert (done.returncode, done.stderr) == (
        1,
        'zkalert: error: "a1b2c3" could be 2 of them: a1b2c3d, a1b2c3f; write more of it\n',
    )
    assert acks(client, tree) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["web1"], '"web1" is no ID of an alert; expected hex digits such as a1b2c3'),
        (["a1b2c3", "--for", "soon"], '"soon" is not a duration'),
        (["a1b2c3", "--for", "0s"], "would be over at once"),
        (["a1b2c3", "--remove", "--for", "1h"], "--remove takes no --for"),
        (["a1b2c3", "--comment", "x" * 1025], "1025 characters; expected at most 1024"),
        ([], "Missing argument 'ALERT'"),
    ],
)
def test_wrong_usage(
    settings: ZookeeperSettings, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.run(command(settings, "ack", *words)[3:]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
