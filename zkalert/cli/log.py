"""`zkalert log`: what an engine decided, sent and was told, one line each, in the order of the ensemble."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import click

from zkalert import clock
from zkalert.cli import common
from zkalert.cli.formats import format_option
from zkalert.cli.records import as_json, as_text
from zkalert.journal import JOURNAL_NAME, Entry, JournalError, JournalReader, Kind, Wanted
from zkalert.metrics import QuantityError, nearest, parse_duration

_POLL = 0.2
_LINES = 100
_CLOCK_TIME = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?")
_KINDS = [kind.value for kind in Kind]


def _moment(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Epoch seconds: `2h` counts back from now, `17:00` is the last one there was, a date stands for itself."""
    if text is None:
        return None
    now = clock.wall()
    try:
        if (match := _CLOCK_TIME.fullmatch(text)) is not None:
            return _last(now, *(int(part or 0) for part in match.groups()))
        if "-" not in text:
            return now - parse_duration(text)
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).timestamp()  # a bare one is local time
    except (QuantityError, ValueError, OverflowError, OSError) as error:
        expected = "expected a span before now such as 30m, 2h, 7d, or a time such as 17:00 or 2026-11-23T17:00"
        raise click.BadParameter(f'"{text}" is neither a span nor a time; {expected}', ctx, param) from error


def _last(now: float, hour: int, minute: int, second: int) -> float:
    today = datetime.fromtimestamp(now).astimezone().replace(tzinfo=None)
    moment = today.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return (moment if moment <= today else moment - timedelta(days=1)).timestamp()


def _kinds(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[Kind, ...]:
    """Several in one option may stand with commas; a slip is a usage error that names the nearest one."""
    chosen = [name.strip() for text in names for name in text.split(",")]
    for name in chosen:
        if name not in _KINDS:
            hint = nearest(name, _KINDS)
            cure = f"did you mean {hint}?" if hint else "expected one of " + ", ".join(_KINDS)
            raise click.BadParameter(f'no kind "{name}"; {cure}', ctx, param)
    return tuple(map(Kind, chosen))


def _alert(ctx: click.Context, param: click.Parameter, text: str | None) -> str:
    """The beginning of an episode's id, six hex digits as a rule."""
    if text is None:
        return ""
    if not re.fullmatch("[0-9a-fA-F]{1,64}", text):
        raise click.BadParameter(f'"{text}" is no ID of an alert; expected hex digits such as a1b2c3', ctx, param)
    return text.lower()


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="WHEN", callback=_moment, help="From when: 2h (before now), 17:00, 2026-11-23T17:00.")
@click.option("--until", metavar="WHEN", callback=_moment, help="Until when, in the same form.")
@click.option("--rule", default="", metavar="GLOB", help="Only rules whose name matches.")
@click.option("--host", default="", metavar="GLOB", help="Only hosts whose name matches.")
@click.option(
    "--alert", metavar="ID", callback=_alert, help="Only this alert, by the ID that messages and tables show."
)
@click.option(
    "--kind", "kinds", metavar="KIND", multiple=True, callback=_kinds, help=f"Only {', '.join(_KINDS)}; repeatable."
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    help=f"The newest so many. [default: {_LINES}; all of a time where --since is given]",
)
@format_option("text", "Text for people in local time, or one JSON object a line.")
@common.options()
def log(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    follow: bool,
    since: float | None,
    until: float | None,
    rule: str,
    host: str,
    alert: str,
    kinds: tuple[Kind, ...],
    lines: int | None,
    format_: str,
) -> None:
    """Show what this host's engine decided, sent and was told, oldest first.

    Lines are in the order of the ensemble's transactions, their times by its clock. The journal lies in the state
    folder of the host that the engine runs on; no ZooKeeper is needed to read it.
    """
    if follow and until is not None:
        raise click.UsageError("--until has no meaning with --follow, which goes on")
    wanted = Wanted(since=since, until=until, rule=rule, host=host, alert=alert, kinds=kinds)
    limit = lines if lines is not None or since is not None else _LINES
    paint = common.wants_colour(sys.stdout)
    show: Callable[[Entry], str] = as_json if format_ == "json" else lambda entry: as_text(entry.record, paint=paint)
    path = options.load().state_dir / JOURNAL_NAME
    if follow:
        _follow(path, wanted, limit, show)
        return
    reader = JournalReader(path)
    try:
        is_empty = not _write(reader.read(wanted, limit=limit), show)
    finally:
        reader.close()
    if is_empty and lines != 0:
        click.echo(f"nothing in {path} fits", err=True)


def _follow(path: Path, wanted: Wanted, limit: int | None, show: Callable[[Entry], str]) -> None:
    stop = common.stop_on_interrupt()
    reader = JournalReader(path)
    try:
        last = reader.last_row()
        _write(reader.read(wanted, to_row=last, limit=limit), show)
        while not clock.wait(stop, _POLL):
            if reader.is_replaced and (other := _opened(path)) is not None:
                reader.close()
                reader, last = other, 0
            newest = reader.last_row()
            if newest > last:
                _write(reader.read(wanted, after_row=last, to_row=newest), show)
                last = newest
    finally:
        reader.close()


def _opened(path: Path) -> JournalReader | None:
    try:
        return JournalReader(path)
    except JournalError:  # its writer has only just begun
        return None


def _write(entries: Iterable[Entry], show: Callable[[Entry], str]) -> int:
    """Print entries; how many there were."""
    count = 0
    for count, entry in enumerate(entries, 1):  # noqa: B007 - the last count is wanted
        sys.stdout.write(show(entry) + "\n")
    sys.stdout.flush()
    return count
