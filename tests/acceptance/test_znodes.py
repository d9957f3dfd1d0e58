"""Rules about any znode: each of its fields rises and resolves an alert, through watches, on a real ZooKeeper."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, make_digest_acl

from tests.acceptance.hearing import channels, heard, start, wait_heard
from tests.acceptance.stage import Stage
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine import matches
from zkalert.zk import Client


class Case(NamedTuple):
    """A rule's metric and condition, and what makes it rise and resolve on the znode TOP/app."""

    field: str
    condition: str
    begin: Callable[[Client, str], object]
    rise: Callable[[Client, str], object]
    resolve: Callable[[Client, str], object]


def made(data: bytes = b"") -> Callable[[Client, str], object]:
    return lambda client, path: client.create(path, data, makepath=True)


def put(data: bytes) -> Callable[[Client, str], object]:
    return lambda client, path: client.set(path, data)


def gone(client: Client, path: str) -> object:
    return client.delete(path, recursive=True)


def child(name: str) -> Callable[[Client, str], object]:
    return lambda client, path: client.create(f"{path}/{name}")


def without(name: str) -> Callable[[Client, str], object]:
    return lambda client, path: client.delete(f"{path}/{name}")


def ephemeral(client: Client, path: str) -> object:
    return client.create(path, ephemeral=True)


CLOSED = [*READ_ACL_UNSAFE, make_digest_acl("app", "secret", all=True)]


def closed(client: Client, path: str) -> None:
    client.add_auth("digest", "app:secret")
    client.create(path, acl=CLOSED, makepath=True)


def opened(client: Client, path: str) -> None:
    client.set_acls(path, OPEN_ACL_UNSAFE)


def document(**values: object) -> bytes:
    return json.dumps(values).encode()


CASES = {
    "exists": Case("exists", "== 0", made(), gone, made()),
    "children": Case("children", "> 0", made(), child("a"), without("a")),
    "length": Case("length", "> 3", made(), put(b"long"), put(b"")),
    "age": Case("age", "> 1", made(), lambda _c, _p: None, put(b"")),
    "created": Case("created", "> 1", made(), lambda _c, _p: None, lambda c, p: (gone(c, p), made()(c, p))),
    "version": Case(
        "version", ">= 2", made(), lambda c, p: (c.set(p, b""), c.set(p, b"")), lambda c, p: (gone(c, p), made()(c, p))
    ),
    "owner": Case(
        "owner",
        'not_matches ".+"',
        lambda c, p: (c.ensure_path(p.rpartition("/")[0]), ephemeral(c, p)),
        lambda c, p: (gone(c, p), made()(c, p)),
        lambda c, p: (gone(c, p), ephemeral(c, p)),
    ),
    "value": Case("value", "> 10", made(b"5"), put(b"11.5"), put(b"7")),
    "text": Case("value", '!= "on"', made(b"on"), put(b"off"), put(b"on")),
    "pointer": Case(
        "/limits/0/max",
        "> 10",
        made(document(limits=[{"max": 1}])),
        put(document(limits=[{"max": 11}])),
        put(document(limits=[{"max": 2}])),
    ),
    "list": Case(
        "/members",
        "< 3",
        made(document(members=[1, 2, 3])),
        put(document(members=[1])),
        put(document(members=[1, 2, 3])),
    ),
    "flag": Case(
        "/enabled",
        '== "false"',
        made(document(enabled=True)),
        put(document(enabled=False)),
        put(document(enabled=True)),
    ),
    "regex": Case(r"~workers=(\\d+)", "< 2", made(b"a=1 workers=4"), put(b"workers=1"), put(b"x workers=3")),
    "acl": Case("acl_open", "== 1", closed, opened, lambda client, path: client.set_acls(path, CLOSED)),
}


@pytest.fixture
def top(stage: Stage) -> str:
    """A folder of the test's own in the same ensemble, beside zkalert's tree."""
    path = f"{stage.tree.top}-znodes"
    stage.client.ensure_path(path)
    return path


def rule(top: str, case: Case) -> str:
    comparator, _, threshold = case.condition.partition(" ")
    metric = f"znode:{top}/app#{case.field}"
    return f"""
rules:
  - {{name: seen, metric: "{metric}", comparator: "{comparator}", threshold: {threshold}, action: ops}}
"""


@pytest.mark.parametrize("name", CASES)
def test_a_field_raises_and_resolves_an_alert(
    name: str, stage: Stage, top: str, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matches, "ACL_EVERY", 0.2)
    case, path = CASES[name], f"{top}/app"
    admin = KazooClient(stage.zookeeper.hosts)
    admin.start()
    try:
        case.begin(admin, path)
        start(stage, stage.settings(rule(top, case), channels(http_receiver, "ops")))
        if name not in ("age", "created"):
            wait_for(lambda: stage._engines[0].witness.last.watches > 3, "watches")  # type: ignore[union-attr]
            assert heard(http_receiver) == []
        case.rise(admin, path)
        wait_heard(http_receiver, "seen zookeeper firing")
        case.resolve(admin, path)
        wait_heard(http_receiver, "seen zookeeper firing", "seen zookeeper resolved")
    finally:
        admin.stop()
        admin.close()
