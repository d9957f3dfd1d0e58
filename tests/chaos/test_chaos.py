"""A tenth of the chaos run, and the judge on trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.running import Plan, Run
from tests.chaos.txnlog import Written
from tests.chaos.verdict import Got, Stay, calm, judge, unseen

FIRING, RESOLVED = "0123456789abcdef.firing", "0123456789abcdef.resolved"


def got(*effects: str, channel: str = "ops", is_repeat: bool = False, answer: str = "ok") -> Got:
    return Got(channel, effects, is_repeat, answer)


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_every_repeat_says_so_while_engines_and_servers_die(tmp_path: Path) -> None:
    run = Run(Plan(transitions=200, kills=2, restarts=1, seconds=15, seed=1), tmp_path)
    verdict = run()
    assert verdict.problems == ()
    assert run.kills == 2
    assert verdict.told > 100
    assert run.long_stays(), "some stood long enough to be seen for certain"


@pytest.mark.parametrize(
    ("came", "problem"),
    [
        ([got(FIRING), got(RESOLVED)], ""),
        ([got(FIRING, RESOLVED)], ""),
        ([got(FIRING, answer="refused"), got(FIRING), got(RESOLVED)], ""),
        ([got(FIRING, answer="hung"), got(FIRING, is_repeat=True), got(RESOLVED)], ""),
        ([got(FIRING)], f"{RESOLVED} is lost"),
        ([got(FIRING, answer="refused"), got(RESOLVED)], f"{FIRING} is lost"),
        ([got(RESOLVED), got(FIRING)], "before its firing"),
        ([got(FIRING), got(FIRING), got(RESOLVED)], "does not say that it may be a repeat"),
        ([got(FIRING), *[got(FIRING, is_repeat=True)] * 2, got(RESOLVED)], "2 repeats, at most 1"),
        ([got(FIRING), got(RESOLVED), got("ffffffffffffffff.firing")], "told and never written"),
    ],
)
def test_what_the_judge_finds(came: list[Got], problem: str) -> None:
    problems = judge({FIRING, RESOLVED}, came, (), ("ops",), 1).problems
    assert any(problem in one for one in problems) if problem else problems == ()


def test_what_was_not_to_be_told_is_not_lost() -> None:
    dropped = [("ops", FIRING), ("ops", RESOLVED)]
    assert judge({FIRING, RESOLVED}, [], dropped, ("ops",), 0).problems == ()


def test_what_stands_or_was_told_is_not_to_be_dropped() -> None:
    assert judge({FIRING}, [], [("ops", FIRING)], ("ops",), 0).problems == (
        f"ops: {FIRING} was dropped though its alert stands",
    )
    assert judge({FIRING, RESOLVED}, [got(FIRING)], [("ops", RESOLVED)], ("ops",), 0).problems == (
        f"ops: {RESOLVED} was dropped though its firing was told",
    )


def test_a_stay_without_an_alert_is_found() -> None:
    written = {FIRING: Written("db1", "/", 100.0), RESOLVED: Written("db1", "/", 110.0)}
    assert unseen(written, [Stay("db1", "/", 99.9, 109.9), Stay("db1", "/", 105.0, 130.0)]) == []
    for stay in (Stay("db1", "/", 120.0, 130.0), Stay("db1", "/var", 99.9, 109.9), Stay("db1", "/", 80.0, 99.0)):
        assert len(unseen(written, [stay])) == 1


def test_a_stay_is_as_calm_as_its_longest_time_without_trouble() -> None:
    stay = Stay("db1", "/", 100.0, 120.0)
    assert calm(stay, []) == 20
    assert calm(stay, [(105.0, 106.0)]) == 14
    assert calm(stay, [(130.0, 140.0), (103.0, 112.0), (90.0, 101.0)]) == 8
    assert calm(stay, [(90.0, 130.0)]) <= 0
