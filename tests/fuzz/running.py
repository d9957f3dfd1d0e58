"""What has to hold of rules that were accepted, whatever the samples are, and of records, whoever wrote them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from zkalert import backtest, tree
from zkalert.metrics import OWN_ENSEMBLE, Kind, family_of, is_znode, parse_pattern
from zkalert.model import (
    Alert,
    Condition,
    Delivery,
    Effect,
    HostInfo,
    Message,
    OutboxEntry,
    Rule,
    Sample,
    TargetKind,
    Value,
)
from zkalert.render import MAX_BODY, MAX_TITLE, render
from zkalert.replay import Replay

START = 1_700_000_000.0
_TICKS = 40
_MAX_RULES = 60
_HOSTS = (
    HostInfo(name="web1", labels={"role": "web", "dc": "fra1"}),
    HostInfo(name="db-2.example.org", labels={"role": "db"}),
)
_INSTANCES = ("/", "/var", "eth0", "cpu0", "a,b\n\u2028", "")
_NUMBERS: tuple[Value, ...] = (0, 1, -1, 50, 99.9, 100, 1e-300, 1e15, 2**63, 2**64, 1e308, -1e308, 5e-324)
_TEXTS: tuple[Value, ...] = ("", "clean", "6.1.0", "a" * 256, "a" * 40 + "!", "\ud800\n\x1b", "{{ value }}", "90")


def replay(rules: Sequence[Rule], random: Random) -> int:
    """Samples of all sorts through rules; how many messages came of it."""
    rules = rules[:_MAX_RULES]
    run = Replay(rules, channels=backtest.stand_ins(rules))
    fields = _fields(rules)
    now = START
    for info in _HOSTS:
        run.host(info, now)
        run.alive(info.name, now, is_alive=True)
    for name in sorted({ensemble for family in fields if (ensemble := _ensemble(family)) is not None}):
        run.host(HostInfo(name=name, is_ensemble=True), now)
    for _ in range(_TICKS):
        now = round(now + random.choice((0.0, 0.5, 5.0, 5.0, 5.0, 30.0, 60.0, 60.0, 1800.0)), 3)
        host = random.choice(_HOSTS).name
        if random.random() < 0.05:
            run.alive(host, now, is_alive=random.random() < 0.5)
        for family, names in fields.items():
            if random.random() < 0.8:
                run.sample(_ensemble(family) or host, _sample(family, names, now, rules, random), now)
    run.advance(now + 3600.0)
    for alert in run.alerts():
        check_alert(alert)
    changes, outcomes = run.take()
    for change in changes:
        check_alert(change.new)
    for outcome in outcomes:
        check_effect(outcome.decision.effect)
    return len(outcomes)


def _ensemble(family: str) -> str | None:
    """The ensemble that a family is told of, None for one of hosts."""
    if is_znode(family):
        return parse_pattern(family).ensemble
    return None if family_of(family).of_hosts else OWN_ENSEMBLE


def _instances(family: str) -> Iterable[str]:
    if not is_znode(family):
        return _INSTANCES
    pattern = parse_pattern(family)
    return [pattern.path(len(pattern.parts), (name,) * len(pattern.labels)) for name in ("a", "b,%", "\u00e9")]


def _fields(rules: Iterable[Rule]) -> dict[str, dict[str, None]]:
    """What to make samples of: the families that rules read, and those of their fields that rules read."""
    found: dict[str, dict[str, None]] = {}
    for rule in rules:
        terms = [term for one in rule.conditions for term in (one.term, one.relative_to) if term is not None]
        for metric in (*(term.metric for term in terms), *rule.reads):
            found.setdefault(metric.family, {})[metric.field] = None
    return found


def _sample(family: str, names: Iterable[str], at: float, rules: Sequence[Rule], random: Random) -> Sample:
    """A sample as it comes out of its znode: texts may stand where numbers should, and the other way round."""
    conditions = [one for rule in rules for one in rule.conditions if one.term.metric.family == family]
    sample = Sample(
        family=family,
        at=at,
        interval=family_of(family).interval,
        max_age=family_of(family).interval * 3,
        values=_values(family, names, conditions, random),
        instances={
            name: _values(family, names, conditions, random) for name in _instances(family) if random.random() < 0.4
        },
        labels={"/": {"device": "sda", "fstype": "ext4"}},
        errors=("cannot be read",) if random.random() < 0.1 else (),
    )
    decoded = tree.decode_sample(family, tree.encode_sample(sample))
    assert isinstance(decoded, Sample), decoded
    return decoded


def _values(family: str, names: Iterable[str], conditions: Sequence[Condition], random: Random) -> Mapping[str, Value]:
    values: dict[str, Value] = {}
    for name in names:
        kind = random.random()
        if kind < 0.1:
            continue
        own = family_of(family).field(name).kind
        if own is Kind.TEXT or (own is Kind.ANY and random.random() < 0.3):
            values[name] = random.choice(_TEXTS)
        elif kind < 0.2:
            values[name] = random.choice((*_TEXTS, *_NUMBERS, *_NUMBERS))
        else:
            values[name] = random.choice(_near(conditions))
    return values


def _near(conditions: Sequence[Condition]) -> list[float]:
    """Numbers about the thresholds, where most is decided."""
    limits: list[float] = [50.0]
    for one in conditions:
        limits += one.threshold if isinstance(one.threshold, tuple) else []
        limits += [one.threshold] if isinstance(one.threshold, (int, float)) else []
    near = [factor * limit for limit in limits for factor in (0.0, 0.5, 1.0, 1.000001, 2.0)]
    return [number for number in near if math.isfinite(number) and -(2**63) <= number <= 2**64]


def check_alert(alert: Alert) -> None:
    """An alert comes out of its znode as it went in."""
    data = tree.encode_alert(alert)
    back = tree.decode_alert(data)
    assert isinstance(back, Alert), back
    assert tree.encode_alert(back) == data, "an alert is another one once it was stored"


def check_effect(effect: Effect) -> Message:
    """An effect comes out of the outbox as it went in, and makes a message within its bounds."""
    delivery = Delivery(target="ops/1", kind=TargetKind.NOTIFY, name="ops")
    data = tree.encode_entry(OutboxEntry(effect=effect, deliveries=(delivery,), writer="1-1"))
    back = tree.decode_entry(data)
    assert isinstance(back, OutboxEntry), back
    assert tree.encode_entry(back) == data, "an effect is another one once it was stored"
    return check_message(effect)


def check_message(effect: Effect) -> Message:
    message = render(effect)
    assert 0 < len(message.title) <= MAX_TITLE
    assert 0 < len(message.body.encode()) <= MAX_BODY
    assert _is_one_line(message.title), "control characters in a title"
    assert _is_one_line(message.key), "control characters in a key"
    assert all(isinstance(text, str) for text in message.fields.values())
    return message


def _is_one_line(text: str) -> bool:
    """Whether there are no control characters, lone surrogates, and separators of lines."""
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)
