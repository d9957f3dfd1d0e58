"""All rules, and where each of their series stands: what samples and time make of them.

Comes in: rules, hosts, samples, moments. Goes out, to one function: each change of an alert, with what has to be told
of it. The engine and the tests of rules run this very code; what is done with a change is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from zkalert import lifecycle
from zkalert.evaluate import Verdicts
from zkalert.metrics import ENGINE_FAMILY, HOST_FAMILY, is_znode
from zkalert.model import (
    MEMBERS_HOST,
    Ack,
    Alert,
    Effect,
    HostInfo,
    Moment,
    Observation,
    Outcome,
    Quiet,
    Reason,
    Rule,
    Sample,
    State,
    Verdict,
)
from zkalert.rulebook.limits import HOST_ALIVE, QUIET_AFTER, limits_of
from zkalert.rulebook.readings import with_facts
from zkalert.rulebook.timers import Timers
from zkalert.rulebook.watcher import RuleWatcher

__all__ = [
    "HOST_ALIVE",
    "Instances",
    "Put",
    "RuleWatcher",
    "Rulebook",
    "alive_sample",
    "limits_of",
    "readers",
    "skew_sample",
    "with_clock_skew",
    "with_facts",
]

Instances: TypeAlias = "dict[str | None, Alert]"
Put: TypeAlias = "Callable[[Rule, Alert, Alert, tuple[Effect, ...]], None]"
"""Hears of a change: the rule as it holds for the series, the alert before and after, what has to be told."""

_INTERVALS = 3
_AGAIN = 0.005
_LONG = 1e9
_TRUE = Outcome.TRUE  # before Python 3.12 a member of an enum is looked for anew each time


def alive_sample(observation: Observation | None, host: str, now: Moment, *, is_alive: bool) -> Observation:
    """What the engine says of a host's life, beside what its sampler said last of the `host` family."""
    values, interval = ({}, _LONG) if observation is None else (observation.sample.values, observation.sample.interval)
    sample = Sample(
        family=HOST_FAMILY, at=now.at, interval=interval, max_age=_LONG, values={**values, "alive": int(is_alive)}
    )
    return Observation(host=host, sample=sample, now=now)


def with_clock_skew(sample: Sample, written_at: float) -> Sample:
    """What a sampler says of its host, and how far its clock (`sample.at`) is ahead of ZooKeeper's (epoch seconds)."""
    return replace(sample, values={**sample.values, "clock_skew": round(sample.at - written_at, 2)})


def skew_sample(now: Moment, *, has_skew: bool) -> Observation:
    """What the engine that owns the tree says of all its engines."""
    sample = Sample(
        family=ENGINE_FAMILY, at=now.at, interval=_LONG, max_age=_LONG, values={"rules_skew": int(has_skew)}
    )
    return Observation(host=MEMBERS_HOST, sample=sample, now=now)


class Rulebook:
    """The rules in force and all their alerts that are not inactive.

    `put` hears of every change; `new_episode` makes ids. Belongs to one thread.
    """

    def __init__(self, put: Put, new_episode: Callable[[], str]) -> None:
        self.watchers: dict[str, RuleWatcher] = {}
        self._put = put
        self._new_episode = new_episode
        self._alerts: dict[str, dict[str, Instances]] = {}
        self._timers = Timers()
        self._acks: Mapping[str, Ack] | None = None  # by episode; None until somebody tells which there are
        # Of rules that care, by host: when each series last had a value, and how long it may be quiet.
        self._heard: dict[str, dict[str, dict[str | None, tuple[float, float]]]] = {}

    # Rules and hosts.

    def set_rules(self, rules: Iterable[Rule]) -> dict[str, Rule]:
        """Take other rules; those that are no more. Their alerts stay until they are closed."""
        before = self.watchers
        self.watchers = {}
        for rule in rules:
            old = before.get(rule.name)
            self.watchers[rule.name] = RuleWatcher(rule) if old is None else old.successor(rule)
            self._alerts.setdefault(rule.name, {})
            if rule.no_data.then is Quiet.KEEP or rule.metric == HOST_ALIVE:  # which is never silent
                self._heard.pop(rule.name, None)
            else:
                self._heard.setdefault(rule.name, {})
        gone = before.keys() - self.watchers.keys()
        for name in gone:
            self._heard.pop(name, None)
        return {name: before[name].rule for name in gone}

    def expect(self, host: str, now: Moment) -> None:
        """From now on a host owes samples to the rules that mind its silence and look at it as a whole."""
        for name, heard in self._heard.items():
            watcher = self.watchers[name]
            if watcher.looks_at(host) and watcher.is_whole and None not in heard.get(host, {}):
                self._hear(watcher, host, None, now.mono, watcher.rule.no_data.after or QUIET_AFTER)

    def forget(self, host: str) -> None:
        """A host is no more."""
        for watcher in self.watchers.values():
            watcher.forget(host)
        for heard in self._heard.values():
            heard.pop(host, None)

    # Samples and time.

    def judge(self, observation: Observation, watchers: Iterable[RuleWatcher], now: Moment, spent: float = 0.0) -> None:
        """What rules make of a sample at `now`, when it has spoken for `spent` seconds already."""
        family = observation.sample.family
        for watcher in watchers:
            verdicts = watcher.observe(observation)
            rule = watcher.rule
            name = watcher.series_host(observation.host)
            alerts = self._alerts[rule.name].get(name)
            for instance, verdict in verdicts:
                alert = None if alerts is None else alerts.get(instance)
                if alert is None:
                    if verdict.outcome is not _TRUE:
                        continue
                    alert = lifecycle.inactive(watcher.variant(name, instance), name, instance)
                if spent:
                    if _is_old_news(alert, now, spent):
                        continue
                    verdict = verdict._replace(cover=max(0.0, verdict.cover - spent))  # noqa: PLW2901 - the same, later
                self._step(watcher, alert, verdict, now)
            if alerts and family in watcher.gone_families:
                self._judge_missing(watcher, alerts, observation, now)
            if rule.name in self._heard and family == watcher.metric.family:
                self._end_quiet(watcher, name, self._heard_of(watcher, observation, verdicts, now, spent), now, spent)

    def absorb(self, observation: Observation, watchers: Iterable[RuleWatcher], now: Moment) -> None:
        """Remember a sample that nothing is to be made of: whoever judges the next one knows what was before.

        Its series owe the next one from now on: nobody watched the time before.
        """
        for watcher in watchers:
            watcher.observe(observation)
            if watcher.rule.name in self._heard and observation.sample.family == watcher.metric.family:
                self._heard_of(watcher, observation, [], now, now.mono - observation.now.mono)

    def _judge_missing(self, watcher: RuleWatcher, alerts: Instances, observation: Observation, now: Moment) -> None:
        sample = observation.sample
        if sample.changed is None and sample.errors:
            return  # what could not be read, or was cut, is not gone
        names = alerts if sample.changed is None else alerts.keys() & sample.changed
        verdict = Verdict(Outcome.MISSING, None, _LONG if is_znode(sample.family) else sample.max_age)
        for instance in [name for name in names if name is not None and name not in sample.instances]:
            self._step(watcher, alerts[instance], verdict, now)

    def fire_timers(self, mono: float, at: Callable[[float], float]) -> None:
        """Look at every series that is due at `mono`; `at` says what the ensemble's clock showed then."""
        while (timer := self._timers.pop(mono)) is not None:
            name, host, instance, is_quiet = timer.key
            watcher = self.watchers.get(name)
            if watcher is None:
                continue
            now = Moment(at(timer.due), timer.due)
            alert = self._alerts.get(name, {}).get(host, {}).get(instance)
            if is_quiet:
                self._check_quiet(watcher, host, instance, now)
            elif alert is not None and alert.state is not State.INACTIVE:
                verdict = Verdict(Outcome.ELAPSED, alert.value)
                if self._step(watcher, alert, verdict, now) is alert:
                    self._set_timer(watcher, alert, now, after=timer.due + _AGAIN)

    @property
    def next_at(self) -> float | None:
        """When (on this process's clock) `fire_timers` is due next; perhaps a little earlier than needed."""
        return self._timers.next_at

    def _step(self, watcher: RuleWatcher, alert: Alert, verdict: Verdict, now: Moment) -> Alert:
        rule = watcher.variant(alert.host, alert.instance)
        is_same = alert.state is not State.INACTIVE and alert.digest == rule.digest and len(rule.steps) == 1
        episode = alert.episode if is_same and not alert.is_quiet else self._new_episode()
        new, effects = lifecycle.step(rule, alert, verdict, now, episode)
        if new is not alert:
            self.keep(new)
            self._set_timer(watcher, new, now)
            self._put(rule, alert, new, effects)
        return new

    def _set_timer(self, watcher: RuleWatcher, alert: Alert, now: Moment, after: float = 0.0) -> None:
        due = lifecycle.deadline(watcher.variant(alert.host, alert.instance), alert, now)
        if due is not None:
            self._timers.set((alert.rule, alert.host, alert.instance, False), max(due, after))

    # Silence.

    def _heard_of(
        self, watcher: RuleWatcher, observation: Observation, verdicts: Verdicts, now: Moment, spent: float
    ) -> list[str | None]:
        """Note of which series a sample had the value that the rule is about, were it in bounds or not; which."""
        rule, sample = watcher.rule, observation.sample
        after = rule.no_data.after or max(QUIET_AFTER, _INTERVALS * sample.interval)
        host, field = watcher.series_host(observation.host), watcher.metric.field
        found: list[str | None]
        if watcher.judges_what_is_not_there:
            found = [instance for instance, _ in verdicts]
        elif watcher.is_whole:
            found = [None] if field in sample.values else []
        else:
            found = [
                instance
                for instance, values in sample.instances.items()
                if field in values and watcher.covers(instance)
            ]
            if not sample.errors:
                heard = self._heard[rule.name].get(host, {})
                for instance in heard.keys() - sample.instances.keys():
                    del heard[instance]  # one that is gone is another case than one that is quiet
        for instance in found:
            before = self._heard[rule.name].get(host, {}).get(instance)
            # One that is heard once more is no new sign of life.
            mono = now.mono if before is None else max(before[0], now.mono - spent)
            self._hear(watcher, host, instance, mono, after)
        return found

    def _hear(self, watcher: RuleWatcher, host: str, instance: str | None, mono: float, after: float) -> None:
        self._heard[watcher.rule.name].setdefault(host, {})[instance] = (mono, after)
        self._timers.set((watcher.rule.name, host, instance, True), mono + after)

    def _end_quiet(
        self, watcher: RuleWatcher, host: str, instances: Iterable[str | None], now: Moment, spent: float
    ) -> None:
        """End what fires for want of data that has come, though it says nothing yet: as a window that fills anew."""
        for instance in instances:
            alert = self.get(watcher.rule.name, host, instance)
            if alert is not None and alert.is_quiet and not _is_old_news(alert, now, spent):
                nothing = Outcome.BETWEEN
                self._step(watcher, alert, Verdict(nothing, marks=(nothing,) * len(watcher.rule.steps)), now)

    def _check_quiet(self, watcher: RuleWatcher, host: str, instance: str | None, now: Moment) -> None:
        heard = self._heard.get(watcher.rule.name, {}).get(host, {}).get(instance)
        if heard is None:
            return
        if not watcher.looks_at(host, instance):
            del self._heard[watcher.rule.name][host][instance]
            return
        if heard[0] + heard[1] > now.mono:
            self._timers.set((watcher.rule.name, host, instance, True), heard[0] + heard[1])
            return
        alert = self.get(watcher.rule.name, host, instance)
        if alert is None:
            alert = lifecycle.inactive(watcher.variant(host, instance), host, instance)
        self._step(watcher, alert, Verdict(Outcome.QUIET), now)
        schedule = watcher.rule.schedule
        opens_at = (
            None if schedule is None or lifecycle.is_open(schedule, now.at) else lifecycle.next_change(schedule, now.at)
        )
        if opens_at is not None:
            self._timers.set((watcher.rule.name, host, instance, True), now.mono + opens_at - now.at)

    # Alerts.

    def keep(self, alert: Alert) -> None:
        """Let a series stand where this alert says, and tell nobody."""
        hosts = self._alerts.setdefault(alert.rule, {})
        if alert.state in (State.INACTIVE, State.RESOLVED):
            instances = hosts.get(alert.host, {})
            instances.pop(alert.instance, None)
            if not instances:
                hosts.pop(alert.host, None)
        else:
            hosts.setdefault(alert.host, {})[alert.instance] = alert

    def restore(self, alerts: Iterable[Alert], now: Moment, *, was_watched: bool = False) -> None:
        """Replace all alerts by these, as they stand now; silence counts anew, unless they were watched until now."""
        self._alerts = {name: {} for name in self.watchers}
        self._timers.clear()
        for alert in alerts:
            self.keep(alert)
            watcher = self.watchers.get(alert.rule)
            if watcher is None:
                continue
            watcher.expect(alert.host, alert.instance)
            self._set_timer(watcher, alert, now)
            if alert.rule in self._heard:
                after = watcher.rule.no_data.after or QUIET_AFTER
                self._heard[alert.rule].setdefault(alert.host, {}).setdefault(alert.instance, (now.mono, after))
        for name, heard in self._heard.items():
            for host, instances in heard.items():
                for instance, (mono, after) in instances.items():
                    since = mono if was_watched else max(mono, now.mono)
                    instances[instance] = (since, after)
                    self._timers.set((name, host, instance, True), since + after)
        if self._acks is not None:  # some may have come since the records were written
            self.acknowledge(self._acks, now)

    def acknowledge(self, acks: Mapping[str, Ack], now: Moment) -> None:
        """These are all acknowledgements that there are now, by episode."""
        self._acks = dict(acks)
        for alert in list(self.alerts()):
            watcher = self.watchers.get(alert.rule)
            new = lifecycle.acknowledged(alert, self._acks.get(alert.episode))
            if watcher is None or new is alert:
                continue
            self.keep(new)
            self._set_timer(watcher, new, now, after=now.mono)  # what was held back happens now, not in the past
            self._put(watcher.variant(new.host, new.instance), alert, new, ())

    def close(self, rule: Rule, alert: Alert, at: float, reason: Reason) -> None:
        """End an alert that no sample will speak of again."""
        closed, effects = lifecycle.close(rule, alert, at, reason)
        self.keep(closed)
        self._put(rule, alert, closed, effects)

    def blind(self, since: float, concerns: Callable[[RuleWatcher, Alert], bool] | None = None) -> None:
        """After `since` (this process's clock) nothing was seen: what held may not have held on.

        `concerns` tells of which alerts that is so; None: of all.
        """
        for alert in list(self.alerts()):
            watcher = self.watchers.get(alert.rule)
            if watcher is None or (concerns is not None and not concerns(watcher, alert)):
                continue
            rule = watcher.variant(alert.host, alert.instance)
            shorter = lifecycle.blind(rule, alert, since)
            if shorter is not alert:
                self.keep(shorter)
                self._put(rule, alert, shorter, ())

    def forgive(self, seconds: float) -> None:
        """For so long it did not run: that nothing was heard meanwhile is nobody's silence."""
        for heard in self._heard.values():
            for instances in heard.values():
                instances.update({name: (mono + seconds, after) for name, (mono, after) in instances.items()})

    def drop(self, rule: str) -> None:
        """Forget the alerts of a rule, and tell nobody."""
        self._alerts.pop(rule, None)

    def get(self, rule: str, host: str, instance: str | None) -> Alert | None:
        return self._alerts.get(rule, {}).get(host, {}).get(instance)

    def alerts_of(self, rule: str) -> list[Alert]:
        return [alert for instances in self._alerts.get(rule, {}).values() for alert in instances.values()]

    def alerts(self) -> Iterator[Alert]:
        for hosts in self._alerts.values():
            for instances in hosts.values():
                yield from instances.values()


def _is_old_news(alert: Alert, now: Moment, spent: float) -> bool:
    """Whether a sample that has spoken for so long says nothing of an alert for want of data: it came before that."""
    return spent > 0 and alert.is_quiet and alert.fired_at is not None and now.at - spent <= alert.fired_at


def readers(watchers: Mapping[str, RuleWatcher], host: HostInfo, family: str) -> list[RuleWatcher]:
    """The watchers that read a family of a host."""
    return [watcher for watcher in watchers.values() if family in watcher.families and watcher.follows(host)]
