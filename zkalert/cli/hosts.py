"""`zkalert hosts`: who publishes into a tree, how fresh that is, and who evaluates it; and the end of a host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.text import Text

from zkalert.cli import common, local, tables
from zkalert.cli.engines import engines_document, read_rules, show_engines
from zkalert.cli.formats import format_option
from zkalert.cli.inforce import unknown
from zkalert.cli.session import Session, connected
from zkalert.cli.tables import Column, cell
from zkalert.metrics import format_duration
from zkalert.model import ZkalertError
from zkalert.store.hosts import forget_host, read_host
from zkalert.survey import HostLine, Reader, read_fleet

_COLUMNS = (
    Column("host"),
    Column("sampler", is_short=True),
    Column("last sample", is_number=True, is_short=True),
    Column("families", is_number=True),
    Column("firing", is_number=True),
    Column("pending", is_number=True),
    Column("clock", is_number=True, is_short=True),
    Column("version", is_short=True),
    Column("platform", is_wide=True),
)
_SHOWN_SKEW = 1.0
"""Seconds; less than that may be what reading took."""
_STALE = 60.0


@click.group(invoke_without_command=True)
@format_option("table", "Tables for people, or one JSON object.")
@common.options()
@click.pass_context
def hosts(ctx: click.Context, options: common.Options, format_: str) -> None:
    """Show all hosts: whether their sampler lives, how old their last sample is, and what fires there.

    The clock is how far a host's own is ahead of the ensemble's (or behind), where that is a second or more. Below
    stand the engines. JSON is an object with at, hosts (host, alive, platform, version, labels, sampled_at, age,
    families, firing, pending, clock_skew), and published and engines as `zkalert engines` has them. Moments are ISO
    8601, spans are seconds.
    """
    if ctx.invoked_subcommand is not None:
        common.refuse_before(ctx)
        return
    settings = local.zookeeper_of(options.load())
    with connected(settings) as session:
        reader = Reader(*session, settings.session_timeout)
        fleet = read_fleet(reader)
        rules = read_rules(reader)
    if format_ == "json":
        document = {
            "at": tables.iso(fleet.at),
            "hosts": [_document(one, fleet.at) for one in fleet.hosts],
            **engines_document(fleet, rules),
        }
        click.echo(json.dumps(document, indent=2))
        return
    if fleet.hosts:
        tables.show(_COLUMNS, [_row(one, fleet.at) for one in fleet.hosts])
    else:
        click.echo("nobody publishes here", err=True)
    if fleet.hosts and fleet.engines:
        click.echo()
    show_engines(fleet, rules)


def _row(one: HostLine, now: float) -> Sequence[Text]:
    age = None if one.sampled_at is None else now - one.sampled_at
    return (
        cell(one.info.name),
        cell("alive", "green") if one.is_alive else cell("gone", "bold red"),
        cell("never", "dim")
        if one.sampled_at is None
        else cell(tables.ago(one.sampled_at, now), "red" if age is not None and age > _STALE else ""),
        cell(str(len(one.families))),
        cell(str(one.firing), "bold red" if one.firing else "dim"),
        cell(str(one.pending), "yellow" if one.pending else "dim"),
        cell(_skew(one.skew), "bold red"),
        cell(one.info.version),
        cell(one.info.platform),
    )


def _skew(skew: float | None) -> str:
    if skew is None or abs(skew) < _SHOWN_SKEW:
        return ""
    return ("+" if skew > 0 else "") + format_duration(skew)


def _document(one: HostLine, now: float) -> dict[str, Any]:
    return {
        "host": one.info.name,
        "alive": one.is_alive,
        "platform": one.info.platform,
        "version": one.info.version,
        "labels": dict(one.info.labels),
        "sampled_at": tables.iso(one.sampled_at),
        "age": None if one.sampled_at is None else round(max(0.0, now - one.sampled_at), 3),
        "families": list(one.families),
        "firing": one.firing,
        "pending": one.pending,
        "clock_skew": None if one.skew is None else round(one.skew, 3),
    }


@hosts.command()
@click.argument("names", metavar="HOST...", nargs=-1, required=True)
@common.options()
def forget(options: common.Options, names: tuple[str, ...]) -> None:
    """Forget hosts that were switched off for good: all that they published is deleted.

    The engine closes their alerts ("host removed") and tells so. One whose sampler lives is not forgotten; neither is
    any other of those that were named then. A host that publishes again is there again.
    """
    settings = local.zookeeper_of(options.load())
    with connected(settings) as session:
        chosen = tuple(dict.fromkeys(names))
        for name in chosen:  # before anything goes: a slip must not leave half of it done
            _check(session, name, settings.session_timeout)
        for name in chosen:
            count = forget_host(*session, name)
            _tell(f"host {name} is forgotten: {count} znode{'' if count == 1 else 's'} deleted")


def _check(session: Session, name: str, timeout: float) -> None:
    """Whether a host may be forgotten. Raises ZkalertError where it lives, or is not there."""
    found = read_host(*session, name)
    if found is None:
        known = Reader(*session, timeout).names()
        raise ZkalertError(unknown(f'no host "{name}"', name, known, "nobody publishes here"))
    if found[1] is not None:
        raise ZkalertError(
            f'nothing was deleted: the sampler of host "{name}" lives, or its session is not over yet; '
            "stop it, and wait for that"
        )


def _tell(line: str) -> None:
    click.echo(tables.plain(line), err=True)
