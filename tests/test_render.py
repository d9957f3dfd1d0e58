"""What a message says, that it always says something, and that no text of a user's can make it cost much."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert.metrics import FAMILIES
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Hold,
    MessageKind,
    Metric,
    Phase,
    Reason,
    Severity,
    State,
)
from zkalert.render import MAX_BODY, MAX_TITLE, render, template_problem

SINCE = 1_763_900_000.0  # 2025-11-23T12:13:20Z
ALERT = Alert(
    rule="memory-high",
    host="web1",
    state=State.FIRING,
    episode="3fa4b2c1d0e9",
    severity=Severity.CRITICAL,
    metric=Metric("memory_usage", "percent"),
    comparator=Comparator.GT,
    threshold=90.0,
    value=93.42,
    peak=95.1,
    since=SINCE,
)
FIRING = Effect(alert=ALERT, phase=Phase.FIRING, reason=Reason.HELD, at=SINCE + 120)
RESOLVED = Effect(alert=replace(ALERT, value=71.2), phase=Phase.RESOLVED, reason=Reason.CLEARED, at=SINCE + 305)
DISK = replace(
    ALERT,
    rule="disk-low",
    instance="/var",
    metric=Metric("disk_usage", "free"),
    comparator=Comparator.LT,
    threshold=float(2**31),
    value=float(2**31 - 2**20),
    peak=float(2**30),
)


@pytest.mark.parametrize(
    ("effect", "title"),
    [
        pytest.param(FIRING, "[critical] memory-high on web1: memory_usage.percent is 93.42% (> 90%)", id="firing"),
        pytest.param(
            RESOLVED,
            "[resolved] memory-high on web1: memory_usage.percent is 71.2% (was > 90% for 5m5s)",
            id="resolved",
        ),
        pytest.param(
            replace(FIRING, alert=DISK),
            "[critical] disk-low on web1, /var: disk_usage.free is 2 GiB (< 2 GiB by 1 MiB)",
            id="rounding does not hide that a threshold was crossed",
        ),
        pytest.param(
            replace(RESOLVED, alert=DISK, reason=Reason.GONE),
            "[resolved] disk-low on web1, /var: it is gone: good samples come without it "
            "(disk_usage.free was < 2 GiB for 5m5s)",
            id="gone",
        ),
        pytest.param(
            replace(RESOLVED, phase=Phase.CLOSED, reason=Reason.RULE_REMOVED),
            "[closed] memory-high on web1: the rule was removed (memory_usage.percent was > 90% for 5m5s)",
            id="closed",
        ),
        pytest.param(
            replace(FIRING, alert=replace(ALERT, severity=Severity.INFO, value=None)),
            "[info] memory-high on web1: memory_usage.percent is of unknown value (> 90%)",
            id="no value",
        ),
        pytest.param(
            replace(FIRING, alert=replace(ALERT, metric=Metric("newer", "thing"))),
            "[critical] memory-high on web1: newer.thing is 93.42 (> 90)",
            id="a metric that only a newer zkalert knows",
        ),
        pytest.param(
            replace(FIRING, summary="memory at {{ value }}"),
            "[critical] memory-high on web1: memory at 93.42%",
            id="a summary takes the sentence's place",
        ),
    ],
)
def test_titles(effect: Effect, title: str) -> None:
    """A title says how bad it is, which rule, where, and what."""
    assert render(effect).title == title


@pytest.mark.parametrize(
    ("phase", "severity", "kind"),
    [
        (Phase.FIRING, Severity.CRITICAL, MessageKind.FAILURE),
        (Phase.FIRING, Severity.WARNING, MessageKind.WARNING),
        (Phase.FIRING, Severity.INFO, MessageKind.INFO),
        (Phase.RESOLVED, Severity.CRITICAL, MessageKind.SUCCESS),
        (Phase.CLOSED, Severity.WARNING, MessageKind.SUCCESS),
    ],
)
def test_kinds(phase: Phase, severity: Severity, kind: MessageKind) -> None:
    assert render(replace(FIRING, phase=phase, alert=replace(ALERT, severity=severity))).kind is kind


def test_the_body_of_a_firing_alert_tells_all_that_is_known() -> None:
    effect = replace(
        FIRING,
        alert=replace(ALERT, hold=Hold(held=100.0, at=SINCE + 120, mono=0.0, cover=10.0, gaps=2)),
        labels={"team": "storage"},
        host_labels={"role": "kafka", "dc": "gru1"},
        description="Look at the caches first.",
    )
    assert render(effect).body.splitlines() == [
        "Look at the caches first.",
        "",
        "memory_usage.percent on web1 is 93.42% (> 90%).",
        "Since: 2025-11-23T12:13:20Z, fired 2m later at 2025-11-23T12:15:20Z",
        "Not watched: 20s of that time, in 2 gaps between samples; it does not count towards the duration",
        "Severity: critical",
        "Labels: team=storage",
        "Host: role=kafka, dc=gru1",
        "",
        "alert 3fa4b2, key memory-high/web1/3fa4b2c1d0e9/firing",
    ]


def test_the_body_of_a_resolved_alert_tells_peak_and_length() -> None:
    assert render(RESOLVED).body.splitlines() == [
        "memory_usage.percent on web1 is 71.2%, no longer > 90%.",
        "Lasted: 5m5s, from 2025-11-23T12:13:20Z to 2025-11-23T12:18:25Z",
        "Peak: 95.1%",
        "Severity: critical",
        "",
        "alert 3fa4b2, key memory-high/web1/3fa4b2c1d0e9/resolved",
    ]


@pytest.mark.parametrize("reason", [Reason.GONE, Reason.RULE_CHANGED, Reason.RULE_REMOVED])
def test_an_end_that_no_sample_brought_is_explained(reason: Reason) -> None:
    line = render(replace(RESOLVED, reason=reason)).body.splitlines()[0]
    assert line.startswith("memory_usage.percent on web1 was 71.2% when last seen; ")
    assert {Reason.GONE: "gone", Reason.RULE_CHANGED: "changed", Reason.RULE_REMOVED: "removed"}[reason] in line


def test_a_gap_of_unknown_length_is_told_without_one() -> None:
    """A step back of the clock can leave less time than was held."""
    hold = Hold(held=200.0, at=SINCE + 120, mono=0.0, cover=10.0, gaps=1)
    body = render(replace(FIRING, alert=replace(ALERT, hold=hold))).body
    assert "Not watched: a part of that time, in a gap between samples" in body


def test_fields_carry_the_same_facts_for_programs() -> None:
    fields = render(replace(FIRING, alert=DISK)).fields
    assert fields["threshold"] == str(2**31)
    assert (fields["rule"], fields["host"], fields["instance"]) == ("disk-low", "web1", "/var")
    assert (fields["state"], fields["severity"], fields["id"]) == ("firing", "critical", "3fa4b2")
    assert (fields["since"], fields["at"]) == ("2025-11-23T12:13:20Z", "2025-11-23T12:15:20Z")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ value }} of {{ threshold }}", "93.42% of 90%"),
        ("{{ value|round(1) }} {{ value|int + 1 }} {{ value - threshold > 3 }}", "93.4 94 True"),
        ("{% if value > 95 %}bad{% elif value > 90 %}high{% else %}?{% endif %}", "high"),
        ("{{ host }}/{{ host.role }}/{{ host['dc'] }}", "web1/kafka/gru1"),
        ("{{ host.nope|default('none') }} {{ 'x' if host.nope is defined else 'y' }}", "none y"),
        ("{{ instance }}{% if instance %}!{% endif %}", ""),
        ("{{ labels.team|upper }} {{ severity|title }} {{ state }}", "OPS Critical firing"),
        (
            "{{ name }} {{ metric }} {{ since }} {{ duration }}",
            "memory-high memory_usage.percent 2025-11-23T12:13:20Z 2m",
        ),
        ("{{ duration / 60 }} {{ peak }} {{ host == 'web1' }} {{ 'we' in host }}", "2.0 95.1% True True"),
        ("a & <b> {# not told #}{% raw %}{{ }}{% endraw %}", "a & <b> {{ }}"),
        ("100% { plain }", "100% { plain }"),
    ],
)
def test_templates_fill_in(text: str, filled: str) -> None:
    effect = replace(FIRING, description=text, labels={"team": "ops"}, host_labels={"role": "kafka", "dc": "gru1"})
    assert template_problem(text) is None
    message = render(effect)
    assert message.problem == ""
    assert message.body.partition("memory_usage.percent on web1 is")[0].strip() == filled.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ host.nope }}", 'web1 has no label "nope"'),
        ("{{ value / 0 }}", "division by zero"),
        ("{{ host > 1 }}", "not supported"),
        ("{{ vlaue }}", 'unknown variable "vlaue"'),
        ("{{ 'a' * 300000000 }}", "multiplication"),
    ],
)
def test_a_template_that_fails_costs_no_message(text: str, problem: str) -> None:
    message = render(replace(FIRING, summary=text))
    assert message.title == render(FIRING).title
    assert "(the template in summary failed: " in message.body
    assert problem in message.body
    assert problem in message.problem


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("{{ vlaue }}", 'did you mean "value"?', id="a slip in a variable"),
        pytest.param("line\n{{ value", "line 2: ", id="syntax, with its line"),
        pytest.param("{{ value * 3 }}", "multiplication", id="product"),
        pytest.param("{{ 'ab' * 99999999 }}", "multiplication", id="repetition"),
        pytest.param("{{ 9**9**9 }}", "powers", id="power"),
        pytest.param("{{ '%999999999d' % 1 }}", '"%"', id="format operator"),
        pytest.param("{{ '%999999999d'|format(1) }}", 'unknown filter "format"', id="format filter"),
        pytest.param("{{ host|join(host)|join(host) }}", 'unknown filter "join"', id="join multiplies"),
        pytest.param("{{ value|round(99999999) }}", "digits", id="round to many digits"),
        pytest.param("{{ value|round(precision=9) }}", "arguments", id="named argument"),
        pytest.param("{{ value|center(99999999) }}", 'unknown filter "center"', id="padding"),
        pytest.param("{% for x in host %}{% endfor %}", "loops", id="loop"),
        pytest.param("{% set x = 1 %}", "assignments", id="set"),
        pytest.param("{% macro m() %}{% endmacro %}", "macros", id="macro"),
        pytest.param("{% include 'x' %}", "include", id="include"),
        pytest.param("{{ range(10) }}", "calls", id="call"),
        pytest.param("{{ host.items() }}", "calls", id="method"),
        pytest.param("{{ [1] }}", "lists", id="list"),
        pytest.param("{{ value.real }}", "only host, instance and labels", id="attribute of a number"),
        pytest.param("{{ host.__class__ }}", "no name of a label", id="dunder"),
        pytest.param("{{ host['__class__'] }}", "no name of a label", id="dunder as item"),
        pytest.param("{{ host[value] }}", "written out", id="computed label"),
        pytest.param("{{ value is divisibleby(2) }}", "unknown test", id="test"),
        pytest.param("{{ self }}", "unknown variable", id="self"),
        pytest.param("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "too deeply", id="parentheses"),
        pytest.param("{{ " + "not " * 900 + "1 }}", "too deeply", id="nots"),
        pytest.param("{{ " + "1+" * 1500 + "1 }}", "too deeply", id="a long sum"),
        pytest.param("{% if value %}" * 100 + "{% endif %}" * 100, "too deeply", id="ifs"),
        pytest.param("{{ 1 }}" + "x" * 5000, "longer than 4096 bytes", id="long"),
        pytest.param("\u00e4" * 2100, "longer than 4096 bytes", id="long in bytes"),
    ],
)
def test_hostile_and_mistaken_templates_are_refused_at_once(text: str, part: str) -> None:
    started = time.perf_counter()
    problem = template_problem(text)
    assert time.perf_counter() - started < 1.0
    assert problem is not None
    assert part in problem
    assert "\n" not in problem


def test_nothing_that_is_allowed_multiplies() -> None:
    """The costliest allowed text over the longest values ends at once, and its output is cut."""
    text = "{{" + "~".join(["host"] * 600) + "}}"
    assert template_problem(text) is None
    started = time.perf_counter()
    message = render(replace(FIRING, description=text, alert=replace(ALERT, host="h" * 4096)))
    assert time.perf_counter() - started < 1.0
    assert len(message.body.encode()) <= MAX_BODY


def test_jinja_is_loaded_for_templates_alone() -> None:
    code = (
        "import sys; from zkalert.render import template_problem as p; "
        "assert p('plain') is None; assert 'jinja2' not in sys.modules; "
        "assert p('{{ value }}') is None; assert 'jinja2' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _is_one_line(text: str) -> bool:
    return len(text.splitlines()) <= 1


_TEXT = st.text(st.characters(codec=None), max_size=300)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_METRICS = [Metric(family.name, name) for family in FAMILIES.values() for name in family.fields]


@st.composite
def _effects(draw: Any) -> Effect:
    alert = Alert(
        rule=draw(_TEXT),
        host=draw(_TEXT),
        instance=draw(st.none() | st.text(max_size=5000)),
        state=State.FIRING,
        episode=draw(_TEXT),
        severity=draw(st.sampled_from(Severity)),
        metric=draw(st.sampled_from(_METRICS) | st.builds(Metric, _TEXT, _TEXT)),
        comparator=draw(st.sampled_from(Comparator)),
        threshold=draw(_NUMBER),
        value=draw(st.none() | _NUMBER),
        peak=draw(st.none() | _NUMBER),
        since=draw(_NUMBER),
        hold=draw(st.none() | st.builds(Hold, _NUMBER, _NUMBER, _NUMBER, _NUMBER, st.integers(0, 9))),
    )
    labels = st.dictionaries(_TEXT, _TEXT, max_size=5)
    return Effect(
        alert=alert,
        phase=draw(st.sampled_from(Phase)),
        reason=draw(st.sampled_from(Reason)),
        at=draw(_NUMBER),
        labels=draw(labels),
        host_labels=draw(labels),
        instance_labels=draw(labels),
        summary=draw(_TEXT),
        description=draw(_TEXT | st.just("{{ host }}\n" * 300)),
    )


@settings(max_examples=150, deadline=None)
@given(_effects())
def test_any_effect_becomes_a_message_that_can_be_sent(effect: Effect) -> None:
    """Whatever the names, labels, texts and numbers: bounded, in one line where it must be, and valid UTF-8."""
    message = render(effect)
    assert len(message.title) <= MAX_TITLE
    assert _is_one_line(message.title)
    assert _is_one_line(message.key)
    assert len(message.body.encode()) <= MAX_BODY
    assert "\x00" not in message.title + message.body + message.key
    assert message.body.splitlines()[-1].startswith("alert ")
    (message.title + message.key + "".join(message.fields.values())).encode()


@settings(max_examples=200, deadline=None)
@given(st.text("{}%#|()[]~.'\" \n+-*/<>=ahost01valueifendnot", max_size=120))
def test_any_text_is_either_fine_or_refused_in_a_sentence(text: str) -> None:
    problem = template_problem("{{" + text + "}}")
    assert problem is None or _is_one_line(problem)
    render(replace(FIRING, summary=text))
