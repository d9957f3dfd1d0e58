"""Silences and acknowledgements as commands write them, against a real server: who comes second overwrites nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.cli.saying import firing, silences, write_alerts, write_host
from zkalert.model import Ack, LayoutTooNew, Silence, ZkalertError, ZookeeperSettings
from zkalert.store import Changed, Facts
from zkalert.store import facts as module
from zkalert.tree import Tree, decode_ack, encode_silence
from zkalert.zk import Client

WANTED = Silence(id="", host="db3", starts_at=1000.0, ends_at=2000.0, comment="c", author="Ann")


@pytest.fixture
def facts(client: Client, tree: Tree) -> Facts:
    made = Facts(client, tree)
    made.open()
    return made


def acked(client: Client, tree: Tree, episode: str) -> Ack:
    found = decode_ack(client.get(tree.ack(episode))[0])
    assert isinstance(found, Ack)
    return found


def test_the_time_is_the_ensembles(facts: Facts, client: Client, tree: Tree) -> None:
    now = facts.now()
    assert now == client.exists(tree.silences).mtime / 1000
    assert facts.clock.now() == pytest.approx(now, abs=2)


def test_a_tree_of_a_newer_layout_is_refused(client: Client, tree: Tree) -> None:
    client.set(tree.layout, b'{"version":99}')
    with pytest.raises(LayoutTooNew):
        Facts(client, tree).open()


def test_what_was_added_is_read_back(facts: Facts) -> None:
    filed = facts.add_silence(WANTED, 1000.0)
    assert len(filed.silence.id) == 6
    assert filed.silence == replace(WANTED, id=filed.silence.id)
    assert facts.silences() == [filed.silence]
    assert facts.find_silence(filed.silence.id[:4]) == filed
    assert facts.read_silence(filed.silence.id) == filed
    assert facts.read_silence("ffffff") is None


def test_an_id_that_is_taken_is_not_taken_again(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["aaaaaa", "aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(ids))
    facts.add_silence(WANTED, 1000.0)
    facts.add_silence(replace(WANTED, host="other"), 1000.0)
    assert {one.id: one.host for one in facts.silences()} == {"aaaaaa": "db3", "bbbbbb": "other"}


def test_who_changes_what_somebody_else_has_changed_is_told(facts: Facts, client: Client, tree: Tree) -> None:
    filed = facts.add_silence(WANTED, 1000.0)
    later = facts.change_silence(filed, replace(filed.silence, ends_at=3000.0))
    with pytest.raises(Changed, match="changed by somebody else"):
        facts.change_silence(filed, replace(filed.silence, ends_at=1.0))
    assert facts.silences() == [later.silence]
    client.delete(tree.silence(later.silence.id))
    with pytest.raises(Changed):
        facts.change_silence(later, later.silence)


def test_ended_ones_are_cleared_away_a_day_later(facts: Facts, client: Client, tree: Tree) -> None:
    first = facts.add_silence(WANTED, 1000.0).silence.id
    second = facts.add_silence(WANTED, 2000.0 + module.KEPT).silence.id
    assert set(silences(client, tree)) == {first, second}
    third = facts.add_silence(replace(WANTED, ends_at=1e9), 2001.0 + module.KEPT).silence.id
    assert set(silences(client, tree)) == {third}


def test_there_is_an_end_to_them(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SILENCES", 2)
    facts.add_silence(replace(WANTED, ends_at=1500.0), 1400.0)
    for _ in range(2):
        facts.add_silence(WANTED, 1600.0)
    with pytest.raises(ZkalertError, match="there are 2 silences already"):
        facts.add_silence(WANTED, 1600.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"x" * 70_000,
        encode_silence(WANTED).replace(b"2000.0", b"1e300"),
        encode_silence(WANTED).replace(b"2000.0", b"NaN"),
        encode_silence(WANTED).replace(b'"span":0.0', b'"span":1e12'),
        encode_silence(WANTED).replace(b'"warning"', b'"odd"'),
        encode_silence(WANTED).replace(b'"db3"', b"7"),
    ],
)
def test_what_cannot_be_used_is_left_alone(facts: Facts, client: Client, tree: Tree, data: bytes) -> None:
    client.create(tree.silence("abcdef"), data)
    assert facts.silences() == []
    assert facts.read_silence("abcdef") is None
    with pytest.raises(ZkalertError, match='no silence "abcdef"'):
        facts.find_silence("abcdef")
    facts.add_silence(WANTED, 1000.0)
    assert client.get(tree.silence("abcdef"))[0] == data


def test_a_silence_that_changes_under_who_expires_it_is_read_again(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed = facts.add_silence(WANTED, 1000.0)
    other = Facts(facts._client, facts._tree)
    between = once(lambda: other.change_silence(filed, replace(filed.silence, ends_at=1900.0)))
    monkeypatch.setattr(facts, "find_silence", before_it_returns(facts.find_silence, between))
    assert facts.expire_silence(filed.silence.id, 1500.0).ends_at == 1900.0
    assert facts.silences()[0].ends_at == 1500.0


def test_an_alert_that_rises_meanwhile_is_acknowledged_as_it_is_then(
    facts: Facts, client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_alerts(client, tree, firing())
    between = once(lambda: write_alerts(client, tree, firing(rises=1)))
    monkeypatch.setattr(facts, "now", before_it_returns(facts.now, between))
    alert, ack = facts.acknowledge("a1b2c3", seconds=60.0, author="Ann", comment="")
    assert (alert.rises, ack.rises) == (1, 1)
    assert acked(client, tree, alert.episode) == ack


def test_an_alert_that_ends_meanwhile_is_not_acknowledged(
    facts: Facts, client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_alerts(client, tree, firing())
    between = once(lambda: client.delete(tree.alert("disk-full", "db1", None)))
    monkeypatch.setattr(facts, "now", before_it_returns(facts.now, between))
    with pytest.raises(ZkalertError, match='no alert "a1b2c3"; nothing is pending or firing'):
        facts.acknowledge("a1b2c3", seconds=None, author="Ann", comment="")
    assert client.get_children(tree.acks) == []


def test_an_acknowledgement_outlives_its_alert_until_somebody_takes_it_back(
    facts: Facts, client: Client, tree: Tree
) -> None:
    write_alerts(client, tree, firing())
    facts.acknowledge("a1b2c3", seconds=None, author="Ann", comment="")
    client.delete(tree.alert("disk-full", "db1", None))
    assert facts.withdraw("a1b2c3").author == "Ann"
    assert facts.acks() == []


def test_broken_records_of_alerts_are_passed_over(facts: Facts, client: Client, tree: Tree) -> None:
    assert facts.alerts() == []
    write_alerts(client, tree, firing(), firing("load"))
    client.create(f"{tree.rule_alerts('load')}/zz", b"{")
    assert sorted(alert.rule for alert in facts.alerts()) == ["disk-full", "load"]


def test_hosts_say_their_labels(facts: Facts, client: Client, tree: Tree) -> None:
    assert facts.hosts() == {}
    write_host(client, tree, "db1", team="x")
    client.create(tree.host("db2"), b"{")
    assert {name: info.labels for name, info in facts.hosts().items()} == {"db1": {"team": "x"}}


def test_a_tree_that_is_not_there_is_named(client: Client, settings: ZookeeperSettings) -> None:
    with pytest.raises(ZkalertError, match=f"there is no zkalert at {settings.root}"):
        Facts(client, Tree(settings.root)).open()


# Somebody else, between two steps of ours.


def once(act: Callable[[], Any]) -> Callable[[], None]:
    waiting = [act]

    def call() -> None:
        if waiting:
            waiting.pop()()

    return call


def before_it_returns(function: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        result = function(*args)
        act()
        return result

    return call
