"""`zkalert validate`: all that is wrong with rule files and the configuration, with its place and its cure."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from zkalert import config, documents, rulefile
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, common, findings
from zkalert.model import Finding, Level, Rule, UsageError

_STDIN = Path("-")
_CONFIG_KEY = re.compile(rb"""^["']?(?:zookeeper|host|sampler|history|channels|state_dir)["']?[ \t]*:""", re.MULTILINE)


class _Source(NamedTuple):
    """One document as it was read: `path` to read it from, `name` for people; `finding` where it cannot be read."""

    path: Path
    name: str
    text: bytes
    is_config: bool
    finding: Finding | None = None


class _Result(NamedTuple):
    rules: int
    files: int
    findings: list[Finding]


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@common.options()
def validate(options: common.Options, paths: tuple[Path, ...]) -> int:
    """Check rule files, folders of them, and configurations.

    Without PATH: the configuration and the rules that it names. `-` stands for standard input. Whether the channels
    exist is checked where there is a configuration. Exit code 0: no errors, 1: errors, 2: wrong usage.
    """
    home = _home(options.flags, is_needed=not paths)
    if home is None and not paths:
        raise UsageError("nothing to check: no PATH, no --config and no zkalert.yaml here or in /etc/zkalert")
    with documents.paused_gc():
        result = _check(options.flags, home, paths)
    findings.show(result.findings, sys.stdout)
    click.echo(_summary(result))
    return EXIT_FINDINGS if any(finding.level is Level.ERROR for finding in result.findings) else EXIT_OK


def _home(flags: config.Flags, *, is_needed: bool) -> Path | None:
    """The configuration beside which rules are checked."""
    try:
        return config.find(flags, os.environ)
    except UsageError:  # one that lies about and may not be used is no reason to refuse other files
        if is_needed:
            raise
        return None


def _check(flags: config.Flags, home: Path | None, paths: tuple[Path, ...]) -> _Result:
    """Check the configuration `home` if it was named or nothing else was, then everything in `paths`."""
    found: list[Finding] = []
    settings = None
    checked: set[Path] = set()
    if home is not None:
        settings, about_home = config.read(config.read_file(home), home, flags)
        if flags.config is not None or not paths:
            found += about_home
            checked.add(home.absolute())
        elif settings is None:
            click.echo(f"{home} has errors of its own, so channels are not checked", err=True)
    owns: list[config.Config | None] = []
    sources = list(_sources(paths or (settings.rules if settings else ())))
    for source in sources:
        if source.is_config and source.path.absolute() not in checked:
            checked.add(source.path.absolute())
            path = None if source.path == _STDIN else source.path
            own, about = config.read(source.text, path, flags, name=source.name)
            owns.append(own)
            found += about
    if home is None and len(owns) == 1:  # of several, nobody knows which one a rule file goes with
        settings = owns[0]
    rule_sources = [source for source in sources if not source.is_config]
    channels = None if settings is None else frozenset(settings.channels)
    rules, about_rules = _check_rules(rule_sources, channels)
    return _Result(rules, len(checked) + len(rule_sources), _sorted([*found, *about_rules], sources))


def _check_rules(sources: Iterable[_Source], channels: Collection[str] | None) -> tuple[int, list[Finding]]:
    found: list[Finding] = []
    taken: dict[str, str] = {}
    count = 0
    for source in sources:
        if source.finding is not None:
            found.append(source.finding)
            continue
        rules: tuple[Rule, ...]
        rules, about = rulefile.parse(source.text, source.name, channels=channels, taken=taken)
        found += about
        count += len(rules)
    return count, found


def _sources(paths: Iterable[Path]) -> Iterator[_Source]:
    """Each file once, whatever the number of paths that lead to it, in the order given."""
    seen: set[Path] = set()
    for path in paths:
        if path == _STDIN:
            text = sys.stdin.buffer.read(documents.MAX_BYTES + 1)
            yield _Source(path, "<stdin>", text, is_config=_CONFIG_KEY.search(text) is not None)
            continue
        for file in rulefile.files_in(path, configs=True):
            if file.absolute() in seen:
                continue
            seen.add(file.absolute())
            text, finding = rulefile.read(file)
            is_config = rulefile.is_config_name(file) or _CONFIG_KEY.search(text) is not None
            yield _Source(file, _name(file), text, is_config=is_config and finding is None, finding=finding)


def _name(file: Path) -> str:
    """A path as people would write it from here: the configuration's rules come as absolute ones."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _sorted(found: list[Finding], sources: list[_Source]) -> list[Finding]:
    """By file in the order they were read, then by place."""
    order = {source.name: index for index, source in enumerate(sources)}
    return sorted(found, key=lambda finding: (order.get(finding.file, -1), finding.line, finding.column))


def _summary(result: _Result) -> str:
    """`12 rules in 3 files: no errors`, `2 errors, 1 advice in 3 files`."""
    errors = sum(finding.level is Level.ERROR for finding in result.findings)
    advice = len(result.findings) - errors
    files = _count(result.files, "file")
    if errors:
        return f"{_count(errors, 'error')}{f', {advice} advice' if advice else ''} in {files}"
    return f"{_count(result.rules, 'rule')} in {files}: no errors{f', {advice} advice' if advice else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
