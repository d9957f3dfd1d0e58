"""Findings for people and for programs.

For people: the place, the message, the source line with a caret, what was expected, the nearest name. For programs:
JSON, workflow commands of GitHub, SARIF; all of them plain ASCII or text without control characters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import click

from zkalert import __version__
from zkalert.cli import common
from zkalert.model import Finding, Level

_COLOURS = {Level.ERROR: "red", Level.ADVICE: "yellow"}
_WIDTH = 110

_GITHUB_COMMANDS = {Level.ERROR: "error", Level.ADVICE: "notice"}
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {":": "%3A", ",": "%2C"}

_SARIF_LEVELS = {Level.ERROR: "error", Level.ADVICE: "note"}
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check came to: how many files and rules were read, and all findings in the order to be shown."""

    files: int
    rules: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.level is Level.ERROR for finding in self.findings)

    @property
    def advice(self) -> int:
        return len(self.findings) - self.errors

    def strict(self) -> Report:
        """The same, with all advice taken for errors."""
        return replace(self, findings=tuple(replace(finding, level=Level.ERROR) for finding in self.findings))

    def summary(self) -> str:
        """`12 rules in 3 files: no errors`, `2 errors, 1 advice in 3 files`."""
        errors, advice, files = self.errors, self.advice, _count(self.files, "file")
        if errors:
            return f"{_count(errors, 'error')}{f', {advice} advice' if advice else ''} in {files}"
        return f"{_count(self.rules, 'rule')} in {files}: no errors{f', {advice} advice' if advice else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


# For people -----------------------------------------------------------------------------------------------------------


def show(findings: Iterable[Finding], stream: TextIO) -> None:
    """Write each finding to `stream`, in the order given."""
    paint = common.wants_colour(stream)
    stream.writelines("\n".join(_lines(finding, paint=paint)) + "\n" for finding in findings)


def _lines(finding: Finding, *, paint: bool) -> list[str]:
    place = ":".join([finding.file, *(str(number) for number in (finding.line, finding.column) if number)])
    level = click.style(finding.level.value, fg=_COLOURS[finding.level], bold=True) if paint else finding.level.value
    lines = [f"{_printable(place)}: {level}: {_printable(finding.message)}"]
    if finding.text:
        text, caret = _excerpt(finding.text, finding.column)
        lines += [f"    {text}", f"    {' ' * caret}^"]
    return lines + _cures(finding)


def _cures(finding: Finding) -> list[str]:
    expected = [f"  expected: {_printable(finding.expected)}"] if finding.expected else []
    return expected + ([f"  {_printable(finding.hint)}"] if finding.hint else [])


def _excerpt(text: str, column: int) -> tuple[str, int]:
    """The part of a source line around `column` (from 1), and where in it the caret goes."""
    at = max(0, column - 1)
    start = max(0, at - _WIDTH * 2 // 3) if len(text) > _WIDTH else 0
    part = text[start : start + _WIDTH].rstrip()
    return _printable(part.replace("\t", " ")), at - start


def _printable(text: str) -> str:
    """Without control characters: a file must not drive the terminal of whoever checks it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def one_line(finding: Finding) -> str:
    """A finding as one line, for logs: place, message, what was expected, the nearest name."""
    return ", ".join(line.strip() for line in _lines(replace(finding, text=""), paint=False))


# For programs ---------------------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """A report as one object, whose keys stay as they are from release to release::

        {"files": 2, "rules": 0, "errors": 1, "advice": 0, "findings": [
            {"file": "rules/a.yaml", "line": 3, "column": 5, "code": "missing-key", "level": "error",
             "message": "the key metric is missing", "expected": "metric: a metric such as memory_usage",
             "hint": "", "text": "  - name: memory-high"}]}

    `rules` counts those of files without errors. `line` and `column` count from 1, in characters, and are 0 where
    there is no place. `level` is error or advice; `expected`, `hint` and `text` (the source line, secrets covered)
    may be empty.
    """
    findings = [asdict(finding) | {"level": finding.level.value} for finding in report.findings]
    keys = ("file", "line", "column", "code", "level", "message", "expected", "hint", "text")
    return {
        "files": report.files,
        "rules": report.rules,
        "errors": report.errors,
        "advice": report.advice,
        "findings": [{key: finding[key] for key in keys} for finding in findings],
    }


def as_github(report: Report) -> Iterable[str]:
    """Workflow commands that GitHub turns into annotations, one a line; advice becomes a notice."""
    for finding in report.findings:
        place = {"file": finding.file}
        if finding.line:
            place |= {"line": str(finding.line), "col": str(finding.column)}
        properties = {**place, "title": f"zkalert {finding.code}"}
        listed = ",".join(f"{name}={_escaped(text, _IN_PROPERTY)}" for name, text in properties.items())
        yield f"::{_GITHUB_COMMANDS[finding.level]} {listed}::{_escaped(_words(finding), _IN_MESSAGE)}"


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(char) or (char if char.isprintable() else "?") for char in text)


def as_sarif(report: Report) -> dict[str, Any]:
    """A report as a log of SARIF 2.1.0 with one run: a rule for each code that occurs, a result for each finding."""
    codes = sorted({finding.code for finding in report.findings})
    driver = {
        "name": "zkalert",
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": code.replace("-", " ").capitalize()}} for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, codes.index(finding.code)) for finding in report.findings],
    }
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(finding: Finding, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.line:
        place["region"] = {"startLine": finding.line, "startColumn": finding.column}
        if finding.text:
            place["region"]["snippet"] = {"text": _printable(finding.text)}
    # Braces hold placeholders in a message, and are doubled where they stand for themselves (SARIF 2.1.0, 3.11.5);
    # a bracket before a parenthesis makes a link (3.11.6), which no file that is checked should be able to do.
    text = _words(finding).replace("{", "{{").replace("}", "}}").replace("](", "] (")
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _SARIF_LEVELS[finding.level],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    """A path as a URI reference, byte by byte: relative where the path is."""
    encoded = quote(os.fsencode(file))
    return f"file://{encoded}" if Path(file).is_absolute() else encoded


def _words(finding: Finding) -> str:
    """The message, and in lines of their own what was expected and the nearest name."""
    return "\n".join([_printable(finding.message), *(line.strip() for line in _cures(finding))])


def _write_text(report: Report, stream: TextIO) -> None:
    show(report.findings, stream)


def _write_json(report: Report, stream: TextIO) -> None:
    stream.write(json.dumps(as_json(report), indent=2) + "\n")


def _write_github(report: Report, stream: TextIO) -> None:
    stream.writelines(line + "\n" for line in as_github(report))


def _write_sarif(report: Report, stream: TextIO) -> None:
    stream.write(json.dumps(as_sarif(report), indent=2) + "\n")


WRITERS: Mapping[str, Callable[[Report, TextIO], None]] = {
    "text": _write_text,
    "json": _write_json,
    "github": _write_github,
    "sarif": _write_sarif,
}
"""What `--format` chooses from; only `text` is for people."""
