"""One value against one threshold, and against the value that clears it."""

from __future__ import annotations

import pytest

from zkalert.evaluate.compare import judge_of
from zkalert.model import Comparator, Outcome, Threshold, Value

TRUE, BETWEEN, FALSE = Outcome.TRUE, Outcome.BETWEEN, Outcome.FALSE


@pytest.mark.parametrize(
    ("comparator", "threshold", "outcomes"),
    [
        pytest.param(">", 90, {89.9: FALSE, 90: FALSE, 90.1: TRUE}, id=">"),
        pytest.param(">=", 90, {89.9: FALSE, 90: TRUE, 90.1: TRUE}, id=">="),
        pytest.param("<", 90, {89.9: TRUE, 90: FALSE, 90.1: FALSE}, id="<"),
        pytest.param("<=", 90, {89.9: TRUE, 90: TRUE, 90.1: FALSE}, id="<="),
        pytest.param("==", 90, {89.9: FALSE, 90: TRUE, 90.1: FALSE}, id="=="),
        pytest.param("!=", 90, {89.9: TRUE, 90: FALSE, 90.1: TRUE}, id="!="),
        pytest.param("between", (10, 20), {9.9: FALSE, 10: TRUE, 15: TRUE, 20: TRUE, 20.1: FALSE}, id="between"),
        pytest.param("outside", (10, 20), {9.9: TRUE, 10: FALSE, 15: FALSE, 20: FALSE, 20.1: TRUE}, id="outside"),
        pytest.param("==", "ok", {"ok": TRUE, "OK": FALSE, "ok ": FALSE}, id="== of a text"),
        pytest.param("!=", "ok", {"ok": FALSE, "failed": TRUE}, id="!= of a text"),
        pytest.param(
            "matches",
            "5\\.1[05].*|6.*",
            {"5.10.3": TRUE, "6": TRUE, "5.11": FALSE, "v6": FALSE},
            id="whole texts match",
        ),
        pytest.param("not_matches", "5\\..*", {"5.10": FALSE, "15.10": TRUE, "": TRUE}, id="not_matches"),
        pytest.param("absent", None, {1: TRUE, 0: FALSE}, id="absent, of a number that is 1 where it is"),
        pytest.param("changed", None, {1: TRUE, 0: FALSE}, id="changed, of a number that is 1 where it did"),
    ],
)
def test_each_comparator_holds_a_value_against_its_threshold(
    comparator: str, threshold: Threshold, outcomes: dict[Value, Outcome]
) -> None:
    judge = judge_of(Comparator(comparator), threshold)
    assert {value: judge(value) for value in outcomes} == outcomes


@pytest.mark.parametrize(
    ("comparator", "threshold", "clear", "outcomes"),
    [
        pytest.param(">", 90, 80, {90.1: TRUE, 90: BETWEEN, 80.1: BETWEEN, 80: FALSE, 70: FALSE}, id=">"),
        pytest.param(">=", 90, 80, {90: TRUE, 89.9: BETWEEN, 80.1: BETWEEN, 80: FALSE}, id=">="),
        pytest.param("<", 10, 20, {9.9: TRUE, 10: BETWEEN, 19.9: BETWEEN, 20: FALSE, 30: FALSE}, id="<"),
        pytest.param("<=", 10, 20, {10: TRUE, 10.1: BETWEEN, 19.9: BETWEEN, 20: FALSE}, id="<="),
        pytest.param(">", 90, 90, {90.1: TRUE, 90: FALSE}, id="> that clears at its threshold"),
        pytest.param(
            "between",
            (10, 20),
            (5, 25),
            {10: TRUE, 20: TRUE, 9: BETWEEN, 24: BETWEEN, 5: FALSE, 25: FALSE, 0: FALSE, 30: FALSE},
            id="between",
        ),
        pytest.param(
            "outside",
            (10, 20),
            (12, 18),
            {9: TRUE, 21: TRUE, 10: BETWEEN, 11.9: BETWEEN, 18.1: BETWEEN, 12: FALSE, 18: FALSE, 15: FALSE},
            id="outside",
        ),
    ],
)
def test_a_comparison_clears_at_the_clear_value_and_is_between_before_it(
    comparator: str, threshold: Threshold, clear: Threshold, outcomes: dict[Value, Outcome]
) -> None:
    judge = judge_of(Comparator(comparator), threshold, clear)
    assert {value: judge(value) for value in outcomes} == outcomes


@pytest.mark.parametrize(
    ("comparator", "threshold", "clear"),
    [
        (">", "much", None),
        (">", None, None),
        (">", 90, (80, 85)),
        ("between", 90, None),
        ("between", (10, 20), 5),
        ("matches", 90, None),
        ("absent", 1, None),
        ("==", None, None),
        ("==", (10, 20), None),
    ],
)
def test_a_threshold_that_a_comparator_cannot_have_is_refused(
    comparator: str, threshold: Threshold, clear: Threshold
) -> None:
    with pytest.raises(TypeError, match="cannot be"):
        judge_of(Comparator(comparator), threshold, clear)


@pytest.mark.parametrize("comparator", list(Comparator), ids=lambda comparator: comparator.value)
def test_every_comparator_has_a_judge(comparator: Comparator) -> None:
    thresholds: list[Threshold] = [1.0, (1.0, 2.0), "a", None]
    fitting = 0
    for threshold in thresholds:
        try:
            judge = judge_of(comparator, threshold)
        except TypeError:
            continue
        fitting += 1
        value: Value = "a" if isinstance(threshold, str) else 1
        assert judge(value) in (TRUE, FALSE)
    assert fitting
