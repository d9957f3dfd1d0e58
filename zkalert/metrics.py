"""The table of metric families, and the units that thresholds are written in.

Comes in: a family's or field's name, a text such as `90%`, `2GiB`, `10MB/s`, `1h30m`. Goes out: what the table
says, a number in the metric's own unit, a text for people. Nothing here reads a metric.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from zkalert.model import Metric, Stat, Threshold, Value, Window


class Unit(str, Enum):
    """What a number counts; the member's value is what people read."""

    PERCENT = "percent"
    BYTES = "bytes"
    SECONDS = "seconds"
    NUMBER = "number"
    FLAG = "0 or 1"
    EPOCH = "epoch seconds"
    BYTES_PER_SECOND = "bytes per second"
    PER_SECOND = "per second"
    RATIO = "ratio"  # seconds per second, as of busy time
    TEXT = "text"


class Kind(str, Enum):
    """Whether a field is a value of now, or a count since the start that rules judge by its rate."""

    GAUGE = "gauge"
    COUNTER = "counter"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a family: its unit as published, its kind, and a sentence for people."""

    name: str
    unit: Unit
    help: str
    kind: Kind = Kind.GAUGE

    @property
    def judged_unit(self) -> Unit:
        """The unit of the number that a threshold is held against: a counter is judged by its rate."""
        return _RATE_OF[self.unit] if self.kind is Kind.COUNTER else self.unit


@dataclass(frozen=True, slots=True)
class Family:
    """One family: published together, in one znode, at one cadence (`interval`, seconds).

    `main` is the field that a bare family name means, None where there is none. `instance_kind` says what its
    instances are, None where it has none; `has_whole` whether it has a value beside them.
    """

    name: str
    fields: dict[str, Field]
    help: str
    main: str | None = None
    instance_kind: str | None = None
    has_whole: bool = True
    interval: float = 5.0


HOST_FAMILY = "host"
ENGINE_FAMILY = "engine"
"""The family that the engine adds to: it knows who is alive."""

_RATE_OF = {
    Unit.BYTES: Unit.BYTES_PER_SECOND,
    Unit.SECONDS: Unit.RATIO,
    Unit.NUMBER: Unit.PER_SECOND,
}
_SAME_UNIT = frozenset({Stat.LAST, Stat.AVG, Stat.MIN, Stat.MAX, Stat.SUM, Stat.STDDEV, Stat.PERCENTILE, Stat.DELTA})
_ADDED = {(Unit.FLAG, Stat.SUM): Unit.NUMBER, (Unit.EPOCH, Stat.DELTA): Unit.SECONDS}
# A unit as powers of bytes, seconds and percent; what has none of them is a bare number.
_POWERS = {
    Unit.PERCENT: (0, 0, 1),
    Unit.BYTES: (1, 0, 0),
    Unit.SECONDS: (0, 1, 0),
    Unit.EPOCH: (0, 1, 0),
    Unit.BYTES_PER_SECOND: (1, -1, 0),
    Unit.PER_SECOND: (0, -1, 0),
}
_BARE = (0, 0, 0)
_OF_POWERS = {
    (1, 0, 0): Unit.BYTES,
    (0, 1, 0): Unit.SECONDS,
    (1, -1, 0): Unit.BYTES_PER_SECOND,
    (0, -1, 0): Unit.PER_SECOND,
}

_P, _B, _S, _N, _F, _T = Unit.PERCENT, Unit.BYTES, Unit.SECONDS, Unit.NUMBER, Unit.FLAG, Unit.TEXT
_C = Kind.COUNTER


def _family(
    name: str,
    help: str,  # noqa: A002
    *fields: Field,
    main: str | None = None,
    instance_kind: str | None = None,
    has_whole: bool = True,
    interval: float = 5.0,
) -> Family:
    return Family(
        name=name,
        fields={field.name: field for field in fields},
        help=help,
        main=main,
        instance_kind=instance_kind,
        has_whole=has_whole,
        interval=interval,
    )


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _family(
            "memory_usage",
            "Physical memory.",
            Field("percent", _P, "Memory in use that could not be given to a new process at once."),
            Field("total", _B, "Physical memory of the machine."),
            Field("available", _B, "Memory that can be given to processes without swapping."),
            Field("used", _B, "Memory in use, as the system counts it."),
            Field("free", _B, "Memory that is used for nothing at all."),
            Field("active", _B, "Memory used not long ago."),
            Field("inactive", _B, "Memory not used for a while."),
            Field("buffers", _B, "Cache for file system metadata."),
            Field("cached", _B, "Cache for file contents."),
            Field("shared", _B, "Memory that several processes share."),
            Field("slab", _B, "The kernel's own caches."),
            main="percent",
        ),
        _family(
            "cpu_usage",
            "Processor time, as shares of the last interval; an instance per core.",
            Field("percent", _P, "All but idle and waiting for disks."),
            Field("user", _P, "Programs."),
            Field("nice", _P, "Programs of lowered priority."),
            Field("system", _P, "The kernel."),
            Field("iowait", _P, "Idle while a disk was waited for."),
            Field("irq", _P, "Hardware interrupts."),
            Field("softirq", _P, "Software interrupts."),
            Field("steal", _P, "Taken by other guests of a virtual machine's host."),
            Field("guest", _P, "Guests of this machine."),
            Field("idle", _P, "Nothing to do."),
            Field("cores", _N, "Logical processors."),
            main="percent",
            instance_kind="core",
        ),
        _family(
            "disk_usage",
            "Space and inodes of file systems; an instance per mount point.",
            Field("percent", _P, "Space in use, of what unprivileged programs can use."),
            Field("total", _B, "Size."),
            Field("used", _B, "Space in use."),
            Field("free", _B, "Space that unprivileged programs can still use."),
            Field("inodes_percent", _P, "Inodes in use."),
            Field("inodes_total", _N, "Inodes in all."),
            Field("inodes_free", _N, "Inodes left."),
            Field("readonly", _F, "1 where it is mounted read-only."),
            Field("error", _F, "1 where it could not be read."),
            main="percent",
            instance_kind="mount",
            has_whole=False,
            interval=30.0,
        ),
        _family(
            "process_number",
            "Processes, by state.",
            Field("count", _N, "Processes in all."),
            Field("running", _N, "Running, or ready to run."),
            Field("sleeping", _N, "Waiting for something."),
            Field("zombie", _N, "Ended, but not yet collected by their parent."),
            Field("threads", _N, "Threads of all processes."),
            Field("limit", _N, "How many processes the kernel allows."),
            main="count",
        ),
        _family(
            "swap_usage",
            "Swap space.",
            Field("percent", _P, "Swap in use; 0 where there is none."),
            Field("total", _B, "Swap in all."),
            Field("used", _B, "Swap in use."),
            Field("free", _B, "Swap left."),
            Field("in", _B, "Read back from swap since boot.", _C),
            Field("out", _B, "Written to swap since boot.", _C),
            main="percent",
        ),
        _family(
            "load_average",
            "Processes that run or wait to, on average.",
            Field("1m", _N, "Over one minute."),
            Field("5m", _N, "Over five minutes."),
            Field("15m", _N, "Over fifteen minutes."),
            Field("1m_per_cpu", _N, "Over one minute, for each logical processor."),
            Field("5m_per_cpu", _N, "Over five minutes, for each logical processor."),
            Field("15m_per_cpu", _N, "Over fifteen minutes, for each logical processor."),
            main="5m_per_cpu",
        ),
        _family(
            "disk_io",
            "Work of disks since boot; an instance per device.",
            Field("reads", _N, "Reads.", _C),
            Field("writes", _N, "Writes.", _C),
            Field("read_bytes", _B, "Bytes read.", _C),
            Field("write_bytes", _B, "Bytes written.", _C),
            Field("read_time", _S, "Time spent in reads.", _C),
            Field("write_time", _S, "Time spent in writes.", _C),
            Field("busy", _S, "Time with work in hand.", _C),
            Field("queue", _N, "Requests in hand now."),
            instance_kind="device",
            has_whole=False,
        ),
        _family(
            "network_io",
            "Traffic of network interfaces since boot; an instance per interface.",
            Field("rx_bytes", _B, "Bytes received.", _C),
            Field("tx_bytes", _B, "Bytes sent.", _C),
            Field("rx_packets", _N, "Packets received.", _C),
            Field("tx_packets", _N, "Packets sent.", _C),
            Field("rx_errors", _N, "Receive errors.", _C),
            Field("tx_errors", _N, "Send errors.", _C),
            Field("rx_dropped", _N, "Packets dropped while receiving.", _C),
            Field("tx_dropped", _N, "Packets dropped while sending.", _C),
            Field("rx_fifo", _N, "Receive buffer overruns.", _C),
            Field("tx_fifo", _N, "Send buffer overruns.", _C),
            Field("rx_share", _P, "Receive rate of the last interval, of the link's speed."),
            Field("tx_share", _P, "Send rate of the last interval, of the link's speed."),
            Field("up", _F, "1 where the link is up."),
            Field("speed", Unit.BYTES_PER_SECOND, "Speed of the link."),
            instance_kind="interface",
            has_whole=False,
        ),
        _family(
            HOST_FAMILY,
            "The host itself.",
            Field("alive", _F, "1 while its sampler holds its session, 0 once that is lost; the engine makes it."),
            Field("kernel", _T, "Name and release of the kernel.", Kind.TEXT),
            Field("os", _T, "Name and version of the system.", Kind.TEXT),
            interval=30.0,
        ),
        _family(
            ENGINE_FAMILY,
            "The engines of the tree; made by the one that owns it, about no host.",
            Field("rules_skew", _F, "1 while the engines of the tree do not all run the same rules."),
            main="rules_skew",
        ),
        _family(
            "uptime",
            "Time since boot.",
            Field("seconds", _S, "Time since boot."),
            Field("boot_time", Unit.EPOCH, "When the system booted."),
            main="seconds",
            interval=30.0,
        ),
    )
}


SAMPLED = tuple(name for name in FAMILIES if name != ENGINE_FAMILY)
"""The families that a sampler publishes."""


class MetricError(ValueError):
    """A metric's name that the table does not know; `hint` is the nearest right one, or empty."""

    def __init__(self, message: str, *, expected: str, hint: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.hint = hint


def nearest(name: str, names: Iterable[str]) -> str:
    """The name most like `name`, or an empty text where none is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return close[0] if close else ""


def parse_metric(text: str) -> Metric:
    """`family.field`, or a bare family for its main field.

    Raises MetricError where the table knows no such metric, or a bare family has no main field.
    """
    family_name, _, field_name = text.partition(".")
    family = FAMILIES.get(family_name)
    if family is None:
        hint = nearest(family_name, FAMILIES)
        if hint and field_name and field_name in FAMILIES[hint].fields:
            hint = f"{hint}.{field_name}"
        elif not hint:
            hint = _by_field(family_name)
        raise MetricError(f'unknown metric "{text}"', expected="one of " + ", ".join(sorted(FAMILIES)), hint=hint)
    if not field_name and "." not in text:
        if family.main is None:
            raise MetricError(
                f'"{text}" has no main field; name one',
                expected="one of " + ", ".join(f"{text}.{name}" for name in family.fields),
            )
        return Metric(family_name, family.main)
    if field_name not in family.fields:
        near = nearest(field_name, family.fields)
        raise MetricError(
            f'"{family_name}" has no field "{field_name}"',
            expected="one of " + ", ".join(family.fields),
            hint=f"{family_name}.{near}" if near else "",
        )
    return Metric(family_name, field_name)


def _by_field(text: str) -> str:
    """For a short name such as `memory` or `cpu`: the family that begins with it."""
    return next((name for name in FAMILIES if text and name.startswith(text)), "")


def field_of(metric: Metric) -> Field:
    """What the table says of a metric. Raises KeyError for one it does not know."""
    return FAMILIES[metric.family].fields[metric.field]


def windowed_unit(field: Field, window: Window | None) -> Unit:
    """The unit of what a window gives of a field; without one, of the field as it is judged."""
    if window is None:
        return field.judged_unit
    if window.stat in _SAME_UNIT:
        return _ADDED.get((field.unit, window.stat), field.unit)
    if window.stat is Stat.RATE:
        return _RATE_OF.get(field.unit, Unit.NUMBER)
    return Unit.SECONDS if window.stat is Stat.TIME_TO else Unit.NUMBER


def quotient_unit(unit: Unit, other: Unit) -> Unit:
    """The unit of one number divided by another; of two that have the same unit it is a percentage."""
    mine, theirs = _POWERS.get(unit, _BARE), _POWERS.get(other, _BARE)
    powers = (mine[0] - theirs[0], mine[1] - theirs[1], mine[2] - theirs[2])
    return Unit.PERCENT if powers == _BARE else _OF_POWERS.get(powers, Unit.NUMBER)


class QuantityError(ValueError):
    """A text that is no quantity of the unit asked for; `expected` gives examples of what is."""

    def __init__(self, message: str, *, expected: str) -> None:
        super().__init__(message)
        self.expected = expected


_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z%/]*)\s*", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_SPANS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SIZES = {prefix + "B": float(factor) for prefix, factor in (_DECIMAL | _BINARY).items()}

_SUFFIXES: dict[Unit, dict[str, float]] = {
    Unit.PERCENT: {"%": 1.0},
    Unit.BYTES: _SIZES,
    Unit.BYTES_PER_SECOND: {f"{suffix}/s": factor for suffix, factor in _SIZES.items()},
    Unit.PER_SECOND: {"/s": 1.0},
    Unit.RATIO: {"%": 0.01},
    Unit.NUMBER: {"k": 1e3, "M": 1e6, "G": 1e9},
    Unit.FLAG: {},
    Unit.TEXT: {},
    Unit.EPOCH: {},
    Unit.SECONDS: {},
}
_EXAMPLES = {
    Unit.PERCENT: "a percentage: 90 or 90%",
    Unit.BYTES: "a size: 1073741824, 500MB or 2GiB",
    Unit.BYTES_PER_SECOND: "a rate: 1000000, 10MB/s or 5MiB/s",
    Unit.PER_SECOND: "a rate: 100 or 100/s",
    Unit.RATIO: "a ratio: 0.8 or 80%",
    Unit.NUMBER: "a number: 500 or 2k",
    Unit.FLAG: "0 or 1",
    Unit.TEXT: "a text",
    Unit.EPOCH: "a number of seconds since 1970",
    Unit.SECONDS: "a span: 90, 500ms, 90s, 5m or 1h30m",
}


def parse_quantity(text: str | float, unit: Unit) -> float:
    """A threshold as written, in `unit`; a bare number is in that unit already.

    Raises QuantityError where the text is no quantity, has a unit that does not fit, or is not finite.
    """
    if isinstance(text, (int, float)):
        try:
            number = float(text)
        except OverflowError:  # of an int with hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise QuantityError("not a finite number", expected=_EXAMPLES[unit])
        return number
    if unit is Unit.SECONDS and _DURATION.fullmatch(text.strip()):
        return parse_duration(text.strip())
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise QuantityError(f'"{text}" is not a quantity', expected=_EXAMPLES[unit])
    number, suffix = parse_quantity(float(match[1]), unit), match[2]
    if not suffix:
        return number
    factor = _SUFFIXES[unit].get(suffix)
    if factor is None:
        raise QuantityError(f'"{suffix}" in "{text}" does not fit a metric in {unit.value}', expected=_EXAMPLES[unit])
    if factor < 1:
        return number / round(1 / factor)  # 95 * 0.01 is a little more than 0.95
    return parse_quantity(number * factor, unit)  # the factor may have taken it beyond what is finite


def parse_duration(text: str) -> float:
    """`500ms`, `90s`, `1h30m`, `7d`, `2w` in seconds. Raises QuantityError for anything else."""
    if not _DURATION.fullmatch(text):
        raise QuantityError(
            f'"{text}" is not a duration', expected="a number and a unit: 500ms, 90s, 5m, 1h30m, 7d or 2w"
        )
    return sum(float(number) * _SPANS[unit] for number, unit in _DURATION_PART.findall(text))


def format_duration(seconds: float) -> str:
    """Seconds for people, the two largest units: `1h30m`, `12s`, `350ms`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95 and abs(seconds - round(seconds)) >= 0.05:
        return f"{seconds:.1f}s"
    left = round(seconds)
    parts = []
    for unit, span in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, span)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts[:2]) or "0s"


def format_quantity(value: float, unit: Unit) -> str:
    """A value for people, with its unit: `91.4%`, `2.1 GiB`, `12.3 MB/s`, `5m`."""
    if unit is Unit.PERCENT:
        return f"{_trim(value)}%"
    if unit is Unit.RATIO:
        return f"{_trim(value * 100)}%"
    if unit is Unit.BYTES:
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
    if unit is Unit.BYTES_PER_SECOND:
        return _scaled(value, 1000, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))
    if unit is Unit.PER_SECOND:
        return f"{_trim(value)}/s"
    if unit is Unit.SECONDS:
        return format_duration(value)
    return _trim(value)


def format_value(value: Value | None, unit: Unit) -> str:
    """Any value for people: a number with its unit, a text as it is, `unknown` for None."""
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else format_quantity(value, unit)


def format_limit(threshold: Threshold, unit: Unit) -> str:
    """What a value is held against: `90%`, `10% and 20%`, a text in quotes; empty where there is none."""
    if threshold is None:
        return ""
    if isinstance(threshold, tuple):
        return " and ".join(format_quantity(end, unit) for end in threshold)
    return f'"{threshold}"' if isinstance(threshold, str) else format_quantity(threshold, unit)


def _trim(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:.3g}"


def _scaled(value: float, base: int, names: tuple[str, ...]) -> str:
    for name in names[:-1]:
        if abs(value) < base:
            return f"{_trim(round(value, 1))} {name}"
        value /= base
    return f"{_trim(round(value, 1))} {names[-1]}"
