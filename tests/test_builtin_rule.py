"""The rule `host-down`: there without being written, as if it were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from zkalert import rulefile
from zkalert.model import Channel, Finding, HostDown, Notify, Rule, Severity
from zkalert.rulefile import HOST_DOWN, RULES_SKEW, host_down_rule, with_builtin


def parsed(text: str, **more: object) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    return rulefile.parse(text, "rules.yaml", **more)  # type: ignore[arg-type]


OWN = "rules: [{name: host-down, metric: host.alive, comparator: '==', threshold: 0, enabled: false}]"
MEMORY = "{name: memory-high, metric: memory_usage, comparator: '>', threshold: 90, %s}"


def test_it_is_what_a_rule_file_would_make() -> None:
    built = host_down_rule(HostDown(after=120.0, severity=Severity.WARNING, actions=(Notify(channel="ops"),)))
    texts = f"summary: {json.dumps(built.summary)}, description: {json.dumps(built.description)}"
    [written], found = parsed(
        "rules: [{name: host-down, metric: host.alive, comparator: '==', threshold: 0, duration: 2m, "
        f"severity: warning, action: ops, {texts}}}]"
    )
    assert found == ()
    assert replace(written, source=built.source) == built


def test_it_comes_behind_the_others_unless_it_is_off() -> None:
    rules, _ = parsed("rules: [" + MEMORY % "severity: info" + "]")
    assert [rule.name for rule in with_builtin(rules, HostDown())] == ["memory-high", HOST_DOWN, RULES_SKEW]
    assert [rule.name for rule in with_builtin(rules, None)] == ["memory-high", RULES_SKEW]


def test_a_rule_of_one_s_own_takes_its_place_though_it_be_off() -> None:
    rules, found = parsed(OWN)
    assert found == ()
    assert [rule.name for rule in with_builtin(rules, HostDown())] == [HOST_DOWN, RULES_SKEW]


def test_rules_may_be_inhibited_by_it() -> None:
    rules, found = parsed("rules: [" + MEMORY % "inhibited_by: host-down" + "]")
    assert (rules[0].inhibited_by, found) == ((HOST_DOWN,), ())
    _, [finding] = parsed("rules: [" + MEMORY % "inhibited_by: host-dwn" + "]")
    assert (finding.code, finding.hint) == ("unknown-rule", "did you mean host-down?")


# What channels want of rules ----------------------------------------------------------------------------------------

CHANNELS = {
    "ops": Channel(name="ops", urls=("json://h",), min_severity=Severity.WARNING),
    "pager": Channel(name="pager", urls=("json://i",), min_severity=Severity.CRITICAL),
}
LADDER = "{name: m, metric: memory_usage, comparator: '>', levels: [%s], %s}"


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        (
            MEMORY % "severity: info",
            "mute-rule",
            "no channel hears of this rule: it is info at most, and they want warning",
        ),
        (
            MEMORY % "severity: info, action: ops",
            "mute-channel",
            "the channel ops hears nothing of this: info is below",
        ),
        (MEMORY % "action: [ops, pager]", "mute-channel", "the channel pager hears nothing of this: warning is below"),
        (MEMORY % "action: {notify: pager, at: firing}", "mute-channel", "the channel pager"),
        (
            LADDER
            % ("{severity: warning, threshold: 80, action: pager}, {severity: critical, threshold: 90}", "action: ops"),
            "mute-channel",
            "the channel pager hears nothing of this: warning",
        ),
    ],
)
def test_a_channel_that_makes_a_rule_mute_is_advice(rule: str, code: str, said: str) -> None:
    rules, [finding] = parsed(f"rules: [{rule}]", channels=CHANNELS)
    assert len(rules) == 1
    assert finding.code == code
    assert said in finding.message


@pytest.mark.parametrize(
    "rule",
    [
        MEMORY % "severity: warning",
        MEMORY % "severity: critical, action: [ops, pager]",
        MEMORY % "severity: info, action: json://h",
        MEMORY % "severity: info, action: {run: [restart]}",
        MEMORY % "action: pager, overrides: [{hosts: db*, severity: critical}]",
        LADDER % ("{severity: info, threshold: 80}, {severity: critical, threshold: 90}", "action: pager"),
    ],
)
def test_a_channel_that_hears_of_some_of_a_rule_is_no_advice(rule: str) -> None:
    assert parsed(f"rules: [{rule}]", channels=CHANNELS)[1] == ()
    assert parsed(f"rules: [{MEMORY % 'severity: info'}]", channels=frozenset(CHANNELS))[1] == ()
