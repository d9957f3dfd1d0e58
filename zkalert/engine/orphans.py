"""Alerts whose rule this engine does not have: nobody judges them, so somebody has to close them, or time does.

Only a reload by the owner closes the alerts of a rule that is gone. Those that are found at a start or a takeover
stand for a day: their rule may come back with the next reload.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from zkalert.model import Alert, Condition, Rule, Step, Term

log = logging.getLogger("zkalert.engine")

STAND_FOR = 24 * 3600.0


class Orphans:
    """The orphans that were found last, and since when each is known (this process's clock)."""

    def __init__(self) -> None:
        self._alerts: dict[str, Alert] = {}
        self._since: dict[str, float] = {}

    def __iter__(self) -> Iterator[Alert]:
        return iter(self._alerts.values())

    def found(self, alerts: Iterable[Alert], mono: float) -> None:
        """The orphans that there are now, in place of those before."""
        self._alerts = {alert.episode: alert for alert in alerts}
        for alert in self._alerts.values():
            if alert.episode not in self._since:
                self._since[alert.episode] = mono
                log.warning("alert %s has no rule here: %s on %s", alert.id, alert.rule, alert.host)
        self._since = {episode: at for episode, at in self._since.items() if episode in self._alerts}

    def get(self, episode: str) -> Alert | None:
        return self._alerts.get(episode)

    def keep(self, alert: Alert) -> None:
        """More is known of one that stands."""
        self._alerts[alert.episode] = alert

    def take(self, episodes: Iterable[str], mono: float) -> list[Alert]:
        """Those to be closed now: named by their episode, or old enough; they are forgotten here."""
        due = {episode for episode, since in self._since.items() if mono - since >= STAND_FOR}
        taken = [self._alerts.pop(episode) for episode in due.union(episodes) if episode in self._alerts]
        for alert in taken:
            del self._since[alert.episode]
        return taken


def stand_in(alert: Alert) -> Rule:
    """As much of an orphan's rule as its own record tells, so that its end can be told."""
    condition = Condition(
        term=Term(metric=alert.metric),
        comparator=alert.comparator,
        threshold=alert.threshold,
        clear=alert.clear,
        unit=alert.unit,
        subject=alert.subject,
    )
    steps = (Step(severity=alert.severity),)
    return Rule(name=alert.rule, conditions=(condition,), steps=steps, digest=alert.digest)
