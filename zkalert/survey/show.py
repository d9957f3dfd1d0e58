"""An explanation as text for people, and as one object for programs.

Comes in: what was found out. Goes out: lines, or a document whose keys stay as they are from release to release.
Times are those of the ensemble's clock: epoch seconds for programs, UTC for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zkalert import lifecycle, render
from zkalert.evaluate import is_of_hosts
from zkalert.metrics import format_duration
from zkalert.model import Override, Rule, State
from zkalert.render.text import iso
from zkalert.render.words import clears, value_words
from zkalert.survey.absence import match_words
from zkalert.survey.series import Comparison, Series
from zkalert.survey.story import Clocked, Passage, Story, Why, as_alert, comparison_words

_MOST_HOSTS = 5
_MANY = {
    "not-crossed": "not crossed",
    "held": "crossed, and held for a part of the duration",
    "off-schedule": "crossed, but outside the schedule",
    "no-engine": "crossed, but no engine evaluates this tree now",
    "not-seen": "crossed, but no engine has written it",
    "no-sample": "no sample",
    "stale": "the last sample is too old",
    "host-gone": "the host is not alive",
    "no-instance": "the instances match nothing",
    "no-znode": "nothing is there",
    "no-answer": "an ensemble does not answer",
    "engine-alone": "no alert is on record, and the window is known to the engine alone",
    "one-sample": "a rate takes two samples",
    "no-channel": "it fires, and no channel hears it",
    "delivered": "delivered",
    "settled": "told, or given up as the engine's log says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is to be said of a rule on a tree at a moment.

    `hosts` is how many there are, `looked_at` how many the rule looks at; `others` says of the rest why it does not.
    `stories` are of all series that were asked for, and the first `most` are shown one by one.
    """

    rule: Rule
    at: float
    engines: tuple[str, ...]
    is_owned: bool
    hosts: int
    looked_at: int
    others: tuple[tuple[str, str], ...]
    stories: tuple[Story, ...]
    most: int

    @property
    def shown(self) -> tuple[Story, ...]:
        return self.stories[: self.most]

    @property
    def more(self) -> int:
        """How many series are not shown."""
        return len(self.stories) - len(self.shown)

    @property
    def is_told(self) -> bool:
        """Whether a message of any of these series went out."""
        return any(story.why.is_told for story in self.stories)

    def why(self) -> str:
        """Why no message went out, or that one did: one sentence without its full stop."""
        if not self.rule.enabled and not any(_is_active(story) for story in self.stories):
            return f"the rule {self.rule.name} is off (enabled: false)"
        if not self.stories:
            return self._why_nothing()
        groups: dict[str, list[Story]] = {}
        for story in self.stories:
            groups.setdefault(story.why.code, []).append(story)
        if len(self.stories) == 1:
            return self.stories[0].why.text
        return "; ".join(_of_group(code, some) for code, some in groups.items())

    def _why_nothing(self) -> str:
        if not self.hosts:
            return "there are no hosts: nobody publishes here"
        if len(self.others) == 1:
            host, why = self.others[0]
            return f"the rule does not look at {host} ({why})"
        return "no host matches"


def _is_active(story: Story) -> bool:
    return story.series.alert is not None and story.series.alert.state.is_active


def _of_group(code: str, some: Sequence[Story]) -> str:
    if len(some) == 1 or code not in _MANY:
        more = f" (and {len(some) - 1} more like it)" if len(some) > 1 else ""
        return f"{_where(some[0].series)}: {some[0].why.text}{more}"
    return f"{len(some)} series: {_MANY[code]}"


def _where(series: Series) -> str:
    return render.where(lifecycle.inactive(series.rule, series.host, series.instance))


# For people -----------------------------------------------------------------------------------------------------------


def as_text(found: Explanation) -> Iterator[str]:
    """Lines; names and texts in them may hold anything that whoever wrote them wished."""
    rule = found.rule
    is_off = "" if rule.enabled else "  (off)"
    yield f"{rule.name}  {rule.source}{is_off}"
    kind = "hosts" if is_of_hosts(rule) else "ensembles" if found.hosts != 1 else "ensemble"
    yield f"looks at {found.looked_at} of {found.hosts} {kind}{_others(found)}"
    if found.is_owned:
        yield (
            f"evaluated by one of these engines: {', '.join(found.engines)}"
            if found.engines[1:]
            else (f"evaluated by {found.engines[0] if found.engines else 'an engine'}")
        )
    else:
        yield "no engine evaluates this tree now"
    for story in found.shown:
        yield ""
        yield from _story_lines(story, found)
    if found.more:
        yield ""
        yield f"{found.more} more series are not shown; --all shows them"
    yield ""
    yield f"{'a message went out' if found.is_told else 'why no message went out'}: {found.why()}"


def _others(found: Explanation) -> str:
    if not found.others:
        return ""
    shown = "; ".join(f"{host} ({why})" for host, why in found.others[:_MOST_HOSTS])
    more = len(found.others) - _MOST_HOSTS
    return f"; not at {shown}" + (f" and {more} more" if more > 0 else "")


def _story_lines(story: Story, found: Explanation) -> Iterator[str]:
    series, alert, at = story.series, story.series.alert, found.at
    state = "inactive" if alert is None else alert.state.value
    since = ""
    if alert is not None:
        began = alert.fired_at if alert.state.is_active and alert.fired_at is not None else alert.since
        since = f" since {_when(began, at)}, alert {alert.id}"
    yield f"{_where(series)}: {state}{since}"
    rows = [*_number_rows(series, at), *_state_rows(story, found), *_message_rows(story)]
    rows.append(("why", story.why.text))
    width = max(len(name) for name, _ in rows)
    yield from (f"  {name.ljust(width)}  {text}" for name, text in rows)


def _number_rows(series: Series, at: float) -> Iterator[tuple[str, str]]:
    for one in series.comparisons:
        name = "unknown" if one.outcome is None else one.outcome.value
        step = f"{one.severity.value}: " if one.severity is not None else ""
        yield name, f"{step}{_number(series, one, at)}"
    if series.members is not None:
        members, silent = series.members
        yield "members", f"{members} series" + (f", nothing from {silent} host{'s' * (silent > 1)}" if silent else "")
    for index in series.overrides:
        yield "override", _override(index, series.rule.overrides[index])


def _number(series: Series, one: Comparison, at: float) -> str:
    alert = as_alert(series, one)
    clear = f", clears {text}" if (text := clears(alert)) else ""
    if one.unknown is not None:
        seen = ""
        record = series.alert
        if record is not None and record.subject == one.condition.subject and record.value is not None:
            seen = f"; it was {value_words(record.value, render.unit_of(record))} when the alert was written"
        return f"{render.subject(alert)} {render.condition(alert)}{clear}: {one.unknown.text}{seen}"
    age = "" if one.at is None else f", seen {format_duration(max(0.0, at - one.at))} ago"
    history = ", by this host's own history" if one.is_remembered else ""
    return f"{comparison_words(series, one)}{clear}{age}{history}"


def _override(index: int, one: Override) -> str:
    where = [match_words(match) for match in one.hosts] + list(one.instances or ())
    keys = ("severity", "threshold", "clear", "duration", "clear_duration", "actions")
    sets = [key for key in keys if getattr(one, key) is not None]
    return f"number {index + 1} ({', '.join(where)}) sets {', '.join(sets)}"


def _state_rows(story: Story, found: Explanation) -> Iterator[tuple[str, str]]:
    for clock in story.clocks:
        yield "held", _clock(clock, found)
    if story.gaps:
        yield "gaps", f"{story.gaps}: spans that no sample covered, which do not count"
    if story.is_open is not None:
        word = "open" if story.is_open else "closed"
        change = "" if story.changes_at is None else f" until {_when(story.changes_at, found.at)}"
        yield "schedule", f"{word}{change or ', always'}"
    if story.inhibitor:
        yield "quiet", story.inhibitor


def _clock(clock: Clocked, found: Explanation) -> str:
    what = "fires" if clock.state is State.PENDING else "is over"
    held = f"{format_duration(clock.held)} of {format_duration(clock.needed)}"
    clears_ = "" if clock.state is State.PENDING else "past its clear for "
    return f"{clears_}{held}; {what} at {_when(clock.due_at, found.at)} at the earliest, if that goes on"


def _message_rows(story: Story) -> Iterator[tuple[str, str]]:
    for one in story.passages:
        yield "outbox", _passage(one)
    heard = ", ".join(story.hears) or "nobody"
    yield "hears", heard + "".join(f"; {why}" for why in story.deaf)


def _passage(one: Passage) -> str:
    when = f" at {iso(one.at)}" if one.at is not None else ""
    tries = f", tries: {one.attempts}" if one.attempts else ""
    detail = f": {one.detail}" if one.detail else ""
    return f"{one.phase} to {one.target}: {one.state.value}{when}{tries}{detail}"


def _when(at: float, now: float) -> str:
    span = format_duration(abs(at - now))
    return f"{iso(at)} ({span} ago)" if at <= now else f"{iso(at)} (in {span})"


# For programs ---------------------------------------------------------------------------------------------------------


def as_json(found: Explanation) -> dict[str, Any]:
    """An explanation as one object.

    ::

        {"rule": "memory-high", "source": "rules/a.yaml:2", "enabled": true, "at": 1763900000.0,
         "engines": ["web1 (pid 4711)"], "evaluated": true, "hosts": 3, "looked_at": 2,
         "others": [{"host": "db1", "why": "hosts: web* does not match db1"}],
         "series": [{"host": "web1", "instance": null, "state": "pending", "since": 1763899960.0, "fired_at": null,
             "alert": "a1b2c3", "outcome": "true", "members": null, "overrides": [0],
             "comparisons": [{"metric": "memory_usage.percent", "subject": "memory_usage.percent", "unit": "percent",
                 "severity": null, "comparator": ">", "threshold": 90.0, "clear": 80.0, "value": 93.4,
                 "outcome": "true", "at": 1763899998.0, "unknown": null, "from_history": false}],
             "clocks": [{"severity": "warning", "state": "pending", "held": 40.0, "needed": 120.0,
                 "due_at": 1763900080.0}],
             "gaps": 0, "schedule": null, "inhibitor": "",
             "outbox": [], "hears": ["ops"], "deaf": [],
             "why": {"code": "held", "text": "crossed, held 40s of 2m", "told": false}}],
         "more": 0, "told": false, "why": "crossed, held 40s of 2m"}

    `others` are hosts that the rule does not look at. `unknown` is an object with code and text where there is no
    number; `schedule` one with `open` and `changes_at`. Spans are seconds. `more` series are
    left out; `told` and `why` are about all.
    """
    return {
        "rule": found.rule.name,
        "source": found.rule.source,
        "enabled": found.rule.enabled,
        "at": found.at,
        "engines": list(found.engines),
        "evaluated": found.is_owned,
        "hosts": found.hosts,
        "looked_at": found.looked_at,
        "others": [{"host": host, "why": why} for host, why in found.others],
        "series": [_story_document(story) for story in found.shown],
        "more": found.more,
        "told": found.is_told,
        "why": found.why(),
    }


def _story_document(story: Story) -> dict[str, Any]:
    series, alert = story.series, story.series.alert
    return {
        "host": series.host,
        "instance": series.instance,
        "state": State.INACTIVE.value if alert is None else alert.state.value,
        "since": None if alert is None else alert.since,
        "fired_at": None if alert is None else alert.fired_at,
        "alert": None if alert is None else alert.id,
        "outcome": None if series.outcome is None else series.outcome.value,
        "members": series.members,
        "overrides": list(series.overrides),
        "comparisons": [_comparison_document(one) for one in series.comparisons],
        "clocks": [
            {
                "severity": clock.severity.value,
                "state": clock.state.value,
                "held": clock.held,
                "needed": clock.needed,
                "due_at": clock.due_at,
            }
            for clock in story.clocks
        ],
        "gaps": story.gaps,
        "schedule": None if story.is_open is None else {"open": story.is_open, "changes_at": story.changes_at},
        "inhibitor": story.inhibitor,
        "outbox": [_passage_document(one) for one in story.passages],
        "hears": list(story.hears),
        "deaf": list(story.deaf),
        "why": _why_document(story.why),
    }


def _comparison_document(one: Comparison) -> dict[str, Any]:
    return {
        "metric": str(one.condition.metric),
        "subject": one.condition.subject,
        "unit": one.condition.unit,
        "severity": None if one.severity is None else one.severity.value,
        "comparator": one.condition.comparator.value,
        "threshold": one.threshold,
        "clear": one.clear,
        "value": one.value,
        "outcome": None if one.outcome is None else one.outcome.value,
        "at": one.at,
        "unknown": None if one.unknown is None else {"code": one.unknown.code, "text": one.unknown.text},
        "from_history": one.is_remembered,
    }


def _passage_document(one: Passage) -> dict[str, Any]:
    return {
        "phase": one.phase,
        "target": one.target,
        "kind": one.kind.value,
        "state": one.state.value,
        "attempts": one.attempts,
        "at": one.at,
        "detail": one.detail,
    }


def _why_document(why: Why) -> dict[str, Any]:
    return {"code": why.code, "text": why.text, "told": why.is_told}
