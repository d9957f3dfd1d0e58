"""Tables of what rules can name: metrics, variables and filters of templates."""

from __future__ import annotations

from collections.abc import Iterator

from tests.docs.text import code, row, table
from zkalert.metrics import FAMILIES, ZNODES, Family, Field, Kind, Unit, format_duration
from zkalert.render.allowed import FILTERS, FUNCTION, VARIABLES

VARIABLE_HELP = {
    "name": "the rule's name",
    "metric": "the metric of the first condition",
    "value": "its value; with `any`, that of the first condition that is true",
    "values": "the values of all conditions, counted from 0: `values[1]`",
    "threshold": "what it is held against; of a ladder that of the level that fires",
    "clear": "the value at which it is over",
    "peak": "the worst value since the alert began",
    "severity": "`info`, `warning` or `critical`",
    "since": "when the condition became true",
    "duration": "for how long it has been true",
    "state": "the phase that the message tells: `firing`, `escalated`, `repeated` or `resolved`",
    "host": "the host's name, or the ensemble's; the labels of a host are attributes",
    "instance": "the mount, disk, znode or process; its labels are attributes; empty without one",
    "labels": "the rule's labels",
}
FILTER_HELP = {
    "abs": "without its sign",
    "bytes": "as a size: `2 GiB`",
    "capitalize": "the first letter in upper case",
    "default": 'another text for what is missing: `default("?")`',
    "duration": "seconds as a span: `1h30m`",
    "first": "the first character, or the first of `values`",
    "float": "as a number",
    "int": "as a whole number",
    "last": "the last character, or the last of `values`",
    "length": "how many characters, or how many `values`",
    "lower": "in lower case",
    "percent": "as a percentage: `93.4%`",
    "round": "rounded; `round(1)` keeps one digit",
    "time": "a moment as date and time, in UTC",
    "title": "each word in upper case",
    "trim": "without blanks around it",
    "upper": "in upper case",
}
PARTS_OF_DATA = {
    "/pointer": "A part of its data, which is JSON, by its pointer.",
    "~regex": "The first group of a match in its data.",
}

_NOW = 'what another metric of the same host, and instance, says at this moment: `now("memory_usage.available")`'


def metrics() -> str:
    """A section for each family."""
    return "\n\n".join(_family(family) for family in FAMILIES.values())


def _family(family: Family) -> str:
    rows = (_field(field, is_main=field.name == family.main) for field in family.fields.values())
    return "\n\n".join(
        [f"### {family.name}", " ".join(_about(family)), table(("field", "unit", "kind", "meaning"), rows)]
    )


def _about(family: Family) -> Iterator[str]:
    yield family.help
    yield f"Published every {format_duration(family.interval)}."
    if family.instance_kind is not None and family.has_whole:
        what = "host" if family.of_hosts else "ensemble"
        yield f'Without [`instances`](#instances) the {what} as a whole; with `"*"` each {family.instance_kind}.'
    elif family.instance_kind is not None:
        yield f"Always by {family.instance_kind}."
    if family.main is None:
        yield "No main field: name one."


def _field(field: Field, *, is_main: bool) -> tuple[str, ...]:
    name = f"**{field.name}**" if is_main else code(field.name)
    kind = f"counter, judged in {field.judged_unit.value}" if field.kind is Kind.COUNTER else field.kind.value
    return name, field.unit.value, kind, field.help


def znodes() -> str:
    """The fields that every znode has, and how parts of its data are named."""
    rows = [_field(field, is_main=field.name == "exists") for field in ZNODES.fields.values()]
    rows += [(code(name), Unit.ANY.value, Kind.ANY.value, text) for name, text in PARTS_OF_DATA.items()]
    return table(("field", "unit", "kind", "meaning"), rows)


def variables() -> str:
    return "\n".join(
        [*(row(code(name), VARIABLE_HELP[name]) for name in VARIABLES), row(code(f'{FUNCTION}("...")'), _NOW)]
    )


def filters() -> str:
    return "\n".join(row(code(name), FILTER_HELP[name]) for name in FILTERS)
