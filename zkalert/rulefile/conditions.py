"""What a rule looks for: one condition, several joined, or a number made of many series."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from zkalert.metrics import Unit, family_of
from zkalert.model import Across, Comparator, Condition, Join, Of, Total
from zkalert.rulefile import limits, measure
from zkalert.rulefile.keys import Keys
from zkalert.rulefile.measure import Measure, Scale

_COMPARATORS: dict[str, Comparator] = {one.value: one for one in Comparator}  # twice as fast as the class
_NEEDED = {
    "metric": "a metric such as memory_usage",
    "comparator": "one of " + ", ".join(Comparator),
    "threshold": "a number, or a text with a unit",
}


class Judged(NamedTuple):
    """What is judged: the conditions, each with the keys that it stands in, and the scale of the thresholds.

    `scale` is that of the only condition, None where there are several.
    """

    conditions: tuple[Condition, ...]
    places: tuple[Keys, ...]
    join: Join = Join.ALL
    across: Across | None = None
    scale: Scale | None = None


def single(keys: Keys, *, has_levels: bool = False) -> Judged | None:
    """One condition; its threshold is left to the levels if there are any. None, and findings, where it is wrong."""
    comparator = _comparator(keys)
    is_whole = _NEEDED.keys() <= keys.values.keys()
    if not is_whole:
        needed = ("metric", "comparator") if has_levels or comparator in limits.WITHOUT_THRESHOLD else tuple(_NEEDED)
        missing = [key for key in needed if key not in keys]
        for key in missing:
            keys.missing(key, _NEEDED[key])
        is_whole = not missing
    if "across" in keys and comparator in limits.WITHOUT_THRESHOLD and comparator is not None:
        message = f"a number made of many series cannot be held against {comparator.value}"
        keys.wrong("comparator", "wrong-comparator", message, expected="a comparator with a threshold")
        return None
    looked_at = measure.read(keys, comparator) if "metric" in keys else None
    if looked_at is None:
        return None
    looked_at = _typed(keys, comparator, looked_at)
    across, scale = _across(keys, looked_at) if "across" in keys else (None, looked_at.scale)
    if scale is None or comparator is None or not limits.fits(keys, comparator, scale):
        return None
    if has_levels:
        threshold, clear = None, None
    else:
        is_well, threshold, clear = limits.read(keys, comparator, scale)
        if not is_well or not is_whole:
            return None
        path = keys.at("clear")
        if clear is not None and not limits.check_sides(keys.report, path, comparator, threshold, clear, scale.unit):
            return None
    condition = Condition(
        term=looked_at.term,
        relative_to=looked_at.relative_to,
        comparator=comparator,
        threshold=threshold,
        clear=clear,
        unit=scale.unit.value,
        subject=scale.subject,
    )
    return Judged(conditions=(condition,), places=(keys,), across=across, scale=scale)


def several(keys: Keys, join: Join) -> Judged | None:
    """The conditions below `all` or `any`."""
    places = keys.items(join.value)
    found = [single(place) for place in places]
    conditions = tuple(one.conditions[0] for one in found if one is not None)
    if len(conditions) < len(places):
        return None
    return Judged(conditions=conditions, places=tuple(places), join=join)


def _typed(keys: Keys, comparator: Comparator | None, looked_at: Measure) -> Measure:
    """Of a metric that may be a number or a text: what it is held against says which of them is meant."""
    if looked_at.scale.unit is not Unit.ANY or looked_at.term.window is not None or looked_at.relative_to is not None:
        return looked_at
    written = keys.values.get("threshold")
    if written is None and "levels" in keys:
        written = next((level.get("threshold") for level in keys.values["levels"]), None)
    is_compared = comparator is Comparator.EQ or comparator is Comparator.NE
    if comparator in limits.PATTERNS or (is_compared and isinstance(written, str)):
        return replace(looked_at, scale=replace(looked_at.scale, unit=Unit.TEXT))
    return looked_at


def _comparator(keys: Keys) -> Comparator | None:
    return _COMPARATORS.get(keys.values.get("comparator", ""))


def _across(keys: Keys, looked_at: Measure) -> tuple[Across | None, Scale | None]:
    """How one number is made of many series, and the scale of that number."""
    inner = keys.below("across")
    of, stat, by = Of(inner.values["of"]), Total(inner.values["stat"]), inner.values.get("by")
    is_well = _fits_across(inner, of, stat, looked_at)
    members = looked_at.scale
    comparator, threshold = None, None
    if "where" in inner:
        where = inner.below("where")
        comparator = Comparator(where.values["comparator"])
        if limits.fits(where, comparator, members):
            threshold = limits.parse(where, "threshold", comparator, members)
        is_well = is_well and threshold is not None
    if not is_well:
        return None, None
    across = Across(of=of, stat=stat, by=by, comparator=comparator, threshold=threshold)
    return across, _total(across, members, inner)


def _total(across: Across, members: Scale, keys: Keys) -> Scale:
    """The scale of the number that is made of the members."""
    subject = f"{across.stat.value} of {members.subject} across {across.of.value}"
    if across.by is not None:
        subject += f" by {across.by}"
    if across.comparator is not None:
        written = keys.values["where"]["threshold"]
        shown = " to ".join(map(str, written)) if isinstance(written, list) else str(written)
        subject += f" where {across.comparator.value} {shown[:60]}"
    if across.stat is Total.PERCENT:
        return Scale(unit=Unit.PERCENT, subject=subject)
    is_number = across.stat is Total.COUNT or (across.stat is Total.SUM and members.unit is Unit.FLAG)
    if is_number:
        return Scale(unit=Unit.NUMBER, subject=subject)
    return Scale(unit=members.unit, subject=subject, needs_percent=members.needs_percent)


def _fits_across(keys: Keys, of: Of, stat: Total, looked_at: Measure) -> bool:
    is_well = True
    family = family_of(looked_at.term.metric.family)
    if of is Of.HOSTS and not family.of_hosts:
        keys.wrong("of", "no-hosts", f"{family.name} belongs to no host", expected="of: instances")
        is_well = False
    if of is Of.INSTANCES and family.instance_kind is None:
        keys.wrong("of", "no-instances", f"{family.name} has no instances", expected="of: hosts")
        is_well = False
    if of is Of.INSTANCES and "by" in keys:
        keys.misplaced("by", "clashing-keys", "by goes with of: hosts", expected="no key by beside of: instances")
        is_well = False
    if stat is Total.PERCENT and "where" not in keys:
        keys.missing("where", "which of them are counted, as in {comparator: '>', threshold: 90}")
        is_well = False
    if looked_at.scale.unit is Unit.TEXT and stat not in (Total.COUNT, Total.PERCENT):
        message = f"{looked_at.scale.subject} is a text, of which there is no {stat.value}"
        keys.wrong("stat", "wrong-stat", message, expected="stat: count or percent")
        is_well = False
    return is_well
