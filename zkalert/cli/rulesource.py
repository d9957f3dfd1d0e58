"""Rule files and rule sets for the commands of `zkalert rules`: gathered, checked, and written into a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from zkalert import rulefile
from zkalert.cli import findings
from zkalert.cli.validate import UrlChecker, shown_name
from zkalert.config import Config
from zkalert.documents import Pack, RuleSource
from zkalert.model import DocumentError, Level, UsageError, ZkalertError


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What stands in rule files, by the name that each has in a set, and by the one that people know it by."""

    contents: Mapping[str, bytes]
    shown: Mapping[str, str]

    def by_shown_name(self) -> dict[str, bytes]:
        return {self.shown[name]: content for name, content in self.contents.items()}


def gather(config: Config, sources: tuple[RuleSource, ...]) -> Files:
    """The rule files that are named, or else those of the configuration.

    In a set a file has its path below the folder that was named; one that was named itself has its own name, and a
    pack stands in the folder `packs`. Raises UsageError where there are none, where two would have the same name, or
    where one is no rule file by its name; DocumentError where one cannot be read.
    """
    chosen = sources or config.rules
    if not chosen:
        raise UsageError("no rules: name files or folders, or have them under rules: in zkalert.yaml")
    contents: dict[str, bytes] = {}
    shown: dict[str, str] = {}
    for name, known_as, content in _named(chosen):
        if shown.get(name, known_as) != known_as:
            raise UsageError(
                f"{shown[name]} and {known_as} would both be called {name}; name the folder that holds them both"
            )
        contents[name], shown[name] = content, known_as
    if not contents:
        raise UsageError(f"no rule files (*.yaml, *.yml) below {', '.join(map(str, chosen))}")
    return Files(contents=contents, shown=shown)


def _named(sources: tuple[RuleSource, ...]) -> Iterator[tuple[str, str, bytes]]:
    """Each file: its name in a set, the one that people know it by, and what it holds."""
    for source in sources:
        if isinstance(source, Pack):
            yield f"packs/{source.file_name}", str(source), source.text()
            continue
        for file in rulefile.files_in(source):
            if rulefile.is_config_name(file) or rulefile.is_test_name(file):
                what = "a configuration" if rulefile.is_config_name(file) else "tests of rules"
                raise UsageError(f"{file} holds {what} by its name; only rules are published")
            content, unreadable = rulefile.read(file)
            if unreadable is not None:
                raise DocumentError((unreadable,))
            name = file.relative_to(source).as_posix() if source.is_dir() else file.name
            yield name, shown_name(file), content


def judge(config: Config, contents: Mapping[str, bytes]) -> rulefile.RuleSet:
    """The rules in these texts, checked as `zkalert validate` does and by what published rules may bring along.

    Advice goes to standard error. Raises DocumentError with every finding where one is an error.
    """
    channels = None if config.source is None else config.channels
    found = rulefile.load_texts(
        contents,
        channels=channels,
        check_url=UrlChecker(),
        intervals=config.intervals,
        ensembles=config.ensembles,
        allowed=allowed(config),
    )
    if not found.is_usable:
        raise DocumentError(tuple(finding for finding in found.findings if finding.level is Level.ERROR))
    findings.show(found.findings, sys.stderr)
    strict = rulefile.load_texts(contents, allowed=rulefile.Allowed(commands=False, urls=False))
    if not strict.is_usable:
        click.echo(
            "this set brings commands or URLs of its own; an engine takes it only where its own zkalert.yaml has "
            "them allowed under published_rules:",
            err=True,
        )
    return found


def allowed(config: Config) -> rulefile.Allowed:
    """What published rules may bring along, by this configuration."""
    return rulefile.Allowed(commands=config.published_rules.may_run, urls=config.published_rules.may_have_urls)


def write(folder: Path, contents: Mapping[str, bytes], *, is_forced: bool) -> int:
    """Make the folder hold these files, each replaced whole; how many were written.

    Raises ZkalertError, before anything is written, where one that is there says something else and `is_forced` is
    not set, or where a name leads out of the folder.
    """
    top = folder.resolve()
    wanted: dict[Path, bytes] = {}
    differing = []
    for name, content in contents.items():
        path = folder / PurePosixPath(name)
        if not path.resolve().is_relative_to(top):
            raise ZkalertError(f"{path} leads out of {folder} by a link; nothing was written")
        there = _content(path)
        if there == content:
            continue
        if there is not None:
            differing.append(str(path))
        wanted[path] = content
    if differing and not is_forced:
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise ZkalertError(
            f"{', '.join(differing[:5])}{more} would be overwritten; nothing was written (--force overwrites them)"
        )
    with contextlib.ExitStack() as stack:
        # All of the texts reach the disk before the first file has its new one.
        besides = {path: _write_beside(path, content, stack) for path, content in wanted.items()}
        for path, beside in besides.items():
            beside.replace(path)
    return len(wanted)


def others(folder: Path, contents: Mapping[str, bytes]) -> list[str]:
    """Rule files in the folder that are not in the set."""
    names = (file.relative_to(folder).as_posix() for file in rulefile.files_in(folder))
    return [name for name in names if name not in contents]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_beside(path: Path, content: bytes, stack: contextlib.ExitStack) -> Path:
    """A file of the same folder with this content; `stack` removes it unless it was renamed by then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # hidden, so that nobody takes it for a rule file
    stack.callback(beside.unlink, missing_ok=True)
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return beside
