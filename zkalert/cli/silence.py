"""`zkalert silence`: keep messages of some alerts quiet for a while, see what is kept quiet, and end it."""

from __future__ import annotations

import json
from datetime import timezone, tzinfo
from typing import Any

import click

from zkalert.cli import common, local, logs, saying
from zkalert.cli.formats import format_option
from zkalert.cli.session import connected
from zkalert.documents import schedules
from zkalert.metrics import format_duration
from zkalert.model import FOR_GOOD, MAX_SPAN, Alert, Silence, UsageError
from zkalert.routing import silencing
from zkalert.store import Facts

_SHOWN = 10
_FORMAT = format_option("text", "Text for people in local time, or JSON.")


@click.group()
def silence() -> None:
    """Keep messages of some alerts quiet for a while.

    Alerts go on as ever, and are shown; only their messages wait. What still fires untold when the silence ends is
    told then, once. An end is always told to those who were told of the firing.
    """


@silence.command()
@click.argument("words", nargs=-1, metavar="[MATCHER]...")
@click.option("--for", "seconds", callback=saying.span, metavar="SPAN", help="For how long: 30m, 2h, 7d.")
@click.option("--until", metavar="TIME", help="Until when: 18:30, 2026-11-24T06:00.")
@click.option("--from", "from_", metavar="TIME", help="From when. [default: now]")
@click.option("--cron", default="", metavar="EXPRESSION", help='Only from the moments that this names: "0 2 * * *".')
@click.option("--span", callback=saying.span, metavar="SPAN", help="With --cron: for how long from each moment.")
@click.option("--timezone", "zone", metavar="NAME", help="Of --cron [default: UTC], --from and --until [the system's].")
@click.option("--all", "is_all", is_flag=True, help="Every alert.")
@saying.signed(needs_comment=True)
@common.options()
def add(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    words: tuple[str, ...],
    seconds: float | None,
    until: str | None,
    from_: str | None,
    cron: str,
    span: float | None,
    zone: str | None,
    is_all: bool,
    comment: str,
    author: str,
) -> None:
    """Keep alerts quiet that match in each MATCHER: rule=GLOB, host=GLOB, instance=GLOB, severity=warning,info or
    LABEL=GLOB, where the label is one of the rule, the host or the instance.

    \b
      zkalert silence add host=db3 --for 2h --comment "new disks"
      zkalert silence add rule=disk-* team=web --until 06:00 --comment "a known leak"
      zkalert silence add host=backup1 --cron "0 2 * * *" --span 90m --timezone Europe/Berlin --comment "backup"

    Standard output gets the id. With --cron it lasts until it is expired, unless --for or --until says otherwise.
    Exit code 0: it is written, 1: ZooKeeper does not answer, 2: wrong usage.
    """  # noqa: D301 - the \b is click's
    matchers = saying.matchers(words, is_all=is_all)
    _check(seconds, until, cron, span)
    tz = _zone(zone)
    if cron and (flaw := silencing.flaw(cron, zone or "UTC")):
        raise UsageError(f"--cron: {flaw}")
    config = options.load()
    with connected(local.zookeeper_of(config)) as session:
        facts = Facts(*session)
        now = facts.open()
        starts_at = now if from_ is None else saying.moment("--from", from_, now, tz)
        ends_at = _end(starts_at, seconds, until, tz)
        if ends_at <= max(now, starts_at):
            raise UsageError(f"it would be over before it begins: it ends at {saying.local(ends_at)}")
        made = Silence(
            id="",
            **matchers._asdict(),
            starts_at=starts_at,
            ends_at=ends_at,
            cron=cron,
            timezone=(zone or "UTC") if cron else "UTC",
            span=span or 0.0,
            comment=comment,
            author=saying.author_of(author, config),
        )
        written = facts.add_silence(made, now).silence
        _tell(
            f"silence {written.id} {_stands(written, now)}; {saying.how_many(saying.matched(facts, written), written)}"
        )
    click.echo(written.id)


@silence.command(name="list")
@click.option("--all", "is_all", is_flag=True, help="Those too that ended within a day.")
@_FORMAT
@common.options()
def list_(options: common.Options, is_all: bool, format_: str) -> None:
    """Show the silences that are on or will be, in the order of their starts."""
    with connected(local.zookeeper_of(options.load())) as session:
        facts = Facts(*session)
        now = facts.open()
        found = [one for one in facts.silences() if is_all or one.ends_at > now]
    if format_ == "json":
        click.echo(json.dumps([_document(one, now) for one in found], indent=2))
        return
    for one in found:
        _say(f"{one.id}  {saying.words(one)}  {_stands(one, now)}  {_signed(one)}")
    if not found:
        _tell("there are no silences")


@silence.command()
@click.argument("id_", metavar="ID")
@_FORMAT
@common.options()
def show(options: common.Options, id_: str, format_: str) -> None:
    """Show one silence, and the firing alerts that it matches. The beginning of an ID will do."""
    with connected(local.zookeeper_of(options.load())) as session:
        facts = Facts(*session)
        now = facts.open()
        found = facts.find_silence(id_.lower()).silence
        alerts = saying.matched(facts, found)
    if format_ == "json":
        document = _document(found, now) | {"alerts": [alert.id for alert in alerts]}
        click.echo(json.dumps(document, indent=2))
        return
    _say(f"{found.id}  {saying.words(found)}")
    for line in _details(found, now):
        _say(f"  {line}")
    _say(f"  {saying.how_many(alerts, found)}" + (":" if alerts else ""))
    for alert in alerts[:_SHOWN]:
        _say(f"    {alert.id}  {alert.severity.value}  {alert.rule} on {_place(alert)}")
    if len(alerts) > _SHOWN:
        _say(f"    and {len(alerts) - _SHOWN} more")


@silence.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@common.options()
def expire(options: common.Options, ids: tuple[str, ...]) -> None:
    """End silences now. The beginning of an ID will do where there is one such silence."""
    with connected(local.zookeeper_of(options.load())) as session:
        facts = Facts(*session)
        now = facts.open()
        # All are looked up before the first is ended: a slip must not leave half of it done.
        for id_ in dict.fromkeys(facts.find_silence(id_.lower()).silence.id for id_ in ids):
            before = facts.expire_silence(id_, now)
            _tell(f"silence {before.id} is over ({saying.words(before)})")


def _check(seconds: float | None, until: str | None, cron: str, span: float | None) -> None:
    """Options that go together. Raises UsageError."""
    if seconds is not None and until is not None:
        raise UsageError("--for and --until: give one of them")
    if seconds is None and until is None and not cron:
        raise UsageError("for how long? say --for 2h or --until 18:30")
    if bool(cron) != (span is not None):
        raise UsageError("--cron and --span belong together: when it begins, and for how long")
    if span is not None and not 0 < span <= MAX_SPAN:
        raise UsageError(
            f"--span: found {format_duration(span)}; expected more than 0s, at most {MAX_SPAN / 86400:.0f}d"
        )


def _zone(name: str | None) -> tzinfo | None:
    """A time zone by its name, None for the machine's own. Raises UsageError."""
    if name is None:
        return None
    if name == "UTC":
        return timezone.utc
    if problem := schedules.zone_problem(name):
        raise UsageError(f"--timezone: {problem.message}; {problem.hint or 'expected ' + problem.expected}")
    import zoneinfo  # noqa: PLC0415 - most silences name no zone

    return zoneinfo.ZoneInfo(name)


def _end(starts_at: float, seconds: float | None, until: str | None, zone: tzinfo | None) -> float:
    if until is not None:
        return saying.moment("--until", until, starts_at, zone)
    return FOR_GOOD if seconds is None else min(starts_at + seconds, FOR_GOOD)


def _stands(one: Silence, now: float) -> str:
    """`is on until ...`."""
    until = silencing.active_until(one, now)
    if until is not None:
        return f"is on until {saying.local(until)}" + _recurs(one)
    if now >= one.ends_at:
        return f"ended at {saying.local(one.ends_at)}"
    begins = silencing.next_change(one, now)
    return ("is never on" if begins is None else f"is on from {saying.local(begins)}") + _recurs(one)


def _recurs(one: Silence) -> str:
    if not one.cron:
        return ""
    last = "" if one.ends_at >= FOR_GOOD else f" until {saying.local(one.ends_at)}"
    return f", again at {one.cron} ({one.timezone}) for {format_duration(one.span)}{last}"


def _signed(one: Silence) -> str:
    return " ".join(part for part in ("(hold)" if one.is_hold else "", one.author, one.comment) if part)


def _details(one: Silence, now: float) -> list[str]:
    lines = [_stands(one, now), f"from {saying.local(one.starts_at)}"]
    if one.is_hold:
        lines.append("kept alive by `zkalert hold`")
    return lines + [f"{name}: {text}" for name, text in (("author", one.author), ("comment", one.comment)) if text]


def _place(alert: Alert) -> str:
    return alert.host if alert.instance is None else f"{alert.host} {alert.instance}"


def _document(one: Silence, now: float) -> dict[str, Any]:
    until = silencing.active_until(one, now)
    return {
        "id": one.id,
        "on": until is not None,
        "on_until": saying.iso(until),
        "next_change": saying.iso(silencing.next_change(one, now)),
        "rule": one.rule,
        "host": one.host,
        "instance": one.instance,
        "severities": sorted(severity.value for severity in one.severities),
        "labels": dict(one.labels),
        "starts_at": saying.iso(one.starts_at),
        "ends_at": saying.iso(one.ends_at),
        "cron": one.cron or None,
        "timezone": one.timezone if one.cron else None,
        "span": one.span if one.cron else None,
        "author": one.author,
        "comment": one.comment,
        "hold": one.is_hold,
    }


def _say(line: str) -> None:
    click.echo(line.translate(logs.CONTROL))


def _tell(line: str) -> None:
    click.echo(line.translate(logs.CONTROL), err=True)
