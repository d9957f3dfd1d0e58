"""`zkalert test`: unit tests of rules, with samples that are made up and a clock that takes no time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from zkalert import clock, documents, rulefile, ruletest
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, findings
from zkalert.cli.formats import format_option
from zkalert.model import Finding, Level, Rule, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What came of one test, and how many seconds it took."""

    result: ruletest.Result
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What came of one test file: findings where it, or rules that it names, cannot be used; else its tests."""

    name: str
    findings: tuple[Finding, ...] = ()
    tests: tuple[Timed, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of all of them; `untested` has the names of rules that fired in no test, None if only some ran."""

    files: tuple[File, ...]
    untested: tuple[str, ...] | None
    seconds: float

    @property
    def tests(self) -> int:
        return sum(len(file.tests) for file in self.files)

    @property
    def failed(self) -> int:
        return sum(bool(timed.result.failures) for file in self.files for timed in file.tests)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all files, each once: several may name the same rules."""
        return tuple(dict.fromkeys(finding for file in self.files for finding in file.findings))

    def summary(self) -> str:
        """`12 tests in 2 files: all passed`, `12 tests in 2 files: 3 failed, 1 file cannot be used`."""
        bad = sum(bool(file.findings) for file in self.files)
        parts = [f"{self.failed} failed"] if self.failed else [] if bad else ["all passed"]
        parts += [f"{_count(bad, 'file')} cannot be used"] if bad else []
        return f"{_count(self.tests, 'test')} in {_count(len(self.files), 'file')}: {', '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@click.command("test")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-k", "match", metavar="TEXT", default="", help="Run the tests that have this in their name, in any case."
)
@click.option("-v", "--verbose", is_flag=True, help="List the tests that pass too.")
@format_option("text", "For people, or one JSON object.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the results as JUnit XML too.")
def test(paths: tuple[Path, ...], match: str, verbose: bool, format_: str, junit: Path | None) -> int:
    """Run unit tests of rules: test files, and the *.test.yaml and *.test.yml below folders.

    A test says what samples hold and what has to become of them: which alerts fire, which messages go out, when, and
    to whom. The rules run as in the engine, on a clock of their own; nothing is sent. Exit code 0: all tests passed,
    1: some failed or a file cannot be used, 2: wrong usage.
    """
    began = clock.monotonic()
    rules = _Rules()
    files = tuple(_run_file(path, match, rules) for path in _files(paths))
    if match and not any(file.tests or file.findings for file in files):
        raise UsageError(f'no test has "{match}" in its name')
    report = Report(files=files, untested=None if match else tuple(_untested(files)), seconds=clock.monotonic() - began)
    if junit is not None:
        from zkalert.cli.junit import as_xml  # noqa: PLC0415 - few runs want it

        junit.write_bytes(as_xml(report))
    if format_ == "json":
        sys.stdout.write(json.dumps(as_json(report), indent=2) + "\n")
    else:
        _write_text(report, sys.stdout, verbose=verbose)
    click.echo(report.summary(), err=format_ != "text")
    return EXIT_FINDINGS if report.failed or report.findings else EXIT_OK


# Running --------------------------------------------------------------------------------------------------------------


class _Rules:
    """Rule files, each set of them read once however many test files name it."""

    def __init__(self) -> None:
        self._known: dict[tuple[documents.RuleSource, ...], rulefile.RuleSet] = {}

    def load(self, sources: Iterable[documents.RuleSource]) -> rulefile.RuleSet:
        key = tuple(sources)
        if key not in self._known:
            self._known[key] = rulefile.load(key)
        return self._known[key]


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Each test file once, whatever the number of paths that lead to it. Raises UsageError where a path has none."""
    seen: set[Path] = set()
    for path in paths:
        found = list(rulefile.files_in(path, tests=True))
        if not found:
            raise UsageError(f"{path}: no test files (*.test.yaml, *.test.yml) in this folder")
        for file in found:
            if file.absolute() not in seen:
                seen.add(file.absolute())
                yield file


def _run_file(path: Path, match: str, known: _Rules) -> File:
    name = str(path)
    suite, rules, found = _read(path, name, known)
    if suite is None or found:
        return File(name=name, findings=found)
    tests = tuple(_timed(suite, one, rules) for one in suite.tests if match.casefold() in one.name.casefold())
    return File(name=name, tests=tests, rules=rules)


def _timed(suite: ruletest.Suite, one: ruletest.Test, rules: tuple[Rule, ...]) -> Timed:
    began = clock.monotonic()
    result = ruletest.run(suite, one, rules)
    return Timed(result=result, seconds=clock.monotonic() - began)


def _read(path: Path, name: str, known: _Rules) -> tuple[ruletest.Suite | None, tuple[Rule, ...], tuple[Finding, ...]]:
    """A test file and the rules that it is about; findings where one of them cannot be used."""
    if not path.is_file():  # a pipe or a device may never end
        message = "not a regular file"
        return None, (), (Finding(file=name, line=0, column=0, code="unreadable", message=message),)
    text, unreadable = rulefile.read(path)
    if unreadable is not None:
        return None, (), (unreadable,)
    suite, found = ruletest.parse(text, name)
    if suite is None:
        return None, (), found
    rules = suite.rules
    if suite.files:
        sources, missing = _sources(suite, path.parent)
        if missing:
            return None, (), missing
        rule_set = known.load(sources)
        errors = tuple(finding for finding in rule_set.findings if finding.level is Level.ERROR)
        if errors:
            return None, (), errors
        rules = rule_set.rules
    return suite, rules, ruletest.link(suite, rules)


def _sources(suite: ruletest.Suite, folder: Path) -> tuple[tuple[documents.RuleSource, ...], tuple[Finding, ...]]:
    """The files, folders and packs that a test file names, and findings for those that are not there."""
    sources: list[documents.RuleSource] = []
    missing: list[Finding] = []
    for text, place in suite.files:
        try:
            source = documents.rule_source(text, folder)
        except documents.PackError as error:
            missing.append(
                suite.document.finding(place, "wrong-pack", str(error), expected=error.expected, hint=error.hint)
            )
            continue
        if isinstance(source, Path):
            source = Path(os.path.normpath(source))
            if not source.exists():
                missing.append(suite.document.finding(place, "no-file", f"{source}: no such file or folder"))
        sources.append(source)
    return tuple(sources), tuple(missing)


def _untested(files: Iterable[File]) -> list[str]:
    """The names of enabled rules that fired in no test, in the order of the files."""
    fired: set[tuple[str, str]] = set()
    rules: dict[tuple[str, str], None] = {}
    for file in files:
        names = {name for timed in file.tests for name in timed.result.fired}
        own = {(rule.name, rule.source): None for rule in file.rules if rule.enabled}
        rules.update(own)
        fired.update(key for key in own if key[0] in names)
    return list(dict.fromkeys(name for name, source in rules if (name, source) not in fired))


# Showing --------------------------------------------------------------------------------------------------------------


def _write_text(report: Report, stream: TextIO, *, verbose: bool) -> None:
    findings.show(report.findings, stream)
    for file in report.files:
        for timed in file.tests:
            one = timed.result.test
            if timed.result.failures:
                stream.write(f"{_plain(f'{file.name}:{one.line}')}: FAILED: {_plain(one.name)}\n")
                for failure in timed.result.failures:
                    findings.show([failure.finding], stream)
                    stream.writelines(f"    {_plain(line)}\n" for line in failure.details)
            elif verbose:
                stream.write(f"{_plain(f'{file.name}:{one.line}')}: passed: {_plain(one.name)}\n")
    if report.untested:
        stream.write(f"rules that fire in no test: {', '.join(report.untested)}\n")


def _plain(text: str) -> str:
    """Without control characters: a file must not drive the terminal of whoever tests it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def as_json(report: Report) -> Mapping[str, Any]:
    """A report as one object, whose keys stay as they are from release to release::

        {"files": 1, "tests": 2, "passed": 1, "failed": 1, "seconds": 0.012, "untested_rules": ["disk-full"],
         "findings": [],
         "results": [{"file": "a.test.yaml", "line": 3, "name": "fires once", "passed": false, "seconds": 0.004,
                      "failures": [{"line": 9, "column": 9, "code": "wrong-state", "message": "at 7m ...",
                                    "expected": "firing", "details": ["what became of memory-high on web1:"]}]}]}

    `findings` are as in `zkalert validate --format json`: what is wrong with files that cannot be used, whose tests
    did not run. `untested_rules` is null where `-k` chose some tests.
    """
    results = [_result(file.name, timed) for file in report.files for timed in file.tests]
    found = findings.as_json(findings.Report(files=len(report.files), rules=0, findings=report.findings))
    return {
        "files": len(report.files),
        "tests": report.tests,
        "passed": report.tests - report.failed,
        "failed": report.failed,
        "seconds": round(report.seconds, 6),
        "untested_rules": report.untested,
        "findings": found["findings"],
        "results": results,
    }


def _result(file: str, timed: Timed) -> Mapping[str, Any]:
    result = timed.result
    failures = [
        {
            "line": failure.finding.line,
            "column": failure.finding.column,
            "code": failure.finding.code,
            "message": failure.finding.message,
            "expected": failure.finding.expected,
            "details": failure.details,
        }
        for failure in result.failures
    ]
    return {
        "file": file,
        "line": result.test.line,
        "name": result.test.name,
        "passed": not failures,
        "seconds": round(timed.seconds, 6),
        "failures": failures,
    }
