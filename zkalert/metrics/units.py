"""The units that thresholds are written in: texts such as `90%`, `2GiB`, `10MB/s`, `1h30m`, and back."""

from __future__ import annotations

import math
import re

from zkalert.metrics.kinds import RATE_OF, Field, Unit
from zkalert.model import Stat, Threshold, Value, Window

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


def windowed_unit(field: Field, window: Window | None) -> Unit:
    """The unit of what a window gives of a field; without one, of the field as it is judged."""
    if window is None:
        return field.judged_unit
    if window.stat in _SAME_UNIT:
        return _ADDED.get((field.unit, window.stat), field.unit)
    if window.stat is Stat.RATE:
        return RATE_OF.get(field.unit, Unit.NUMBER)
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
    Unit.ANY: _SIZES | {"%": 1.0, "k": 1e3, "M": 1e6, "G": 1e9},
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
    Unit.ANY: "a number: 500, 2k, 90%, 2GiB or 5m",
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
    if (unit is Unit.SECONDS or unit is Unit.ANY) and _DURATION.fullmatch(text.strip()):
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
