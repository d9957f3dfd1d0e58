"""Which effects become messages, which are withheld, and why.

Comes in: every effect of every rule, the silences, the moment (`now`, epoch seconds). Goes out: decisions. A gate
remembers what fires, who was told, and what it withholds; it knows no clock: `next_at` says when `settle` is due.

    what withholds             until                                  which effects
    inhibited by a rule        the alert of that rule ends            all but the end; of rules with `inhibited_by`
    inhibited by a dead host   the host's alert ends                  all but the end; of that host's other rules
    silenced                   the silence ends or is taken back      all but the end
    flapping                   fewer changes than the limit lie in    all; the one that reaches the limit still goes,
                               the span of the rule's `flap`          with a note that says so
    never told                 for good                               an end (resolved, closed) of an episode of
                                                                      which nothing went out

    what was withheld          what becomes of it once nothing withholds it any more
    firing, a higher level     goes out if the alert still fires: one message, with the highest severity it reached
    an escalation              goes out if the alert still fires
    a reminder                 nothing: the next one is due in its time
    resolved, by flapping      goes out if the alert does not fire then, and a firing was the last that went out

Effects of rules with `inhibited_by` wait `WAIT` seconds, so that the inhibitor can be seen first. What an inhibitor
kept quiet waits as long once that has ended: both often end with the same samples. An end is told to those who were
told of the episode: what was withheld of it is taken out of its `told` and `escalations`.

An inhibitor is an alert from its firing to its end, whether or not it was told itself. It has to be on the same host,
and on the same instance where both rules have instances of the same kind; one over many hosts counts for every host.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from zkalert.metrics import format_duration
from zkalert.model import MEMBERS_HOST, Alert, Effect, Metric, Phase, Rule, Severity, Silence

WAIT = 1.0

_HOST_ALIVE = Metric("host", "alive")
_ENDS = (Phase.RESOLVED, Phase.CLOSED)
_AT_ONCE = 0.0

_Key = tuple[str, str, "str | None"]  # rule, host, instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of an effect: it is sent, or withheld for the reason in `why`.

    `effect` may differ from the one that was offered: see the module. `note` belongs into the message. What is
    withheld may be sent by a later decision.
    """

    effect: Effect
    is_sent: bool
    why: str = ""
    note: str = ""


@dataclass(slots=True)
class _Episode:
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
class _Series:
    """One series under one rule, over its episodes: `owed` is the end of an episode that flapping holds."""

    key: _Key
    rule: Rule | None
    episode: _Episode | None = None
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


class Gate:
    """See the module. Not safe for several threads.

    `instance_kind` says what the series of a rule are beside their host: mounts, cores, ...; None for the whole host.
    """

    def __init__(self, rules: Iterable[Rule], *, instance_kind: Callable[[Rule], str | None]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._kinds = {name: instance_kind(rule) for name, rule in self._rules.items()}
        self._host_rules = tuple(name for name, rule in self._rules.items() if _is_about_life(rule))
        named = {name for rule in self._rules.values() for name in rule.inhibited_by}
        self._inhibitors = named.union(self._host_rules)
        self._firing: dict[str, dict[str, set[str | None]]] = {}  # of inhibitors: rule, host, instances
        self._silences: tuple[Silence, ...] = ()
        self._series: dict[_Key, _Series] = {}
        self._due: dict[_Key, float] = {}

    def offer(self, effect: Effect, now: float) -> list[Decision]:
        """An effect was made; each is offered once, in the order of its series."""
        key = _key(effect.alert)
        # What is overdue goes first, as if `settle` had been called in time.
        decisions = self._settle(self._series[key], now) if self._due.get(key, math.inf) <= now else []
        series, episode = self._enter(effect)
        if effect.phase in (Phase.FIRING, Phase.RESOLVED):
            _count_change(series, now)
        if effect.phase in _ENDS:
            decisions += self._end(series, episode, effect, now)
        elif series.rule is not None and series.rule.inhibited_by:
            episode.waiting.append((now + WAIT, effect))
        else:
            decisions.append(self._judge(series, episode, effect, now))
        self._note_due(series)
        return decisions

    def silence(self, silences: Iterable[Silence]) -> None:
        """The silences that there are now, in place of those before."""
        self._silences = tuple(silences)
        self._look_again(_AT_ONCE)

    def next_at(self) -> float | None:
        """When `settle` is due, None while nothing waits. A moment in the past (0 too) means at once."""
        return min(self._due.values(), default=None)

    def settle(self, now: float) -> list[Decision]:
        """What waited and is due by `now`."""
        decisions: list[Decision] = []
        for key in sorted((key for key, due in self._due.items() if due <= now), key=self._due.__getitem__):
            series = self._series[key]
            decisions += self._settle(series, now)
            self._note_due(series)
        return decisions

    def _enter(self, effect: Effect) -> tuple[_Series, _Episode]:
        """The series and the episode of an effect.

        An episode that began before this gate did was told what its record says.
        """
        alert, key = effect.alert, _key(effect.alert)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(key, self._rules.get(alert.rule))
        episode = series.episode
        if episode is None or episode.id != alert.episode:
            episode = series.episode = _Episode(alert.episode)
            if effect.phase is not Phase.FIRING:
                episode.told, episode.escalations = set(alert.told), alert.escalations
        if effect.phase not in _ENDS and effect.escalation is None:
            episode.offered.add(alert.severity)
        if effect.phase not in _ENDS and alert.rule in self._inhibitors:
            self._firing.setdefault(alert.rule, {}).setdefault(alert.host, set()).add(alert.instance)
        return series, episode

    def _judge(self, series: _Series, episode: _Episode, effect: Effect, now: float) -> Decision:
        """An effect of an alert that fires: it goes, or it is withheld and perhaps kept for later."""
        why, until = self._reason(series, effect, now)
        if not why:
            return _sent(series, effect)
        if effect.phase is not Phase.REPEATED:
            episode.held.append(effect)
            episode.look_at = _earlier(episode.look_at, until)
        return Decision(effect=effect, is_sent=False, why=why)

    def _end(self, series: _Series, episode: _Episode, effect: Effect, now: float) -> list[Decision]:
        series.episode = None
        self._stop_inhibiting(effect.alert, now)
        decisions = [Decision(effect=one, is_sent=False, why="over before it was due") for _, one in episode.waiting]
        if not episode.is_told:
            decisions.append(Decision(effect=effect, is_sent=False, why="never told"))
            if series.owed is not None and not series.has_said_so:
                decisions.append(_sent(series, series.owed))
            return decisions
        effect = _told_only(effect, episode)
        if series.has_said_so and effect.phase is Phase.RESOLVED:
            series.owed = effect
            return [*decisions, Decision(effect=effect, is_sent=False, why="flapping")]
        return [*decisions, _sent(series, effect)]

    def _stop_inhibiting(self, alert: Alert, now: float) -> None:
        instances = self._firing.get(alert.rule, {}).get(alert.host)
        if instances is None:
            return
        instances.discard(alert.instance)
        if not instances:
            del self._firing[alert.rule][alert.host]
        self._look_again(now + WAIT)

    def _look_again(self, at: float) -> None:
        for series in self._series.values():
            if series.episode is not None and series.episode.held:
                series.episode.look_at = _earlier(series.episode.look_at, at)
                self._note_due(series)

    def _settle(self, series: _Series, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        episode = series.episode
        has_settled = _forget_changes(series, now)
        if episode is None:
            if has_settled and series.owed is not None:
                decisions.append(_sent(series, series.owed))
            return decisions
        due = [effect for at, effect in episode.waiting if at <= now]
        episode.waiting = [(at, effect) for at, effect in episode.waiting if at > now]
        if has_settled or (episode.look_at is not None and episode.look_at <= now):
            decisions += self._release(series, episode, now)
        return decisions + [self._judge(series, episode, effect, now) for effect in due]

    def _release(self, series: _Series, episode: _Episode, now: float) -> Iterator[Decision]:
        """Sends what is held and may go by now: of the levels one message, and each escalation."""
        held, episode.held, episode.look_at = episode.held, [], None
        levels = [effect for effect in held if effect.escalation is None]
        if levels and self._keeps(series, episode, levels[-1], now):
            episode.held += levels
        elif levels:
            first, last = levels[0], levels[-1]
            yield _sent(series, replace(first, alert=last.alert) if first.phase is Phase.FIRING else last)
        for effect in held:
            if effect.escalation is None:
                continue
            if self._keeps(series, episode, effect, now):
                episode.held.append(effect)
            else:
                yield _sent(series, effect)

    def _keeps(self, series: _Series, episode: _Episode, effect: Effect, now: float) -> bool:
        why, until = self._reason(series, effect, now)
        if why:
            episode.look_at = _earlier(episode.look_at, until)
        return bool(why)

    def _reason(self, series: _Series, effect: Effect, now: float) -> tuple[str, float | None]:
        """Why an effect is withheld, "" if it is not, and until when if that is known."""
        inhibitor = self._inhibitor(effect.alert)
        if inhibitor is not None:
            name, host = inhibitor
            return f"inhibited by {name}" + (f" on {host}" if host != MEMBERS_HOST else ""), None
        for silence in self._silences:
            if silence.starts_at <= now < silence.ends_at and _matches(silence, effect):
                return f"silenced by {silence.id}", silence.ends_at
        return "flapping" if series.has_said_so else "", None

    def _inhibitor(self, alert: Alert) -> tuple[str, str] | None:
        """The rule and host of an active alert that keeps this one quiet."""
        if alert.rule not in self._host_rules:
            for name in self._host_rules:
                if alert.host in self._firing.get(name, {}):
                    return name, alert.host
        rule = self._rules.get(alert.rule)
        for name in rule.inhibited_by if rule is not None else ():
            kind = self._kinds.get(name)
            is_same_kind = kind is not None and kind == self._kinds.get(alert.rule) and alert.instance is not None
            for host in dict.fromkeys((alert.host, MEMBERS_HOST)):
                instances = self._firing.get(name, {}).get(host, set())
                if instances and (not is_same_kind or alert.instance in instances or None in instances):
                    return name, host
        return None

    def _note_due(self, series: _Series) -> None:
        due = series.due_at()
        if due is None:
            self._due.pop(series.key, None)
            if series.episode is None:
                self._series.pop(series.key, None)
        else:
            self._due[series.key] = due


def _key(alert: Alert) -> _Key:
    return alert.rule, alert.host, alert.instance


def _sent(series: _Series, effect: Effect) -> Decision:
    """An effect goes out; it makes what was held of the same alert's levels, or of earlier episodes, old news."""
    episode = series.episode
    series.owed = None
    if episode is not None and effect.escalation is not None:
        episode.escalations = max(episode.escalations, effect.escalation + 1)
    elif episode is not None:
        episode.told.add(effect.alert.severity)
        episode.held = [one for one in episode.held if one.escalation is not None]
    note = ""
    if series.is_flapping and not series.has_said_so and series.rule is not None and series.rule.flap is not None:
        series.has_said_so = True
        within = format_duration(series.rule.flap.within)
        note = f"flapping: {len(series.changes)} changes in {within}; messages are held until it settles"
    return Decision(effect=effect, is_sent=True, note=note)


def _told_only(effect: Effect, episode: _Episode) -> Effect:
    """An end, for those alone who heard of the episode: without the severities that were withheld to the last."""
    alert = effect.alert
    told = tuple(severity for severity in alert.told if severity not in episode.offered - episode.told)
    escalations = min(alert.escalations, episode.escalations)
    if (alert.told, alert.escalations) == (told, escalations):
        return effect
    return replace(effect, alert=replace(alert, told=told, escalations=escalations))


def _count_change(series: _Series, now: float) -> None:
    if series.rule is None or series.rule.flap is None:
        return
    series.changes.append(now)
    _forget_changes(series, now)
    series.is_flapping = len(series.changes) >= series.rule.flap.changes


def _forget_changes(series: _Series, now: float) -> bool:
    """Forgets the changes that are out of the span; whether the series has stopped flapping by that."""
    if series.rule is None or series.rule.flap is None:
        return False
    while series.changes and series.changes[0] + series.rule.flap.within <= now:
        series.changes.popleft()
    if not series.is_flapping or len(series.changes) >= series.rule.flap.changes:
        return False
    series.is_flapping = series.has_said_so = False
    return True


def _is_about_life(rule: Rule) -> bool:
    """Whether an alert of the rule says that its host is down."""
    return rule.across is None and all(condition.metric == _HOST_ALIVE for condition in rule.conditions)


def _matches(silence: Silence, effect: Effect) -> bool:
    alert = effect.alert
    if alert.severity not in silence.severities:
        return False
    if not (fnmatchcase(alert.rule, silence.rule) and fnmatchcase(alert.host, silence.host)):
        return False
    labels = (effect.labels, effect.host_labels, effect.instance_labels)
    return all(
        any(name in some and fnmatchcase(some[name], glob) for some in labels) for name, glob in silence.labels.items()
    )


def _earlier(first: float | None, other: float | None) -> float | None:
    return min((at for at in (first, other) if at is not None), default=None)
