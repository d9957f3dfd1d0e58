"""`zkalert engines`: which engine evaluates a tree, which wait to take over, and whether they run the same rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.text import Text

from zkalert import rulefile
from zkalert.cli import common, local, tables
from zkalert.cli.formats import format_option
from zkalert.cli.session import connected
from zkalert.cli.tables import Column, cell
from zkalert.model import EngineInfo, Publication, ZkalertError
from zkalert.store import rulesets
from zkalert.survey import EngineLine, Fleet, Reader, Role, read_fleet

_COLUMNS = (
    Column("engine"),
    Column("host"),
    Column("pid", is_number=True, is_short=True),
    Column("version", is_short=True),
    Column("role", is_short=True),
    Column("rules", is_short=True),
    Column("since", is_short=True, is_wide=True),
    Column("seen", is_number=True, is_short=True),
    Column("notes"),
)
_ROLE_STYLES = {Role.OWNER: "green", Role.STANDBY: "cyan", Role.STARTING: "yellow"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What engines should run: the set that is published, its digest as engines have it; `problem` where it is bad."""

    publication: Publication | None = None
    digest: str | None = None
    problem: str = ""


@click.command()
@format_option("table", "A table for people, or one JSON object.")
@common.options()
def engines(options: common.Options, format_: str) -> None:
    """Show the engines of a tree: the owner evaluates, the others wait to take over in the order shown.

    JSON is an object with at, published (the rule set, or null: set, at, by, digest), and engines: id, host, pid,
    version, role, rules (the digest of what it runs), other_rules (whether it should run others), since, seen.
    """
    settings = local.zookeeper_of(options.load())
    with connected(settings) as session:
        reader = Reader(*session, settings.session_timeout)
        fleet = read_fleet(reader, engines_alone=True)
        rules = read_rules(reader)
    if format_ == "json":
        click.echo(json.dumps({"at": tables.iso(fleet.at), **engines_document(fleet, rules)}, indent=2))
        return
    show_engines(fleet, rules)


def read_rules(reader: Reader) -> Rules:
    """What is published in a tree. Raises as a reader does."""
    try:
        found = rulesets.published(reader.client, reader.tree)
    except ZkalertError as error:
        return Rules(problem=str(error))
    if found is None:
        return Rules()
    return Rules(found.publication, rulefile.digest(rulefile.load_texts(found.files).rules))


def show_engines(fleet: Fleet, rules: Rules, title: str = "") -> None:
    """Print the table, and what is wrong with it to standard error."""
    others = _others(fleet, rules)
    if fleet.engines:
        tables.show(_COLUMNS, [_row(one, fleet.at, is_other=one.info in others) for one in fleet.engines], title=title)
    if not any(one.role is Role.OWNER for one in fleet.engines):
        click.echo("no engine evaluates this tree now", err=True)
    if rules.problem:
        click.echo(tables.plain(rules.problem), err=True)
    if others:
        by = f"the published set {rulesets.short(rules.publication.set_id)}" if rules.publication else "most of them"
        count = "one engine runs" if len(others) == 1 else f"{len(others)} engines run"
        click.echo(f"{count} other rules than {by}", err=True)


def _others(fleet: Fleet, rules: Rules) -> Sequence[EngineInfo]:
    skew = rulesets.skew([one.info for one in fleet.engines], rules.digest)
    return () if skew is None else skew.engines


def _row(one: EngineLine, now: float, *, is_other: bool) -> Sequence[Text]:
    return (
        cell(one.id),
        cell(one.info.host),
        cell(str(one.info.pid)),
        cell(one.info.version),
        cell(one.role.value, _ROLE_STYLES[one.role]),
        cell(one.info.rules or "-", "bold red" if is_other else ""),
        cell(tables.short(one.since, now)),
        cell(tables.ago(one.shown_at, now)),
        cell("other rules" if is_other else "", "bold red"),
    )


def engines_document(fleet: Fleet, rules: Rules) -> dict[str, Any]:
    others = _others(fleet, rules)
    publication = rules.publication
    return {
        "published": None
        if publication is None
        else {
            "set": publication.set_id,
            "at": tables.iso(publication.at),
            "by": publication.by,
            "digest": rules.digest,
        },
        "engines": [
            {
                "id": one.id,
                "host": one.info.host,
                "pid": one.info.pid,
                "version": one.info.version,
                "role": one.role.value,
                "rules": one.info.rules,
                "other_rules": one.info in others,
                "since": tables.iso(one.since),
                "seen": tables.iso(one.shown_at),
            }
            for one in fleet.engines
        ],
    }
