"""Which effects become messages, which are withheld and why, and what of them goes out later after all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert.model import (
    MEMBERS_HOST,
    Across,
    Alert,
    Comparator,
    Condition,
    Effect,
    Flap,
    Metric,
    Of,
    Phase,
    Reason,
    Rule,
    Severity,
    Silence,
    Term,
    Total,
)
from zkalert.routing import Decision, Gate
from zkalert.routing.gate import WAIT

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
KINDS = {"disk_usage": "mount", "disk_io": "device"}


def rule(name: str, metric: str = "memory_usage.percent", **more: object) -> Rule:
    family, _, field = metric.partition(".")
    condition = Condition(term=Term(metric=Metric(family, field)), comparator=Comparator.GT, threshold=90)
    return replace(Rule(name=name, conditions=(condition,)), **more)  # type: ignore[arg-type]


def kind_of(one: Rule) -> str | None:
    return KINDS.get(one.metric.family)


class Story:
    """What happens to some series, and what a gate says to each of it: lines such as `sent firing disk web1`."""

    def __init__(self, *rules: Rule) -> None:
        self.gate = Gate(rules, instance_kind=kind_of)
        self.now = 1000.0
        self.alerts: dict[tuple[str, str, str | None], Alert] = {}
        self.decisions: list[Decision] = []
        self.offered: list[Effect] = []
        self.episodes = 0

    def fire(
        self, name: str, host: str = "web1", instance: str | None = None, severity: Severity = WARNING
    ) -> list[str]:
        self.episodes += 1
        alert = Alert(
            rule=name,
            host=host,
            instance=instance,
            episode=f"{self.episodes:06x}",
            severity=severity,
            metric=Metric("memory_usage", "percent"),
            comparator=Comparator.GT,
            told=(severity,),
        )
        return self._offer(alert, Phase.FIRING)

    def rise(self, name: str, host: str = "web1", instance: str | None = None) -> list[str]:
        alert = self.alerts[name, host, instance]
        risen = replace(alert, severity=CRITICAL, told=(*alert.told, CRITICAL))
        return self._offer(risen, Phase.ESCALATED, name="escalated-critical")

    def escalate(self, name: str, host: str = "web1", instance: str | None = None) -> list[str]:
        alert = self.alerts[name, host, instance]
        due = replace(alert, escalations=alert.escalations + 1)
        return self._offer(due, Phase.ESCALATED, name=f"escalated-{due.escalations}", escalation=alert.escalations)

    def repeat(self, name: str, host: str = "web1", instance: str | None = None) -> list[str]:
        alert = self.alerts[name, host, instance]
        again = replace(alert, repeats=alert.repeats + 1)
        return self._offer(again, Phase.REPEATED, name=f"repeated-{again.repeats}")

    def resolve(
        self, name: str, host: str = "web1", instance: str | None = None, phase: Phase = Phase.RESOLVED
    ) -> list[str]:
        alert = self.alerts[name, host, instance]
        del self.alerts[name, host, instance]
        return self._offer(alert, phase, is_over=True)

    def _offer(
        self, alert: Alert, phase: Phase, *, name: str = "", escalation: int | None = None, is_over: bool = False
    ) -> list[str]:
        if not is_over:
            self.alerts[alert.rule, alert.host, alert.instance] = alert
        effect = Effect(
            alert=alert, phase=phase, reason=Reason.CROSSED, at=self.now, name=name, escalation=escalation,
            labels={"team": "db"}, host_labels={"dc": "gru1"},
        )  # fmt: skip
        self.offered.append(effect)
        return self._told(self.gate.offer(effect, self.now))

    def silence(self, *silences: Silence) -> None:
        self.gate.silence(silences)

    def after(self, seconds: float) -> list[str]:
        """Lets time pass, and settles whenever the gate wants that."""
        until, lines = self.now + seconds, []
        while (due := self.gate.next_at()) is not None and due <= until:
            self.now = max(self.now, due)
            lines += self._told(self.gate.settle(self.now))
        self.now = until
        return lines

    def _told(self, decisions: list[Decision]) -> list[str]:
        self.decisions += decisions
        return [line(one) for one in decisions]


def line(decision: Decision) -> str:
    effect, alert = decision.effect, decision.effect.alert
    series = alert.host if alert.instance is None else f"{alert.host},{alert.instance}"
    severity = "" if alert.severity is WARNING else f" {alert.severity.value}"
    what = f"{effect.name or effect.phase.value} {alert.rule} {series}{severity}"
    return f"sent {what}" if decision.is_sent else f"{decision.why}: {what}"


def silenced(story: Story, seconds: float, **more: object) -> Silence:
    base = Silence(id="s1", starts_at=story.now, ends_at=story.now + seconds)
    return replace(base, **more)  # type: ignore[arg-type]


APP = rule("app", inhibited_by=("disk",))
DISK = rule("disk", "disk_usage.percent")
DOWN = rule("down", "host.alive")
FLEET = rule("fleet", across=Across(of=Of.HOSTS, stat=Total.COUNT))
MEMORY = rule("memory")
FLAPPY = rule("flappy", flap=Flap(changes=3, within=60))


# --- nothing in the way ---------------------------------------------------------------------------------------------


def test_what_nothing_withholds_goes_out_at_once() -> None:
    story = Story(MEMORY)
    assert story.fire("memory") == ["sent firing memory web1"]
    assert story.rise("memory") == ["sent escalated-critical memory web1 critical"]
    assert story.escalate("memory") == ["sent escalated-1 memory web1 critical"]
    assert story.repeat("memory") == ["sent repeated-1 memory web1 critical"]
    assert story.resolve("memory") == ["sent resolved memory web1 critical"]
    assert [one.effect for one in story.decisions] == story.offered
    assert story.gate.next_at() is None


def test_an_alert_of_a_rule_that_is_gone_is_closed_to_those_who_were_told() -> None:
    story = Story()
    assert story.fire("removed") == ["sent firing removed web1"]
    assert story.resolve("removed", phase=Phase.CLOSED) == ["sent closed removed web1"]


def test_a_gate_that_begins_in_mid_episode_goes_by_the_record() -> None:
    """Another engine told of the firing; this one tells of the end."""
    story = Story(MEMORY)
    story.fire("memory")
    story.gate = Gate([MEMORY], instance_kind=kind_of)
    assert story.resolve("memory") == ["sent resolved memory web1"]
    story.fire("memory")
    story.alerts["memory", "web1", None] = replace(story.alerts["memory", "web1", None], told=())
    story.gate = Gate([MEMORY], instance_kind=kind_of)
    assert story.resolve("memory") == ["never told: resolved memory web1"]


# --- inhibition -----------------------------------------------------------------------------------------------------


def test_an_effect_that_may_be_inhibited_waits_for_its_inhibitor() -> None:
    story = Story(APP, DISK)
    assert story.fire("app") == []
    assert story.after(WAIT / 2) == []
    story.fire("disk")
    assert story.after(WAIT) == ["inhibited by disk on web1: firing app web1"]


def test_an_effect_that_was_not_inhibited_goes_after_the_wait() -> None:
    story = Story(APP, DISK)
    story.fire("app")
    assert story.gate.next_at() == story.now + WAIT
    assert story.after(WAIT) == ["sent firing app web1"]
    assert story.resolve("app") == ["sent resolved app web1"]


def test_an_alert_that_is_over_within_the_wait_is_not_told() -> None:
    story = Story(APP, DISK)
    story.fire("app")
    story.after(WAIT / 2)
    assert story.resolve("app") == ["over before it was due: firing app web1", "never told: resolved app web1"]
    assert story.gate.next_at() is None


def test_once_the_inhibitor_ends_what_still_fires_goes_out_once() -> None:
    story = Story(APP, DISK)
    story.fire("disk")
    story.fire("app")
    assert story.after(60) == ["inhibited by disk on web1: firing app web1"]
    assert story.resolve("disk") == ["sent resolved disk web1"]
    assert story.after(60) == ["sent firing app web1"]
    assert story.resolve("app") == ["sent resolved app web1"]


def test_what_ends_with_its_inhibitor_is_not_told() -> None:
    """Both often end with the same sample, in either order."""
    story = Story(APP, DISK)
    story.fire("disk")
    story.fire("app")
    story.after(60)
    story.resolve("disk")
    story.after(WAIT / 2)
    assert story.resolve("app") == ["never told: resolved app web1"]
    assert story.after(60) == []


def test_an_alert_that_was_told_before_its_inhibitor_still_has_its_end_told() -> None:
    story = Story(APP, DISK)
    story.fire("app")
    story.after(10)
    story.fire("disk")
    story.repeat("app")
    assert story.after(10) == ["inhibited by disk on web1: repeated-1 app web1"]
    assert story.resolve("app") == ["sent resolved app web1"]


@pytest.mark.parametrize(
    ("inhibitor", "ours", "is_inhibited"),
    [
        pytest.param((DISK, "web1", "/"), ("web1", None), True, id="ours is the whole host"),
        pytest.param((DISK, "web2", "/"), ("web1", None), False, id="another host"),
        pytest.param((FLEET, MEMBERS_HOST, None), ("web1", None), True, id="over many hosts"),
        pytest.param((FLEET, MEMBERS_HOST, "gru1"), ("web1", "/"), True, id="over many hosts, by a label"),
        pytest.param((DISK, "web1", "/"), ("web1", "/"), True, id="the same instance"),
        pytest.param((DISK, "web1", "/var"), ("web1", "/"), False, id="another instance of the same kind"),
        pytest.param((DISK, "web1", None), ("web1", "/"), True, id="the inhibitor is the whole value"),
        pytest.param((rule("io", "disk_io.busy"), "web1", "sda"), ("web1", "/"), True, id="instances of another kind"),
    ],
)
def test_where_an_inhibitor_counts(
    inhibitor: tuple[Rule, str, str | None], ours: tuple[str, str | None], is_inhibited: bool
) -> None:
    other, host, instance = inhibitor
    mine = rule("mine", "memory_usage.percent" if ours[1] is None else "disk_usage.percent", inhibited_by=(other.name,))
    story = Story(mine, other)
    story.fire(other.name, host, instance)
    story.fire("mine", *ours)
    assert story.after(WAIT)[0].startswith("inhibited" if is_inhibited else "sent")


def test_an_alert_of_the_whole_value_is_inhibited_by_one_of_an_instance() -> None:
    """Both rules go by mounts, but one of the alerts has none."""
    story = Story(DISK, rule("mine", "disk_usage.total", inhibited_by=("disk",)))
    story.fire("disk", instance="/")
    story.fire("mine")
    assert story.after(WAIT) == ["inhibited by disk on web1: firing mine web1"]


def test_an_inhibitor_counts_until_the_last_of_its_instances_ends() -> None:
    story = Story(APP, DISK)
    story.fire("disk", instance="/")
    story.fire("disk", instance="/var")
    story.fire("app")
    story.after(10)
    story.resolve("disk", instance="/")
    assert story.after(10) == []
    story.resolve("disk", instance="/var")
    assert story.after(10) == ["sent firing app web1"]


def test_an_inhibitor_counts_though_it_is_silenced_itself() -> None:
    story = Story(APP, DISK)
    story.silence(silenced(story, 60, rule="disk"))
    story.fire("disk")
    story.fire("app")
    assert story.after(WAIT) == ["inhibited by disk on web1: firing app web1"]


def test_a_dead_host_keeps_its_other_rules_quiet_at_once() -> None:
    story = Story(DOWN, MEMORY, FLEET, rule("down-for-long", "host.alive"))
    assert story.fire("down") == ["sent firing down web1"]
    assert story.fire("memory") == ["inhibited by down on web1: firing memory web1"]
    assert story.fire("memory", "web2") == ["sent firing memory web2"]
    assert story.fire("fleet", MEMBERS_HOST) == ["sent firing fleet -"]
    assert story.fire("down-for-long", severity=CRITICAL) == ["sent firing down-for-long web1 critical"]
    story.resolve("down")
    assert story.after(10) == []
    story.resolve("down-for-long")
    assert story.after(10) == ["sent firing memory web1"]


def test_a_number_over_many_hosts_says_of_none_that_it_is_dead() -> None:
    alive = rule("few-alive", "host.alive", across=Across(of=Of.HOSTS, stat=Total.SUM))
    story = Story(alive, MEMORY)
    story.fire("few-alive", MEMBERS_HOST)
    assert story.fire("memory", MEMBERS_HOST) == ["sent firing memory -"]


# --- silences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matchers", "matches"),
    [
        ({}, True),
        ({"rule": "mem*", "host": "web?"}, True),
        ({"rule": "disk*"}, False),
        ({"host": "db*"}, False),
        ({"severities": frozenset({WARNING})}, True),
        ({"severities": frozenset({CRITICAL})}, False),
        ({"labels": {"team": "d?", "dc": "gru*"}}, True),
        ({"labels": {"team": "db", "dc": "ams*"}}, False),
        ({"labels": {"rack": "*"}}, False),
        ({"starts_at": 1001.0}, False),
        ({"ends_at": 1000.0}, False),
    ],
    ids=str,
)
def test_what_a_silence_matches(matchers: dict[str, object], matches: bool) -> None:
    story = Story(MEMORY)
    story.silence(silenced(story, 60, **matchers))
    assert story.fire("memory") == ["silenced by s1: firing memory web1" if matches else "sent firing memory web1"]


def test_when_a_silence_ends_what_still_fires_and_was_never_told_goes_out_once() -> None:
    story = Story(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory", "web1")
    story.fire("memory", "web2")
    story.resolve("memory", "web2")
    assert story.gate.next_at() == story.now + 60
    assert story.after(60) == ["sent firing memory web1"]
    assert story.decisions[-1].effect == story.offered[0]
    assert story.after(600) == []


def test_a_silence_that_is_taken_back_ends_at_once_and_a_longer_one_later() -> None:
    story = Story(MEMORY)
    first = silenced(story, 60)
    story.silence(first)
    story.fire("memory")
    story.silence(replace(first, ends_at=story.now + 600))
    assert story.after(599) == []
    story.silence()
    assert story.after(0) == ["sent firing memory web1"]


def test_an_end_is_told_through_a_silence_to_those_who_were_told() -> None:
    story = Story(MEMORY)
    story.fire("memory")
    story.silence(silenced(story, 60))
    assert story.repeat("memory") == ["silenced by s1: repeated-1 memory web1"]
    assert story.resolve("memory") == ["sent resolved memory web1"]


def test_a_reminder_that_was_withheld_is_not_made_up_for() -> None:
    story = Story(MEMORY)
    story.fire("memory")
    story.silence(silenced(story, 60))
    story.repeat("memory")
    assert story.after(120) == []


def test_the_firing_that_was_withheld_goes_out_with_the_highest_severity_so_far() -> None:
    story = Story(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory")
    assert story.rise("memory") == ["silenced by s1: escalated-critical memory web1 critical"]
    assert story.after(60) == ["sent firing memory web1 critical"]
    assert story.decisions[-1].effect.id == story.offered[0].id
    story.resolve("memory")
    assert story.decisions[-1].effect.alert.told == (CRITICAL,), "nobody heard of the warning"


def test_a_rise_that_was_withheld_goes_out_when_its_silence_ends() -> None:
    story = Story(MEMORY)
    story.fire("memory")
    story.silence(silenced(story, 60))
    story.rise("memory")
    assert story.after(60) == ["sent escalated-critical memory web1 critical"]


def test_a_rise_that_nothing_withholds_takes_the_place_of_the_firing() -> None:
    story = Story(MEMORY)
    story.silence(silenced(story, 60, severities=frozenset({WARNING})))
    story.fire("memory")
    assert story.rise("memory") == ["sent escalated-critical memory web1 critical"]
    assert story.after(120) == []
    assert story.resolve("memory") == ["sent resolved memory web1 critical"]


def test_whether_the_firing_may_go_is_judged_by_the_highest_severity_so_far() -> None:
    story = Story(MEMORY)
    story.silence(
        silenced(story, 60, severities=frozenset({WARNING})),
        silenced(story, 600, id="s2", severities=frozenset({CRITICAL})),
    )
    story.fire("memory")
    assert story.rise("memory") == ["silenced by s2: escalated-critical memory web1 critical"]
    assert story.after(599) == []
    assert story.after(1) == ["sent firing memory web1 critical"]


def test_an_escalation_that_was_withheld_goes_out_after_the_firing() -> None:
    story = Story(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory")
    story.escalate("memory")
    assert story.after(60) == ["sent firing memory web1", "sent escalated-1 memory web1"]


def test_an_escalation_that_was_withheld_to_the_end_hears_of_no_end() -> None:
    story = Story(MEMORY)
    story.fire("memory")
    story.silence(silenced(story, 60))
    story.escalate("memory")
    story.resolve("memory")
    assert story.decisions[-1].is_sent
    assert story.decisions[-1].effect.alert.escalations == 0


def test_the_last_reason_counts() -> None:
    story = Story(APP, DISK)
    story.silence(silenced(story, 60, rule="app"))
    story.fire("disk")
    story.fire("app")
    story.after(30)
    story.resolve("disk")
    assert story.after(29) == []
    assert story.after(1) == ["sent firing app web1"]


# --- flapping -------------------------------------------------------------------------------------------------------


def flap(story: Story) -> None:
    """Three changes in two seconds: the third says that it flaps."""
    assert story.fire("flappy") == ["sent firing flappy web1"]
    story.after(1)
    assert story.resolve("flappy") == ["sent resolved flappy web1"]
    story.after(1)
    assert story.fire("flappy") == ["sent firing flappy web1"]


def test_the_change_that_is_one_too_many_says_so_and_further_ones_are_held() -> None:
    story = Story(FLAPPY)
    flap(story)
    assert [one.note for one in story.decisions] == [
        "",
        "",
        "flapping: 3 changes in 1m; messages are held until it settles",
    ]
    assert story.repeat("flappy") == ["flapping: repeated-1 flappy web1"]
    assert story.resolve("flappy") == ["flapping: resolved flappy web1"]
    assert story.fire("flappy") == ["flapping: firing flappy web1"]
    assert story.fire("flappy", "web2") == ["sent firing flappy web2"], "each series by itself"


def test_it_settles_firing_as_was_told() -> None:
    story = Story(FLAPPY)
    flap(story)
    assert story.after(600) == []
    assert story.resolve("flappy") == ["sent resolved flappy web1"]
    assert story.decisions[-1].note == ""


def test_it_settles_firing_anew() -> None:
    story = Story(FLAPPY)
    flap(story)
    story.resolve("flappy")
    story.fire("flappy")
    assert story.after(57) == []
    assert story.after(10) == ["sent firing flappy web1"]
    assert story.decisions[-1].effect == story.offered[-1]
    assert story.resolve("flappy") == ["sent resolved flappy web1"]
    story.silence(silenced(story, 60))
    story.fire("flappy")
    assert story.resolve("flappy") == ["never told: resolved flappy web1"], "what was held then is forgotten"


def test_it_settles_resolved_after_a_firing_was_told() -> None:
    story = Story(FLAPPY)
    flap(story)
    story.resolve("flappy")
    told = story.offered[-1]
    story.fire("flappy")
    assert story.resolve("flappy") == ["never told: resolved flappy web1"]
    assert story.after(600) == ["sent resolved flappy web1"]
    assert story.decisions[-1].effect == told, "the end of the episode that was told"
    assert story.gate.next_at() is None


def test_it_settles_resolved_as_was_told() -> None:
    story = Story(rule("flappy", flap=Flap(changes=2, within=60)))
    story.fire("flappy")
    assert story.resolve("flappy") == ["sent resolved flappy web1"]
    story.fire("flappy")
    story.resolve("flappy")
    assert story.after(600) == []


def test_what_was_owed_is_told_when_the_firing_that_kept_it_back_ends_unheard() -> None:
    story = Story(FLAPPY)
    flap(story)
    story.resolve("flappy")
    story.fire("flappy")
    story.silence(silenced(story, 3600))
    assert story.after(600) == []
    assert story.resolve("flappy") == ["never told: resolved flappy web1", "sent resolved flappy web1"]


def test_changes_that_lie_far_enough_apart_are_no_flapping() -> None:
    story = Story(FLAPPY)
    for _ in range(5):
        assert story.fire("flappy") == ["sent firing flappy web1"]
        story.after(30)
        assert story.resolve("flappy") == ["sent resolved flappy web1"]
        story.after(30)


def test_the_one_that_says_so_may_be_a_later_one() -> None:
    """Nobody heard of the change that reached the limit, so nobody knows yet that messages are held."""
    story = Story(FLAPPY)
    story.silence(silenced(story, 10))
    story.fire("flappy")
    story.resolve("flappy")
    story.fire("flappy")
    assert story.after(10) == ["sent firing flappy web1"]
    assert story.decisions[-1].note.startswith("flapping: 3 changes in 1m")
    assert story.resolve("flappy") == ["flapping: resolved flappy web1"]


def test_a_closed_alert_is_told_though_it_flaps() -> None:
    story = Story(FLAPPY)
    flap(story)
    assert story.resolve("flappy", phase=Phase.CLOSED) == ["sent closed flappy web1"]
    assert story.decisions[-1].note == "", "said once is enough"


def test_what_is_overdue_goes_before_what_comes_next() -> None:
    story = Story(FLAPPY)
    flap(story)
    story.resolve("flappy")
    story.fire("flappy")
    story.now += 600
    assert story.resolve("flappy") == ["sent firing flappy web1", "sent resolved flappy web1"]


# --- whatever happens -----------------------------------------------------------------------------------------------

RULES = (
    rule("app", inhibited_by=("disk", "fleet")),
    rule("disk", "disk_usage.percent", flap=Flap(changes=3, within=20)),
    rule("both", "disk_usage.free", inhibited_by=("disk",), flap=Flap(changes=4, within=30)),
    DOWN,
    FLEET,
)
SERIES = [
    ("app", "web1", None),
    ("disk", "web1", "/"),
    ("disk", "web1", "/var"),
    ("both", "web1", "/"),
    ("both", "web2", "/"),
    ("down", "web1", None),
    ("fleet", MEMBERS_HOST, None),
]


class Turn(NamedTuple):
    series: tuple[str, str, str | None]
    verb: str
    seconds: float


TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(SERIES),
        st.sampled_from(["fire", "end", "fire", "end", "rise", "escalate", "repeat", "silence", "unsilence"]),
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 4.0, 25.0]),
    ),
    max_size=40,
)


def play(story: Story, turns: list[Turn]) -> None:
    for (name, host, instance), verb, seconds in turns:
        alert = story.alerts.get((name, host, instance))
        if verb == "silence":
            story.silence(silenced(story, 7, rule=name, host=host))
        elif verb == "unsilence":
            story.silence()
        elif alert is None:
            story.fire(name, host, instance)
        elif verb == "end":
            story.resolve(name, host, instance)
        elif verb == "rise" and CRITICAL not in alert.told:
            story.rise(name, host, instance)
        elif verb == "escalate":
            story.escalate(name, host, instance)
        elif verb == "repeat":
            story.repeat(name, host, instance)
        story.after(seconds)


@given(TURNS)
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_doubled_or_ended_untold(turns: list[Turn]) -> None:
    story = Story(*RULES)
    play(story, turns)
    # Time passes and the inhibitors end: then nothing is withheld any more.
    story.silence()
    for series in [series for series in story.alerts if series[0] in ("disk", "down", "fleet")]:
        story.resolve(*series)
    story.after(120)
    sent = [one.effect for one in story.decisions if one.is_sent]

    assert max(Counter(effect.id for effect in sent).values(), default=0) <= 1, "sent twice"
    assert {effect.id for effect in story.offered} == {one.effect.id for one in story.decisions}, "left undecided"
    told: set[str] = set()
    for effect in sent:
        if effect.phase in (Phase.RESOLVED, Phase.CLOSED):
            assert effect.alert.episode in told, "an end that nobody heard the begin of"
        told.add(effect.alert.episode)
    for alert in story.alerts.values():
        assert alert.episode in told, "fires, withheld by nothing, untold"
    assert all(one.is_sent != bool(one.why) for one in story.decisions)

    # Of each series, the last that people heard is true.
    last = {(effect.alert.rule, effect.alert.host, effect.alert.instance): effect for effect in sent}
    for series, effect in last.items():
        assert (effect.phase not in (Phase.RESOLVED, Phase.CLOSED)) == (series in story.alerts)

    for series in list(story.alerts):
        story.resolve(*series)
    story.after(120)
    assert story.gate.next_at() is None, "something still waits"
    assert not story.gate._series, "something is still remembered"


@given(TURNS)
@settings(max_examples=100, deadline=None)
def test_what_fires_untold_has_a_reason(turns: list[Turn]) -> None:
    """At any moment, once the wait is over: by a second, slower look at what fires and what is silenced."""
    story = Story(*RULES)
    play(story, turns)
    story.after(WAIT)
    story.silence()
    story.after(0)
    told = {one.effect.alert.episode for one in story.decisions if one.is_sent}
    firing = {series[:2] for series in story.alerts}
    for (name, host, instance), alert in story.alerts.items():
        changes = [
            one for one in story.offered
            if (one.alert.rule, one.alert.host, one.alert.instance) == (name, host, instance)
            and one.phase in (Phase.FIRING, Phase.RESOLVED)
        ]  # fmt: skip
        spans = {"disk": (3, 20.0), "both": (4, 30.0)}
        many, within = spans.get(name, (1, 0.0))
        is_inhibited = (
            (name != "down" and ("down", host) in firing)
            or (name == "app" and bool({("disk", host), ("fleet", MEMBERS_HOST)} & firing))
            or (name == "both" and ("disk", host, instance) in story.alerts)
        )
        is_flapping = sum(one.at + within > story.now for one in changes) >= many
        assert alert.episode in told or is_inhibited or is_flapping
