"""A gate that begins where another one ended: with the alerts that fire, and the effects that were kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_gate import APP, DISK, DOWN, MEMORY, RULES, SERIES, Story, Turn, kind_of, play, silenced
from zkalert.model import Alert, Effect, Flap, Phase, Rule, State
from zkalert.routing import Decision, Gate
from zkalert.routing.episodes import key_of
from zkalert.routing.gate import WAIT

_ENDS = (Phase.RESOLVED, Phase.CLOSED)
DISK_FLAPS = replace(DISK, flap=Flap(changes=3, within=20))


class Kept(Story):
    """A story with a ledger beside it, as the engine keeps one: what waits or is withheld, and may go later."""

    def __init__(self, *rules: Rule) -> None:
        super().__init__(*rules)
        self.rules = rules
        self.ledger: dict[str, Effect] = {}

    def _offer(
        self, alert: Alert, phase: Phase, *, name: str = "", escalation: int | None = None, is_over: bool = False
    ) -> list[str]:
        lines = super()._offer(alert, phase, name=name, escalation=escalation, is_over=is_over)
        effect = self.offered[-1]
        decision = next((one for one in self.decisions if one.effect.id == effect.id), None)
        if decision is None or (decision.is_kept and not decision.is_sent):
            self.ledger[effect.id] = effect
        self._settle_ledger([])
        return lines

    def _told(self, decisions: list[Decision]) -> list[str]:
        self._settle_ledger(decisions)
        return super()._told(decisions)

    def _settle_ledger(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if decision.is_sent or not decision.is_kept:
                self.ledger.pop(decision.effect.id, None)
        for effect, _ in self.gate.take_dropped():
            self.ledger.pop(effect.id, None)

    def take_over(self, *, is_new: bool) -> list[str]:
        """Another gate goes on, or (`is_new` false) this one begins anew from what was written."""
        silences = self.gate._silences
        if is_new:
            self.gate = Gate(self.rules, instance_kind=kind_of)
            self.gate.silence(silences)
        alerts = [replace(alert, state=State.FIRING) for alert in self.alerts.values()]
        return self._told(self.gate.seed(alerts, list(self.ledger.values()), self.now))


def flaps(story: Story) -> None:
    """The end of its second alert is held, for it flaps."""
    for _ in range(2):
        story.fire("disk", instance="/")
        story.resolve("disk", instance="/")


def test_what_was_kept_goes_out_once_nothing_withholds_it_any_more() -> None:
    story = Kept(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory")
    assert story.take_over(is_new=True) == []
    assert story.after(59) == []
    assert story.after(1) == ["sent firing memory web1"]
    assert story.ledger == {}


def test_an_end_is_not_told_of_what_was_kept_to_the_last() -> None:
    story = Kept(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory")
    story.take_over(is_new=True)
    assert story.resolve("memory") == ["never told: resolved memory web1"]
    assert story.ledger == {}


def test_what_was_told_before_has_its_end_told() -> None:
    story = Kept(MEMORY)
    story.fire("memory")
    story.take_over(is_new=True)
    assert story.resolve("memory") == ["sent resolved memory web1"]


def test_all_inhibitors_are_known_before_anything_that_they_keep_quiet_is_judged() -> None:
    story = Kept(APP, DISK, DOWN)
    story.fire("disk", instance="/")
    story.fire("app")
    story.after(WAIT)
    story.fire("down")
    story.take_over(is_new=True)
    assert story.after(WAIT) == []
    story.resolve("down")
    assert story.after(WAIT) == []
    story.resolve("disk", instance="/")
    assert story.after(WAIT) == ["sent firing app web1"]


def test_an_effect_in_its_wait_waits_anew() -> None:
    story = Kept(APP, DISK)
    story.fire("app")
    assert story.take_over(is_new=True) == []
    assert story.after(WAIT) == ["sent firing app web1"]


def test_the_highest_severity_that_was_kept_goes_out_as_one() -> None:
    story = Kept(MEMORY)
    story.silence(silenced(story, 60))
    story.fire("memory")
    story.rise("memory")
    assert list(story.ledger) == ["000001.firing", "000001.escalated-critical"]
    story.take_over(is_new=True)
    story.silence()
    assert story.after(0) == ["sent firing memory web1 critical"]
    assert story.ledger == {}


def test_other_rules_leave_what_is_kept() -> None:
    story = Kept(APP, DISK)
    story.fire("disk", instance="/")
    story.fire("app")
    story.after(WAIT)
    story.gate.set_rules((replace(APP, inhibited_by=()), DISK))
    story.rules = (replace(APP, inhibited_by=()), DISK)
    assert story.take_over(is_new=False) == []
    assert story.after(0) == ["sent firing app web1"]


def test_an_end_that_was_owed_takes_nothing_from_what_fires_now() -> None:
    story = Kept(DISK_FLAPS, DOWN)
    flaps(story)
    story.fire("down")
    story.fire("disk", instance="/")
    story.after(25)
    assert list(story.ledger) == ["000002.resolved", "000004.firing"]
    assert story.take_over(is_new=False) == ["sent resolved disk web1,/"]
    assert list(story.ledger) == ["000004.firing"]
    story.resolve("down")
    assert story.after(WAIT) == ["sent firing disk web1,/"]


def test_what_flapping_held_goes_out_once_its_rule_knows_no_flapping_any_more() -> None:
    story = Kept(DISK_FLAPS)
    flaps(story)
    assert story.fire("disk", instance="/") == ["flapping: firing disk web1,/"]
    story.rules = (replace(DISK_FLAPS, flap=None),)
    story.gate.set_rules(story.rules)
    assert story.take_over(is_new=False) == ["sent resolved disk web1,/"]
    assert story.after(0) == ["sent firing disk web1,/"]
    assert story.ledger == {}


@given(st.lists(st.tuples(st.lists(st.builds(
    Turn,
    st.sampled_from(SERIES),
    st.sampled_from(["fire", "end", "fire", "end", "rise", "escalate", "repeat", "silence", "unsilence"]),
    st.sampled_from([0.0, 0.0, 0.5, 1.0, 4.0, 25.0]),
), max_size=12), st.booleans()), max_size=5))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_or_doubled_over_takeovers(parts: list[tuple[list[Turn], bool]]) -> None:
    story = Kept(*RULES)
    for turns, is_new in parts:
        play(story, turns)
        story.take_over(is_new=is_new)
    story.silence()
    for series in [series for series in story.alerts if series[0] in ("disk", "down", "fleet")]:
        story.resolve(*series)
    story.after(120)
    sent = [one.effect for one in story.decisions if one.is_sent]

    assert max(Counter(effect.id for effect in sent).values(), default=0) <= 1, "sent twice"
    told: set[str] = set()
    for effect in sent:
        if effect.phase in _ENDS:
            assert effect.alert.episode in told, "an end that nobody heard the begin of"
        told.add(effect.alert.episode)
    for alert in story.alerts.values():
        assert alert.episode in told, "fires, withheld by nothing, untold"
    for series in list(story.alerts):
        story.resolve(*series)
    story.after(120)
    ended = {effect.alert.episode for effect in (one.effect for one in story.decisions if one.is_sent)
             if effect.phase in _ENDS}  # fmt: skip
    last = {key_of(effect.alert): effect.alert.episode for effect in sent}
    superseded = {effect.alert.episode for effect in sent if last[key_of(effect.alert)] != effect.alert.episode}
    assert told - superseded <= ended, "told, and its end is not, nor anything of its series after it"
    assert story.ledger == {}, "something is kept for ever"
