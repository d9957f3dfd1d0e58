"""Findings for people: the place, the message, the source line with a caret, what was expected, the nearest name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TextIO

import click

from zkalert.cli import common
from zkalert.model import Finding, Level

_COLOURS = {Level.ERROR: "red", Level.ADVICE: "yellow"}
_WIDTH = 110


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
    if finding.expected:
        lines.append(f"  expected: {_printable(finding.expected)}")
    if finding.hint:
        lines.append(f"  {_printable(finding.hint)}")
    return lines


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
