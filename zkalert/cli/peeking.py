"""`zkalert metrics` of a znode's pattern: what each match says, and under which names rules can ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from zkalert import survey
from zkalert.cli import local, logs
from zkalert.cli.families import aligned, plain
from zkalert.config import Config
from zkalert.documents.patterns import pattern_problem
from zkalert.metrics import (
    OWN_PREFIX,
    MetricError,
    field_of,
    format_quantity,
    is_znode,
    nearest,
    parse_metric,
    parse_pattern,
)
from zkalert.model import Metric, UsageError, Value, ZkalertError
from zkalert.survey import DeadEnd, Peek, Peeked

_MOST_SHOWN = 20
_MOST_IN_JSON = 500
_SHOWN_NAMES = 12
_MOST_TEXT = 40  # characters of a text in the table
_MOST_NAME = 60
_MOST_PATH = 1000
_REGEX_HELP = "The first group of a match in its data."


def is_pattern(text: str) -> bool:
    """Whether somebody means znodes by this, rightly written or not."""
    return is_znode(text) or text.startswith("/")


def show(config: Config, text: str, format_: str) -> None:
    """Look once at the znodes that a pattern matches, and print what they say.

    Raises UsageError for what is no pattern or names no ensemble, ZkalertError where nothing matches, or ZooKeeper does
    not answer.
    """
    if text.startswith("/"):
        raise UsageError(f'"{text}" names no ensemble; did you mean {OWN_PREFIX}:{text}?')
    if ":/" not in text:
        raise UsageError(f'"{text}" names no znode; expected <ensemble>:/path#field, as znode:/brokers/ids#children')
    try:
        metric = parse_metric(text)
    except MetricError as error:
        told = f"did you mean {error.hint}?" if error.hint else f"expected {error.expected}"
        raise UsageError(f"{error}; {told}") from None
    if metric.field.startswith("~") and (problem := pattern_problem(metric.field[1:], is_searched=True)):
        raise UsageError(f"{metric.field}: {problem}; expected a regular expression in which no two repeats meet")
    pattern = parse_pattern(metric.family)
    ensemble = local.ensemble_of(config, pattern.ensemble)
    field = metric.field if "#" in text else None
    with survey.connected(ensemble.zookeeper) as reader:
        found = survey.peek(pattern, field, reader, _MOST_IN_JSON if format_ == "json" else _MOST_SHOWN)
    if found.dead_end is not None and (not pattern.is_open or not found.seen):
        sees = "" if pattern.is_open else " (a rule on it sees exists 0)"
        raise ZkalertError(f"{metric.family} matches nothing{sees}: {_where(found.dead_end)}")
    if format_ == "json":
        click.echo(json.dumps(_document(pattern.ensemble, metric, field, found), indent=2))
        return
    count = f"{'at least ' if found.is_cut else ''}{found.matches:,} znode{'s' if found.matches != 1 else ''}"
    click.echo(f"{plain(metric.family)}  {count} in {pattern.ensemble}\n")
    lines = _one_field(found, metric) if field is not None else _all_fields(found, metric.family)
    for line in lines:
        click.echo(line)
    note = _note(found, metric, field)
    if note:
        click.echo(note.translate(logs.CONTROL), err=True)


def _note(found: Peeked, metric: Metric, field: str | None) -> str:
    """What is to be said beside the values; empty where these say it all."""
    if found.dead_end is not None:
        return _where(found.dead_end)
    if field == "changes":
        return "#changes is counted by the engine, from when it began to look"
    if field is not None and not any(field in one.values for one in found.seen):
        return f"none has #{field}; `zkalert metrics '{metric.family}'` shows what they have"
    return ""


def _where(end: DeadEnd) -> str:
    """`/brokers is there, /brokers/idz is not; it has ids, seqid, topics; did you mean /brokers/ids?`."""
    if end.is_refused:
        return f"{end.there} is there, and its children may not be read"
    if not end.children:
        return f"{end.there} is there and has no children"
    if not end.missing:
        return f"{end.there} is there, and nothing below it"
    names = ", ".join(name[:_MOST_NAME] for name in end.children[:_SHOWN_NAMES])
    more = f" and {len(end.children) - _SHOWN_NAMES} more" if len(end.children) > _SHOWN_NAMES else ""
    folder, _, name = end.missing.rpartition("/")
    near = nearest(name, end.children)
    hint = f"; did you mean {folder}/{near}?" if near else ""
    return f"{end.there} is there, {end.missing} is not; it has {names}{more}{hint}"


# For programs ---------------------------------------------------------------------------------------------------------


def _document(ensemble: str, metric: Metric, field: str | None, found: Peeked) -> dict[str, Any]:
    """What was seen as one object::

        {"pattern": "kafka:/brokers/topics/{topic}", "ensemble": "kafka", "field": null, "matches": 1, "is_cut": false,
         "znodes": [{"path": "/brokers/topics/orders", "labels": {"topic": "orders"},
                     "values": {"exists": 1, "children": 1, "/partitions": 6}, "problem": ""}]}

    `field` is the one that was asked for. `matches` counts all znodes, at least if `is_cut`; the first 500 of them
    stand in `znodes`. Each of `values` can be named by a rule, behind the pattern and `#`. `problem` says what kept
    others from being told.
    """
    return {
        "pattern": metric.family,
        "ensemble": ensemble,
        "field": field,
        "matches": found.matches,
        "is_cut": found.is_cut,
        "znodes": [
            {"path": one.path, "labels": one.labels, "values": one.values, "problem": one.problem} for one in found.seen
        ],
    }


# For people -----------------------------------------------------------------------------------------------------------


def _one_field(found: Peeked, metric: Metric) -> Iterator[str]:
    """A line for each match."""
    yield from aligned((*_names(one), _text(metric, one.values.get(metric.field)), one.problem) for one in found.seen)
    yield from _rest(found)


def _all_fields(found: Peeked, family: str) -> Iterator[str]:
    """A block for each match; the first one explains its fields."""
    for index, one in enumerate(found.seen):
        if index:
            yield ""
        yield "  ".join(_names(one))
        metrics = [Metric(family, name) for name in one.values]
        rows = [
            (
                f"#{plain(metric.field)}",
                _text(metric, one.values[metric.field]),
                field_of(metric).help if not index else "",
            )
            for metric in metrics
        ]
        if not index:
            rows.append(("#changes", "-", field_of(Metric(family, "changes")).help))
            rows.append(("#~REGEX", "-", _REGEX_HELP))
        yield from aligned(rows)
        if one.problem:
            yield f"  ({one.problem})"
    if found.matches > len(found.seen):
        yield ""
    yield from _rest(found)


def _rest(found: Peeked) -> Iterator[str]:
    left = found.matches - len(found.seen)
    if left:
        yield f"and {left:,} more; a narrower pattern, or --format json, shows others"


def _names(one: Peek) -> tuple[str, ...]:
    """The path, and what stands for its `{name}`s."""
    labels = (f"{name}={value}" for name, value in one.labels.items() if not name.isdigit())
    return tuple(plain(text)[:_MOST_PATH] for text in (one.path, *labels))


def _text(metric: Metric, value: Value | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        text = plain(value) if value else '""'
        return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
    return format_quantity(value, field_of(metric).unit)
