"""`zkalert validate`: all that is wrong with rule files and the configuration, with its place and its cure."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from zkalert import config, documents, routing, rulefile
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, common, findings
from zkalert.model import Finding, Rule, UsageError

if TYPE_CHECKING:
    from zkalert.cli.live_check import LiveCheck

_STDIN = Path("-")
_HANDED_OVER = (Path("/dev/fd"), Path("/proc/self/fd"))
_UNSUPPORTED = "is not supported on this system"  # in the words of senders
_CONFIG_KEY = re.compile(
    rb"""^["']?(?:zookeeper|host|sampler|history|channels|state_dir|routes|group_by|group_interval|host_down|"""
    rb"""on_zookeeper_lost|heartbeat|actions|shell_actions|published_rules)["']?[ \t]*:""",
    re.MULTILINE,
)


class _Source(NamedTuple):
    """One document as it was read: `path` to read it from, `name` for people; `finding` where it cannot be read."""

    path: Path
    name: str
    text: bytes
    is_config: bool
    finding: Finding | None = None
    is_pack: bool = False


class UrlChecker:
    """Says what is wrong with URLs of channels, in words without their secrets; sends nothing.

    A service may lack what it needs on this system (a desktop's bus, say). The file may be meant for another one, so
    that is no finding; `unsupported` keeps what to tell of it.
    """

    def __init__(self) -> None:
        self.unsupported: dict[str, None] = {}
        self._problems: dict[str, str] = {}

    def __call__(self, url: str) -> str:
        """Why `url` cannot be sent to; empty where nothing is wrong."""
        if url not in self._problems:
            self._problems[url] = self._problem(url)
        return self._problems[url]

    def _problem(self, url: str) -> str:
        from zkalert.senders import validate_url  # noqa: PLC0415 - brings apprise, 0.4 s that few checks need

        singles = routing.split_recipients(url.strip())
        for number, single in enumerate(singles, 1):
            problem = validate_url(single)
            if problem and _UNSUPPORTED in problem:
                self.unsupported[problem] = None
            elif problem:
                return problem if len(singles) == 1 else f"recipient {number} of {len(singles)}: {problem}"
        return ""


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=common.RULES)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(findings.WRITERS)),
    default="text",
    show_default=True,
    help="How to show findings: for people, as JSON, as annotations of GitHub, as SARIF 2.1.0.",
)
@click.option("--strict", is_flag=True, help="Take advice for errors.")
@click.option("--live", "is_live", is_flag=True, help="Hold the rules against the hosts and znodes of now, too.")
@common.options()
def validate(
    options: common.Options, paths: tuple[documents.RuleSource, ...], format_: str, strict: bool, is_live: bool
) -> int:
    """Check rule files, folders of them, and configurations.

    Without PATH: the configuration and the rules that it names. `-` stands for standard input, pack:NAME for a pack
    that comes with zkalert. Whether the channels exist is checked where there is a configuration. URLs of channels are
    checked as far as that goes without sending anything. With a format for programs, standard output holds nothing
    else. --live reads from ZooKeeper what hosts publish and what znodes say, and tells which of them each rule meets.
    Exit code 0: no errors, 1: errors, or an ensemble that does not answer, 2: wrong usage.
    """
    home = _home(options.flags, is_needed=not paths)
    if home is None and not paths:
        raise UsageError("nothing to check: no PATH, no --config and no zkalert.yaml here or in /etc/zkalert")
    check_url = UrlChecker()
    live = _live(options.flags) if is_live else None
    with documents.paused_gc():
        report = _check(options.flags, home, paths, check_url, live)
    if strict:
        report = report.strict()
    if live is None:
        findings.WRITERS[format_](report, sys.stdout)
    else:
        live.write(report, format_, sys.stdout)
    for problem in check_url.unsupported:
        click.echo(problem, err=True)
    click.echo(report.summary(), err=format_ != "text")
    if live is not None and live.problem:
        click.echo(f"zkalert: error: {live.problem}", err=True)
        return EXIT_FINDINGS
    return EXIT_FINDINGS if report.errors else EXIT_OK


def _live(flags: config.Flags) -> LiveCheck:
    from zkalert.cli.live_check import LiveCheck  # noqa: PLC0415 - brings ZooKeeper, which few checks need

    return LiveCheck(flags)


def _home(flags: config.Flags, *, is_needed: bool) -> Path | None:
    """The configuration beside which rules are checked."""
    try:
        return config.find(flags, os.environ)
    except UsageError:  # one that lies about and may not be used is no reason to refuse other files
        if is_needed:
            raise
        return None


def _check(
    flags: config.Flags,
    home: Path | None,
    paths: tuple[documents.RuleSource, ...],
    check_url: UrlChecker,
    live: LiveCheck | None,
) -> findings.Report:
    """Check the configuration `home` if it was named or nothing else was, then everything in `paths`."""
    found: list[Finding] = []
    settings = None
    checked: set[Path] = set()
    if home is not None:
        is_checked = flags.config is not None or not paths
        settings, about_home = config.read(
            config.read_file(home), home, flags, check_url=check_url if is_checked else None
        )
        if is_checked:
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
            own, about = config.read(source.text, path, flags, name=source.name, check_url=check_url)
            owns.append(own)
            found += about
    if home is None and len(owns) == 1:  # of several, nobody knows which one a rule file goes with
        settings = owns[0]
    rule_sources = [source for source in sources if not source.is_config]
    rules, about_rules = _check_rules(rule_sources, settings, check_url, live)
    if live is not None:
        about_rules += live.advice(settings)
    return findings.Report(
        files=len(checked) + len(rule_sources),
        rules=rules,
        findings=_sorted([*found, *about_rules], sources),
    )


def _check_rules(
    sources: Iterable[_Source],
    settings: config.Config | None,
    check_url: UrlChecker,
    live: LiveCheck | None,
) -> tuple[int, list[Finding]]:
    """Without `settings` the names of channels and ensembles are not checked."""
    found: list[Finding] = []
    taken: dict[str, str] = {}
    links = rulefile.Links()
    count = 0
    for source in sources:
        if source.finding is not None:
            found.append(source.finding)
            links.miss()
            continue
        rules: tuple[Rule, ...]
        if rulefile.is_test_name(source.path):
            from zkalert import ruletest  # noqa: PLC0415 - most checks are of rules alone

            found += ruletest.parse(source.text, source.name)[1]
            continue
        rules, about = rulefile.parse(
            source.text,
            source.name,
            channels=None if settings is None else settings.channels,
            taken=taken,
            links=links,
            check_url=check_url,
            intervals=None if settings is None else settings.intervals,
            ensembles=None if settings is None else settings.ensembles,
        )
        found += about
        count += len(rules)
        if live is not None:
            live.add(source.text, source.name, rules, is_pack=source.is_pack)
    return count, found + links.findings()


def _sources(paths: Iterable[documents.RuleSource]) -> Iterator[_Source]:
    """Each file and pack once, whatever the number of paths that lead to it, in the order given."""
    seen: set[documents.RuleSource] = set()
    for path in paths:
        if isinstance(path, documents.Pack):
            if path not in seen:
                seen.add(path)
                yield _Source(path.path, str(path), path.text(), is_config=False, is_pack=True)
            continue
        if path == _STDIN:
            text = sys.stdin.buffer.read(documents.MAX_BYTES + 1)
            yield _Source(path, "<stdin>", text, is_config=_CONFIG_KEY.search(text) is not None)
            continue
        for file in rulefile.files_in(path, configs=True):
            if file.absolute() in seen:
                continue
            seen.add(file.absolute())
            text, finding = rulefile.read(file) if _can_be_read(file) else (b"", _no_file(file))
            is_config = rulefile.is_config_name(file) or _CONFIG_KEY.search(text) is not None
            yield _Source(file, shown_name(file), text, is_config=is_config and finding is None, finding=finding)


def _can_be_read(file: Path) -> bool:
    """A regular file, or what the shell hands over, as by `<(...)`; a pipe or device of another kind may never end."""
    return file.is_file() or file.parent in _HANDED_OVER


def _no_file(file: Path) -> Finding:
    return Finding(
        file=shown_name(file),
        line=0,
        column=0,
        code="unreadable",
        message="not a regular file",
        expected="a file or a folder, or - for standard input",
    )


def shown_name(file: Path) -> str:
    """A path as people would write it from here: the configuration's rules come as absolute ones."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _sorted(found: list[Finding], sources: list[_Source]) -> tuple[Finding, ...]:
    """By file in the order they were read, then by place."""
    order = {source.name: index for index, source in enumerate(sources)}
    return tuple(sorted(found, key=lambda finding: (order.get(finding.file, -1), finding.line, finding.column)))
