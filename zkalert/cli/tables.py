"""Tables and moments for people, and for those who pipe them on: whatever names are in them steers no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import NamedTuple, TypeVar

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zkalert import clock
from zkalert.cli import common, logs
from zkalert.metrics import format_duration
from zkalert.model import Severity, State

STATE_STYLES = {
    State.FIRING.value: "bold red",
    State.CLEARING.value: "red",
    State.PENDING.value: "yellow",
    State.RESOLVED.value: "green",
    State.INACTIVE.value: "dim",
}
SEVERITY_STYLES = {
    Severity.CRITICAL.value: "bold red",
    Severity.WARNING.value: "yellow",
    Severity.INFO.value: "cyan",
}
_BETWEEN = "  "
_NARROW = 110  # characters
_T = TypeVar("_T")


class Column(NamedTuple):
    """`is_number` stands at the right, `is_short` is never broken, `is_wide` is left out on a narrow terminal."""

    name: str
    is_number: bool = False
    is_short: bool = False
    is_wide: bool = False


def plain(text: str) -> str:
    """A text that anybody may have written, as one line without what steers a terminal."""
    return text.translate(logs.ONE_LINE)


def cell(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def console() -> Console:
    return Console(file=sys.stdout, no_color=not common.wants_colour(sys.stdout), highlight=False)


def show(columns: Sequence[Column], rows: Sequence[Sequence[Text]], title: str = "") -> None:
    """Print a table: drawn on a terminal, one line for each row elsewhere."""
    if sys.stdout.isatty():
        terminal = console()
        terminal.print(table(columns, rows, width=terminal.width, title=title))
        return
    for line in _lines(columns, rows):
        click.echo(line)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], *, width: int, title: str = "") -> Table:
    """A table for a terminal of this width, without the columns in which nothing stands."""
    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        expand=False,
        pad_edge=False,
    )
    is_left_out = [
        (column.is_wide and width < _NARROW) or not any(row[number].plain for row in rows)
        for number, column in enumerate(columns)
    ]
    for column in _kept(columns, is_left_out):
        made.add_column(
            column.name, justify="right" if column.is_number else "left", no_wrap=column.is_short, overflow="fold"
        )
    for row in rows:
        made.add_row(*_kept(row, is_left_out))
    return made


def _kept(parts: Sequence[_T], is_left_out: Sequence[bool]) -> list[_T]:
    return [part for part, is_out in zip(parts, is_left_out, strict=True) if not is_out]


def _lines(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Iterable[str]:
    grid = [[column.name for column in columns], *([one.plain for one in row] for row in rows)]
    widths = [max(cell_len(row[number]) for row in grid) for number in range(len(columns))]
    for row in grid:
        parts = (_padded(text, width, column) for text, width, column in zip(row, widths, columns, strict=True))
        yield _BETWEEN.join(parts).rstrip()


def _padded(text: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(text))
    return space + text if column.is_number else text + space


def local(at: float | None) -> str:
    """Epoch seconds for people: this machine's time, with its zone; as a number where no calendar has it."""
    if at is None:
        return "never"
    try:
        return datetime.fromtimestamp(at, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError, OSError):
        return f"{at:.3f}"


def short(at: float, now: float) -> str:
    """The same without what `now` says too: `17:03:19`, or `2026-11-22 17:03` of another day."""
    try:
        moment, today = (datetime.fromtimestamp(one, timezone.utc).astimezone() for one in (at, now))
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f}"
    return moment.strftime("%H:%M:%S" if moment.date() == today.date() else "%Y-%m-%d %H:%M")


def ago(at: float, now: float) -> str:
    """`12s ago`."""
    return f"{format_duration(max(0.0, round(now - at)))} ago"


def iso(at: float | None) -> str | None:
    """Epoch seconds for programs (ISO 8601, UTC); None where there is no such moment."""
    try:
        return None if at is None else clock.iso(at)
    except (OverflowError, ValueError, OSError):
        return None
