"""The keys of one mapping in a rule file, each with the place where it stands, and what is wrong with them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from zkalert.documents import Document, show
from zkalert.metrics import family_of, format_duration, parse_duration
from zkalert.model import Finding, Metric

Path: TypeAlias = tuple["str | int", ...]
Raw: TypeAlias = Mapping[str, Any]

MAX_DURATION = 366 * 86400.0


class Report:
    """What is found wrong with one document; the same thing, as in its defaults, is told once.

    `intervals` are the seconds between samples of families that are not at their usual cadence. `ensembles` are the
    names that metrics of znodes may begin with, None where these are not known.
    """

    def __init__(
        self,
        document: Document,
        intervals: Mapping[str, float] | None = None,
        ensembles: Collection[str] | None = None,
    ) -> None:
        self.document = document
        self.ensembles = ensembles
        self._intervals = intervals or {}
        self._findings: dict[Finding, None] = {}

    def add(self, path: Path, code: str, message: str, **rest: Any) -> None:
        """`rest` as for `Document.finding`."""
        self._findings[self.document.finding(path, code, message, **rest)] = None

    def interval(self, metric: Metric) -> float:
        """The seconds from one sample of a metric to the next."""
        return self._intervals.get(metric.family) or family_of(metric.family).interval

    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order of the text."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.line, finding.column, finding.code)))


class Keys:
    """One mapping: its values by key, and where each stands: in its own place, or in the defaults."""

    __slots__ = ("_own", "_path", "report", "values")

    def __init__(self, report: Report, values: Raw, path: Path, own: Raw | None = None) -> None:
        self.report = report
        self.values = values
        self._path = path
        self._own = own

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def at(self, *parts: str | int) -> Path:
        """Where a value stands; without parts, the mapping itself."""
        if self._own is None or not parts or parts[0] in self._own:
            return (*self._path, *parts)
        return ("defaults", *parts)

    def is_own(self, key: str) -> bool:
        """Whether a key stands in the mapping itself, not in the defaults."""
        return self._own is None or key in self._own

    def below(self, *parts: str | int) -> Keys:
        """The mapping that stands there."""
        inside: Any = self.values
        for part in parts:
            inside = inside[part]
        return Keys(self.report, inside, self.at(*parts))

    def items(self, key: str) -> list[Keys]:
        """The mappings of a list, or the one mapping that stands in its place."""
        inside = self.values[key]
        if isinstance(inside, list):
            return [self.below(key, index) for index in range(len(inside))]
        return [self.below(key)]

    def wrong(self, key: str, code: str, message: str, **rest: Any) -> None:
        """Report a value."""
        self.report.add(self.at(key), code, message, **rest)

    def misplaced(self, key: str, code: str, message: str, **rest: Any) -> None:
        """Report a key that should not be there, or not with this neighbour."""
        self.report.add(self.at(key), code, message, at_key=True, **rest)

    def missing(self, key: str, expected: str) -> None:
        self.report.add(self.at(), "missing-key", f"the key {key} is missing", expected=f"{key}: {expected}")

    def span(self, key: str, *, least: float = 0.0, most: float = MAX_DURATION) -> float | None:
        """The span at a key in seconds, None where it is out of bounds; its form has passed the schema."""
        return check_span(self.report, self.values[key], self.at(key), least=least, most=most)


def check_span(
    report: Report, written: str | float, path: Path, *, least: float, most: float = MAX_DURATION
) -> float | None:
    """A span in seconds, or None and a finding where it is out of bounds."""
    seconds = _seconds(written) if isinstance(written, str) else float(written)
    if least <= seconds <= most:
        return seconds
    upper = f"{most / 86400:.0f}d"
    bounds = f"at most {upper}" if not least else f"at most {upper}, and more than none"
    if least >= 1:
        bounds = f"from {format_duration(least)} to {upper}"
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    report.add(path, "wrong-duration", f"{name}: found {show(written)}", expected=bounds)
    return None


_seconds = functools.lru_cache(maxsize=1024)(parse_duration)


def listed(written: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return written if isinstance(written, list) else [written]
