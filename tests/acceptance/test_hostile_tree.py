"""A tree that anybody may write into, and somebody does: nothing of it stops an engine, or steers who looks at it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.saying import firing, run
from zkalert.localzk import LocalServer
from zkalert.model import (
    FOR_GOOD,
    Ack,
    ActionRequest,
    ActionResult,
    Alert,
    Clock,
    Delivery,
    DeliveryState,
    Effect,
    EngineInfo,
    Hold,
    HostInfo,
    OutboxEntry,
    Phase,
    Reason,
    Silence,
    State,
    TargetKind,
    ZookeeperSettings,
)
from zkalert.tree import (
    Tree,
    decode_ack,
    decode_alert,
    decode_entry,
    encode_ack,
    encode_alert,
    encode_engine,
    encode_entry,
    encode_host,
    encode_request,
    encode_silence,
    escape,
)
from zkalert.zk import Client, make_client, open_tree

HIGH = 'rules: [{name: high, metric: memory_usage, comparator: ">", threshold: 90, action: ops}]'
EVIL = "evil\x1b[31m\x07\n\u009b2J\u202e\ud800$(reboot)"
"""What a terminal would obey, what no encoding of Unicode can hold, and what a shell would run."""
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
EPISODE = "badbadbadbadbad0"

ODD_VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "text": "x",
    "evil": EVIL,
    "empty list": [],
    "object": {"a": []},
    "negative": -1,
    "huge": 1e300,
    "list of evil": [EVIL],
    "deep": json.loads("[" * 300 + "]" * 300),
}
RAW: Mapping[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{not json",
    "not UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "an empty object": b"{}",
    "large": b'{"v": "' + b"x" * 300_000 + b'"}',
    "nested": b'{"v":' * 9_000,
    "nested lists": b'{"v":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "NaN": b'{"v": NaN}',
    "a long number": b'{"v": ' + b"9" * 50_000 + b"}",
}
NAMES = ("..%2F..%2Fetc", "%2F", "%00", "%1B%5B31m", "%ED%A0%80", "a b", "é", "zookeeper", "%2E", "x" * 300)


ALERT: Mapping[str, Any] = {
    "values": (1.0,),
    "value": 1.0,
    "since": 1.0,
    "clocks": (Clock(State.FIRING, Hold(1.0, 1.0, 1.0, 1.0), Hold(1.0, 1.0, 1.0, 1.0), ((1.0, 2.0),)),),
    "ack": Ack(episode=EPISODE, at=1.0),
    "heard": ("ops",),
    "repeat_at": 1.0,
    "escalate_at": 1.0,
    "actions": (ActionResult(name=EVIL, phase=EVIL, at=1.0, seconds=1.0, exit_code=1, detail=EVIL, tail=EVIL),),
}


def silence(**more: Any) -> Silence:
    fields: dict[str, Any] = {"id": "bad", "host": "nobody", "starts_at": 0.0, "ends_at": FOR_GOOD} | more
    return Silence(**fields)


def entry(path_of: str = EPISODE, **more: Any) -> OutboxEntry:
    alert = firing(name=more.pop("rule", "nothing"), host="nobody", episode=path_of, **ALERT)
    deliveries = more.pop("deliveries", ())
    return OutboxEntry(
        effect=Effect(alert=alert, phase=Phase.FIRING, reason=Reason.HELD, at=1.0, **more), deliveries=deliveries
    )


VALID: Mapping[str, Callable[[], bytes]] = {
    "silences": lambda: encode_silence(silence(comment=EVIL, author=EVIL, labels={"a": "b"}, cron="* * * * *", span=9)),
    "acks": lambda: encode_ack(Ack(episode=EPISODE, at=1.0, ends_at=2.0, author=EVIL, comment=EVIL)),
    "engines": lambda: encode_engine(EngineInfo(host="h", pid=1, version="1", rules="r")),
    "outbox/0": lambda: encode_entry(
        entry(summary=EVIL, deliveries=(Delivery(target="ops/x", kind=TargetKind.NOTIFY, name="ops"),))
    ),
    "dead": lambda: encode_entry(
        entry(deliveries=(Delivery(target="x", kind=TargetKind.NOTIFY, name=EVIL, state=DeliveryState.FAILED),))
    ),
    "alerts": lambda: encode_alert(firing(name="high", host=EPISODE, episode=EPISODE, subject=EVIL, **ALERT)),
    "hosts": lambda: encode_host(HostInfo(name=EVIL, labels={EVIL: EVIL}, platform=EVIL, version=EVIL)),
    "brakes": lambda: b'{"v":1,"starts":[1],"running":{"a":1}}',
    "actions/web1": lambda: encode_request(
        ActionRequest(id="x", action="a", rule=EVIL, series=EVIL, timeout=1.0, fields={"LD_PRELOAD": EVIL})
    ),
}
FOLDERS = (*VALID, "resend", "closes", "rules/blobs")


def mutations(document: Mapping[str, Any]) -> Iterator[bytes]:
    """A document with one value wrong or gone, for each of its values, those of the objects in it too."""
    for key, value in document.items():
        for odd in (*map(json.dumps, ODD_VALUES.values()), "1e999", "NaN", "9" * 400):
            yield json.dumps({**document, key: "ODD"}).replace('"ODD"', odd, 1).encode()
        yield json.dumps({name: value for name, value in document.items() if name != key}).encode()
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            for data in mutations(inner):
                raw = data.decode() if inner is value else f"[{data.decode()}]"
                yield json.dumps({**document, key: "ODD"}).replace('"ODD"', raw, 1).encode()


def place(tree: Tree, folder: str, number: int, data: bytes) -> str:
    """Where something has to stand to be believed; if nowhere, anywhere in the folder."""
    if folder == "alerts" and isinstance(alert := decode_alert(data), Alert):
        return tree.alert(alert.rule, alert.host, alert.instance)
    if folder in ("outbox/0", "dead") and isinstance(found := decode_entry(data), OutboxEntry):
        return f"{tree.top}/{folder}/{escape(found.effect.id)}"
    if folder == "acks" and isinstance(ack := decode_ack(data), Ack):
        return tree.ack(ack.episode)
    return f"{tree.top}/{folder}/{'lost/' if folder == 'alerts' else ''}bad{number:05x}"


def litter(client: Client, tree: Tree, folder: str) -> int:
    """Put all sorts of things into a folder, and in its own place; how many."""
    client.ensure_path(f"{tree.top}/{folder}{'/lost' if folder == 'alerts' else ''}")
    contents = list(RAW.values())
    if folder in VALID:
        contents += [VALID[folder](), *mutations(json.loads(VALID[folder]()))]
    numbered = (data.replace(EPISODE.encode(), f"{n:016x}".encode()) for n, data in enumerate(contents))
    places = {place(tree, folder, number, data): data for number, data in enumerate(numbered)}
    places |= {f"{tree.top}/{folder}/{name}": b"{}" for name in NAMES}
    for parent in {path.rpartition("/")[0] for path in places}:
        client.ensure_path(parent)
    for reply in [client.create_async(path, data) for path, data in places.items()]:
        reply.get(timeout=20)
    return len(places)


@pytest.fixture(scope="module")
def dump(zookeeper: LocalServer) -> Iterator[tuple[ZookeeperSettings, Client, Tree]]:
    """A tree full of litter."""
    settings = ZookeeperSettings(hosts=zookeeper.hosts, root=f"/t-{secrets.token_hex(6)}", session_timeout=4.0)
    client, tree = make_client(settings), Tree(settings.root)
    client.start(timeout=15)
    open_tree(client, tree)
    for folder in FOLDERS:
        litter(client, tree, folder)
    yield settings, client, tree
    client.delete(tree.top, recursive=True)
    client.stop()
    client.close()


COMMANDS = (
    ("alerts",),
    ("alerts", "--format", "json"),
    ("alerts", "--undelivered"),
    ("alerts", "--undelivered", "--format", "json"),
    ("alerts", "show", "bad"),
    ("alerts", "show", "bad", "--format", "json"),
    ("alerts", "close", "bad"),
    ("alerts", "resend", "--all"),
    ("hosts",),
    ("hosts", "--format", "json"),
    ("engines",),
    ("engines", "--format", "json"),
    ("silence", "list", "--all"),
    ("silence", "list", "--format", "json"),
    ("silence", "show", "bad-0"),
    ("silence", "expire", "bad"),
    ("rules", "history"),
    ("rules", "show"),
    ("log",),
    ("ack", "bad"),
    ("explain", "high", "--rules", "RULES"),
    ("metrics", "--host", "web1"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words) for words in COMMANDS])
def test_no_command_fails_or_drives_the_terminal(
    dump: tuple[ZookeeperSettings, Client, Tree], words: tuple[str, ...], tmp_path: Path
) -> None:
    settings, _, _ = dump
    (tmp_path / "rules.yaml").write_text(HIGH, encoding="utf-8")
    words = tuple(str(tmp_path / "rules.yaml") if word == "RULES" else word for word in words)
    done = run(settings, *words, PYTHONIOENCODING="utf-8:strict")
    assert done.returncode in (0, 1, 2), done.stderr
    said = done.stdout + done.stderr
    assert said
    found = STEERING.search(said)
    assert not found, repr(said[max(0, found.start() - 100) : found.end() + 20])
    assert "Logging error" not in said
