"""The texts of a configuration, with variables and secret files filled in.

Comes in: a document, and the environment. Goes out: texts, spans and secrets, and findings that name places and
variables, but never a value that was filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from zkalert.documents import Document
from zkalert.metrics import format_duration, nearest, parse_duration
from zkalert.model import Finding, Level

MAX_SECRET = 64 * 1024

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Place: TypeAlias = tuple["str | int", ...]


class Written:
    """One document. `folder` is what its paths are relative to."""

    def __init__(self, document: Document, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._document = document
        self._environ = environ
        self._findings: list[Finding] = []

    @property
    def data(self) -> Any:
        return self._document.data

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, in the order of the text."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.line, finding.column, finding.code)))

    def add(self, place: Place, code: str, message: str, **rest: Any) -> None:
        """A finding; `rest` as for `Document.finding`."""
        self._findings.append(self._document.finding(place, code, message, **rest))

    def advise(self, place: Place, code: str, message: str, expected: str) -> None:
        self.add(place, code, message, expected=expected, level=Level.ADVICE)

    def span(self, written: str, place: Place, *, least: float, most: float) -> float:
        """A span in seconds; its form has been checked, for the schema says it."""
        seconds = parse_duration(written)
        if not least <= seconds <= most:
            bounds = f"{format_duration(least)} to {format_duration(most)}"
            self.add(place, "wrong-duration", f'{place[-1]}: found "{written[:40]}"', expected=bounds)
        return seconds

    def known(self, written: Iterable[str], place: Place, channels: Iterable[str]) -> tuple[str, ...]:
        """Names of channels, each once; a name alone stands at `place`. One that is not in `channels` is a finding."""
        names = sorted(channels)
        is_one = isinstance(written, str)
        chosen = [written] if isinstance(written, str) else list(written)
        for index, name in enumerate(chosen):
            if name in names:
                continue
            near = nearest(name, names) if len(name) <= 100 else ""
            self.add(
                place if is_one else (*place, index),
                "unknown-channel",
                f'no channel "{name[:100]}" in this file',
                expected="one of " + ", ".join(names) if names else "a channel under channels:",
                hint=f"did you mean {near}?" if near else "",
            )
        return tuple(dict.fromkeys(chosen))

    def checked(self, written: str, place: Place, problem: Callable[[str], str], expected: str) -> str:
        """A text; what `problem` says of it is a finding."""
        count = len(self._findings)
        text = self.text(written, place)
        if len(self._findings) == count and problem(text):
            key = next(part for part in reversed(place) if isinstance(part, str))
            self.add(place, "wrong-value", f"{key}: {problem(text)}", expected=expected)
        return text

    def text(self, written: str, place: Place) -> str:
        """A text with `${NAME}` filled in."""
        text, missing = self.filled(written)
        for name in missing:
            if _NAME.fullmatch(name):
                message = f"the environment variable {name} is not set"
            else:
                message = "what stands between ${ and } is no variable's name"
            self.add(place, "no-variable", message, expected="a variable that is set; $${ stands for ${ itself")
        return text

    def filled(self, written: str) -> tuple[str, list[str]]:
        """As `text`, with the names of variables that are not set in place of findings."""
        missing: list[str] = []

        def fill(match: re.Match[str]) -> str:
            if match[1] is None:
                return "$"
            if match[1] not in self._environ:
                missing.append(match[1])
            return self._environ.get(match[1], "")

        return _VARIABLE.sub(fill, written), missing

    def secret(self, written: str, place: Place) -> str | None:
        """A text, or where it begins with `file:` what stands in that file; None with a finding where neither is."""
        count = len(self._findings)
        text = self.text(written, place)
        if len(self._findings) > count:
            return None
        if not text.startswith("file:"):
            return text
        try:
            with (self.folder / text.removeprefix("file:")).open(encoding="utf-8") as file:
                secret = file.read(MAX_SECRET).rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            self.add(place, "unreadable", f"the file with this secret cannot be read: {reason}", expected="file:PATH")
            return None
        if not secret:
            self.add(place, "unreadable", "the file with this secret is empty", expected="the secret in the file")
        return secret or None
