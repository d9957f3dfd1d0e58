"""What a gate remembers of a series: its episode, what went out of it and what is kept, and how often it changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from zkalert.model import Alert, Effect, Phase, Reason, Rule, Severity

Key: TypeAlias = "tuple[str, str, str | None]"
"""Rule, host, instance."""


@dataclass(slots=True)
class Episode:
    """One alert while it fires: what was offered and went out of it, what waits to be judged, what is held."""

    id: str
    offered: set[Severity] = field(default_factory=set)
    told: set[Severity] = field(default_factory=set)
    escalations: int = 0
    waiting: list[tuple[float, Effect]] = field(default_factory=list)
    held: list[Effect] = field(default_factory=list)
    look_at: float | None = None  # when to see whether what is held may go

    @property
    def is_told(self) -> bool:
        return bool(self.told) or self.escalations > 0


@dataclass(slots=True)
class Series:
    """One series under one rule, over its episodes: `owed` is the end of an episode that flapping holds."""

    key: Key
    rule: Rule | None
    episode: Episode | None = None
    changes: deque[float] = field(default_factory=deque)
    is_flapping: bool = False
    has_said_so: bool = False
    owed: Effect | None = None

    def settles_at(self) -> float | None:
        """When fewer changes than the limit will lie in the span; for one that is quiet, when none will."""
        if self.rule is None or self.rule.flap is None or not self.changes:
            return None
        last = self.changes[-self.rule.flap.changes] if self.is_flapping else self.changes[-1]
        return last + self.rule.flap.within

    def due_at(self) -> float | None:
        episode = self.episode
        moments = [self.settles_at()]
        if episode is not None:
            moments += [episode.look_at, *(at for at, _ in episode.waiting)]
        return min((at for at in moments if at is not None), default=None)


def key_of(alert: Alert) -> Key:
    return alert.rule, alert.host, alert.instance


def tells_level(effect: Effect) -> bool:
    """Whether an effect tells how bad its alert is, so that a later one of these makes it old news."""
    return effect.escalation is None and effect.reason is not Reason.BRAKED


def is_first_of_level(effect: Effect) -> bool:
    """Whether nothing of its alert was told at its severity before: a level can be reached anew."""
    return effect.phase is Phase.FIRING or effect.name == f"{Phase.ESCALATED.value}-{effect.alert.severity.value}"


def for_everybody(levels: Sequence[Effect], reaches: Callable[[Effect], frozenset[str]]) -> list[Effect]:
    """Of levels that were withheld, oldest first, those that go out, as bad as the alert is by now.

    The firing alone, where it reaches whom they all reach; else the last, and of the others those that reach more.
    Whoever hears of the end because of one that does not go hears of it because of one that does.
    """
    first, last = levels[0], levels[-1]
    heard = tuple(dict.fromkeys(target for effect in levels for target in effect.alert.heard))
    alert = replace(last.alert, heard=heard)
    everybody = frozenset[str]().union(*map(reaches, levels))
    if first.phase is Phase.FIRING and reaches(first) >= everybody:
        return [replace(first, alert=alert)]
    chosen, reached = [last], reaches(last)
    for effect in reversed(levels[:-1]):
        if reaches(effect) - reached:
            chosen.insert(0, effect)
            reached |= reaches(effect)
    return [replace(effect, alert=alert) for effect in chosen]


def told_only(effect: Effect, episode: Episode) -> Effect:
    """An end, for those alone who heard of the episode: without the severities that were withheld to the last."""
    alert = effect.alert
    told = tuple(severity for severity in alert.told if severity not in episode.offered - episode.told)
    escalations = min(alert.escalations, episode.escalations)
    if (alert.told, alert.escalations) == (told, escalations):
        return effect
    return replace(effect, alert=replace(alert, told=told, escalations=escalations))


def count_change(series: Series, now: float) -> None:
    if series.rule is None or series.rule.flap is None:
        return
    series.changes.append(now)
    forget_changes(series, now)
    series.is_flapping = len(series.changes) >= series.rule.flap.changes


def forget_changes(series: Series, now: float) -> bool:
    """Forgets the changes that are out of the span; whether the series has stopped flapping by that."""
    if series.rule is None or series.rule.flap is None:
        return False
    while series.changes and series.changes[0] + series.rule.flap.within <= now:
        series.changes.popleft()
    if not series.is_flapping or len(series.changes) >= series.rule.flap.changes:
        return False
    series.is_flapping = series.has_said_so = False
    return True
