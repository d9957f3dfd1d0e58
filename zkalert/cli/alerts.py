"""`zkalert alerts`: what is pending or firing now, what was not delivered, and what can be done about it."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from zkalert import clock, zk
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, board, common, local, tables
from zkalert.cli.dossier import Dossier, as_document, as_lines, journal_lines
from zkalert.cli.formats import format_option
from zkalert.cli.session import connected
from zkalert.journal import JOURNAL_NAME
from zkalert.model import (
    Alert,
    DeliveryState,
    OutboxEntry,
    Severity,
    State,
    UsageError,
    ZkalertError,
    ZookeeperSettings,
)
from zkalert.store.facts import the_one
from zkalert.store.wishes import wish_closed, wish_resent
from zkalert.survey import Board, Letter, Reader, Standing, letters, read_board, standings

_STATES = [state.value for state in (State.PENDING, State.FIRING, State.CLEARING)]
_EVERY = 1.0  # seconds between two pictures
_PATIENCE = 5.0  # seconds that an engine may take to see to a wish
_POLL = 0.05
_FORMAT = format_option("table", "A table for people, or one JSON object.")
_Item = TypeVar("_Item", Standing, Letter)


def _id(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[0-9a-fA-F]{1,64}", text):
        raise click.BadParameter(f'"{text}" is no ID of an alert; expected hex digits such as a1b2c3', ctx, param)
    return None if text is None else text.lower()


class _Filter(NamedTuple):
    rule: str
    host: str
    severities: tuple[str, ...]
    states: tuple[str, ...]

    def fits(self, alert: Alert) -> bool:
        return (
            fnmatchcase(alert.rule, self.rule)
            and fnmatchcase(alert.host, self.host)
            and (not self.severities or alert.severity.value in self.severities)
            and (not self.states or alert.state.value in self.states)
        )

    def of(self, items: Iterable[_Item], alert_of: Callable[[_Item], Alert]) -> list[_Item]:
        return [one for one in items if self.fits(alert_of(one))]


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
@click.option("--rule", default="*", metavar="GLOB", help="Only rules whose name matches.")
@click.option("--host", default="*", metavar="GLOB", help="Only hosts whose name matches.")
@click.option(
    "--severity", "severities", multiple=True, type=click.Choice([one.value for one in Severity]), help="Repeatable."
)
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Repeatable.")
@click.option("--undelivered", is_flag=True, help="Show the messages that wait, are withheld, or were given up.")
@_FORMAT
@common.options()
@click.pass_context
def alerts(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: click.Context,
    options: common.Options,
    watch: bool,
    rule: str,
    host: str,
    severities: tuple[str, ...],
    states: tuple[str, ...],
    undelivered: bool,
    format_: str,
) -> None:
    """Show the alerts that are pending or firing, the worst first.

    JSON is an object with at, evaluated (whether an engine does), and alerts: id, episode, rule, host, instance,
    severity, state, metric, subject, unit, value, comparator, threshold, clear, peak, no_data, since, fired_at,
    seconds, ack, silenced_until, silences, withheld, action, undelivered. With --undelivered it has messages in place
    of alerts: effect, id, episode, rule, host, instance, severity, phase, target, name, kind, state, given_up,
    attempts, at, told_at, age, detail. Moments are ISO 8601, spans are seconds.
    """
    if ctx.invoked_subcommand is not None:
        common.refuse_before(ctx)
        return
    wanted = _Filter(rule, host, severities, states)
    if watch and (format_ == "json" or undelivered):
        raise UsageError("--watch shows the table of alerts alone")
    if watch and not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal; `zkalert log --follow` writes what happens line by line")
    settings = local.zookeeper_of(options.load())
    if watch:
        _watch(settings, wanted)
        return
    with connected(settings) as session:
        found = read_board(Reader(*session, settings.session_timeout), only_told=undelivered)
    if undelivered:
        _show_letters(found, wanted, format_)
        return
    chosen = wanted.of(standings(found), _alert_of)
    if format_ == "json":
        _echo_json(found, alerts=[board.alert_document(one, found.at) for one in chosen])
        return
    if chosen:
        tables.show(board.ALERTS, [board.alert_row(one, found.at) for one in chosen])
    else:
        click.echo(_nothing(found), err=True)
    _say_unowned(found)


def _alert_of(one: Standing) -> Alert:
    return one.alert


def _nothing(found: Board) -> str:
    return "none of the alerts fits" if found.alerts else "nothing is pending or firing"


def _say_unowned(found: Board) -> None:
    if not found.is_owned:
        click.echo("no engine evaluates this tree now: alerts stand as the last one left them", err=True)


def _echo_json(found: Board, **more: Any) -> None:
    click.echo(json.dumps({"at": tables.iso(found.at), "evaluated": found.is_owned, **more}, indent=2))


def _show_letters(found: Board, wanted: _Filter, format_: str) -> None:
    chosen = wanted.of((one for one in letters(found) if one.is_undelivered), lambda one: one.effect.alert)
    if format_ == "json":
        _echo_json(found, messages=[board.letter_document(one, found.at) for one in chosen])
        return
    if chosen:
        tables.show(board.LETTERS, [board.letter_row(one, found.at) for one in chosen])
    else:
        click.echo("everything is delivered", err=True)
    if any(one.is_dead for one in chosen):
        click.echo("`zkalert alerts resend` has what was given up tried again", err=True)
    _say_unowned(found)


# Watching -------------------------------------------------------------------------------------------------------------


def _watch(settings: ZookeeperSettings, wanted: _Filter) -> None:
    """Show the table on a screen of its own until Ctrl-C; an ensemble that goes away is waited for."""
    stop = common.stop_on_interrupt()
    terminal = tables.console()
    with connected(settings) as session:
        reader = Reader(*session, settings.session_timeout)
        picture = _picture(read_board(reader), wanted, terminal.width)
        with Live(picture, console=terminal, screen=True, auto_refresh=False) as live:
            while not clock.wait(stop, _EVERY):
                found = _board(reader)
                if found is None:
                    trouble = Text("ZooKeeper does not answer; this is what it said last", style="bold red")
                    live.update(Group(trouble, picture), refresh=True)
                else:
                    picture = _picture(found, wanted, terminal.width)
                    live.update(picture, refresh=True)


def _board(reader: Reader) -> Board | None:
    """All alerts, None where ZooKeeper does not answer now."""
    try:
        return read_board(reader)
    except zk.UNCERTAIN:
        return None


def _picture(found: Board, wanted: _Filter, width: int) -> RenderableType:
    chosen = wanted.of(standings(found), _alert_of)
    firing = sum(one.alert.state.is_active for one in chosen)
    title = f"{firing} firing, {len(chosen) - firing} pending at {tables.local(found.at)}"
    parts: list[RenderableType] = [
        tables.table(
            board.ALERTS, [board.alert_row(one, found.at) for one in chosen], width=width, title=f"alerts: {title}"
        )
    ]
    if not found.is_owned:
        parts.insert(0, Text("no engine evaluates this tree now", style="bold red"))
    return Group(*parts)


# One alert ------------------------------------------------------------------------------------------------------------


@alerts.command(name="show")
@click.argument("id_", metavar="ID", callback=_id)
@_FORMAT
@common.options()
def show_(options: common.Options, id_: str, format_: str) -> None:
    """Show everything that is known of one alert, and commands to type next. The beginning of an ID will do.

    JSON is the object that `alerts --format json` has of it, with more: at, resolved_at, steps, told, heard, repeats,
    escalations, repeat_at, escalate_at, matching (all silences that match), messages (as with --undelivered), actions.
    """
    config = options.load()
    settings = local.zookeeper_of(config)
    with connected(settings) as session:
        found = read_board(Reader(*session, settings.session_timeout))
    dossier = _dossier(found, id_)
    if format_ == "json":
        click.echo(json.dumps(as_document(dossier), indent=2))
        return
    for line in (*as_lines(dossier), *journal_lines(config.state_dir / JOURNAL_NAME, dossier)):
        click.echo(tables.plain(line))
    _say_unowned(found)


def _dossier(found: Board, prefix: str) -> Dossier:
    """What is known of the alert whose id begins so, which may be over and have messages left to tell."""
    standing = {one.alert.episode: one for one in standings(found)}
    told: dict[str, list[Letter]] = defaultdict(list)
    for letter in letters(found):
        told[letter.effect.alert.episode].append(letter)
    episode = the_one(prefix, standing.keys() | told.keys(), "alert", "nothing is pending or firing")
    if episode in standing:
        return Dossier(standing[episode], found.at)
    own = tuple(told[episode])
    return Dossier(Standing(alert=own[-1].effect.alert, ack=None, silences=(), letters=own), found.at)


@alerts.command()
@click.argument("id_", metavar="[ID]", callback=_id, required=False)
@click.option("--all", "is_all", is_flag=True, help="All that was given up, of all alerts.")
@common.options()
def resend(options: common.Options, id_: str | None, is_all: bool) -> None:
    """Have messages of the alert ID tried again that were given up, for as long as new ones are."""
    if (id_ is None) is not is_all:
        raise UsageError("which ones? name an alert by its ID, or say --all")
    settings = local.zookeeper_of(options.load())
    with connected(settings) as session:
        found = read_board(Reader(*session, settings.session_timeout), only_told=True)
        chosen = _dead_of(found, id_)
        wish_resent(*session, (entry.effect.id for entry in chosen))
    for entry in chosen:
        failed = (one.name for one in entry.deliveries if one.state is DeliveryState.FAILED)
        _tell(f"{entry.effect.key} is to be sent again to {', '.join(dict.fromkeys(failed))}")
    if not chosen:
        _tell("nothing was given up")
    _say_later(found)


def _dead_of(found: Board, prefix: str | None) -> Sequence[OutboxEntry]:
    if prefix is None:
        return found.dead
    episodes = {entry.effect.alert.episode for entry in found.dead}
    episode = the_one(prefix, episodes, "undelivered alert", "nothing was given up")
    return [entry for entry in found.dead if entry.effect.alert.episode == episode]


@alerts.command()
@click.argument("id_", metavar="ID", callback=_id)
@common.options()
def close(options: common.Options, id_: str) -> int:
    """Close the alert ID, whose rule is gone: no engine judges it any more, and it would stand for a day.

    One whose rule is there is left alone, whatever becomes of its values is its engine's to say. Exit code 0: closed,
    1: it stands still.
    """
    settings = local.zookeeper_of(options.load())
    with connected(settings) as session:
        reader = Reader(*session, settings.session_timeout)
        shard = reader.shard()
        known = {alert.episode: alert for alert in reader.alerts()}
        alert = known[the_one(id_, known, "alert", "nothing is pending or firing")]
        path = wish_closed(*session, alert.episode)
        record = session.tree.alert(alert.rule, alert.host, alert.instance)
        if not shard.is_owned:
            raise ZkalertError(f"no engine evaluates this tree now; the next one is asked to close alert {alert.id}")
        is_seen = _gone(session.client, path, _PATIENCE)
        if is_seen and _gone(session.client, record, 1.0):
            _tell(f"alert {alert.id} is closed: {alert.rule} on {alert.host}")
            return EXIT_OK
    if not is_seen:
        _tell(f"the engine has not seen to it within {_PATIENCE:g} s; it is asked to close alert {alert.id}")
    else:
        _tell(f"alert {alert.id} is left alone: its rule {alert.rule} is there, and judges it")
    return EXIT_FINDINGS


def _gone(client: zk.Client, path: str, timeout: float) -> bool:
    """Whether a znode goes away in time."""
    deadline, never = clock.monotonic() + timeout, threading.Event()
    while client.exists(path) is not None:
        if clock.monotonic() > deadline:
            return False
        clock.wait(never, _POLL)
    return True


def _say_later(found: Board) -> None:
    if not found.is_owned:
        _tell("no engine evaluates this tree now: the next one does it")


def _tell(line: str) -> None:
    click.echo(tables.plain(line), err=True)
