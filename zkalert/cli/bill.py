"""How a predicted cost is shown: as tables for people, as one object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import click
from rich.text import Text

from zkalert.cli import tables
from zkalert.cli.tables import Column, cell
from zkalert.costs import Cost, Rate
from zkalert.metrics import Unit, format_duration, format_quantity

_SHOWN = 8


# For people -----------------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    what: str
    rate: Rate
    text: str = "{:,.0f}"
    note: str = ""


def show(found: Cost, advice: Sequence[str]) -> None:
    """Tables on standard output, and the advice below them."""
    fleet, host, engine = found.fleet, found.host, found.engine
    _table(
        f"ZooKeeper, {fleet.hosts:,} hosts and {fleet.engines} engines",
        [
            _Line("transactions a minute", found.transactions),
            _Line("znodes written a minute", found.sets),
            _Line("reads a second", found.reads_per_second),
            _Line("bytes written", found.bytes_written, "/s"),
            _Line("bytes read by engines", found.bytes_read, "/s"),
            _Line("znodes", Rate(found.znodes, found.znodes)),
            _Line("bytes in the tree", Rate(found.tree_bytes, found.tree_bytes), "B"),
            _Line("watches", Rate(found.watches, found.watches)),
            _Line("connections", Rate(found.connections, found.connections)),
        ],
    )
    _table(
        "each host",
        [
            _Line("transactions a minute", host.transactions, "{:,.1f}"),
            _Line("znodes written a minute", host.sets, "{:,.1f}"),
            _Line("bytes written", host.bytes_per_second, "/s"),
            _Line("memory of its sampler", Rate(host.memory, host.memory), "B"),
        ],
    )
    _table(
        "each engine",
        [
            _Line("watch events a second", engine.events_per_second, "{:,.1f}"),
            _Line("watches", Rate(engine.watches, engine.watches)),
            *_elsewhere(engine.watches_elsewhere),
            _Line("memory", Rate(engine.memory, engine.memory), "B"),
            *(_Line(f"  {name}", Rate(size, size), "B") for name, size in engine.memory_by.items() if size),
        ],
    )
    _families(found)
    _patterns(found)
    for line in advice:
        click.echo(f"- {tables.plain(line)}")


def _elsewhere(watches: int) -> list[_Line]:
    return [_Line("watches in other ensembles", Rate(watches, watches))] if watches else []


def _table(title: str, lines: Sequence[_Line]) -> None:
    columns = (Column(title, is_short=True), Column("at rest", is_number=True), Column("full rate", is_number=True))
    tables.show(
        columns,
        [(cell(one.what), cell(_number(one, one.rate.rest)), cell(_number(one, one.rate.full))) for one in lines],
    )
    click.echo()


def _number(line: _Line, value: float) -> str:
    if line.text == "B":
        return format_quantity(value, Unit.BYTES)
    if line.text == "/s":
        return format_quantity(value, Unit.BYTES_PER_SECOND)
    return line.text.format(value)


def _families(found: Cost) -> None:
    """The families that weigh most, the heaviest first."""
    ranked = sorted(found.host.families, key=lambda one: one.bytes_per_second.full, reverse=True)
    columns = (
        Column("family", is_short=True),
        Column("instances", is_number=True),
        Column("at rest every", is_number=True),
        Column("full every", is_number=True),
        Column("bytes each", is_number=True),
        Column("rules", is_number=True),
        Column("share of bytes", is_number=True),
    )
    whole = found.host.bytes_per_second.full or 1.0
    rows: list[tuple[Text, ...]] = [
        (
            cell(one.published.family.name),
            cell(str(one.published.instances or "")),
            cell(format_duration(one.every.rest)),
            cell(format_duration(one.every.full)),
            cell(f"{one.payload:,}"),
            cell(str(one.readers), "" if one.readers else "dim"),
            cell(f"{one.bytes_per_second.full / whole:.0%}"),
        )
        for one in ranked[:_SHOWN]
    ]
    tables.show(columns, rows)
    if len(ranked) > _SHOWN:
        rest = sum(one.bytes_per_second.full for one in ranked[_SHOWN:]) / whole
        click.echo(f"and {len(ranked) - _SHOWN} more with {rest:.0%}")
    click.echo()


def _patterns(found: Cost) -> None:
    """The patterns with most watches."""
    if not found.patterns:
        return
    ranked = sorted(found.patterns, key=lambda one: one.watches, reverse=True)
    columns = (
        Column("znodes of rules", is_short=True),
        Column("matches", is_number=True),
        Column("watches of data", is_number=True),
        Column("of children", is_number=True),
        Column("memory", is_number=True),
    )
    tables.show(
        columns,
        [
            (
                cell(one.pattern),
                cell(f"{one.matches:,}"),
                cell(f"{one.data_watches:,}"),
                cell(f"{one.children_watches:,}"),
                cell(format_quantity(one.memory, Unit.BYTES)),
            )
            for one in ranked[:_SHOWN]
        ],
    )
    if len(ranked) > _SHOWN:
        more = sum(one.watches for one in ranked[_SHOWN:])
        click.echo(f"and {len(ranked) - _SHOWN} more with {more:,} watches at most")
    click.echo()


# For programs ---------------------------------------------------------------------------------------------------------


def document(found: Cost, advice: Sequence[str]) -> dict[str, Any]:
    """All numbers: rates as `{"rest": …, "full": …}`, bytes and seconds as they are."""
    host, engine = found.host, found.engine
    return {
        "hosts": found.fleet.hosts,
        "engines": found.fleet.engines,
        "zookeeper": {
            "transactions_per_minute": _rate(found.transactions),
            "sets_per_minute": _rate(found.sets),
            "reads_per_second": _rate(found.reads_per_second),
            "bytes_written_per_second": _rate(found.bytes_written),
            "bytes_read_per_second": _rate(found.bytes_read),
            "znodes": found.znodes,
            "tree_bytes": found.tree_bytes,
            "watches": found.watches,
            "connections": found.connections,
        },
        "host": {
            "transactions_per_minute": _rate(host.transactions),
            "sets_per_minute": _rate(host.sets),
            "bytes_per_second": _rate(host.bytes_per_second),
            "znodes": host.znodes,
            "tree_bytes": host.tree_bytes,
            "watches": host.watches,
            "sampler_memory": host.memory,
            "families": [
                {
                    "name": one.published.family.name,
                    "instances": one.published.instances,
                    "every": _rate(one.every),
                    "payload": one.payload,
                    "rules": one.readers,
                    "needs_all": one.needs_all,
                    "bytes_per_second": _rate(one.bytes_per_second),
                }
                for one in host.families
            ],
        },
        "engine": {
            "events_per_second": _rate(engine.events_per_second),
            "bytes_per_second": _rate(engine.bytes_per_second),
            "transactions_per_minute": engine.transactions,
            "watches": engine.watches,
            "watches_elsewhere": engine.watches_elsewhere,
            "memory": engine.memory,
            "memory_by": dict(engine.memory_by),
        },
        "znodes": [
            {
                "pattern": one.pattern,
                "matches": one.matches,
                "data_watches": one.data_watches,
                "children_watches": one.children_watches,
                "memory": one.memory,
            }
            for one in found.patterns
        ],
        "advice": list(advice),
    }


def _rate(rate: Rate) -> dict[str, float]:
    return {"rest": round(rate.rest, 3), "full": round(rate.full, 3)}
