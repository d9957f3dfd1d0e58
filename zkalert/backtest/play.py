"""Rules over samples of the past.

Comes in: rules, channels, samples in the order of time. Goes out: a report. Everything is decided by the code that
the engine runs, on the samples' own clock; nothing is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zkalert.backtest.past import Past
from zkalert.backtest.report import Episode, Message, Report, RuleReport, Series
from zkalert.evaluate import families_of, matches_host
from zkalert.metrics import HOST_FAMILY, format_value
from zkalert.model import (
    Action,
    Alert,
    Escalation,
    HostInfo,
    Metric,
    Notify,
    Override,
    Route,
    Rule,
    Severity,
    State,
    Step,
    Target,
    TargetKind,
)
from zkalert.render import has_value, unit_of, where
from zkalert.replay import Change, Outcome, Replay

_ALIVE = Metric(HOST_FAMILY, "alive")
_SLACK = 120.0
_OFTEN = 2048  # samples between looks at what happened


def memory_of(rules: Iterable[Rule]) -> float:
    """How far back (seconds) samples matter to what these rules say now: windows, durations, patience.

    And somewhat further, so that what has long held by then fires before that moment, rather than at it.
    """
    longest = 0.0
    for rule in rules:
        terms = (term for one in rule.conditions for term in one.terms)
        window = max((term.window.over for term in terms if term.window is not None), default=0.0)
        limits: tuple[Step | Override, ...] = (*rule.steps, *rule.overrides)
        held = max((max(one.duration or 0.0, one.clear_duration or 0.0) for one in limits), default=0.0)
        held = max(held, rule.within or 0.0, rule.no_data.after or 0.0)
        longest = max(longest, window + held, rule.flap.within if rule.flap is not None else 0.0)
    return longest + _SLACK


def stand_ins(rules: Iterable[Rule]) -> dict[str, tuple[Target, ...]]:
    """The channels that rules name, as if each were there, for want of a configuration that has them."""
    names = (one.channel for rule in rules for one in _actions(rule) if isinstance(one, Notify))
    return {name: (Target(id=name, kind=TargetKind.NOTIFY, name=name),) for name in names if name is not None}


def _actions(rule: Rule) -> Iterator[Action]:
    yield from rule.actions or ()
    limits: tuple[Step | Override | Escalation, ...] = (*rule.steps, *rule.overrides, *rule.escalate)
    for one in limits:
        yield from one.actions or ()


@dataclass(slots=True)
class _Open:
    """An alert that fires: since when, and its highest severity."""

    alert: Alert
    began: float
    severity: Severity


class Backtest:
    """Plays samples to rules, one by one; `report` at the end.

    Nothing before `since` (epoch seconds; None: the first sample) is reported, although it is played: who wants the
    windows full by then begins `memory_of` the rules earlier. `labels` are those of hosts, as far as known.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        channels: Mapping[str, Sequence[Target]],
        routes: Sequence[Route] = (),
        labels: Mapping[str, Mapping[str, str]] | None = None,
        since: float | None = None,
    ) -> None:
        self._rules = [rule for rule in rules if rule.enabled]
        self._replay = Replay(self._rules, channels=channels, routes=routes)
        self._labels = labels or {}
        self._since = since
        self._hosts: dict[str, HostInfo] = {}
        self._families: set[str] = set()
        self._first: float | None = None
        self._last = 0.0
        self._played = 0
        self._early = 0
        self._open: dict[Series, _Open] = {}
        self._episodes: dict[str, list[Episode]] = defaultdict(list)
        self._messages: dict[str, list[Message]] = defaultdict(list)
        self._nearly: dict[str, list[float]] = defaultdict(list)

    def play(self, past: Past) -> None:
        """One sample more; times never go back."""
        at, host, sample = past
        if host not in self._hosts:
            self._meet(host, at)
        if self._first is None:
            if self._since is None or at >= self._since:
                self._first = at
            else:
                self._early += 1
        if sample.family not in self._families:
            self._families.add(sample.family)
        self._replay.sample(host, sample, at)
        self._last = at
        self._played += 1
        if self._played % _OFTEN == 0:
            self._take()

    @property
    def has_played(self) -> bool:
        """Whether there was a sample that is to be reported of."""
        return self._first is not None

    def report(self) -> Report:
        """What became of all that was played; for once, at the end."""
        self._take()
        for series, one in self._open.items():
            alert = self._replay.alert(*series) or one.alert
            self._ends(series, one, alert, None)
        self._open.clear()
        return Report(
            since=self._begin,
            until=self._last,
            hosts=tuple(sorted(self._hosts)),
            samples=self._played - self._early,
            rules=tuple(self._of(rule) for rule in self._rules),
        )

    @property
    def _begin(self) -> float:
        """What happens before this moment is not reported. (Without samples there is nothing to report of either.)"""
        return self._last if self._first is None else self._first

    def _of(self, rule: Rule) -> RuleReport:
        nearly = self._nearly[rule.name]
        return RuleReport(
            name=rule.name,
            source=rule.source,
            since=self._begin,
            until=self._last,
            episodes=tuple(sorted(self._episodes[rule.name], key=lambda one: one.began)),
            messages=tuple(self._messages[rule.name]),
            nearly=len(nearly),
            nearly_for=max(nearly, default=0.0),
            notes=tuple(self._notes(rule)),
        )

    def _notes(self, rule: Rule) -> Iterator[str]:
        if not any(matches_host(rule, info) for info in self._hosts.values()):
            yield "it looks at none of these hosts"
        missing = [family for family in families_of(rule) if family not in self._families and family != HOST_FAMILY]
        if missing:
            yield f"no samples of {', '.join(missing)}"
        if any(term.metric == _ALIVE for one in rule.conditions for term in one.terms):
            yield "a history does not say whether a host was alive"

    def _meet(self, host: str, at: float) -> None:
        info = self._hosts[host] = HostInfo(name=host, labels=self._labels.get(host, {}))
        self._replay.host(info, at)

    def _take(self) -> None:
        changes, outcomes = self._replay.take()
        for change in changes:
            self._changed(change)
        for outcome in outcomes:
            self._told(outcome)

    def _changed(self, change: Change) -> None:
        old, new = change.old, change.new
        series = Series(new.rule, new.host, new.instance)
        is_another = old.episode != new.episode
        if old.state.is_active and (is_another or not new.state.is_active):
            one = self._open.pop(series)
            ended = change.at if new.resolved_at is None else new.resolved_at
            self._ends(series, one, old, ended)
        if new.state.is_active and (is_another or not old.state.is_active):
            began = change.at if new.fired_at is None else new.fired_at
            self._open[series] = _Open(new, began, new.severity)
        elif new.state.is_active:
            one = self._open[series]
            one.severity = max(one.severity, new.severity, key=lambda severity: severity.rank)
        if old.state is State.PENDING and new.state is State.INACTIVE and self._is_reported(change.at):
            self._nearly[new.rule].append(old.hold.held if old.hold is not None else 0.0)

    def _is_reported(self, at: float) -> bool:
        return self._first is not None and at >= self._first

    def _ends(self, series: Series, one: _Open, last: Alert, ended: float | None) -> None:
        if ended is not None and not self._is_reported(ended):
            return
        peak = last.value if last.peak is None else last.peak
        self._episodes[series.rule].append(
            Episode(
                series=series,
                severity=one.severity,
                began=one.began,
                ended=ended,
                where=where(last),
                peak=format_value(peak, unit_of(last)) if peak is not None and has_value(last) else "",
            )
        )

    def _told(self, outcome: Outcome) -> None:
        if not self._is_reported(outcome.at):
            return
        decision, alert = outcome.decision, outcome.decision.effect.alert
        of = outcome.targets
        self._messages[alert.rule].append(
            Message(
                at=outcome.at,
                series=Series(alert.rule, alert.host, alert.instance),
                phase=decision.effect.phase.value,
                severity=alert.severity,
                where=where(alert),
                channels=tuple(dict.fromkeys(one.name for one in of if one.kind is TargetKind.NOTIFY)),
                commands=tuple(one.name for one in of if one.kind is TargetKind.RUN),
                why="" if decision.is_sent else decision.why.partition(" on ")[0],
            )
        )
