"""Which hosts and instances a rule looks at, and whether its metrics fit together there."""

from __future__ import annotations

from zkalert.metrics import family_of, is_znode, parse_pattern
from zkalert.model import HostMatch, Metric, Of
from zkalert.rulefile.conditions import Judged
from zkalert.rulefile.keys import Keys, listed


def hosts(keys: Keys, key: str, judged: Judged) -> tuple[HostMatch, ...]:
    """Hosts by globs and labels; reported where the rule is about no host."""
    if key not in keys:
        return ()
    family = family_of(judged.conditions[0].term.metric.family)
    if not family.of_hosts:
        if keys.is_own(key):
            message = f"{family.name} belongs to no host"
            keys.misplaced(key, "no-hosts", message, expected=f"no key {key} here; the metric names the ensemble")
        return ()
    items = listed(keys.values[key])
    return tuple(HostMatch(glob=item) if isinstance(item, str) else HostMatch(labels=item) for item in items)


def globs(keys: Keys, key: str) -> tuple[str, ...] | None:
    """Globs of instances; None where there are none."""
    return tuple(listed(keys.values[key])) if key in keys else None


def instances(keys: Keys, judged: Judged) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The globs of instances that are looked at and that are not; those that a family cannot have are reported.

    Who names instances that are left out means all the others.
    """
    wanted, unwanted = globs(keys, "instances"), globs(keys, "not_instances")
    if wanted is None and unwanted is None and judged.across is None:
        return None, ()
    if not _has_instances(judged):
        for key in ("instances", "not_instances"):
            refuse(keys, key, judged)
        return None, ()
    needs_each = unwanted is not None or (judged.across is not None and judged.across.of is Of.INSTANCES)
    if wanted is None and needs_each:
        wanted = ("*",)
    return wanted, unwanted or ()


def refuse(keys: Keys, key: str, judged: Judged) -> None:
    """Report a key that goes with instances, unless it came from the defaults, which are for other rules too."""
    if key not in keys or not keys.is_own(key):
        return
    families = list(dict.fromkeys(one.term.metric.family for one in judged.conditions))
    have = "has" if len(families) == 1 else "have"
    message = f"{' and '.join(families)} {have} no instances"
    keys.misplaced(key, "no-instances", message, expected=f"no key {key} here")


def _has_instances(judged: Judged) -> bool:
    return any(family_of(one.term.metric.family).instance_kind is not None for one in judged.conditions)


def kind(judged: Judged, *, wants_each: bool) -> str | None:
    """What the alerts are about beside their host: a mount, a core; None for the whole host. Reports two kinds."""
    first: Metric | None = None
    for condition, keys in zip(judged.conditions, judged.places, strict=True):
        metric = condition.term.metric
        own = _kind(metric, wants_each=wants_each)
        _check_place(keys, judged.conditions[0].term.metric, metric)
        if condition.relative_to is not None:
            _check_place(keys, metric, condition.relative_to.metric)
            _check_relation(keys, metric, condition.relative_to.metric, own)
        if own is None:
            continue
        first = first or metric
        if own != _kind(first, wants_each=wants_each):
            keys.wrong(
                "metric",
                "two-kinds",
                f"{metric.family} goes by {own}, {first.family} by {family_of(first.family).instance_kind}",
                expected="conditions with one kind of instances, or with none",
            )
    return None if first is None or judged.across is not None else family_of(first.family).instance_kind


def _check_place(keys: Keys, metric: Metric, other: Metric) -> None:
    """Whether two metrics are told of one and the same: of a host, or of one ensemble."""
    if _place(metric) != _place(other):
        message = f"{other} is told of {_place(other)}, {metric} of {_place(metric)}"
        keys.wrong("metric", "two-kinds", message, expected="metrics of hosts, or of one ensemble")


def _place(metric: Metric) -> str:
    if is_znode(metric.family):
        return f"the ensemble {parse_pattern(metric.family).ensemble}"
    family = family_of(metric.family)
    return "hosts" if family.of_hosts else f"each {family.name}"


def _kind(metric: Metric, *, wants_each: bool) -> str | None:
    family = family_of(metric.family)
    return family.instance_kind if wants_each or not family.is_whole(metric.field) else None


def _check_relation(keys: Keys, metric: Metric, other: Metric, own: str | None) -> None:
    """Whether each series has its number below the line too."""
    family = family_of(other.family)
    if family.is_whole(other.field) or (own is not None and family.instance_kind == own):
        return
    mine = f"each {own} of {metric.family}" if own is not None else f"{metric.family} as a whole"
    keys.wrong(
        "relative_to",
        "two-kinds",
        f"{other} goes by {family.instance_kind}: there is none for {mine}",
        expected="a metric with the same instances, or one of the whole host",
    )


def refuse_gone(keys: Keys, judged: Judged) -> None:
    """Report `instance_gone` in a rule whose alerts have no instances."""
    if "instance_gone" not in keys or not keys.is_own("instance_gone"):
        return
    if judged.across is not None:
        why = "an alert across many series has no instance of its own"
    elif _has_instances(judged):
        why = f"this rule looks at {judged.conditions[0].term.metric.family} as a whole"
    else:
        refuse(keys, "instance_gone", judged)
        return
    keys.misplaced("instance_gone", "no-instances", why, expected='no key instance_gone here, or instances: "*"')
