"""`zkalert rules`: rule sets in ZooKeeper, published for all engines that follow them."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from zkalert import clock, rulefile, zk
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, common, findings, local, logs, rulediff, rulesource
from zkalert.cli.formats import format_option
from zkalert.cli.session import Session, connected
from zkalert.config import Config
from zkalert.documents import RuleSource
from zkalert.model import Publication, ZkalertError
from zkalert.store import rulesets
from zkalert.store.rulesets import BadRuleSet, Pointer
from zkalert.tree import MAX_TEXT, content_digest

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NOTHING = "no rules are published; `zkalert rules push` does that"
_PATHS = click.argument("paths", metavar="[PATH]...", nargs=-1, type=common.RULES)
_FORMAT = format_option("text", "Text for people, or JSON.")


def _text(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise click.BadParameter(f"{len(text)} characters; expected at most {MAX_TEXT}", ctx, param)
    return text


def _expected(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch("none|[0-9A-Fa-f]{4,64}", text):
        raise click.BadParameter(f'found "{text[:70]}"; expected the id of a set, or none', ctx, param)
    return None if text is None else text.lower()


def _publishing(command: _Command) -> _Command:
    """The options of commands that make a set the current one."""
    for option in (
        click.option(
            "--expect",
            metavar="SET",
            callback=_expected,
            help="Change nothing unless this set is the current one; `none`: unless nothing is published.",
        ),
        click.option("--author", default="", callback=_text, help="Who publishes. [default: USER@HOST]"),
        click.option("--comment", default="", callback=_text, help="Why, for the history."),
    ):
        command = option(command)
    return command


@click.group()
def rules() -> None:
    """Publish rules in ZooKeeper, for engines with `rules: zookeeper` in their zkalert.yaml.

    A set is all the files of a push. Its id is a hash of them: the same files have the same id. SET may be the
    beginning of an id.
    """


@rules.command()
@_PATHS
@_publishing
@common.options()
def push(options: common.Options, paths: tuple[RuleSource, ...], comment: str, author: str, expect: str | None) -> None:
    """Check rule files, and make them the published set, in place of all that was published before.

    PATH may be a pack, as pack:kafka. Without PATH: what zkalert.yaml names. They are checked as `zkalert validate`
    does; with an error nothing is published. Commands and literal URLs are refused unless published_rules: in
    zkalert.yaml allows them, here and on each engine. Standard output gets the id of the set. Exit code 0: published,
    or nothing to do, 1: findings, or somebody else was faster, 2: wrong usage.
    """
    config = options.load()
    files = rulesource.gather(config, paths)
    found = rulesource.judge(config, files.by_shown_name())
    with connected(local.zookeeper_of(config)) as session:
        before = _current(session, expect)
        new = rulesets.publication_of(files.contents, at=clock.wall(), by=author or _author(config), comment=comment)
        old = _files_or_none(session, before)
        if before is not None and before.set_id == new.set_id and old is not None:
            click.echo(f"rule set {rulesets.short(new.set_id)} is published already; nothing to do", err=True)
        else:
            after = _publish(session, files.contents, new, before)
            counts = f"{_count(len(files.contents), 'file')}, {_count(len(found.rules), 'rule')}"
            click.echo(f"rule set {rulesets.short(new.set_id)} is published: {counts}", err=True)
            _echo(rulediff.compare(old or {}, files.contents).rules.lines(), err=True)
            with contextlib.suppress(zk.KazooException, *zk.UNCERTAIN):  # the next push prunes as well
                rulesets.prune(*session, after)
    click.echo(new.set_id)


@rules.command()
@click.argument("set_", metavar="[SET]", default="")
@_publishing
@common.options()
def rollback(options: common.Options, set_: str, comment: str, author: str, expect: str | None) -> None:
    """Publish a former set again: SET, or the one before the current one.

    It is checked first, as for a push. Standard output gets its id.
    """
    config = options.load()
    with connected(local.zookeeper_of(config)) as session:
        before = _needed(_current(session, expect))
        target = rulesets.find(before.all, set_) if set_ else _previous(before)
        if target.set_id == before.set_id:
            click.echo(f"rule set {rulesets.short(target.set_id)} is the current one; nothing to do", err=True)
        else:
            files = rulesets.read_files(*session, target.set_id)
            found = rulesource.judge(config, files)
            old = _files_or_none(session, before)
            new = rulesets.publication_of(
                files,
                at=clock.wall(),
                by=author or _author(config),
                comment=comment or f"back to {rulesets.short(target.set_id)}",
            )
            _publish(session, files, new, before)
            short = rulesets.short(target.set_id)
            click.echo(f"rule set {short} is published again: {_count(len(found.rules), 'rule')}", err=True)
            _echo(rulediff.compare(old or {}, files).rules.lines(), err=True)
    click.echo(target.set_id)


@rules.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--set", "set_", metavar="SET", default="", help="A former set, in place of the current one.")
@click.option("--force", is_flag=True, help="Overwrite files that say something else.")
@common.options()
def pull(options: common.Options, folder: Path, set_: str, force: bool) -> None:
    """Write the files of the published set into DIR.

    A file there that says something else is not overwritten without --force; then nothing is written at all. Files
    that are not in the set stay, and are named.
    """
    config = options.load()
    with connected(local.zookeeper_of(config)) as session:
        publication = _chosen(session, set_)
        files = rulesets.read_files(*session, publication.set_id)
    written = rulesource.write(folder, files, is_forced=force)
    short = rulesets.short(publication.set_id)
    click.echo(f"rule set {short} is in {folder}: {written} of {_count(len(files), 'file')} written", err=True)
    _echo((f"not in the set: {name}" for name in rulesource.others(folder, files)), err=True)


@rules.command()
@_PATHS
@_FORMAT
@common.options()
def diff(options: common.Options, paths: tuple[RuleSource, ...], format_: str) -> int:
    """Show what a push of these files would change: rules by name, and files line by line.

    Without PATH: the files that zkalert.yaml names. Exit code 0: no difference, 1: some, 2: wrong usage.
    """
    config = options.load()
    files = rulesource.gather(config, paths)
    with connected(local.zookeeper_of(config)) as session:
        pointer = rulesets.read_pointer(*session)
        old = {} if pointer is None else rulesets.read_files(*session, pointer.set_id)
    findings.show(rulefile.load_texts(files.by_shown_name()).findings, sys.stderr)
    difference = rulediff.compare(old, files.contents)
    if format_ == "json":
        click.echo(rulediff.as_json(difference, None if pointer is None else pointer.set_id))
    else:
        _echo(f"rules {line}" for line in difference.rules.lines())
        click.echo(difference.text, nl=False)
    return EXIT_FINDINGS if difference.files else EXIT_OK


@rules.command()
@_FORMAT
@common.options()
def history(options: common.Options, format_: str) -> None:
    """List the sets that were published, the current one first.

    JSON is a list of objects with set, at (epoch seconds), by, comment and current.
    """
    with connected(local.zookeeper_of(options.load())) as session:
        pointer = rulesets.read_pointer(*session)
    publications = () if pointer is None else pointer.all
    if format_ == "json":
        click.echo(
            json.dumps([_document(one) | {"current": not index} for index, one in enumerate(publications)], indent=2)
        )
    elif not publications:
        click.echo(_NOTHING, err=True)
    else:
        width = max(len(one.by) for one in publications)
        for index, one in enumerate(publications):
            mark = " " if index else "*"
            _echo([f"{mark} {rulesets.short(one.set_id)}  {_time(one.at)}  {one.by:{width}}  {one.comment}"])


@rules.command()
@click.argument("set_", metavar="[SET]", default="")
@_FORMAT
@common.options()
def show(options: common.Options, set_: str, format_: str) -> None:
    """Show a set: when, by whom and why it was published, and its files. Without SET: the current one.

    JSON is an object with set, at (epoch seconds), by, comment, and files: name, sha256, bytes, rules (how many).
    """
    with connected(local.zookeeper_of(options.load())) as session:
        one = _chosen(session, set_)
        files = rulesets.read_files(*session, one.set_id)
    counts = {name: len(rulefile.load_texts({name: content}).rules) for name, content in files.items()}
    if format_ == "json":
        listed = [
            {"name": name, "sha256": content_digest(content), "bytes": len(content), "rules": counts[name]}
            for name, content in sorted(files.items())
        ]
        click.echo(json.dumps(_document(one) | {"files": listed}, indent=2))
        return
    _echo(
        [
            f"set      {one.set_id}",
            f"at       {_time(one.at)}",
            f"by       {one.by}",
            f"comment  {one.comment}",
            *(f"file     {name}: {_count(counts[name], 'rule')}" for name in sorted(files)),
        ]
    )


@rules.command("list")
@click.argument("set_", metavar="[SET]", default="")
@_FORMAT
@common.options()
def list_(options: common.Options, set_: str, format_: str) -> None:
    """List the rules of a set. Without SET: of the current one.

    JSON is a list of objects with name, severity, metric, enabled and source (file:line).
    """
    with connected(local.zookeeper_of(options.load())) as session:
        files = rulesets.read_files(*session, _chosen(session, set_).set_id)
    found = sorted(rulefile.load_texts(files).rules, key=lambda rule: rule.name)
    listed = [
        {
            "name": rule.name,
            "severity": rule.severity.value,
            "metric": str(rule.metric),
            "enabled": rule.enabled,
            "source": rule.source,
        }
        for rule in found
    ]
    if format_ == "json":
        click.echo(json.dumps(listed, indent=2))
        return
    widths = {key: max((len(str(one[key])) for one in listed), default=0) for key in ("name", "severity", "metric")}
    _echo(
        "  ".join([*(f"{one[key]:{width}}" for key, width in widths.items()), str(one["source"])])
        + ("" if one["enabled"] else "  off")
        for one in listed
    )


# What they share ------------------------------------------------------------------------------------------------------


def _current(session: Session, expect: str | None) -> Pointer | None:
    """What is published now, in a tree that this version knows. Raises ZkalertError where that is not `expect`."""
    zk.open_tree(*session)
    pointer = rulesets.read_pointer(*session)
    if expect is None:
        return pointer
    if pointer is None and expect != "none":
        raise ZkalertError("nothing was changed: no rules are published")
    if pointer is not None and not pointer.set_id.startswith(expect):
        current = pointer.publications.current
        raise ZkalertError(
            f"nothing was changed: rule set {rulesets.short(pointer.set_id)} is the current one, "
            f"published {_time(current.at)}" + (f" by {current.by}" if current.by else "")
        )
    return pointer


def _needed(pointer: Pointer | None) -> Pointer:
    if pointer is None:
        raise ZkalertError(_NOTHING)
    return pointer


def _chosen(session: Session, text: str) -> Publication:
    """The current publication, or the one of the history whose id begins so."""
    pointer = _needed(rulesets.read_pointer(*session))
    return rulesets.find(pointer.all, text) if text else pointer.publications.current


def _previous(pointer: Pointer) -> Publication:
    for publication in pointer.publications.previous:
        if publication.set_id != pointer.set_id:
            return publication
    raise ZkalertError("there is no set before the current one")


def _files_or_none(session: Session, pointer: Pointer | None) -> dict[str, bytes] | None:
    """What is published now; None where nothing is, or where it is spoilt: then it is told, and replaced."""
    if pointer is None:
        return None
    try:
        return rulesets.read_files(*session, pointer.set_id)
    except BadRuleSet as error:
        _echo([f"what is published now cannot be read: {error}"], err=True)
        return None


def _publish(session: Session, files: Mapping[str, bytes], new: Publication, before: Pointer | None) -> Pointer:
    try:
        return rulesets.publish(*session, files, new, before)
    except zk.UNCERTAIN as error:
        raise ZkalertError(
            f"ZooKeeper went away meanwhile ({type(error).__name__}): `zkalert rules history` tells whether rule set "
            f"{rulesets.short(new.set_id)} is published; pushing it again does no harm"
        ) from error


def _author(config: Config) -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{config.host}"[:MAX_TEXT]


def _document(publication: Publication) -> dict[str, Any]:
    return {
        "set": publication.set_id,
        "at": publication.at,
        "by": publication.by,
        "comment": publication.comment,
    }


def _time(at: float) -> str:
    """In local time."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _echo(lines: Iterable[str], *, err: bool = False) -> None:
    """Lines for people: what others published must not drive the terminal."""
    for line in lines:
        click.echo(line.translate(logs.CONTROL).rstrip(), err=err)
