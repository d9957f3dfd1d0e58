"""How each series of a rule stands: how long it has held, what keeps it quiet, what became of its messages.

Comes in: series, with the survey and the rules that they were made of, and the channels. Goes out: a story of each,
which ends with one reason in words. What only an engine's memory has is reckoned as its successor would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from zkalert import lifecycle, render
from zkalert.evaluate import instance_kind
from zkalert.metrics import format_duration
from zkalert.model import (
    EMPTY,
    MEMBERS_HOST,
    Alert,
    Clock,
    DeliveryState,
    Effect,
    Hold,
    Join,
    Moment,
    OutboxEntry,
    Outcome,
    Phase,
    Reason,
    Route,
    Rule,
    Severity,
    State,
    Target,
    TargetKind,
)
from zkalert.render.text import iso
from zkalert.render.words import value_words
from zkalert.routing import Gate, effect_targets, too_mild
from zkalert.survey.absence import ALIVE, Unknown
from zkalert.survey.series import Comparison, Series
from zkalert.survey.values import Survey

_OFF = Clock()
_FOREVER = 1e9
_SETTLED = 60.0  # seconds, longer than a gate waits for an inhibitor
_INHIBITED_WITHIN = 1.0  # seconds that messages wait for an inhibitor
_OWN_URL = "a URL of the rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why nothing was told, or that something was (`is_told`): a code that stays, and words without a full stop."""

    code: str
    text: str
    is_told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """One step on its way: `held` of `needed` seconds until it fires (or, clearing, until it is over).

    `due_at` is when that will be at the earliest, if it goes on.
    """

    severity: Severity
    state: State
    held: float
    needed: float
    due_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One line of the outbox: what is told (`firing`, `repeated-2`), to whom, and how far it has got."""

    episode: str
    phase: str
    target: str
    kind: TargetKind
    state: DeliveryState
    attempts: int
    at: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is to be said of one series.

    `is_open` and `changes_at` (None: never) are of the rule's schedule, None without one. `inhibitor` says what keeps
    its messages quiet now. `hears` are the names of who would hear it fire, `deaf` why others do not.
    """

    series: Series
    clocks: tuple[Clocked, ...] = ()
    gaps: int = 0
    is_open: bool | None = None
    changes_at: float | None = None
    inhibitor: str = ""
    passages: tuple[Passage, ...] = ()
    hears: tuple[str, ...] = ()
    deaf: tuple[str, ...] = ()
    why: Why


def inhibitors_of(rule: Rule, rules: Iterable[Rule]) -> frozenset[str]:
    """The names of the rules whose alerts may keep this one quiet: those it names, and those on the life of hosts."""
    named = frozenset(rule.inhibited_by)
    lives = (one.name for one in rules if one.across is None and all(each.metric == ALIVE for each in one.conditions))
    return (named | frozenset(lives)) - {rule.name}


def stories(
    series: Sequence[Series],
    survey: Survey,
    rules: Iterable[Rule],
    channels: Mapping[str, Sequence[Target]],
    routes: Sequence[Route] = (),
) -> list[Story]:
    """The story of each series; `rules` are all that there are."""
    teller = _Teller(survey, rules, channels, routes)
    return [teller.story(one) for one in series]


class _Teller:
    """Tells the stories of one survey."""

    def __init__(
        self,
        survey: Survey,
        rules: Iterable[Rule],
        channels: Mapping[str, Sequence[Target]],
        routes: Sequence[Route],
    ) -> None:
        self._survey = survey
        self._now = Moment(survey.at, survey.at)
        self._channels = channels
        self._routes = routes
        self._rules = tuple(rules)
        self._entries: dict[tuple[str, str, str | None], list[OutboxEntry]] = defaultdict(list)
        for entry in (*survey.entries, *survey.dead):
            alert = entry.effect.alert
            self._entries[alert.rule, alert.host, alert.instance].append(entry)
        self._gate = Gate([rule for rule in self._rules if rule.enabled], instance_kind=instance_kind)
        for alert in survey.alerts:
            if alert.state.is_active:
                self._gate.offer(_effect(alert, survey.at), survey.at - _SETTLED)

    def story(self, series: Series) -> Story:
        rule, alert, at = series.rule, series.alert, self._survey.at
        resumed = self._resumed(alert)
        names, deaf = self._hears(series)
        told = Story(
            series=series,
            clocks=self._clocks(rule, resumed),
            gaps=0 if resumed is None or resumed.hold is None else resumed.hold.gaps,
            is_open=None if rule.schedule is None else lifecycle.is_open(rule.schedule, at),
            changes_at=None if rule.schedule is None else lifecycle.next_change(rule.schedule, at),
            inhibitor=self._inhibitor(series),
            passages=self._passages(series),
            hears=names,
            deaf=deaf,
            why=Why(code="", text=""),
        )
        return replace(told, why=self._why(told))

    # Held time.

    def _resumed(self, alert: Alert | None) -> Alert | None:
        """An alert as whoever evaluates has it now: the record moves only where a restart could not do without."""
        if alert is None:
            return None
        watched_at = self._survey.at if self._survey.is_owned else self._survey.watched_at
        return lifecycle.resume(alert, 0.0 if watched_at is None else watched_at, self._now)

    def _clocks(self, rule: Rule, alert: Alert | None) -> tuple[Clocked, ...]:
        if alert is None or not _is_of(rule, alert):
            return ()
        found = []
        for index, (step, clock) in enumerate(zip(rule.steps, alert.clocks, strict=True)):
            hold = clock.hold if clock.state is State.PENDING else clock.clearing
            if clock.state not in (State.PENDING, State.CLEARING) or hold is None:
                continue
            # As if what holds now were to go on for ever.
            on = Hold(hold.held, self._now.at, self._now.mono, _FOREVER, hold.gaps)
            lasting = clock._replace(hold=on) if clock.state is State.PENDING else clock._replace(clearing=on)
            alone = tuple(lasting if number == index else _OFF for number in range(len(rule.steps)))
            due = lifecycle.deadline(rule, replace(alert, clocks=alone, repeat_at=None, escalate_at=None), self._now)
            needed = step.duration if clock.state is State.PENDING else step.clear_duration
            if due is not None:
                held = max(0.0, needed - (due - self._now.mono))
                found.append(Clocked(severity=step.severity, state=clock.state, held=held, needed=needed, due_at=due))
        return tuple(found)

    # Messages.

    def _hears(self, series: Series) -> tuple[tuple[str, ...], tuple[str, ...]]:
        alert = series.alert or lifecycle.inactive(series.rule, series.host, series.instance)
        info = self._survey.hosts[series.host].info if series.host in self._survey.hosts else None
        effect = replace(
            _effect(alert, self._survey.at),
            labels=series.rule.labels,
            host_labels=EMPTY if info is None else info.labels,
        )
        chosen, unknown = effect_targets(series.rule, effect, self._channels, self._routes)
        deaf = (*unknown, *too_mild(series.rule, effect, self._channels, self._routes))
        return tuple(dict.fromkeys(_target_words(one.id, one.name, one.kind) for one in chosen)), deaf

    def _inhibitor(self, series: Series) -> str:
        """What keeps this series quiet now, in the words of the gate that decides it."""
        alert = series.alert or lifecycle.inactive(series.rule, series.host, series.instance)
        ours = replace(alert, episode="explained")
        decisions = self._gate.offer(_effect(ours, self._survey.at), self._survey.at)
        decisions += self._gate.settle(self._survey.at + _SETTLED)
        mine = (one for one in decisions if one.effect.alert.episode == ours.episode and not one.is_sent)
        return next((one.why for one in mine if one.why.startswith("inhibited")), "")

    def _passages(self, series: Series) -> tuple[Passage, ...]:
        entries = self._entries.get((series.rule.name, *series.key), ())
        found = [(entry.effect, delivery) for entry in entries for delivery in entry.deliveries]
        return tuple(
            Passage(
                episode=effect.alert.episode,
                phase=effect.name or effect.phase.value,
                target=_target_words(delivery.target, delivery.name, delivery.kind),
                kind=delivery.kind,
                state=delivery.state,
                attempts=delivery.attempts,
                at=delivery.at,
                detail=delivery.detail,
            )
            for effect, delivery in sorted(found, key=lambda pair: pair[0].at)
        )

    # Why.

    def _why(self, story: Story) -> Why:
        series, alert = story.series, story.series.alert
        if alert is not None and alert.state.is_active:
            return self._why_active(story, alert)
        if not series.rule.enabled:
            return Why(code="rule-off", text="the rule is off (enabled: false)")
        if alert is not None and alert.state is State.PENDING:
            return self._with_engine(self._why_pending(story, alert))
        if series.outcome is None:
            return self._why_unknown(series.unknown)
        if series.outcome is not Outcome.TRUE:
            return Why(code="not-crossed", text=_not_crossed(series))
        if story.is_open is False:
            return Why(code="off-schedule", text=f"crossed, but outside its schedule{_until(story.changes_at)}")
        if not self._survey.is_owned:
            return self._with_engine(Why(code="no-engine", text="crossed"))
        return Why(
            code="not-seen", text="crossed, but no engine has written it: it came just now, or it runs other rules"
        )

    def _why_active(self, story: Story, alert: Alert) -> Why:
        own = [one for one in story.passages if one.episode == alert.episode]
        if own:
            return _of_passages(own, alert)
        since = iso(alert.fired_at if alert.fired_at is not None else alert.since)
        if story.inhibitor and self._was_first(story, alert):
            return Why(code="inhibited", text=f"it fires since {since}, {story.inhibitor}")
        if not story.hears:
            why = f" ({'; '.join(story.deaf)})" if story.deaf else ""
            return Why(code="no-channel", text=f"it fires since {since}, and no channel hears it{why}")
        heard = ", ".join(story.hears)
        return Why(
            code="settled",
            text=f"it fired at {since}; {heard} is done with it: delivered, or given up, as the log of the engine says",
            is_told=True,
        )

    def _was_first(self, story: Story, alert: Alert) -> bool:
        """Whether an inhibitor fired by the time this one did; else its message was out before."""
        names = inhibitors_of(story.series.rule, self._rules)
        fired = [
            one.fired_at
            for one in self._survey.alerts
            if one.rule in names and one.host in (alert.host, MEMBERS_HOST) and one.fired_at is not None
        ]
        return alert.fired_at is not None and any(at <= alert.fired_at + _INHIBITED_WITHIN for at in fired)

    def _why_pending(self, story: Story, alert: Alert) -> Why:
        series = story.series
        if not _is_of(series.rule, alert):
            return Why(
                code="rule-changed",
                text="its condition was changed: what held until then starts anew with the next sample",
            )
        clock = next(iter(story.clocks), None)
        held = "" if clock is None else f"held {format_duration(clock.held)} of {format_duration(clock.needed)}"
        if series.unknown is not None and series.unknown.code != "engine-alone":
            return Why(code="held", text=f"crossed, {held or 'pending'}; it stands still: {series.unknown.text}")
        if series.outcome in (Outcome.FALSE, Outcome.BETWEEN):
            return Why(code="held", text=f"{held or 'pending'}, and not crossed now: {_seen(series)}")
        return Why(code="held", text=f"crossed, {held or 'pending'}")

    def _with_engine(self, why: Why) -> Why:
        if self._survey.is_owned:
            return why
        return replace(why, text=f"{why.text}; no engine evaluates this tree now")

    def _why_unknown(self, unknown: Unknown | None) -> Why:
        if unknown is None:
            return Why(code="unknown", text="what it says is not known")
        if unknown.code == "engine-alone":
            return self._with_engine(Why(code=unknown.code, text=f"no alert of it is on record; {unknown.text}"))
        return Why(code=unknown.code, text=unknown.text)


def _effect(alert: Alert, at: float) -> Effect:
    return Effect(alert=alert, phase=Phase.FIRING, reason=Reason.HELD, at=at)


def _is_of(rule: Rule, alert: Alert) -> bool:
    """Whether an alert's clocks measure the very condition that the rule has now."""
    return alert.digest == rule.digest and len(alert.clocks) == len(rule.steps)


def _target_words(id_: str, name: str, kind: TargetKind) -> str:
    """A channel's name, a command's first word; a URL is not shown at all."""
    if kind is TargetKind.RUN:
        return f"the command {name}"
    return _OWN_URL if id_.startswith("url/") else name


def _of_passages(own: Sequence[Passage], alert: Alert) -> Why:
    """What the ledger says of an alert that fires: the last that was delivered, what was not, and why."""
    done = [one for one in own if one.state is DeliveryState.DELIVERED]
    held = [one for one in own if one.state is DeliveryState.HELD]
    waits = [one for one in own if one.state in (DeliveryState.NEW, DeliveryState.CLAIMED)]
    dropped = [one for one in own if one.state is DeliveryState.DROPPED]
    failed = [one for one in own if one.state in (DeliveryState.FAILED, DeliveryState.UNKNOWN)]
    parts = []
    if done:
        names = ", ".join(dict.fromkeys(one.target for one in done))
        parts.append(f"delivered{_at(done[-1].at)} to {names}")
    parts += [f"{one.phase} to {one.target} is withheld: {one.detail or 'the engine says why'}" for one in held]
    parts += [f"{one.phase} waits for {one.target}{_tries(one)}" for one in waits]
    parts += [f"{one.phase} is not told to {one.target}: {one.detail or 'it is over'}" for one in dropped]
    parts += [f"{one.phase} to {one.target} ended {one.state.value}{_at(one.at)}: {one.detail}" for one in failed]
    ranked = (("delivered", done), ("withheld", held), ("waiting", waits), ("failed", failed), ("dropped", dropped))
    code = next(code for code, some in ranked if some)
    begin = "" if done else f"it fires since {iso(alert.fired_at or alert.since)}; "
    return Why(code=code, text=begin + "; ".join(parts), is_told=bool(done))


def _tries(one: Passage) -> str:
    if not one.attempts:
        return ""
    count = "one try" if one.attempts == 1 else f"{one.attempts} tries"
    return f" after {count}: {one.detail or 'the log of the engine says why'}"


def _not_crossed(series: Series) -> str:
    if len(series.rule.conditions) == 1:
        return f"not crossed: {_seen(series)}"
    if series.rule.join is Join.ANY:
        return "none of its conditions is crossed"
    missing = [one for one in series.comparisons if one.outcome is Outcome.FALSE] or list(series.comparisons)
    return f"not crossed: {comparison_words(series, missing[0])}"


def _seen(series: Series) -> str:
    return comparison_words(series, series.comparisons[0])


def comparison_words(series: Series, one: Comparison) -> str:
    """`memory_usage.percent is 41% (> 90%)`."""
    alert = as_alert(series, one)
    of, limit = render.subject(alert), render.condition(alert)
    if one.value is None:
        return f"{of}: {limit}"
    return f"{of} is {value_words(one.value, render.unit_of(alert))} ({limit})"


def _at(at: float | None) -> str:
    return "" if at is None else f" at {iso(at)}"


def _until(at: float | None) -> str:
    return "" if at is None else f" until {iso(at)}"


def as_alert(series: Series, one: Comparison) -> Alert:
    """A comparison in the shape that words are made of."""
    blank = lifecycle.inactive(series.rule, series.host, series.instance)
    return replace(
        blank,
        metric=one.condition.metric,
        subject=one.condition.subject,
        unit=one.condition.unit,
        comparator=one.condition.comparator,
        threshold=one.threshold,
        clear=one.clear,
        value=one.value,
    )
