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
    firing, a higher level     goes out if the alert still fires: one message, with the highest severity it reached;
                               more only where the levels have targets that no single one of them has
    an escalation, a brake     goes out if the alert still fires
    a reminder                 nothing: the next one is due in its time
    resolved, by flapping      goes out if the alert does not fire then, and a firing was the last that went out

Effects of rules with `inhibited_by` wait `WAIT` seconds, so that the inhibitor can be seen first. What an inhibitor
kept quiet waits as long once that has ended: both often end with the same samples. An end is told to those who were
told of the episode: what was withheld of it is taken out of its `told` and `escalations`.

An inhibitor is an alert from its firing to its end, whether or not it was told itself. It has to be on the same host,
and on the same instance where both rules have instances of the same kind; one over many hosts counts for every host.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from zkalert.metrics import format_duration
from zkalert.model import MEMBERS_HOST, Alert, Effect, Metric, Phase, Rule, Silence
from zkalert.routing.episodes import (
    Episode,
    Key,
    Series,
    count_change,
    for_everybody,
    forget_changes,
    is_first_of_level,
    key_of,
    tells_level,
    told_only,
)
from zkalert.routing.silencing import active_until, matches

WAIT = 1.0

_HOST_ALIVE = Metric("host", "alive")
_ENDS = (Phase.RESOLVED, Phase.CLOSED)
_AT_ONCE = 0.0
_OVER = "over before it could be told"
_OLD_NEWS = "a later message says more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of an effect: it is sent, or withheld for the reason in `why`.

    `effect` may differ from the one that was offered: see the module. `note` belongs into the message. What is
    withheld and kept (`is_kept`) may be sent by a later decision, unless it stands in `Gate.take_dropped` before.
    """

    effect: Effect
    is_sent: bool
    why: str = ""
    note: str = ""
    is_kept: bool = False


class Gate:
    """See the module. Not safe for several threads.

    `instance_kind` says what the series of a rule are beside their host: mounts, cores, ...; None for the whole host.
    `reaches` has the ids of the targets that a kept effect goes to.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        instance_kind: Callable[[Rule], str | None],
        reaches: Callable[[Effect], frozenset[str]] = lambda effect: frozenset(),  # noqa: ARG005 - all go to the same
    ) -> None:
        self._instance_kind = instance_kind
        self._reaches = reaches
        self._read(rules)
        self._firing: dict[str, dict[str, set[str | None]]] = {}  # of inhibitors: rule, host, instances
        self._silences: tuple[Silence, ...] = ()
        self._series: dict[Key, Series] = {}
        self._holding: set[Key] = set()  # series that keep something for later
        self._due: dict[Key, float] = {}
        self._queue: list[tuple[float, int, Key]] = []  # a heap of moments in `_due`, and of some that are no more
        self._numbers = itertools.count()
        self._dropped: list[tuple[Effect, str]] = []

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Other rules from now on. What they inhibit follows with `seed`; what is held stays held until it is due."""
        self._read(rules)
        for series in self._series.values():
            series.rule = self._rules.get(series.key[0])

    def _read(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._kinds = {name: self._instance_kind(rule) for name, rule in self._rules.items()}
        self._host_rules = tuple(name for name, rule in self._rules.items() if _is_about_life(rule))
        named = {name for rule in self._rules.values() for name in rule.inhibited_by}
        self._inhibitors = named.union(self._host_rules)

    def seed(self, alerts: Iterable[Alert], held: Iterable[Effect], now: float) -> list[Decision]:
        """Begin with the alerts that fire and the effects that are kept, in the order in which they came to be.

        All inhibitors are known before anything that they keep quiet is judged again. How often a series changed
        lately is known only to a gate that watched it.
        """
        before, self._series = self._series, {}
        self._firing, self._due, self._queue = {}, {}, []
        self._holding.clear()
        self._dropped.clear()
        for alert in alerts:
            if not alert.state.is_active:
                continue
            key = key_of(alert)
            series = self._series[key] = Series(key, self._rules.get(alert.rule))
            series.episode = Episode(
                alert.episode, offered=set(alert.told), told=set(alert.told), escalations=alert.escalations
            )
            if alert.rule in self._inhibitors:
                self._firing.setdefault(alert.rule, {}).setdefault(alert.host, set()).add(alert.instance)
        for effect in held:
            self._keep_on(effect, now)
        decisions: list[Decision] = []
        for key, old in before.items():
            if (old.changes or old.has_said_so) and old.rule is not None and old.rule.flap is not None:
                series = self._series.setdefault(key, Series(key, self._rules.get(key[0])))
                series.changes, series.is_flapping, series.has_said_so = old.changes, old.is_flapping, old.has_said_so
        for series in list(self._series.values()):
            if series.owed is not None and not series.has_said_so:
                decisions.append(self._sent(series, series.owed))
            self._note_due(series)
        return decisions

    def _keep_on(self, effect: Effect, now: float) -> None:
        """An effect that another gate kept: it waits here for what it waited for there."""
        key = key_of(effect.alert)
        series = self._series.get(key)
        if effect.phase in _ENDS:
            series = self._series.setdefault(key, Series(key, self._rules.get(key[0])))
            self._drop_owed(series)
            series.owed = effect
            return
        episode = None if series is None else series.episode
        if series is None or episode is None or episode.id != effect.alert.episode:
            self._dropped.append((effect, _OVER))
            return
        if effect.phase is Phase.REPEATED:
            self._dropped.append((effect, _OLD_NEWS))  # the next one is due in its time
            return
        at = now + WAIT if series.rule is not None and series.rule.inhibited_by else now
        if effect.escalation is not None:
            episode.escalations = min(episode.escalations, effect.escalation)
        elif is_first_of_level(effect):
            episode.told.discard(effect.alert.severity)
        episode.held.append(effect)
        episode.look_at = at
        self._holding.add(key)

    def take_dropped(self) -> list[tuple[Effect, str]]:
        """What was kept and will not be sent any more, and why, since this was asked last."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def offer(self, effect: Effect, now: float) -> list[Decision]:
        """An effect was made; each is offered once, in the order of its series."""
        key = key_of(effect.alert)
        # What is overdue goes first, as if `settle` had been called in time.
        decisions = self._settle(self._series[key], now) if self._due.get(key, math.inf) <= now else []
        series, episode = self._enter(effect)
        if effect.phase in (Phase.FIRING, Phase.RESOLVED):
            count_change(series, now)
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
        while self._queue and self._due.get(self._queue[0][2]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def settle(self, now: float) -> list[Decision]:
        """What waited and is due by `now`."""
        decisions: list[Decision] = []
        due: dict[Key, None] = {}
        while (at := self.next_at()) is not None and at <= now:
            key = heapq.heappop(self._queue)[2]
            del self._due[key]
            due[key] = None
        for key in due:
            series = self._series[key]
            decisions += self._settle(series, now)
            self._note_due(series)
        return decisions

    def _enter(self, effect: Effect) -> tuple[Series, Episode]:
        """The series and the episode of an effect.

        An episode that began before this gate did was told what its record says.
        """
        alert, key = effect.alert, key_of(effect.alert)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(key, self._rules.get(alert.rule))
        episode = series.episode
        if episode is None or episode.id != alert.episode:
            episode = series.episode = Episode(alert.episode)
            if effect.phase is not Phase.FIRING:
                episode.told, episode.escalations = set(alert.told), alert.escalations
        if effect.phase not in _ENDS and effect.escalation is None:
            episode.offered.add(alert.severity)
        if effect.phase not in _ENDS and alert.rule in self._inhibitors:
            self._firing.setdefault(alert.rule, {}).setdefault(alert.host, set()).add(alert.instance)
        return series, episode

    def _judge(self, series: Series, episode: Episode, effect: Effect, now: float) -> Decision:
        """An effect of an alert that fires: it goes, or it is withheld and perhaps kept for later."""
        why, until = self._reason(series, effect, now)
        if not why:
            return self._sent(series, effect)
        is_kept = effect.phase is not Phase.REPEATED
        if is_kept:
            episode.held.append(effect)
            episode.look_at = _earlier(episode.look_at, until)
            self._holding.add(series.key)
        return Decision(effect=effect, is_sent=False, why=why, is_kept=is_kept)

    def _end(self, series: Series, episode: Episode, effect: Effect, now: float) -> list[Decision]:
        series.episode = None
        self._stop_inhibiting(effect.alert, now)
        decisions = [Decision(effect=one, is_sent=False, why="over before it was due") for _, one in episode.waiting]
        self._dropped += [(one, _OVER) for one in (*episode.held, *(one for _, one in episode.waiting))]
        self._holding.discard(series.key)
        if not episode.is_told:
            decisions.append(Decision(effect=effect, is_sent=False, why="never told"))
            if series.owed is not None and not series.has_said_so:
                decisions.append(self._sent(series, series.owed))
            return decisions
        effect = told_only(effect, episode)
        if series.has_said_so and effect.phase is Phase.RESOLVED:
            self._drop_owed(series)
            series.owed = effect
            return [*decisions, Decision(effect=effect, is_sent=False, why="flapping", is_kept=True)]
        return [*decisions, self._sent(series, effect)]

    def _drop_owed(self, series: Series) -> None:
        """A later end, or a later message, makes the end that was owed old news."""
        if series.owed is not None:
            self._dropped.append((series.owed, _OLD_NEWS))
            series.owed = None

    def _sent(self, series: Series, effect: Effect) -> Decision:
        """An effect goes out; it makes what was held of the same alert's levels, or of earlier episodes, old news."""
        if series.owed is not None and series.owed.id != effect.id:
            self._drop_owed(series)
        series.owed = None
        episode = series.episode
        if episode is None or episode.id != effect.alert.episode:
            pass  # an end that was owed: it says nothing of what fires now
        elif effect.escalation is not None:
            episode.escalations = max(episode.escalations, effect.escalation + 1)
        else:
            episode.told.add(effect.alert.severity)
            if tells_level(effect):
                levels = [one for one in episode.held if tells_level(one)]
                self._dropped += [(one, _OLD_NEWS) for one in levels if one.id != effect.id]
                episode.held = [one for one in episode.held if not tells_level(one)]
        note = ""
        if series.is_flapping and not series.has_said_so and series.rule is not None and series.rule.flap is not None:
            series.has_said_so = True
            within = format_duration(series.rule.flap.within)
            note = f"flapping: {len(series.changes)} changes in {within}; messages are held until it settles"
        return Decision(effect=effect, is_sent=True, note=note)

    def _stop_inhibiting(self, alert: Alert, now: float) -> None:
        instances = self._firing.get(alert.rule, {}).get(alert.host)
        if instances is None:
            return
        instances.discard(alert.instance)
        if not instances:
            del self._firing[alert.rule][alert.host]
        self._look_again(now + WAIT)

    def _look_again(self, at: float) -> None:
        for key in list(self._holding):
            series = self._series.get(key)
            if series is None or series.episode is None or not series.episode.held:
                self._holding.discard(key)
                continue
            series.episode.look_at = _earlier(series.episode.look_at, at)
            self._note_due(series)

    def _settle(self, series: Series, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        episode = series.episode
        has_settled = forget_changes(series, now)
        if episode is None:
            if has_settled and series.owed is not None:
                decisions.append(self._sent(series, series.owed))
            return decisions
        due = [effect for at, effect in episode.waiting if at <= now]
        episode.waiting = [(at, effect) for at, effect in episode.waiting if at > now]
        if has_settled or (episode.look_at is not None and episode.look_at <= now):
            decisions += self._release(series, episode, now)
        return decisions + [self._judge(series, episode, effect, now) for effect in due]

    def _release(self, series: Series, episode: Episode, now: float) -> Iterator[Decision]:
        """Sends what is held and may go by now: of the levels as few as reach everybody, and each of the others."""
        held, episode.held, episode.look_at = episode.held, [], None
        levels = [effect for effect in held if tells_level(effect)]
        if levels and self._keeps(series, episode, levels[-1], now):
            episode.held += levels
        elif levels:
            chosen = for_everybody(levels, self._reaches)
            ids = {one.id for one in chosen}
            # Whoever is told as of a lower level hears the end as of that one.
            last = self._reaches(levels[-1])
            episode.told |= {one.alert.severity for one in levels if one.id in ids and self._reaches(one) - last}
            self._dropped += [(other, _OLD_NEWS) for other in levels if other.id not in ids]
            for one in chosen:
                yield self._sent(series, one)
        for effect in held:
            if tells_level(effect):
                continue
            if self._keeps(series, episode, effect, now):
                episode.held.append(effect)
            else:
                yield self._sent(series, effect)

    def _keeps(self, series: Series, episode: Episode, effect: Effect, now: float) -> bool:
        why, until = self._reason(series, effect, now)
        if why:
            episode.look_at = _earlier(episode.look_at, until)
        return bool(why)

    def _reason(self, series: Series, effect: Effect, now: float) -> tuple[str, float | None]:
        """Why an effect is withheld, "" if it is not, and until when if that is known."""
        inhibitor = self._inhibitor(effect.alert)
        if inhibitor is not None:
            name, host = inhibitor
            return f"inhibited by {name}" + (f" on {host}" if host != MEMBERS_HOST else ""), None
        for silence in self._silences:
            until = active_until(silence, now)
            if until is not None and matches(silence, effect):
                return f"silenced by {silence.id}", until
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

    def _note_due(self, series: Series) -> None:
        due = series.due_at()
        if due is None:
            self._due.pop(series.key, None)
            if series.episode is None:
                self._series.pop(series.key, None)
                self._holding.discard(series.key)
        elif self._due.get(series.key) != due:
            self._due[series.key] = due
            heapq.heappush(self._queue, (due, next(self._numbers), series.key))


def _is_about_life(rule: Rule) -> bool:
    """Whether an alert of the rule says that its host is down."""
    return rule.across is None and all(condition.metric == _HOST_ALIVE for condition in rule.conditions)


def _earlier(first: float | None, other: float | None) -> float | None:
    return min((at for at in (first, other) if at is not None), default=None)
