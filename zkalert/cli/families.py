"""Families of metrics for people and for programs: what the table says of them, and what was published last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zkalert import clock
from zkalert.cli import logs
from zkalert.metrics import FAMILIES, Family, Field, format_duration, format_quantity
from zkalert.model import Problem, Sample, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is known of one family of a host, or of an ensemble; `at` is from when, in epoch seconds."""

    sample: Sample | Problem
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The families that are shown, in their order; of one perhaps one `field` alone."""

    names: tuple[str, ...]
    field: str = ""

    def fields(self, family: Family | None) -> Mapping[str, Field]:
        """Those of the table that are shown."""
        known = {} if family is None else family.fields
        if not self.field:
            return known
        return {self.field: known[self.field]} if self.field in known else {}

    def values(self, found: Mapping[str, Value]) -> dict[str, Value]:
        return {name: value for name, value in found.items() if self.field in ("", name)}


# For programs ---------------------------------------------------------------------------------------------------------


def document(choice: Choice, found: Mapping[str, Published] | None) -> list[dict[str, Any]]:
    """The families one by one; `sample` only where values are asked for (`found` is not None).

    ::

        [{"name": "disk_usage", "help": "...", "main": "percent", "instance_kind": "mount", "has_whole": false,
          "interval": 30.0, "fields": [{"name": "percent", "unit": "percent", "kind": "gauge", "help": "..."}],
          "sample": {"at": 1763900000.0, "values": {}, "instances": {"/": {"percent": 41.0}},
                     "labels": {"/": {"fstype": "ext4"}}, "errors": []}}]

    `at` is in epoch seconds of the ensemble's clock, `interval` in seconds; values are in the field's unit. A sample
    is null where the family is not published, and has the one key `problem` where it cannot be read. Of a family that
    is not in the table only name and sample are given.
    """
    entries = []
    for name in choice.names:
        family = FAMILIES.get(name)
        entry: dict[str, Any] = {"name": name} if family is None else _about(family, choice)
        if found is not None:
            entry["sample"] = _sample(found.get(name), choice)
        entries.append(entry)
    return entries


def _about(family: Family, choice: Choice) -> dict[str, Any]:
    return {
        "name": family.name,
        "help": family.help,
        "main": family.main,
        "instance_kind": family.instance_kind,
        "has_whole": family.has_whole,
        "interval": family.interval,
        "fields": [
            {"name": field.name, "unit": field.unit.value, "kind": field.kind.value, "help": field.help}
            for field in choice.fields(family).values()
        ],
    }


def _sample(published: Published | None, choice: Choice) -> dict[str, Any] | None:
    if published is None:
        return None
    sample = published.sample
    if isinstance(sample, Problem):
        return {"problem": sample.message}
    return {
        "at": published.at,
        "values": choice.values(sample.values),
        "instances": {name: choice.values(values) for name, values in sample.instances.items()},
        "labels": sample.labels,
        "errors": sample.errors,
    }


# For people -----------------------------------------------------------------------------------------------------------


def text(choice: Choice, found: Mapping[str, Published] | None) -> str:
    """The families one below the other: a line on itself, then a row for each field, or for each value."""
    return "\n\n".join("\n".join(_lines(name, choice, found)) for name in choice.names)


def _lines(name: str, choice: Choice, found: Mapping[str, Published] | None) -> list[str]:
    family = FAMILIES.get(name)
    head = f"{plain(name)}  {_facts(family)}"
    if found is None:
        fields = choice.fields(family).values()
        return [head, *aligned((f"{name}.{field.name}", *_columns(field)) for field in fields)]
    published = found.get(name)
    if published is None:
        return [head, "  not published"]
    if isinstance(published.sample, Problem):
        return [head, f"  unusable: {plain(published.sample.message)}"]
    head = f"{plain(name)}  {_facts(family, published.at)}"
    notes = [f"  ({plain(error)})" for error in published.sample.errors]
    return [head, *aligned(_value_rows(name, choice, published.sample)), *notes]


def _facts(family: Family | None, at: float | None = None) -> str:
    """`Physical memory. (main field percent; every 5s)`; with the age of what was published `at` some moment."""
    facts = []
    if family is not None:
        facts += [f"main field {family.main}"] if family.main else []
        facts += [f"instances: {family.instance_kind}"] if family.instance_kind else []
        facts += [f"every {format_duration(family.interval)}"]
    if at is not None:
        facts += [f"written {format_duration(max(0.0, clock.wall() - at))} ago"]
    about = "None of zkalert's own: an application publishes it." if family is None else family.help
    return f"{about} ({'; '.join(facts)})" if facts else about


def _columns(field: Field | None) -> tuple[str, ...]:
    return ("", "", "") if field is None else (field.unit.value, field.kind.value, field.help)


def _value_rows(name: str, choice: Choice, sample: Sample) -> Iterator[tuple[str, ...]]:
    """Metric, instance, value, unit, kind, help; the last three in the first row of a field alone."""
    known = choice.fields(FAMILIES.get(name))
    parts = [("", sample.values), *sample.instances.items()]
    parts = [(instance, choice.values(values)) for instance, values in parts]
    for field_name in dict.fromkeys([*known, *(field for _, values in parts for field in values)]):
        field = known.get(field_name)
        metric, columns = plain(f"{name}.{field_name}"), _columns(field)
        found = [(instance, values[field_name]) for instance, values in parts if field_name in values]
        if not found:
            yield (metric, "", "-", *columns)
        for instance, value in found:
            yield (metric, plain(instance), _text(value, field), *columns)
            columns = ("", "", "")


def _text(value: Value, field: Field | None) -> str:
    if isinstance(value, str) or field is None:
        return plain(str(value))
    return format_quantity(value, field.unit)


def plain(written: str) -> str:
    """A text that anybody may have written, without what would steer a terminal."""
    return written.translate(logs.CONTROL)


def aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines whose columns begin one below the other."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield ("  " + "  ".join(cells)).rstrip()
