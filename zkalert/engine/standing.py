"""Where series stand: in the tree, in memory, and between the two while a write is on its way.

What is decided here is not acted on before it is known to be written. Until then each change remembers where its series
stood before: whoever watched it all the while knows more of it than its record does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from zkalert.lifecycle import needs_write, resume
from zkalert.model import Alert, Moment, OutboxEntry, Reason, State
from zkalert.store import Change

Series: TypeAlias = "tuple[str, str, str | None]"


class Transition(NamedTuple):
    """An alert before and after, and why, where somebody is told."""

    old: Alert
    new: Alert
    reason: Reason | None = None


class Unwritten:
    """The changes that are not known to be written."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._transitions: list[Transition] = []
        self._stood: list[Alert] = []

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, old: Alert, new: Alert, entries: tuple[OutboxEntry, ...] = (), reason: Reason | None = None) -> None:
        self._stood.append(old)
        self._changes.append(Change(new, entries))
        self._transitions.append(Transition(old, new, reason))

    def take(self) -> tuple[list[Change], list[Transition]]:
        """What is to be written now, in its order; `written` or `clear` ends the doubt."""
        changes, self._changes = self._changes, []
        transitions, self._transitions = self._transitions, []
        return changes, transitions

    def written(self) -> None:
        """All that was taken stands in the tree."""
        self._stood.clear()

    def clear(self, *, forgets: bool = False) -> None:
        """Nothing of it is to be written; `forgets` where somebody else may have changed what stood before."""
        self._changes.clear()
        self._transitions.clear()
        if forgets:
            self._stood.clear()

    def where_they_stood(self, alerts: Iterable[Alert]) -> dict[Series, list[Alert]]:
        """What is remembered of each series: where it stands by `alerts`, and where it stood before."""
        stood: dict[Series, list[Alert]] = {}
        for alert in (*alerts, *self._stood):
            stood.setdefault(series_of(alert), []).append(alert)
        self._stood.clear()
        return stood


def series_of(alert: Alert) -> Series:
    return alert.rule, alert.host, alert.instance


def resumed(record: Alert, stood: Iterable[Alert], seen_at: float, now: Moment) -> Alert:
    """A record as it goes on here; whoever watched it all the while knows more than was written.

    Not of who was told, though: what goes out because of it was written before.
    """
    for known in stood:
        if known.state is not State.INACTIVE and not needs_write(record, known):
            return known if known.heard == record.heard else replace(known, heard=record.heard)
    return resume(record, seen_at, now)


def is_over(transition: Transition) -> bool:
    """Whether the episode before has ended."""
    old, new, _ = transition
    return new.state in (State.INACTIVE, State.RESOLVED) or new.episode != old.episode
