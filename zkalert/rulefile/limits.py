"""Thresholds, and the values that clear: parsed in the unit of what is judged, and on the right side of each other."""

from __future__ import annotations

from typing import Any, TypeAlias

from zkalert.documents import show, without_urls
from zkalert.documents.patterns import pattern_problem
from zkalert.metrics import QuantityError, Unit, format_quantity, parse_quantity
from zkalert.model import Comparator, Threshold
from zkalert.rulefile.keys import Keys, Path, Report
from zkalert.rulefile.measure import Scale

Range: TypeAlias = tuple[float, float]

WITHOUT_THRESHOLD = frozenset({Comparator.ABSENT, Comparator.CHANGED})
RANGES = frozenset({Comparator.BETWEEN, Comparator.OUTSIDE})
PATTERNS = frozenset({Comparator.MATCHES, Comparator.NOT_MATCHES})
ABOVE = frozenset({Comparator.GT, Comparator.GE})
BELOW = frozenset({Comparator.LT, Comparator.LE})
CLEARABLE = ABOVE | BELOW | RANGES

_OF_TEXTS = PATTERNS | WITHOUT_THRESHOLD | {Comparator.EQ, Comparator.NE}


def fits(keys: Keys, comparator: Comparator, scale: Scale) -> bool:
    """Whether a comparator can judge what the scale measures; a finding where it cannot."""
    is_text = scale.unit is Unit.TEXT
    if is_text is (comparator in PATTERNS):
        return True
    if comparator in WITHOUT_THRESHOLD or comparator is Comparator.EQ or comparator is Comparator.NE:
        return True
    if is_text:
        message, names = f"{scale.subject} is a text, which {comparator.value} cannot judge", _OF_TEXTS
        expected = "one of " + ", ".join(name.value for name in Comparator if name in names)
    else:
        message = f"{scale.subject} is a number, which {comparator.value} cannot judge"
        expected = "one of " + ", ".join(name.value for name in Comparator if name not in PATTERNS)
    keys.wrong("comparator", "wrong-comparator", message, expected=expected)
    return False


def read(keys: Keys, comparator: Comparator, scale: Scale) -> tuple[bool, Threshold, Threshold]:
    """Whether all is well, and the threshold and the value that clears it, None where they are not there."""
    values = keys.values
    if comparator in WITHOUT_THRESHOLD:
        return not refused(keys, comparator), None, None
    threshold = parse(keys, "threshold", comparator, scale) if "threshold" in values else None
    is_well = threshold is not None or "threshold" not in values
    if "clear" not in values:
        return is_well, threshold, None
    if comparator not in CLEARABLE:
        keys.misplaced(
            "clear",
            "wrong-clear",
            f"{comparator.value} takes no clear: it clears as soon as it no longer holds",
            expected="no key clear here; clear_duration says how long it must be over",
        )
        return False, threshold, None
    clear = parse(keys, "clear", comparator, scale)
    return is_well and clear is not None, threshold, clear


def refused(keys: Keys, comparator: Comparator) -> bool:
    """Whether there are thresholds beside a comparator that takes none; a finding for each."""
    found = [key for key in ("threshold", "clear") if key in keys]
    for key in found:
        message = f"{comparator.value} takes no {key}"
        keys.misplaced(key, "clashing-keys", message, expected=f"no key {key} beside {comparator.value}")
    return bool(found)


def parse(keys: Keys, key: str, comparator: Comparator, scale: Scale) -> Threshold:
    """A threshold, or the value that clears it, or None and a finding."""
    written, path, report = keys.values[key], keys.at(key), keys.report
    if comparator in RANGES:
        return _range(report, path, written, comparator, scale)
    if isinstance(written, list):
        message = f"{key}: found a list"
        report.add(
            path, "wrong-threshold", message, expected=f"one value; a list goes with {' and '.join(_RANGE_NAMES)}"
        )
        return None
    if scale.unit is Unit.TEXT:
        return _text(report, path, written, comparator)
    return _number(report, path, written, scale)


_RANGE_NAMES = ("between", "outside")


def _number(report: Report, path: Path, written: float | str, scale: Scale) -> float | None:
    try:
        number = parse_quantity(written, scale.unit)
    except QuantityError as error:
        report.add(path, "wrong-threshold", without_urls(str(error)[:200]), expected=error.expected)
        return None
    if scale.needs_percent and "%" not in str(written):
        plain, scaled = _plain(number), _plain(number * 100)
        report.add(
            path,
            "wrong-threshold",
            f"{plain} could be {plain}% or {scaled}%",
            expected="a percentage with its sign, as of two numbers with the same unit",
            hint=f"write {plain}% or {scaled}%",
        )
        return None
    return number


def _plain(number: float) -> str:
    return f"{number:.6g}"


def _range(report: Report, path: Path, written: Any, comparator: Comparator, scale: Scale) -> Range | None:
    if not isinstance(written, list):
        message = f"{path[-1]}: found {show(written)}"
        report.add(path, "wrong-threshold", message, expected=f"a list for {comparator.value}: [low, high]")
        return None
    ends = [_number(report, (*path, index), end, scale) for index, end in enumerate(written)]
    low, high = ends
    if low is None or high is None:
        return None
    if low < high:
        return low, high
    shown = f"[{format_quantity(low, scale.unit)}, {format_quantity(high, scale.unit)}]"
    report.add(path, "wrong-threshold", f"{path[-1]}: {shown} is no range", expected="[low, high], the lower one first")
    return None


def _text(report: Report, path: Path, written: Any, comparator: Comparator) -> str | None:
    if not isinstance(written, str):
        text = report.document.written(path)[0][:60]
        message = f"{path[-1]}: found {show(written)}"
        report.add(path, "wrong-threshold", message, expected="a text", hint=f'quote it: "{text}"')
        return None
    problem = pattern_problem(written) if comparator in PATTERNS else None
    if problem is None:
        return written
    report.add(
        path,
        "wrong-pattern",
        f"{path[-1]}: {problem}",
        expected="a regular expression of at most 512 characters, in which no two repeats can take the same text",
    )
    return None


_CLEARED = {
    Comparator.GT: "a value at most",
    Comparator.GE: "a value below",
    Comparator.LT: "a value at least",
    Comparator.LE: "a value above",
}


def check_sides(
    report: Report, path: Path, comparator: Comparator, threshold: Threshold, clear: Threshold, unit: Unit
) -> bool:
    """Whether `clear`, which stands at `path`, lies on the side of its threshold where the alert is over."""
    if clear is None or threshold is None:
        return True
    if isinstance(threshold, tuple) and isinstance(clear, tuple):
        is_inner = comparator is Comparator.OUTSIDE
        outer, inner = (threshold, clear) if is_inner else (clear, threshold)
        is_right = outer[0] <= inner[0] and inner[1] <= outer[1]
        where = "a range within" if is_inner else "a range around"
        shown, limit = (f"[{format_quantity(a, unit)}, {format_quantity(b, unit)}]" for a, b in (clear, threshold))
    elif isinstance(threshold, float) and isinstance(clear, float):
        is_strict = comparator in (Comparator.GE, Comparator.LE)
        is_above = comparator in ABOVE
        is_right = (clear < threshold if is_above else clear > threshold) or (clear == threshold and not is_strict)
        where = _CLEARED[comparator]
        shown, limit = format_quantity(clear, unit), format_quantity(threshold, unit)
    else:
        return True
    if not is_right:
        report.add(
            path,
            "wrong-clear",
            f"clear: {shown} is on the wrong side of the threshold {limit}",
            expected=f"for {comparator.value} {where} {limit}",
        )
    return is_right
