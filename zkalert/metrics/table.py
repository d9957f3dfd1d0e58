"""The one table of metric families, and what a metric's name means.

Comes in: a family's or field's name. Goes out: what the table says of it. Nothing here reads a metric.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

from zkalert.metrics.deeper import CONFIGURED_FAMILIES, DEEPER_FAMILIES
from zkalert.metrics.host import HOST_FAMILIES
from zkalert.metrics.kinds import Family, Field
from zkalert.metrics.znode import ZNODES, PatternError, is_znode, parse_pattern, znode_family, znode_field_problem
from zkalert.metrics.zookeeper import ENSEMBLE_FAMILIES
from zkalert.model import Metric

FAMILIES: dict[str, Family] = {
    family.name: family for family in (*HOST_FAMILIES, *DEEPER_FAMILIES, *CONFIGURED_FAMILIES, *ENSEMBLE_FAMILIES)
}

SAMPLED = tuple(name for name, family in FAMILIES.items() if family.of_hosts)
"""The families that a sampler publishes, where its system and its configuration have them."""

PUSHED_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_FIELD = 128

_PUSHED = "Pushed by an application."


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


@lru_cache(maxsize=4096)
def family_of(name: str) -> Family:
    """What is known of a family: of the table, of a znode's path, or pushed by an application.

    Raises KeyError for a name that none of these can have.
    """
    known = FAMILIES.get(name)
    if known is not None:
        return known
    if is_znode(name):
        try:
            return znode_family(name)
        except PatternError as error:
            raise KeyError(name) from error
    if not PUSHED_NAME.fullmatch(name):
        raise KeyError(name)
    return Family(name, {}, _PUSHED, instance_kind="instance", is_open=True)


def is_pushed(family_name: str) -> bool:
    """Whether a family is none of zkalert's own: an application's, if anybody's."""
    return family_name not in FAMILIES and not is_znode(family_name)


def parse_metric(text: str) -> Metric:
    """`family.field`, a bare family for its main field, or `<ensemble>:/path#field`.

    A family that resembles none of the table's is one that applications push. Raises MetricError where it can be no
    metric, or a bare family has no main field.
    """
    if ":/" in text.partition(".")[0]:
        return _parse_znode(text)
    family_name, _, field_name = text.partition(".")
    family = FAMILIES.get(family_name)
    if family is None:
        return _parse_pushed(text, family_name, field_name)
    if not field_name and "." not in text:
        if family.main is None:
            raise MetricError(
                f'"{text}" has no main field; name one',
                expected="one of " + ", ".join(f"{text}.{name}" for name in family.fields),
            )
        return Metric(family_name, family.main)
    if field_name not in family.fields and not (family.is_open and _is_field(field_name)):
        near = nearest(field_name, family.fields)
        raise MetricError(
            f'"{family_name}" has no field "{field_name}"',
            expected="one of " + ", ".join(family.fields),
            hint=f"{family_name}.{near}" if near else "",
        )
    return Metric(family_name, field_name)


def _parse_pushed(text: str, family_name: str, field_name: str) -> Metric:
    hint = nearest(family_name, FAMILIES)
    if hint and field_name and field_name in FAMILIES[hint].fields:
        hint = f"{hint}.{field_name}"
    elif not hint:
        hint = _by_field(family_name)
    if hint or not PUSHED_NAME.fullmatch(family_name) or not _is_field(field_name):
        raise MetricError(f'unknown metric "{text}"', expected="one of " + ", ".join(sorted(FAMILIES)), hint=hint)
    return Metric(family_name, field_name)


def _is_field(name: str) -> bool:
    return 0 < len(name) <= MOST_FIELD and name.isprintable() and not name.isspace()


def _parse_znode(text: str) -> Metric:
    family_name, mark, field_name = text.partition("#")
    try:
        parse_pattern(family_name)
    except PatternError as error:
        raise MetricError(str(error), expected=error.expected) from None
    if not mark:
        return Metric(family_name, "exists")
    if field_name not in ZNODES.fields and (problem := znode_field_problem(field_name)):
        near = nearest(field_name, ZNODES.fields)
        raise MetricError(
            f'"{field_name[:100]}" after # is {problem}',
            expected="one of " + ", ".join(ZNODES.fields) + ", /json/pointer, or ~ and a regular expression",
            hint=f"{family_name}#{near}" if near else "",
        )
    if len(field_name) > MOST_FIELD:
        raise MetricError("what stands after # is too long", expected=f"at most {MOST_FIELD} characters")
    return Metric(family_name, field_name)


def _by_field(text: str) -> str:
    """For a short name such as `memory` or `cpu`: the family that begins with it."""
    return next((name for name in FAMILIES if text and name.startswith(text)), "")


def field_of(metric: Metric) -> Field:
    """What is known of a metric. Raises KeyError for one that cannot be."""
    return family_of(metric.family).field(metric.field)
