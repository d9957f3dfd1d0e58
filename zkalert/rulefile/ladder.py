"""The steps of a rule, its own clocks, and the other limits that some series have."""

from __future__ import annotations

import functools

from zkalert.metrics import format_duration, format_quantity
from zkalert.model import Comparator, Condition, Override, Severity, Step, Threshold
from zkalert.rulefile import limits, selection
from zkalert.rulefile.actions import Actions
from zkalert.rulefile.conditions import Judged
from zkalert.rulefile.keys import Keys
from zkalert.rulefile.measure import Scale

_LADDERS = limits.CLEARABLE | {Comparator.EQ, Comparator.MATCHES}

_SEVERITIES = {one.value: one for one in Severity}  # several times as fast as the class
_step = functools.lru_cache(maxsize=1024)(Step)  # most rules have one of a few


def plain(keys: Keys) -> tuple[Step, ...] | None:
    """The only step of a rule whose conditions bring their thresholds."""
    duration, clear_duration = _clocks(keys)
    if duration is None or clear_duration is None:
        return None
    severity = _SEVERITIES[keys.values.get("severity", "warning")]
    return (_step(severity=severity, duration=duration, clear_duration=clear_duration),)


def _clocks(keys: Keys, base: tuple[float | None, float | None] = (0.0, 0.0)) -> tuple[float | None, float | None]:
    duration = keys.span("duration") if "duration" in keys else base[0]
    clear_duration = keys.span("clear_duration") if "clear_duration" in keys else base[1]
    return duration, clear_duration


def levels(keys: Keys, judged: Judged, actions: Actions) -> tuple[Step, ...] | None:
    """A step for each level; what a level leaves out of its clocks is the rule's. None, and findings, where wrong."""
    comparator, scale = judged.conditions[0].comparator, judged.scale
    if scale is None:  # pragma: no cover - levels stand beside one condition
        return None
    if comparator not in _LADDERS:
        keys.wrong(
            "comparator",
            "wrong-comparator",
            f"levels do not go with {comparator.value}",
            expected="one of " + ", ".join(one.value for one in Comparator if one in _LADDERS),
        )
        return None
    base = _clocks(keys)
    steps: list[Step] = []
    is_well = True
    for level in keys.items("levels"):
        step = _level(level, comparator, scale, base, actions)
        if step is None:
            is_well = False
            continue
        if steps:
            is_well = _rises(level, steps[-1], step, comparator, scale) and is_well
        steps.append(step)
    return tuple(steps) if is_well else None


def _level(
    keys: Keys, comparator: Comparator, scale: Scale, base: tuple[float | None, float | None], actions: Actions
) -> Step | None:
    is_well, threshold, clear = limits.read(keys, comparator, scale)
    duration, clear_duration = _clocks(keys, base)
    chosen = actions.read(keys)
    if not is_well or duration is None or clear_duration is None:
        return None
    if not limits.check_sides(keys.report, keys.at("clear"), comparator, threshold, clear, scale.unit):
        return None
    return Step(
        severity=_SEVERITIES[keys.values["severity"]],
        threshold=threshold,
        clear=clear,
        duration=duration,
        clear_duration=clear_duration,
        actions=chosen,
    )


def _rises(keys: Keys, before: Step, step: Step, comparator: Comparator, scale: Scale) -> bool:
    """Whether a level is above the one before it, in its severity and in its threshold."""
    is_well = True
    if step.severity.rank <= before.severity.rank:
        keys.wrong(
            "severity",
            "wrong-levels",
            f"{step.severity.value} does not come above {before.severity.value}",
            expected="each severity once, the lowest first: info, warning, critical",
        )
        is_well = False
    is_further, is_same = _is_further(comparator, before.threshold, step.threshold)
    if not is_further and not (is_same and step.duration > before.duration):
        shown, limit = (_shown(one.threshold, scale) for one in (step, before))
        keys.wrong(
            "threshold",
            "wrong-levels",
            f"{shown} is no higher level than {limit}",
            expected=f"{_FURTHER[comparator]} {limit}, or the same with a longer duration",
        )
        is_well = False
    return is_well


_FURTHER = {
    Comparator.GT: "more than",
    Comparator.GE: "more than",
    Comparator.LT: "less than",
    Comparator.LE: "less than",
    Comparator.BETWEEN: "a range within",
    Comparator.OUTSIDE: "a range around",
    Comparator.EQ: "another value than",
    Comparator.MATCHES: "another expression than",
}


def _is_further(comparator: Comparator, before: Threshold, threshold: Threshold) -> tuple[bool, bool]:
    """Whether a threshold is reached later than the one before it, and whether it is the same."""
    is_same = before == threshold
    if isinstance(before, tuple) and isinstance(threshold, tuple):
        inner, outer = (threshold, before) if comparator is Comparator.BETWEEN else (before, threshold)
        return not is_same and outer[0] <= inner[0] and inner[1] <= outer[1], is_same
    if isinstance(before, float) and isinstance(threshold, float) and comparator is not Comparator.EQ:
        return (threshold > before) if comparator in limits.ABOVE else (threshold < before), is_same
    return not is_same, is_same


def _shown(threshold: Threshold, scale: Scale) -> str:
    if isinstance(threshold, tuple):
        return f"[{format_quantity(threshold[0], scale.unit)}, {format_quantity(threshold[1], scale.unit)}]"
    return f'"{threshold}"' if isinstance(threshold, str) else format_quantity(threshold or 0.0, scale.unit)


def within(keys: Keys, steps: tuple[Step, ...], overrides: tuple[Override, ...]) -> float | None:
    """The span that the durations are sums over; None where there is none, or a finding where one is too long."""
    if "within" not in keys:
        return None
    span = keys.span("within", least=0.001)
    durations = [step.duration for step in steps] + [one.duration for one in overrides if one.duration is not None]
    longest = max(durations)
    if span is None:
        return None
    if not min(durations):
        message = "within needs a duration: how much of that span the condition must hold"
        keys.wrong("within", "wrong-within", message, expected="duration: a span shorter than within")
    elif span <= longest:
        message = f"within: {format_duration(span)} is not longer than the duration {format_duration(longest)}"
        keys.wrong("within", "wrong-within", message, expected=f"more than {format_duration(longest)}")
    return span


def overrides(keys: Keys, judged: Judged, actions: Actions, *, has_instances: bool) -> tuple[Override, ...]:
    """The other limits for some series; what is wrong is reported."""
    if "overrides" not in keys:
        return ()
    if judged.across is not None and judged.across.of.value == "hosts":
        message = "an alert across hosts has no host of its own to go by"
        keys.misplaced("overrides", "clashing-keys", message, expected="no key overrides beside across: {of: hosts}")
        return ()
    found = (_override(one, judged, actions, has_instances=has_instances) for one in keys.items("overrides"))
    return tuple(one for one in found if one is not None)


def _override(keys: Keys, judged: Judged, actions: Actions, *, has_instances: bool) -> Override | None:
    chosen = actions.read(keys)
    if not _selects(keys, has_instances=has_instances):
        return None
    condition, scale = judged.conditions[0], judged.scale
    is_well, threshold, clear = True, None, None
    beside = judged.join.value if scale is None else "levels" if "levels" in judged.places[0] else ""
    if beside and _refuses(keys, beside):
        return None
    if scale is not None and not beside:
        is_well, threshold, clear = limits.read(keys, condition.comparator, scale)
    if is_well and scale is not None and not beside:
        is_well = _check_effective(keys, condition, threshold, clear, scale)
    duration, clear_duration = _clocks(keys, (None, None))
    if not is_well:
        return None
    return Override(
        hosts=selection.hosts(keys, "hosts", judged),
        instances=selection.globs(keys, "instances"),
        severity=_SEVERITIES[keys.values["severity"]] if "severity" in keys else None,
        threshold=threshold,
        clear=clear,
        duration=duration,
        clear_duration=clear_duration,
        actions=chosen,
    )


def _selects(keys: Keys, *, has_instances: bool) -> bool:
    if "hosts" not in keys and "instances" not in keys:
        message = "an override for no series in particular"
        keys.report.add(keys.at(), "missing-key", message, expected="hosts or instances that it is for")
        return False
    if "instances" in keys and not has_instances:
        message = "the alerts of this rule have no instances"
        keys.misplaced("instances", "no-instances", message, expected="an override for hosts")
        return False
    if set(keys.values) <= {"hosts", "instances"}:
        message = "an override that changes nothing"
        keys.report.add(keys.at(), "missing-key", message, expected="another key, such as threshold or duration")
        return False
    return True


def _refuses(keys: Keys, beside: str) -> bool:
    """Whether an override has limits that stand elsewhere in this rule; a finding for each."""
    owner = "each level" if beside == "levels" else "each condition"
    refused = ("threshold", "clear", "severity") if beside == "levels" else ("threshold", "clear")
    found = [key for key in refused if key in keys]
    for key in found:
        message = f"{key} cannot be overridden beside {beside}: {owner} has its own"
        keys.misplaced(key, "clashing-keys", message, expected="duration, clear_duration or action")
    return bool(found)


def _check_effective(keys: Keys, condition: Condition, threshold: Threshold, clear: Threshold, scale: Scale) -> bool:
    """Whether threshold and clear fit each other once the override has taken the place of its part."""
    path = keys.at("clear" if clear is not None else "threshold")
    upper = condition.threshold if threshold is None else threshold
    lower = condition.clear if clear is None else clear
    return limits.check_sides(keys.report, path, condition.comparator, upper, lower, scale.unit)
