"""How fast a target may be told, and what goes together: what a channel asks for, else what its service bears.

A channel's own `rate` is kept to in every span of its length: of `messages`, a few may go at once and the rest evenly.
The rates of services are what they bear in the long run, with a few more at once:

    mail                                one in 5 s      3 at once
    chat, SMS, and all that is not      one in a second 3 at once
      named here
    webhooks, the desktop               10 in a second  10 at once
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from zkalert.model import Effect, Rate, Severity, Target, TargetKind

_SCHEME = re.compile(r"\s*([A-Za-z0-9+.-]+)://")
_MAIL = frozenset({"mailto", "mailtos"})
_QUICK = frozenset(
    {"json", "jsons", "form", "forms", "xml", "xmls", "webhook", "webhooks"}
    | {"desktop", "dbus", "glib", "gnome", "kde", "qt", "macosx", "windows", "syslog"}
)
_MOST_AT_ONCE = 5
_GRAIN = 1e-9  # what sums of floats may be off

Group = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Effects that agree in `group_by` within `group_interval` seconds of a message wait, and go as one; without an
    interval each goes alone.

    `burst` messages may go at once, and one more every `pause` seconds. In quiet hours only severities in `loud` are
    told. A command (`has_digests` false) takes each effect alone, and none is left out.
    """

    group_by: tuple[str, ...] = ("rule",)
    group_interval: float = 30.0
    burst: float = math.inf
    pause: float = 0.0
    loud: frozenset[Severity] = frozenset(Severity)
    has_digests: bool = True

    def group(self, effect: Effect) -> Group:
        """What an effect has in common with those that it may go together with."""
        if not self.group_interval:
            return (effect.id,)
        return tuple(_word(by, effect) for by in self.group_by)


def _word(by: str, effect: Effect) -> str:
    alert = effect.alert
    if by == "rule":
        return alert.rule
    if by == "host":
        return alert.host
    if by == "severity":
        return alert.severity.value
    label = by.removeprefix("label:")
    found = (labels.get(label) for labels in (effect.instance_labels, effect.host_labels, effect.labels))
    return next((value for value in found if value is not None), "")


def pace_of(target: Target) -> Pace:
    """The pace of a target: its channel's, and the defaults where that says nothing, or where there is none."""
    if target.kind is TargetKind.RUN:
        return Pace(group_by=(), group_interval=0.0, has_digests=False)
    channel = target.channel
    burst, pause = _of_service(target.url or "") if channel is None or channel.rate is None else _of_rate(channel.rate)
    if channel is None:
        return Pace(burst=burst, pause=pause)
    return Pace(
        group_by=channel.group_by,
        group_interval=channel.group_interval,
        burst=burst,
        pause=pause,
        loud=frozenset(Severity) if channel.quiet_hours is None else channel.quiet_hours.but,
    )


def _of_service(url: str) -> tuple[float, float]:
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme in _MAIL:
        return 3, 5.0
    return (10, 0.1) if scheme in _QUICK else (3, 1.0)


def _of_rate(rate: Rate) -> tuple[float, float]:
    """What goes at once counts towards the span that it goes in: that much less follows."""
    burst = max(1, min(_MOST_AT_ONCE, rate.messages // 4))
    return burst, rate.per / (rate.messages - burst + 1)


class Bucket:
    """Tokens, one for each message: `burst` at most, one more every `pause` seconds (monotonic time)."""

    def __init__(self, burst: float, pause: float) -> None:
        self._burst, self._pause = burst, pause
        self._level, self._at = burst, -math.inf

    def tokens(self, now: float) -> float:
        """How many messages may go at once."""
        return self._burst if self._level >= self._burst else math.floor(self._filled(now) + _GRAIN)

    def take(self, now: float) -> None:
        """One message goes."""
        self._level, self._at = max(0.0, self._filled(now) - 1), now

    def give_back(self) -> None:
        """One that was counted does not go."""
        self._level = min(self._burst, self._level + 1)

    def next_at(self, now: float) -> float:
        """When there is a token."""
        return now + max(0.0, 1 - self._filled(now)) * self._pause

    def _filled(self, now: float) -> float:
        if self._level >= self._burst:
            return self._burst
        return min(self._burst, self._level + (now - self._at) / self._pause)
