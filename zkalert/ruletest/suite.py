"""What a test document says, once it has been checked; all times are seconds from the start of a test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from zkalert.documents import Document
from zkalert.model import EMPTY, Metric, Phase, Rule, Severity, Silence, State, Value

Path: TypeAlias = tuple["str | int", ...]
Wanted: TypeAlias = "str | re.Pattern[str]"
"""A text as it has to be, or what has to be found in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of one host or instance: its values from the start on, `interval` seconds apart; None is no value."""

    metric: Metric
    host: str
    instance: str | None
    values: tuple[Value | None, ...]
    interval: float
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of a test, or an ensemble in the place of one; it is dead from `dies` until `returns`."""

    name: str
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    dies: float | None = None
    returns: float | None = None
    is_ensemble: bool = False

    def is_alive(self, at: float) -> bool:
        if self.dies is None or at < self.dies:
            return True
        return self.returns is not None and at >= self.returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    """Somebody acknowledges the alerts of a rule at a moment, for `span` seconds; None: until they end.

    `host` and `instance` None: all that the rule has.
    """

    path: Path
    at: float
    rule: str
    host: str | None = None
    instance: str | None = None
    span: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedState:
    """Where the alerts of a rule have to stand at a moment; what is None is not looked at."""

    path: Path
    at: float
    rule: str
    state: State
    host: str | None = None
    instance: str | None = None
    severity: Severity | None = None
    value: Value | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMessage:
    """A message, a command (`run`), or what is withheld (`why`); what is None is not looked at."""

    path: Path
    at: float
    rule: str | None = None
    host: str | None = None
    instance: str | None = None
    phases: frozenset[Phase] | None = None
    severity: Severity | None = None
    to: frozenset[str] | None = None
    run: tuple[str, ...] | str | None = None
    title: Wanted | None = None
    body: Wanted | None = None
    contains: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test: `start` in epoch seconds, `silences` on the ensemble's clock, `end` the last moment looked at.

    `messages` and `withheld` are None where the test says nothing of them.
    """

    __test__ = False  # its name makes pytest curious

    path: Path
    line: int
    name: str
    start: float
    end: float
    hosts: tuple[Host, ...]
    series: tuple[Series, ...]
    silences: tuple[Silence, ...]
    acks: tuple[Acked, ...]
    states: tuple[ExpectedState, ...]
    messages: tuple[ExpectedMessage, ...] | None
    withheld: tuple[ExpectedMessage, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A test document: `files` are the rule files and packs it names, with their places, `rules` those that it has."""

    document: Document
    files: tuple[tuple[str, Path], ...]
    rules: tuple[Rule, ...]
    tests: tuple[Test, ...]
