"""A tree that anybody may write into, and somebody does: nothing of it stops an engine, or steers who looks at it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kazoo.security import make_digest_acl

from tests.acceptance.hearing import channels, engine, heard, wait_heard
from tests.acceptance.stage import Stage
from tests.cli.saying import firing, run
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine.facts import AT_ONCE, Facts
from zkalert.localzk import LocalServer
from zkalert.model import (
    FOR_GOOD,
    MAX_SPAN,
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
    Problem,
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
    decode_request,
    encode_ack,
    encode_alert,
    encode_engine,
    encode_entry,
    encode_host,
    encode_request,
    encode_silence,
    escape,
)
from zkalert.watch import FactSeen, FactsSeen
from zkalert.zk import Client, NoNodeError, NotEmptyError, make_client, open_tree

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


# Engines --------------------------------------------------------------------------------------------------------------


def fires_and_resolves(stage: Stage, receiver: HttpReceiver, host: str = "web1") -> None:
    """Somebody hears of an alert and of its end."""
    before = len(heard(receiver))
    for value in (95, 10):
        told = len(heard(receiver))
        stage.publish(value, host=host)
        wait_for(lambda told=told: len(heard(receiver)) > told, f"{value} on {host} to be told", 15)  # type: ignore[misc]
    assert heard(receiver)[before:] == [f"high {host} firing", f"high {host} resolved"]


def test_an_engine_alerts_beside_whatever_lies_there_and_comes_later(
    stage: Stage, http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in FOLDERS:
        litter(stage.client, stage.tree, folder)
    stage.publish(50)
    running = engine(stage, HIGH, channels(http_receiver, "ops"))
    fires_and_resolves(stage, http_receiver)
    for folder in FOLDERS:
        for name in stage.client.get_children(f"{stage.tree.top}/{folder}")[::3]:
            with contextlib.suppress(NoNodeError, NotEmptyError):
                stage.client.delete(f"{stage.tree.top}/{folder}/{name}")
            stage.client.ensure_path(f"{stage.tree.top}/{folder}/later-{name}")
    fires_and_resolves(stage, http_receiver, "web2")
    running.stop()
    assert not [record for record in caplog.records if record.exc_info]


def test_what_may_not_be_read_keeps_nobody_from_the_rest(stage: Stage, http_receiver: HttpReceiver) -> None:
    others = [make_digest_acl("somebody", "else", all=True)]
    folders = (*FOLDERS, "alerts/high", "hosts/web1/metrics")
    stage.publish(50)
    for folder in folders:
        stage.client.ensure_path(f"{stage.tree.top}/{folder}")
        stage.client.create(f"{stage.tree.top}/{folder}/zz", b"{}", acl=others)
    stage.client.create(stage.tree.alert("high", "web1", None), b"{}", acl=others)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    fires_and_resolves(stage, http_receiver)
    for words in (("alerts",), ("hosts",), ("engines",), ("silence", "list")):
        assert run(stage.zookeeper, *words).returncode == 0, words


def test_what_somebody_puts_below_a_record_does_not_keep_it(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    stage.publish(95)
    wait_heard(http_receiver, "high web1 firing")
    stage.client.create(f"{stage.tree.alert('high', 'web1', None)}/child/grandchild", makepath=True)
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    assert stage.alerts() == []
    fires_and_resolves(stage, http_receiver)


def test_nobody_is_silenced_by_what_is_no_silence_nor_acked_under_another_name(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    odd = {
        "never": silence(host="*", cron="0 0 30 2 *", span=MAX_SPAN),
        "nowhere": silence(host="*", cron="* * * * *", timezone="../../etc/passwd", span=60.0),
        "no-cron": silence(host="*", cron=EVIL, span=60.0),
        "bomb": silence(host="*a" * 100, cron="* * * * *", timezone="Pacific/Chatham", span=MAX_SPAN),
        "later": silence(host="*", starts_at=FOR_GOOD - 1),
    }
    stage.client.ensure_path(stage.tree.silences)
    for name, one in odd.items():
        stage.client.create(stage.tree.silence(name), encode_silence(one))
    beyond = json.loads(encode_silence(silence(host="*")))
    for number, wrong in enumerate(({"ends_at": 1e300}, {"starts_at": -1}, {"span": 10 * 366 * 86400})):
        stage.client.create(stage.tree.silence(f"beyond{number}"), json.dumps(beyond | wrong).encode())
    engine(stage, HIGH, channels(http_receiver, "ops"))
    fires_and_resolves(stage, http_receiver)


# What an engine takes of it -------------------------------------------------------------------------------------------


class Nobody:
    """A registry that follows nothing."""

    def follow_fact(self, *_: object) -> None:
        """Nobody answers."""

    def forget(self, path: str) -> None:
        """Nothing was followed."""


def facts() -> tuple[Facts, Tree]:
    tree = Tree("/t")
    return Facts(Nobody(), tree, lambda old, new: None), tree  # type: ignore[arg-type]


def test_many_facts_are_heeded_together() -> None:
    made, tree = facts()
    names = frozenset(f"{number:05d}" for number in range(4 * AT_ONCE))
    made.names_seen(FactsSeen(tree.acks, names))
    heeded = sum(made.fact_seen(FactSeen(tree.acks, name, Ack(episode=name, at=1.0))) for name in names)
    assert heeded == 4
    assert made.fact_seen(FactSeen(tree.acks, "00000", Ack(episode="00000", at=2.0))), "one alone counts at once"


def test_an_ack_that_goes_before_it_was_read_is_not_waited_for() -> None:
    made, tree = facts()
    made.names_seen(FactsSeen(tree.acks, frozenset({"a", "b"})))
    made.fact_seen(FactSeen(tree.acks, "a", Ack(episode="a", at=1.0)))
    assert not made.are_acks_known
    made.names_seen(FactsSeen(tree.acks, frozenset({"a"})))
    assert made.are_acks_known


def test_a_wish_is_handed_out_once_until_it_goes() -> None:
    made, tree = facts()
    made.names_seen(FactsSeen(tree.resend, frozenset({"a", "b"})))
    assert made.wishes(tree.resend) == {"a", "b"}
    made.names_seen(FactsSeen(tree.resend, frozenset({"a", "c"})))
    assert made.wishes(tree.resend) == {"c"}
    made.names_seen(FactsSeen(tree.resend, frozenset({"a", "b"})))
    assert made.wishes(tree.resend) == {"b"}, "wished for anew"
    made.ask_again()
    assert made.wishes(tree.resend) == {"a", "b"}


@pytest.mark.parametrize("document", ['{"a": 1e999}', "[]", "1", '{"a": ' * 900 + "1" + "}" * 900])
def test_a_request_that_cannot_be_written_anew_is_none(document: str) -> None:
    raw = json.loads(VALID["actions/web1"]()) | {"document": "ODD"}
    found = decode_request("x", json.dumps(raw).replace('"ODD"', document).encode())
    assert isinstance(found, Problem) or encode_request(found)
