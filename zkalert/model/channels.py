"""Where messages may go, and what a channel asks for: how bad, when, how often, in which form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from zkalert.model.base import EMPTY
from zkalert.model.rules import Schedule
from zkalert.model.rulewords import Severity


class Format(str, Enum):
    """How the body of a message is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"


class Rate(NamedTuple):
    """`messages` in any `per` seconds at most."""

    messages: int
    per: float

    @property
    def pause(self) -> float:
        """Seconds between two messages, in the long run."""
        return self.per / self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """When a channel is left in peace, and which severities are told all the same."""

    schedule: Schedule
    but: frozenset[Severity] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where messages go: apprise URLs, with their secrets filled in; never printed whole.

    Less than `min_severity` is not told. `format` and `rate` None mean what suits the service. `templates` are users'
    texts by what they make (`title`, `body`). Messages whose alerts agree in `group_by` (words of `GROUP_WORDS`, or
    `label:NAME`) within `group_interval` seconds of the first go as one. `secret` signs webhooks.
    """

    name: str
    urls: tuple[str, ...] = field(repr=False)
    min_severity: Severity = Severity.INFO
    quiet_hours: QuietHours | None = None
    format: Format | None = None
    templates: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    rate: Rate | None = None
    group_by: tuple[str, ...] = ("rule",)
    group_interval: float = 30.0
    secret: str | None = field(default=None, repr=False)


GROUP_WORDS = ("rule", "host", "severity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Alerts of rules without an `action` that match in everything go to these channels.

    `rule`, `host` and the values of `labels` are globs; a label matches if it is one of the rule, the host or the
    instance.
    """

    channels: tuple[str, ...]
    rule: str = "*"
    host: str = "*"
    severities: frozenset[Severity] = frozenset(Severity)
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
