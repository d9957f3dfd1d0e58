"""Payloads of znodes and lines of a history: well made, and then hurt."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import nasty
from tests.fuzz.running import START
from zkalert import documents, rulefile, tree
from zkalert.evaluate import families_of
from zkalert.model import (
    Alert,
    Alive,
    Clock,
    Comparator,
    Delivery,
    Effect,
    EngineInfo,
    Hold,
    HostInfo,
    Metric,
    Moment,
    Observation,
    OutboxEntry,
    Phase,
    Reason,
    Rule,
    Sample,
    Seen,
    Severity,
    State,
    TargetKind,
)
from zkalert.rulebook import Rulebook, readers

_MAX_SIZE = 64 * 1024
_RULE = "memory-high"


def _alert(**more: Any) -> Alert:
    hold = Hold(held=120.0, at=START, mono=0.0, cover=15.0, gaps=1)
    facts: dict[str, Any] = {
        "rule": _RULE,
        "host": "web1",
        "state": State.FIRING,
        "episode": "0123456789abcdef",
        "digest": "d1",
        "severity": Severity.CRITICAL,
        "metric": Metric("memory_usage", "percent"),
        "subject": "memory_usage.percent",
        "unit": "percent",
        "comparator": Comparator.GT,
        "threshold": 90,
        "clear": 85.5,
        "value": 95.25,
        "peak": 97,
        "since": START - 120,
        "fired_at": START,
        "clocks": (Clock(State.FIRING, hold, None, ((START - 300, START - 200),)),),
        "told": (Severity.WARNING,),
    }
    return Alert(**(facts | more))


def _effect(alert: Alert, phase: Phase = Phase.FIRING, reason: Reason = Reason.HELD, **more: Any) -> Effect:
    facts: dict[str, Any] = {
        "labels": {"team": "ops"},
        "host_labels": {"role": "web"},
        "instance_labels": {"device": "sda"},
        "readings": {"memory_usage.available": 2**30},
        "summary": "{{ value }} on {{ host }}",
        "description": "{{ now('memory_usage.available') | bytes }} are left",
        "runbook": "https://example.org/{{ name }}",
    }
    return Effect(alert=alert, phase=phase, reason=reason, at=START, **(facts | more))


EFFECTS = (
    _effect(_alert()),
    _effect(
        _alert(value=None, peak=None, is_quiet=True, threshold=None, clear=None, comparator=Comparator.ABSENT),
        reason=Reason.NO_DATA,
        readings={},
    ),
    _effect(
        _alert(
            value="a\x1b[31m\u2028b", peak="{{ value }}", comparator=Comparator.MATCHES, threshold="a.*", unit="text"
        ),
        Phase.RESOLVED,
        Reason.CLEARED,
    ),
    _effect(
        _alert(
            instance="/\n\ud800",
            value=1e308,
            values=(1e308, None, "x", -0.0),
            threshold=(5e-324, 2**64),
            unit="bytes",
            members=(3, 1),
            since=START + 1e9,
        ),
        Phase.ESCALATED,
        Reason.ROSE,
        name="escalated-critical",
        readings={"memory_usage.available": "text"},
    ),
)

_SAMPLE = Sample(
    family="memory_usage",
    at=START,
    interval=5.0,
    max_age=15.0,
    values={"percent": 95.5, "total": 2**34, "available": 10**9, "kind": "a"},
    instances={"/": {"percent": 12, "total": 5}},
    labels={"/": {"device": "sda"}},
    errors=("cannot be read",),
)
_SEEDS = (
    tree.encode_sample(_SAMPLE),
    tree.encode_host(HostInfo(name="web1", labels={"role": "web"}, platform="Linux", version="1.0")),
    tree.encode_alive(Alive(machine="m", pid=4711, started_at=START)),
    tree.encode_engine(EngineInfo(version="1.0", rules="d", host="web1", pid=1)),
    tree.encode_seen(Seen(START, "d")),
    tree.encode_layout(),
    *(tree.encode_alert(effect.alert) for effect in EFFECTS),
    *(
        tree.encode_entry(
            OutboxEntry(
                effect=effect, deliveries=(Delivery(target="ops/1", kind=TargetKind.NOTIFY, name="ops"),), writer="1-1"
            )
        )
        for effect in EFFECTS
    ),
)

_JSON = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e308",
    "-0.0",
    "1E400",
    "9" * 5000,
    "9" * 400,
    "18446744073709551617",
    "-9223372036854775809",
    "253402300800",
    "1e12",
    "-62135596801",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "[[[]]]",
    "[" * 2000 + "]" * 2000,
    "[" * 30000,
    '"\\ud800"',
    '"\\u0000"',
    '"\\u2028\\n\\u001b[31m"',
    '"' + "a" * 257 + '"',
    '"' + "\u00e9" * 256 + '"',
    "'a'",
    "{{ value }}",
    "[1, 2]",
    "[1]",
    '"firing"',
    '"<"',
    '"absent"',
    '"bytes"',
    '"{{ value | bytes }}{{ since | time }}"',
)


# Payloads -------------------------------------------------------------------------------------------------------------


def payloads() -> st.SearchStrategy[bytes]:
    """Payloads near those that zkalert writes."""
    return st.randoms(use_true_random=True).map(_payload)


def _payload(random: Random) -> bytes:
    if random.random() < 0.02:
        return random.randbytes(random.randrange(200))
    document = json.loads(pick(random, _SEEDS))
    raws: list[str] = []
    for _ in range(pick(random, (1, 1, 2, 3, 6))):
        _hurt(document, random, raws)
    return _hurt_text(_written(document, raws), random).encode("utf-8", "surrogatepass")[:_MAX_SIZE]


def pick(random: Random, options: Sequence[Any]) -> Any:
    return options[random.randrange(len(options))]


def _hurt(document: Any, random: Random, raws: list[str]) -> None:
    """Change one value, one key, or one item; a raw value is written as such later."""
    slots = list(_slots(document))
    if not slots:
        return
    inside, place = pick(random, slots)
    how = random.randrange(10)
    if how == 0:
        del inside[place]
    elif how == 1 and isinstance(inside, dict):
        inside[pick(random, (*nasty.TEXTS, *inside))] = inside.pop(place)
    elif how == 2:
        inside[place] = copy.deepcopy(pick(random, slots)[0])
    elif how == 3 and isinstance(inside, list):
        inside[place:place] = [inside[place]] * pick(random, (1, 3, 300))
    else:
        raws.append(pick(random, _JSON))
        inside[place] = f"\x01{len(raws) - 1}\x01"


def _slots(document: Any) -> Iterator[tuple[Any, Any]]:
    """Each value, as the mapping or list that it stands in and its place there."""
    places = list(document) if isinstance(document, dict) else range(len(document))
    for place in places:
        yield document, place
        if isinstance(document[place], (dict, list)) and document[place] is not document:
            yield from _slots(document[place])


def _written(document: Any, raws: list[str]) -> str:
    try:
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    except ValueError:  # it holds itself by now
        return "{}"
    for index, raw in enumerate(raws):
        text = text.replace(f'"\\u0001{index}\\u0001"', raw)
    return text


def _hurt_text(text: str, random: Random) -> str:
    how = random.randrange(10)
    at = random.randrange(len(text) + 1)
    if how == 0:
        return text[:at]
    if how == 1:
        return f"{text[:at]}{pick(random, nasty.CHARACTERS)}{text[at + 1 :]}"
    return text


def check_restored(alert: Alert) -> None:
    """A record of unknown origin comes back after a restart: samples and time end it like any other."""
    rules = [rule for rule in _rules() if rule.name == alert.rule] or list(_rules()[:1])
    book = Rulebook(lambda *_: None, lambda: "0" * 16)
    book.set_rules(rules)
    host = HostInfo(name=alert.host)
    for watcher in book.watchers.values():
        if watcher.follows(host):
            watcher.attach(host)
    now = Moment(START, 100.0)
    book.restore([alert], now)
    for step in range(5):
        mono = 100.0 + 60 * step
        book.fire_timers(mono, lambda mono: START - 100 + mono)
        for rule in rules:
            for family in families_of(rule):
                _look(book, host, family, 97.0 if step < 3 else 1.0, Moment(START - 100 + mono, mono))
    book.blind(200.0)


def _look(book: Rulebook, host: HostInfo, family: str, value: float, now: Moment) -> None:
    values = {"percent": value, "available": value}
    sample = Sample(family=family, at=now.at, interval=5, max_age=15, values=values, instances={"/": values})
    watchers = readers(book.watchers, host, family)
    book.judge(Observation(host=host.name, sample=sample, now=now), watchers, now)


def check_judged(sample: Sample) -> None:
    """What is in a znode may be judged by any rule on its family."""
    book = Rulebook(lambda *_: None, lambda: "0" * 16)
    book.set_rules(_rules())
    host = HostInfo(name="web1")
    for watcher in book.watchers.values():
        watcher.attach(host)
    for step in range(3):
        now = Moment(START + 60 * step, 100.0 + 60 * step)
        book.fire_timers(now.mono, lambda mono: START - 100 + mono)
        watchers = readers(book.watchers, host, sample.family)
        book.judge(Observation(host=host.name, sample=sample, now=now), watchers, now)


@functools.cache
def _rules() -> tuple[Rule, ...]:
    """One rule of each sort, on memory."""
    text = """
rules:
  - {name: memory-high, metric: memory_usage, comparator: ">", threshold: 90, clear: 85.5, duration: 1m, repeat: 1m}
  - {name: plain, metric: memory_usage, comparator: ">=", threshold: 0}
  - {name: window, metric: memory_usage, over: 1m, stat: stddev, comparator: ">", threshold: 1}
  - {name: line, metric: memory_usage.available, over: 10m, stat: {time_to: 0}, comparator: "<", threshold: 1h}
  - {name: share, metric: memory_usage.available, relative_to: memory_usage.total, comparator: "<", threshold: 50%}
  - {name: changed, metric: memory_usage.total, comparator: changed}
  - {name: gone, metric: memory_usage.total, comparator: absent}
  - {name: fleet, metric: memory_usage, comparator: ">", threshold: 5, across: {of: hosts, stat: sum}}
  - name: ladder
    metric: memory_usage
    comparator: ">"
    levels: [{severity: warning, threshold: 50, duration: 5s}, {severity: critical, threshold: 90}]
"""
    rules, findings = rulefile.parse(text, "rules.yaml")
    assert rules, findings
    return rules


# History --------------------------------------------------------------------------------------------------------------


@functools.cache
def shipped_rules() -> tuple[Rule, ...]:
    """The rules that come with zkalert, and those on memory."""
    loaded = rulefile.load([documents.shipped("rules")])
    return (*loaded.rules, *(rule for rule in _rules() if rule.name not in {one.name for one in loaded.rules}))


def histories() -> st.SearchStrategy[bytes]:
    """Exports of a history, in both forms."""
    return st.randoms(use_true_random=True).map(_history)


def _history(random: Random) -> bytes:
    if random.random() < 0.02:
        return random.randbytes(random.randrange(200))
    makers: tuple[Callable[[Random, float], str], ...] = (_json_line, _csv_lines)
    make = pick(random, makers)
    at = START
    lines = ["time,host,family,instance,field,value\n"] if make is _csv_lines else []
    for _ in range(pick(random, (2, 10, 40))):
        at += pick(random, (5.0, 5.0, 5.0, 5.0, 60.0, 0.0, -3.0, -90.0, 86400.0, 34559999.0))
        lines.append(make(random, at))
    text = "".join(lines)
    for _ in range(pick(random, (0, 1, 1, 3))):
        spot = random.randrange(len(text) + 1)
        patch = pick(random, (pick(random, nasty.CHARACTERS), pick(random, _JSON), "\n", '"', ",", "\n\n{", "\r"))
        text = text[:spot] + patch + text[spot + pick(random, (0, 0, 1, 1, 30)) :]
    return text.encode("utf-8", "surrogatepass")[:_MAX_SIZE]


def _json_line(random: Random, at: float) -> str:
    family = pick(random, ("memory_usage", "memory_usage", "disk_usage", "cpu_usage", "host", "x"))
    values = {"percent": pick(random, (5, 95.5, 99)), "total": 10, "available": 5}
    document: dict[str, Any] = {
        "v": 1,
        "time": round(at, 3),
        "interval": 5.0,
        "max_age": 15.0,
        "values": values,
        "instances": {"/": dict(values)},
        "host": pick(random, ("web1", "web2")),
        "family": family,
    }
    raws: list[str] = []
    if random.random() < 0.15:
        _hurt(document, random, raws)
    return _written(document, raws) + "\n"


def _csv_lines(random: Random, at: float) -> str:
    moment = pick(random, (_iso(at),) * 20 + ("0001-01-01", "9999-12-31T23:59:59Z", "2026-W48-1", "1e9", ""))
    family = pick(random, ("memory_usage", "memory_usage", "disk_usage", "x"))
    value = pick(random, ("95", "12.5", "99", "5", "nan", "1e999", "", "a", "1_000", "\u0665", "9" * 400, '"a\nb"'))
    instance = pick(random, ("", "", "/", '"a,b"', '"a""b"'))
    host = pick(random, ("web1",) * 5 + ("", "a\x1bb"))
    return f"{moment},{host},{family},{instance},percent,{value}\n"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
