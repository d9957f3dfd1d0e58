"""What rules made of the past: episodes, messages, and what they come to for each rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from zkalert.model import Severity


class Series(NamedTuple):
    """What an alert is about."""

    rule: str
    host: str
    instance: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One stay in firing: `began` and `ended` in epoch seconds, `ended` None where it fired still at the end.

    `severity` is the highest it had. `where` and `peak` are for people; `peak` is empty where there was no value.
    """

    series: Series
    severity: Severity
    began: float
    ended: float | None
    where: str
    peak: str

    def lasted(self, end: float) -> float:
        """Seconds that it fired for, until `end` at the latest."""
        return (end if self.ended is None else self.ended) - self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: sent to the channels in `channels` while the commands in `commands` run, or withheld (`why`).

    `phase` is what it tells (`firing`, `escalated`, `repeated`, `resolved`, `closed`).
    """

    at: float
    series: Series
    phase: str
    severity: Severity
    where: str
    channels: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_sent(self) -> bool:
        return not self.why


@dataclass(frozen=True, kw_only=True)
class RuleReport:
    """What one rule did between `since` and `until`.

    `nearly` counts the times that its condition held, and not for long enough; `nearly_for` is the longest (seconds).
    `notes` say why it may have been unable to fire.
    """

    name: str
    source: str
    since: float
    until: float
    episodes: tuple[Episode, ...]
    messages: tuple[Message, ...]
    nearly: int = 0
    nearly_for: float = 0.0
    notes: tuple[str, ...] = ()

    @cached_property
    def sent(self) -> Mapping[str, int]:
        """How many messages went out, by phase."""
        return Counter(message.phase for message in self.messages if message.is_sent)

    @cached_property
    def withheld(self) -> Mapping[str, int]:
        """How many were withheld, by reason."""
        return Counter(message.why for message in self.messages if not message.is_sent)

    @cached_property
    def firing_for(self) -> float:
        """Seconds during which at least one of its alerts fired."""
        total, reached = 0.0, self.since
        for episode in sorted(self.episodes, key=lambda one: one.began):
            ended = self.until if episode.ended is None else episode.ended
            if ended > reached:
                total += ended - max(reached, episode.began)
                reached = ended
        return total

    @property
    def share(self) -> float:
        """The part of the time that it fired, 0 to 1."""
        span = self.until - self.since
        return min(1.0, self.firing_for / span) if span > 0 else 0.0

    @property
    def longest(self) -> Episode | None:
        return max(self.episodes, key=lambda one: one.lasted(self.until), default=None)

    @property
    def still_firing(self) -> int:
        return sum(episode.ended is None for episode in self.episodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What rules did between `since` and `until` (epoch seconds) with so many samples of these hosts."""

    since: float
    until: float
    hosts: tuple[str, ...]
    samples: int
    rules: tuple[RuleReport, ...]

    @property
    def episodes(self) -> list[Episode]:
        """All of them, in the order in which they began."""
        return sorted((one for rule in self.rules for one in rule.episodes), key=lambda one: one.began)

    @property
    def messages(self) -> list[Message]:
        """All of them, in the order of time; those that were withheld too."""
        return sorted((one for rule in self.rules for one in rule.messages), key=lambda one: one.at)

    @property
    def sent(self) -> list[Message]:
        return [message for message in self.messages if message.is_sent]

    def by_channel(self) -> Mapping[str, int]:
        """How many messages each channel would have got."""
        return Counter(name for message in self.sent for name in message.channels)


def counted(numbers: Mapping[str, int], order: Iterable[str] = ()) -> str:
    """`3 firing, 2 resolved`; those in `order` first."""
    names = [*(name for name in order if name in numbers), *(name for name in numbers if name not in set(order))]
    return ", ".join(f"{numbers[name]} {name}" for name in names)
