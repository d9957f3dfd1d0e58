"""`zkalert packs`: the rule packs that come with zkalert, listed, or printed to make a copy of."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import click

from zkalert import documents, rulefile
from zkalert.cli import tables
from zkalert.cli.formats import format_option
from zkalert.cli.tables import Column, cell
from zkalert.evaluate import is_of_hosts
from zkalert.model import UsageError

_COLUMNS = (
    Column("pack", is_short=True),
    Column("rules", is_number=True),
    Column("looks at", is_short=True),
    Column("what it is for"),
)
_SCHEMA = re.compile(rb"\A# yaml-language-server: .*\n#\n")


class _Row(NamedTuple):
    """What is told of a pack, by the keys of its JSON."""

    name: str
    rules: int
    looks_at: str
    about: str


@click.command()
@click.argument("name", required=False)
@click.option("--ensemble", metavar="NAME", help="Have its metrics look into this one, of zkalert.yaml.")
@format_option("table", "How to list them: a table for people, or JSON.")
def packs(name: str | None, ensemble: str | None, format_: str) -> None:
    """List the rule packs that come with zkalert, or print the one of this NAME.

    In zkalert.yaml `pack:kafka` stands for a pack among the files under rules:, and so it does with --rules. A copy is
    for who wants other thresholds:

    \b
      zkalert packs
      zkalert packs kafka > rules/kafka.yaml
      zkalert packs kafka --ensemble prod > rules/kafka.yaml

    Packs look at hosts, at ensembles (each that zkalert knows), or at znodes of one ensemble: zkalert's own, unless
    --ensemble names another; in zkalert.yaml that is `pack:kafka@prod`. JSON is a list of objects with name, rules
    (how many), looks_at (hosts, ensembles or znodes) and about.
    """  # noqa: D301 - the \b is click's
    if name is not None:
        if format_ == "json":
            raise UsageError("--format json is for the list; a pack is printed as it is")
        click.echo(_without_schema(_found(name, ensemble).text()), nl=False)
        return
    if ensemble is not None:
        raise UsageError("--ensemble goes with the NAME of a pack")
    rows = [_row(pack) for pack in documents.shipped_packs()]
    if format_ == "json":
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        tables.show(_COLUMNS, [[cell(str(value)) for value in row] for row in rows])


def _found(name: str, ensemble: str | None) -> documents.Pack:
    """Raises UsageError where there is none such."""
    try:
        return documents.find_pack(name, ensemble)
    except documents.PackError as error:
        raise UsageError(f"{error}; {error.cure}") from None


def _without_schema(text: bytes) -> bytes:
    """The text without the line that tells editors where its schema is: not beside a copy."""
    return _SCHEMA.sub(b"", text, count=1)


def _row(pack: documents.Pack) -> _Row:
    rules, _ = rulefile.parse(pack.text(), str(pack))
    looks_at = "znodes" if pack.has_znodes else "hosts" if all(map(is_of_hosts, rules)) else "ensembles"
    return _Row(name=pack.name, rules=len(rules), looks_at=looks_at, about=pack.about)
