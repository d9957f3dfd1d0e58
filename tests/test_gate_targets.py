"""What a gate makes of levels that go to different targets, and of commands that a brake held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.test_gate import CRITICAL, MEMORY, WARNING, Story, kind_of, silenced
from tests.test_gate_takeover import Kept
from zkalert.model import Alert, Channel, Effect, Metric, Phase, Reason, Rule
from zkalert.model import Comparator as Is
from zkalert.routing import Gate, channel_targets, end_targets
from zkalert.routing.episodes import for_everybody


def level(name: str, *heard: str) -> Effect:
    """One of the levels of one episode; these targets hear of its end because of it."""
    phase = Phase.ESCALATED if name else Phase.FIRING
    severity = CRITICAL if "critical" in name else WARNING
    metric = Metric("memory_usage", "percent")
    alert = Alert(
        rule="memory", host="web1", episode="e1", severity=severity, metric=metric, comparator=Is.GT, heard=heard
    )
    return Effect(alert=alert, phase=phase, reason=Reason.CROSSED, at=0.0, name=name)


FIRING, WORSE = "", "escalated-critical"


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("ab", "ab", [FIRING]),
        ("ab", "a", [FIRING]),
        ("a", "ab", [WORSE]),
        ("a", "b", [FIRING, WORSE]),
        ("ac", "ab", [FIRING, WORSE]),
        ("", "", [FIRING]),
    ],
)
def test_of_levels_that_were_withheld_as_few_go_as_reach_everybody(first: str, last: str, expected: list[str]) -> None:
    levels = [level(FIRING, *first), level(WORSE, *last)]
    chosen = for_everybody(levels, lambda effect: frozenset(first if effect.name == FIRING else last))
    assert [one.name for one in chosen] == expected
    assert all(one.alert.severity is CRITICAL for one in chosen), "as bad as it is by now"
    assert all(set(one.alert.heard) == {*first, *last} for one in chosen)


def test_a_rise_goes_beside_its_firing_where_that_does_not_reach_its_targets() -> None:
    story = Story(MEMORY)
    reaches = {"000001.firing": frozenset({"chat"}), "000001.escalated-critical": frozenset({"pager"})}
    story.gate = Gate((MEMORY,), instance_kind=kind_of, reaches=lambda effect: reaches[effect.id])
    story.silence(silenced(story, 60))
    story.fire("memory")
    story.rise("memory")
    assert story.after(60) == ["sent firing memory web1 critical", "sent escalated-critical memory web1 critical"]
    assert story.gate.take_dropped() == []


class Braked(Kept):
    """A story in which brakes hold commands."""

    def brake(self, name: str = "memory") -> list[str]:
        alert = self.alerts[name, "web1", None]
        held = Effect(
            alert=alert, phase=Phase.ESCALATED, reason=Reason.BRAKED, at=self.now, name="braked-firing", note="held"
        )
        decisions = self.gate.offer(held, self.now)
        self.ledger |= {one.effect.id: one.effect for one in decisions if one.is_kept and not one.is_sent}
        return self._told(decisions)


def braked_while_silenced(rule: Rule) -> Braked:
    """The firing was told; its command was held under a silence."""
    story = Braked(rule)
    story.fire("memory")
    story.silence(silenced(story, 60))
    story.brake()
    return story


def test_that_a_command_was_held_waits_for_the_end_of_a_silence() -> None:
    story = braked_while_silenced(MEMORY)
    assert story.after(60) == ["sent braked-firing memory web1"]


def test_that_a_command_was_held_makes_no_rise_old_news() -> None:
    story = braked_while_silenced(MEMORY)
    story.rise("memory")
    assert story.after(60) == ["sent escalated-critical memory web1 critical", "sent braked-firing memory web1"]


def test_whoever_heard_of_the_firing_hears_its_end_though_what_a_brake_held_was_kept_over_a_takeover() -> None:
    story = braked_while_silenced(MEMORY)
    story.take_over(is_new=True)
    assert story.resolve("memory") == ["sent resolved memory web1"]


def test_a_level_that_was_reached_anew_and_kept_over_a_takeover_hides_no_end() -> None:
    story = Kept(MEMORY)
    story.fire("memory", severity=CRITICAL)
    story.silence(silenced(story, 60))
    again = replace(story.alerts["memory", "web1", None], rises=1)
    story._offer(again, Phase.ESCALATED, name="escalated-critical-2")
    story.take_over(is_new=True)
    assert story.resolve("memory") == ["sent resolved memory web1 critical"]


# Ends -----------------------------------------------------------------------------------------------------------------


def reached(**channels: str) -> dict[str, object]:
    targets = (one for name, url in channels.items() for one in channel_targets(Channel(name=name, urls=(url,))))
    return {target.id: target for target in targets}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"ops": "json://a/x", "chat": "json://a/y"}, ["ops"]),
        ({"team": "json://a/x", "chat": "json://a/y"}, ["team"]),
        ({"one": "json://a/x", "two": "json://a/x"}, ["one"]),
        ({"ops": "json://a/z", "chat": "json://a/y"}, ["ops"]),
        ({"ops": "json://a/z", "chat": "json://a/x"}, ["chat"]),
        ({"chat": "json://a/y"}, []),
    ],
    ids=["as it was", "renamed", "renamed twice", "another URL", "another channel has it", "gone"],
)
def test_who_hears_an_end_in_place_of_a_target_that_is_gone(now: dict[str, str], expected: list[str]) -> None:
    (id_,) = reached(ops="json://a/x")
    end = replace(level(FIRING, id_), phase=Phase.RESOLVED)
    found, problems = end_targets(MEMORY, end, reached(**now))  # type: ignore[arg-type]
    assert [target.name for target in found] == expected
    assert bool(problems) is not bool(expected)
