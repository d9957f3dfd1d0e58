"""What the variables of a template stand for: values that print as people read them, and compare as what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zkalert.metrics import MetricError, Unit, field_of, format_duration, format_quantity, parse_metric
from zkalert.model import Alert, Effect, Threshold, Value
from zkalert.render.text import clock_time, iso, line
from zkalert.render.words import host_words, lasted, limit_words, severity_of, unit_of

UNKNOWN = "unknown"

_MOST_NAME = 1024
_MOST_TEXT = 256


class Named:
    """A host or an instance in a template: prints as its name, and its labels are its attributes."""

    __slots__ = ("_labels", "_name")

    def __init__(self, name: str, labels: Mapping[str, str]) -> None:
        self._name = name
        self._labels = labels

    def __str__(self) -> str:
        return self._name

    def __getitem__(self, label: str) -> str:
        return self._labels[label]

    def __contains__(self, part: str) -> bool:
        return part in self._name

    def __eq__(self, other: object) -> bool:
        return self._name == (other._name if isinstance(other, Named) else other)

    def __hash__(self) -> int:
        return hash(self._name)

    def __len__(self) -> int:
        return len(self._name)


class Labels:
    """The rule's labels in a template. A bare mapping would offer its methods where a label is meant."""

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._labels.items())

    def __getitem__(self, label: str) -> str:
        return self._labels[label]

    def __contains__(self, label: str) -> bool:
        return label in self._labels


class Quantity(float):
    """A number that prints with its unit, and compares and computes as the number."""

    __slots__ = ("_text", "unit")

    _text: str
    unit: Unit

    @classmethod
    def of(cls, number: float, unit: Unit, text: str = "") -> Quantity:
        quantity = cls(number)
        quantity.unit = unit
        quantity._text = text or format_quantity(number, unit)
        return quantity

    def __str__(self) -> str:
        return self._text


class Values:
    """The values of all conditions, counted from 0."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[Quantity | str]) -> None:
        self._values = values

    def __str__(self) -> str:
        return ", ".join(map(str, self._values))

    def __getitem__(self, index: int) -> Quantity | str:
        return self._values[index]

    def __iter__(self) -> Iterator[Quantity | str]:
        return iter(self._values)

    def __reversed__(self) -> Iterator[Quantity | str]:
        return reversed(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Item:
    """One of several alerts in a channel's template: its variables are its attributes, and it prints as its title."""

    __slots__ = ("_effect", "_title", "_values")

    def __init__(self, effect: Effect, title: str) -> None:
        self._effect = effect
        self._title = title
        self._values: Mapping[str, object] | None = None

    def __str__(self) -> str:
        return self._title

    def __getitem__(self, name: str) -> object:
        if self._values is None:
            self._values = {**variables(self._effect), "id": line(self._effect.alert.id, 64), "title": self._title}
        return self._values[name]


class Alerts:
    """All alerts of a message in a channel's template, the worst first."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __str__(self) -> str:
        return "\n".join(map(str, self._items))

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def variables(effect: Effect) -> Mapping[str, object]:
    """What each variable, and `now`, stands for."""
    alert = effect.alert
    unit = unit_of(alert)
    since, seconds = alert.since, lasted(effect)

    def now(name: str) -> Quantity | str:
        return _reading(effect.readings, name)

    return {
        "name": alert.rule,
        "metric": str(alert.metric),
        "value": _value(alert.value, unit),
        "values": Values(_values(alert)),
        "threshold": _limit(alert.threshold, unit),
        "clear": _limit(alert.clear, unit),
        "peak": _value(alert.peak, unit),
        "severity": severity_of(effect).value,
        "since": Quantity.of(since, Unit.EPOCH, iso(since)),
        "duration": Quantity.of(seconds, Unit.SECONDS),
        "state": effect.phase.value,
        "host": Named(line(host_words(alert.host), _MOST_NAME), _lines(effect.host_labels)),
        "instance": Named(line(alert.instance or "", _MOST_NAME), _lines(effect.instance_labels)),
        "labels": Labels(effect.labels),
        "now": now,
    }


def _value(value: Value | None, unit: Unit) -> Quantity | str:
    if value is None:
        return UNKNOWN
    return line(value, _MOST_TEXT) if isinstance(value, str) else Quantity.of(value, unit)


def _limit(limit: Threshold, unit: Unit) -> Quantity | str:
    """A range prints as one text; a limit that there is not is empty, and so false."""
    if limit is None:
        return ""
    return limit_words(limit, unit) if isinstance(limit, tuple) else _value(limit, unit)


def _values(alert: Alert) -> list[Quantity | str]:
    """Those of all conditions. Of several, the unit of one is known: of the one whose value is the alert's."""
    unit = unit_of(alert)
    if not alert.values:
        return [_value(alert.value, unit)]
    is_known = alert.values.count(alert.value) == 1
    return [_value(value, unit if is_known and value == alert.value else Unit.NUMBER) for value in alert.values]


def _reading(readings: Mapping[str, Value], name: str) -> Quantity | str:
    """What a metric said when the effect was made, in the unit that it is published in."""
    try:
        metric = parse_metric(name)
    except MetricError:  # one that only the zkalert which made the effect knows
        return _value(readings.get(name), Unit.NUMBER)
    return _value(readings.get(str(metric)), field_of(metric).unit)


def _lines(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {name: line(text, _MOST_NAME) for name, text in labels.items()}


def as_bytes(value: object) -> str:
    """The filter `bytes`: 2147483648 is `2 GiB`."""
    return format_quantity(_number(value), Unit.BYTES)


def as_percent(value: object) -> str:
    """The filter `percent`, of a number that is a percentage already: 93.4 is `93.4%`."""
    is_ratio = isinstance(value, Quantity) and value.unit is Unit.RATIO
    return format_quantity(_number(value), Unit.RATIO if is_ratio else Unit.PERCENT)


def as_duration(value: object) -> str:
    """The filter `duration`, of seconds: 5400 is `1h30m`."""
    return format_duration(_number(value))


def as_time(value: object) -> str:
    """The filter `time`, of epoch seconds: `2026-11-23 19:39 UTC`."""
    return clock_time(_number(value))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"a number is needed here, not {line(str(value), 60) or 'nothing'}")
    return float(value)
