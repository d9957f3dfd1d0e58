"""What a message says, that it always says something, and that no text of a user's can make it cost much."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert.metrics import FAMILIES, Unit
from zkalert.model import (
    Alert,
    Clock,
    Comparator,
    Effect,
    Hold,
    MessageKind,
    Metric,
    Phase,
    Reason,
    Severity,
    State,
    Value,
)
from zkalert.render import MAX_BODY, MAX_TITLE, render, template_problem, template_reads

SINCE = 1_763_900_000.0  # 2025-11-23T12:13:20Z
ALERT = Alert(
    rule="memory-high",
    host="web1",
    state=State.FIRING,
    episode="3fa4b2c1d0e9",
    severity=Severity.CRITICAL,
    metric=Metric("memory_usage", "percent"),
    subject="memory_usage.percent",
    unit="percent",
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
    subject="disk_usage.free",
    unit="bytes",
    comparator=Comparator.LT,
    threshold=float(2**31),
    value=float(2**31 - 2**20),
    peak=float(2**30),
)


def held(hold: Hold | None) -> Clock:
    return Clock(State.FIRING, hold)


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
            replace(FIRING, alert=replace(ALERT, metric=Metric("newer", "thing"), subject="", unit="mol")),
            "[critical] memory-high on web1: newer.thing is 93.42 (> 90)",
            id="a metric and a unit that only a newer zkalert knows",
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


LADDER = replace(ALERT, threshold=95.0, value=97.0, told=(Severity.WARNING, Severity.CRITICAL))
ROSE = Effect(alert=LADDER, phase=Phase.ESCALATED, reason=Reason.ROSE, at=SINCE + 300, name="escalated-critical")
UNHEARD = replace(FIRING, phase=Phase.ESCALATED, reason=Reason.UNHEARD, at=SINCE + 1800, name="escalated-1")
STILL = replace(
    FIRING,
    alert=replace(ALERT, repeats=2),
    phase=Phase.REPEATED,
    reason=Reason.STILL,
    at=SINCE + 3900,
    name="repeated-2",
)
QUIET = Effect(
    alert=replace(ALERT, value=None, peak=None, is_quiet=True), phase=Phase.FIRING, reason=Reason.NO_DATA, at=SINCE
)
MEMORY = "memory_usage.percent"


def firing(**changes: Any) -> Effect:
    return replace(FIRING, alert=replace(ALERT, **changes))


def resolved(**changes: Any) -> Effect:
    return replace(RESOLVED, alert=replace(ALERT, **changes))


@pytest.mark.parametrize(
    ("effect", "tag", "told"),
    [
        pytest.param(ROSE, "critical, was warning", f"{MEMORY} is 97% (> 95%)", id="a higher level"),
        pytest.param(
            replace(ROSE, alert=replace(LADDER, told=(Severity.CRITICAL,))),
            "critical",
            f"{MEMORY} is 97% (> 95%)",
            id="back at a level that nothing lower was told before",
        ),
        pytest.param(
            UNHEARD, "critical, escalated", f"{MEMORY} is 93.42% (> 90%, for 30m)", id="escalated after a while"
        ),
        pytest.param(STILL, "still critical", f"{MEMORY} is 93.42% (> 90%, for 1h5m)", id="repeated"),
        pytest.param(
            replace(STILL, alert=replace(ALERT, value=85.0, clear=80.0)),
            "still critical",
            f"{MEMORY} is 85% (was > 90%; clears at 80% or below)",
            id="repeated, below the threshold but not clear",
        ),
        pytest.param(
            replace(STILL, alert=replace(ALERT, value=71.0, state=State.CLEARING)),
            "still critical",
            f"{MEMORY} is 71% (was > 90%; clearing)",
            id="repeated while it clears",
        ),
        pytest.param(QUIET, "critical", f"no data from {MEMORY}", id="no data"),
        pytest.param(
            replace(QUIET, summary="memory at {{ value }}"), "critical", f"no data from {MEMORY}", id="not the summary"
        ),
        pytest.param(
            replace(QUIET, phase=Phase.REPEATED, reason=Reason.STILL, at=SINCE + 600),
            "still critical",
            f"no data from {MEMORY} for more than 10m",
            id="still no data",
        ),
        pytest.param(
            replace(
                QUIET,
                alert=replace(QUIET.alert, value=71.2),
                phase=Phase.RESOLVED,
                reason=Reason.DATA_BACK,
                at=SINCE + 600,
            ),
            "resolved",
            f"data is back: {MEMORY} is 71.2% (there was none for more than 10m)",
            id="data is back",
        ),
        pytest.param(
            replace(QUIET, phase=Phase.RESOLVED, reason=Reason.HOST_REMOVED, at=SINCE + 600),
            "resolved",
            f"its host was removed (no data came from {MEMORY} for more than 10m)",
            id="no data from a host that was removed",
        ),
        pytest.param(
            replace(RESOLVED, reason=Reason.NO_DATA),
            "resolved",
            f"no data comes any more ({MEMORY} was > 90% for 5m5s)",
            id="resolved for want of data",
        ),
        pytest.param(
            firing(subject="avg of memory_usage.percent over 10m"),
            "critical",
            "avg of memory_usage.percent over 10m is 93.42% (> 90%)",
            id="a window",
        ),
        pytest.param(
            firing(subject="", unit="seconds", value=5400.0, threshold=3600.0),
            "critical",
            f"{MEMORY} is 1h30m (> 1h)",
            id="the unit is the alert's",
        ),
        pytest.param(
            firing(comparator=Comparator.BETWEEN, threshold=(10.0, 20.0), value=10.0),
            "critical",
            f"{MEMORY} is 10% (between 10% and 20%)",
            id="between",
        ),
        pytest.param(
            resolved(comparator=Comparator.BETWEEN, threshold=(10.0, 20.0), value=21.0),
            "resolved",
            f"{MEMORY} is 21% (was between 10% and 20% for 5m5s)",
            id="no longer between",
        ),
        pytest.param(
            firing(comparator=Comparator.OUTSIDE, threshold=(10.0, 20.0), value=20.001),
            "critical",
            f"{MEMORY} is 20% (outside 10% to 20% by 0.001)",
            id="outside",
        ),
        pytest.param(
            replace(
                STILL,
                alert=replace(
                    ALERT, comparator=Comparator.OUTSIDE, threshold=(10.0, 20.0), clear=(12.0, 18.0), value=19.0
                ),
            ),
            "still critical",
            f"{MEMORY} is 19% (was outside 10% to 20%; clears within 12% to 18%)",
            id="back within, not clear",
        ),
        pytest.param(
            firing(comparator=Comparator.NE, threshold="on", value="off", unit="text"),
            "critical",
            f'{MEMORY} is "off" (!= "on")',
            id="text",
        ),
        pytest.param(
            firing(comparator=Comparator.MATCHES, threshold=r"5\..*", value="5.4.0", unit="text"),
            "critical",
            f'{MEMORY} is "5.4.0" (matches "5\\..*")',
            id="matches",
        ),
        pytest.param(
            resolved(comparator=Comparator.NOT_MATCHES, threshold="6.*", value="6.1", unit="text"),
            "resolved",
            f'{MEMORY} is "6.1" (did not match "6.*" for 5m5s)',
            id="did not match",
        ),
        pytest.param(
            firing(comparator=Comparator.ABSENT, threshold=None, value=1),
            "critical",
            f"{MEMORY} is absent",
            id="absent",
        ),
        pytest.param(
            resolved(comparator=Comparator.ABSENT, threshold=None, value=0),
            "resolved",
            f"{MEMORY} is there again (was absent for 5m5s)",
            id="there again",
        ),
        pytest.param(
            firing(comparator=Comparator.CHANGED, threshold=None, value=1.0),
            "critical",
            f"{MEMORY} has changed",
            id="changed",
        ),
        pytest.param(
            resolved(comparator=Comparator.CHANGED, threshold=None, value=0.0),
            "resolved",
            f"{MEMORY} no longer changes (it first changed 5m5s ago)",
            id="no longer changes",
        ),
        pytest.param(
            firing(members=(12, 0)), "critical", f"{MEMORY} is 93.42% (> 90%; of 12 series)", id="a number of many"
        ),
        pytest.param(
            firing(members=(12, 2)),
            "critical",
            f"{MEMORY} is 93.42% (> 90%; of 12 series, nothing from 2 hosts)",
            id="and of some nothing",
        ),
    ],
)
def test_titles_of_every_kind(effect: Effect, tag: str, told: str) -> None:
    """What comes after the place reads as a sentence, whatever the phase, the comparator, the unit."""
    assert render(effect).title == f"[{tag}] memory-high on web1: {told}"


@pytest.mark.parametrize(
    ("host", "instance", "place"),
    [
        ("-", None, "all hosts"),
        ("-", "gru1", "all hosts of gru1"),
        ("-", "", "all hosts without that label"),
        ("web1", "/", "web1, /"),
    ],
)
def test_places(host: str, instance: str | None, place: str) -> None:
    message = render(firing(host=host, instance=instance))
    assert message.title.startswith(f"[critical] memory-high on {place}: ")
    assert message.fields["host"] == host


def test_a_number_of_all_hosts_has_no_place_in_its_sentence() -> None:
    effect = firing(host="-", subject="sum of host.alive across hosts", unit="number", members=(3, 1))
    assert render(effect).body.startswith(
        "sum of host.alive across hosts is 93.42 (> 90; of 3 series, nothing from 1 host)."
    )
    grouped = replace(effect, alert=replace(effect.alert, instance="gru1", members=None))
    assert render(grouped).body.startswith("sum of host.alive across hosts on all hosts of gru1 is 93.42 (> 90).")


@pytest.mark.parametrize("comparator", Comparator)
def test_every_phase_and_reason_reads_as_sentences(comparator: Comparator) -> None:
    """Also those that do not come together today: nothing is left open, doubled or empty."""
    limits: dict[Comparator, Any] = {
        **dict.fromkeys((Comparator.BETWEEN, Comparator.OUTSIDE), (10.0, 20.0)),
        **dict.fromkeys((Comparator.MATCHES, Comparator.NOT_MATCHES), "5.*"),
        **dict.fromkeys((Comparator.ABSENT, Comparator.CHANGED)),
    }
    threshold = limits.get(comparator, 90.0)
    value: Any = "5.4" if isinstance(threshold, str) else 15.0
    alert = replace(ALERT, comparator=comparator, threshold=threshold, value=value, peak=value)
    states = (State.FIRING, State.CLEARING)
    for phase, reason, state, is_quiet in itertools.product(Phase, Reason, states, (False, True)):
        effect = replace(FIRING, alert=replace(alert, state=state, is_quiet=is_quiet), phase=phase, reason=reason)
        message = render(effect)
        for text in (message.title, message.body.partition("\n")[0]):
            assert text.count("(") == text.count(")"), text
            for wrong in ("None", "  ", " )", "( ", "()", ";)", "; ;", "..", " .", " ,", ": :", "clears )"):
                assert wrong not in text, text


@pytest.mark.parametrize(
    ("phase", "severity", "kind"),
    [
        (Phase.FIRING, Severity.CRITICAL, MessageKind.FAILURE),
        (Phase.FIRING, Severity.WARNING, MessageKind.WARNING),
        (Phase.FIRING, Severity.INFO, MessageKind.INFO),
        (Phase.ESCALATED, Severity.CRITICAL, MessageKind.FAILURE),
        (Phase.REPEATED, Severity.WARNING, MessageKind.WARNING),
        (Phase.RESOLVED, Severity.CRITICAL, MessageKind.SUCCESS),
        (Phase.CLOSED, Severity.WARNING, MessageKind.SUCCESS),
    ],
)
def test_kinds(phase: Phase, severity: Severity, kind: MessageKind) -> None:
    assert render(replace(FIRING, phase=phase, alert=replace(ALERT, severity=severity))).kind is kind


def test_the_body_of_a_firing_alert_tells_all_that_is_known() -> None:
    effect = replace(
        FIRING,
        alert=replace(ALERT, clocks=(held(Hold(held=100.0, at=SINCE + 120, mono=0.0, cover=10.0, gaps=2)),)),
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


def test_the_body_of_a_higher_level_tells_how_it_came_to_it() -> None:
    alert = replace(LADDER, clear=85.0, peak=98.5, values=())
    assert render(replace(ROSE, alert=alert, runbook="https://wiki/{{ name }}")).body.splitlines() == [
        "memory_usage.percent on web1 is 97% (> 95%).",
        "Since: 2025-11-23T12:13:20Z, rose to critical 5m later at 2025-11-23T12:18:20Z",
        "Peak: 98.5%",
        "Clears: at 85% or below",
        "Severity: critical",
        "Runbook: https://wiki/memory-high",
        "",
        "alert 3fa4b2, key memory-high/web1/3fa4b2c1d0e9/escalated-critical",
    ]


@pytest.mark.parametrize(
    ("effect", "line"),
    [
        (STILL, "Since: 2025-11-23T12:13:20Z, for 1h5m at 2025-11-23T13:18:20Z; reminder 2"),
        (UNHEARD, "Since: 2025-11-23T12:13:20Z, for 30m at 2025-11-23T12:43:20Z, and not acknowledged"),
        (QUIET, "Since: 2025-11-23T12:13:20Z"),
        (firing(clear=80.0), "Clears: at 80% or below"),
        (firing(comparator=Comparator.LE, clear=95.0), "Clears: at 95% or above"),
        (firing(comparator=Comparator.BETWEEN, threshold=(10.0, 20.0), clear=(5.0, 25.0)), "Clears: outside 5% to 25%"),
        (firing(values=(93.42, "on", None)), "Values of its conditions, in their order: 93.42%, on, unknown"),
        (resolved(comparator=Comparator.NE, threshold="on", unit="text", peak="off"), 'Before: "off"'),
        (
            resolved(severity=Severity.WARNING, told=(Severity.WARNING, Severity.CRITICAL)),
            "Severity: critical, at last warning",
        ),
    ],
)
def test_lines_of_bodies(effect: Effect, line: str) -> None:
    assert line in render(effect).body.splitlines()


@pytest.mark.parametrize(
    ("effect", "first"),
    [
        (QUIET, "No data from memory_usage.percent on web1."),
        (
            replace(
                QUIET,
                alert=replace(QUIET.alert, value=71.2),
                phase=Phase.RESOLVED,
                reason=Reason.DATA_BACK,
                at=SINCE + 60,
            ),
            "Data is back: memory_usage.percent on web1 is 71.2% (there was none for more than 1m).",
        ),
        (
            resolved(comparator=Comparator.ABSENT, threshold=None, value=0),
            "memory_usage.percent on web1 is there again.",
        ),
        (
            replace(resolved(comparator=Comparator.ABSENT, threshold=None, value=1), reason=Reason.RULE_REMOVED),
            "memory_usage.percent on web1 was absent when last seen; the rule was removed.",
        ),
        (
            resolved(comparator=Comparator.MATCHES, threshold="5.*", value="6.1", unit="text"),
            'memory_usage.percent on web1 is "6.1", no longer matches "5.*".',
        ),
        (
            resolved(members=(12, 1), value=3.0),
            "memory_usage.percent on web1 is 3% (of 12 series, nothing from 1 host), no longer > 90%.",
        ),
    ],
)
def test_first_lines_of_bodies(effect: Effect, first: str) -> None:
    assert render(effect).body.splitlines()[0] == first


def test_a_text_that_anybody_wrote_forges_no_line() -> None:
    """The value of a text metric is cleaned and cut as names are, in sentences and in templates."""
    hostile = "on\nSeverity: info\u202e\x1b[31m" + "x" * 5000
    effect = replace(
        firing(comparator=Comparator.NE, threshold="on", value=hostile, values=(hostile, 1.0), unit="text"),
        description="it is {{ value }}, {{ values }}, {{ host.role }}",
        host_labels={"role": hostile},
    )
    message = render(effect)
    assert message.body.splitlines().count("Severity: info") == 0
    assert not any(sign in message.title + message.body for sign in "\u202e\x1b")
    assert 'is "on Severity: info' in message.title
    assert len(message.title) < 200
    assert message.problem == ""


@pytest.mark.parametrize("reason", [Reason.GONE, Reason.RULE_CHANGED, Reason.RULE_REMOVED])
def test_an_end_that_no_sample_brought_is_explained(reason: Reason) -> None:
    line = render(replace(RESOLVED, reason=reason)).body.splitlines()[0]
    assert line.startswith("memory_usage.percent on web1 was 71.2% when last seen; ")
    assert {Reason.GONE: "gone", Reason.RULE_CHANGED: "changed", Reason.RULE_REMOVED: "removed"}[reason] in line


def test_a_gap_of_unknown_length_is_told_without_one() -> None:
    """A step back of the clock can leave less time than was held."""
    hold = Hold(held=200.0, at=SINCE + 120, mono=0.0, cover=10.0, gaps=1)
    body = render(replace(FIRING, alert=replace(ALERT, clocks=(held(hold),)))).body
    assert "Not watched: a part of that time, in a gap between samples" in body


def test_a_gap_among_several_spans_is_told_without_a_length() -> None:
    """What lies between true spans, or before a higher level, was watched."""
    hold = Hold(held=20.0, at=SINCE + 120, mono=0.0, cover=10.0, gaps=1)
    for clocks in ((held(hold)._replace(spans=((SINCE, SINCE + 10),)),), (held(None), held(hold))):
        assert "Not watched: a part of that time" in render(firing(clocks=clocks)).body


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (
            {"comparator": Comparator.OUTSIDE, "threshold": (10.0, 20.5), "clear": (12.0, 18.0)},
            {"threshold": "10..20.5", "clear": "12..18", "comparator": "outside"},
        ),
        (
            {"comparator": Comparator.NE, "threshold": "on", "value": "off\n", "unit": "text", "peak": "off"},
            {"threshold": "on", "clear": "", "value": "off", "unit": "text", "peak": "off"},
        ),
        ({"comparator": Comparator.ABSENT, "threshold": None, "value": None}, {"threshold": "", "value": ""}),
        (
            {"values": (93.42, 2.0**31, "on", None), "subject": "avg of x over 10m"},
            {"values": '[93.42, 2147483648, "on", null]', "subject": "avg of x over 10m", "unit": "percent"},
        ),
        ({"members": (12, 2)}, {"members": "12", "silent_hosts": "2", "values": ""}),
        ({"members": None, "subject": ""}, {"members": "", "silent_hosts": "", "subject": "memory_usage.percent"}),
    ],
)
def test_fields_of_all_kinds_of_rules(changes: dict[str, Any], fields: dict[str, str]) -> None:
    given = render(firing(**changes)).fields
    assert {name: given[name] for name in fields} == fields


def test_fields_of_phases() -> None:
    assert (render(STILL).fields["state"], render(STILL).fields["phase"]) == ("repeated", "repeated-2")
    ended = resolved(severity=Severity.WARNING, told=(Severity.WARNING, Severity.CRITICAL))
    assert render(ended).fields["severity"] == "critical"
    assert render(replace(FIRING, runbook="https://wiki/{{ host }}")).fields["runbook"] == "https://wiki/web1"


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
        ("{{ values[0] }} {{ values|length }} {{ values.0 }} {{ values|last }}", "93.42% 1 93.42% 93.42%"),
        ("{{ values[3]|default('none') }} {{ values[3] is defined }}", "none False"),
        ("{{ clear }}{% if clear %} is clear{% endif %}", ""),
        ("{{ now('memory_usage.available') }} {{ now('memory_usage') }}", "2 GiB 50%"),
        ("{{ now('host.kernel') }} {{ now('cpu_usage') }} {{ now('new.thing') }}", "Linux 6.1 unknown 7"),
        ("{{ now('memory_usage.available')|bytes }} {% if now('memory_usage') > 40 %}high{% endif %}", "2 GiB high"),
        (
            "{{ 2147483648|bytes }} {{ 93.4|percent }} {{ 5400|duration }} {{ 0|time }}",
            "2 GiB 93.4% 1h30m 1970-01-01 00:00 UTC",
        ),
        ("{{ (value - threshold)|percent }} {{ duration|duration }} {{ since|time }}", "3.42% 2m 2025-11-23 12:13 UTC"),
        ("a & <b> {# not told #}{% raw %}{{ }}{% endraw %}", "a & <b> {{ }}"),
        ("100% { plain }", "100% { plain }"),
    ],
)
def test_templates_fill_in(text: str, filled: str) -> None:
    readings: dict[str, Value] = {
        "memory_usage.available": 2**31,
        "memory_usage.percent": 50,
        "host.kernel": "Linux 6.1",
        "new.thing": 7,
    }
    effect = replace(
        FIRING,
        description=text,
        labels={"team": "ops"},
        host_labels={"role": "kafka", "dc": "gru1"},
        readings=readings,
    )
    assert template_problem(text) is None
    message = render(effect)
    assert message.problem == ""
    assert message.body.partition("memory_usage.percent on web1 is")[0].strip() == filled.strip()


@pytest.mark.parametrize(
    ("text", "changes", "filled"),
    [
        (
            "{{ threshold }} {{ clear }}",
            {"comparator": Comparator.OUTSIDE, "threshold": (10.0, 20.0), "clear": (12.0, 18.0)},
            "10% to 20% 12% to 18%",
        ),
        ("{{ threshold }}{{ clear }}", {"comparator": Comparator.ABSENT, "threshold": None}, ""),
        (
            "{{ value }} {{ value|upper }} {{ threshold }} {{ value == 'off' }}",
            {"comparator": Comparator.NE, "threshold": "on", "value": "off", "unit": "text"},
            "off OFF on True",
        ),
        ("{{ values[0] }} {{ values[1] }} {{ values }}", {"values": (93.42, 5.0)}, "93.42% 5 93.42%, 5"),
        ("{{ values[0] }}", {"values": (93.42, 93.42)}, "93.42"),
        ("{{ value }} {{ value|percent }}", {"unit": "ratio", "value": 0.8}, "80% 80%"),
        ("{{ clear }} {{ clear < threshold }}", {"clear": 80.0}, "80% True"),
        ("{{ host }} {{ instance }}", {"host": "-", "instance": "gru1"}, "all hosts gru1"),
    ],
)
def test_templates_of_other_rules_fill_in(text: str, changes: dict[str, Any], filled: str) -> None:
    message = render(replace(firing(**changes), description=f"[{text}]"))
    assert message.problem == ""
    assert message.body.startswith(f"[{filled}]" if filled else "[]")


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("no template", ()),
        ("{{ value }}", ()),
        (
            "{{ now('memory_usage') }} {% if now('a.b') > 1 %}{{ now('memory_usage')|bytes }}{% endif %}",
            ("memory_usage", "a.b"),
        ),
        ("{{ host.role|default(now('uptime')) ~ now('host.os') }}", ("uptime", "host.os")),
        ("{{ now('a.b') }} {{ vlaue }}", ()),
        ("{{ now('a.b'", ()),
    ],
)
def test_the_metrics_that_a_text_reads_are_known_before_it_is_filled_in(text: str, reads: tuple[str, ...]) -> None:
    assert template_reads(text) == reads


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ severity|bytes }}", "a number is needed here, not critical"),
        ("{{ instance|duration }}", "a number is needed here"),
        ("{{ (value > 3)|percent }}", "a number is needed here, not True"),
        ("{{ now('cpu_usage')|percent }}", "a number is needed here, not unknown"),
        ("{{ values[7] }}", "there is no values[7]: they are 1, from 0"),
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
        pytest.param("{{ now }}", "one metric in quotes", id="now without a call"),
        pytest.param("{{ now() }}", "one metric in quotes", id="now of nothing"),
        pytest.param("{{ now('') }}", "one metric in quotes", id="now of an empty name"),
        pytest.param("{{ now(host) }}", "one metric in quotes", id="now of a variable"),
        pytest.param("{{ now('a' ~ host) }}", "one metric in quotes", id="now of a sum"),
        pytest.param("{{ now(7) }}", "one metric in quotes", id="now of a number"),
        pytest.param("{{ now('a.b', 'c.d') }}", "one metric in quotes", id="now of two"),
        pytest.param("{{ now('a.b', x=1) }}", "one metric in quotes", id="now with a named argument"),
        pytest.param("{{ now(*values) }}", "one metric in quotes", id="now with a list"),
        pytest.param("{{ now(**labels) }}", "one metric in quotes", id="now with a mapping"),
        pytest.param("{{ now('" + "a" * 3000 + "') }}", "longer than 256", id="now of a huge name"),
        pytest.param("".join(f"{{{{ now('a.{n}') }}}}" for n in range(17)), "more than 16", id="now of many"),
        pytest.param("{{ now('a.b')('c.d') }}", "calls", id="what now gives, called"),
        pytest.param("{{ now('a.b').real }}", "only host, instance and labels", id="attribute of what now gives"),
        pytest.param("{{ now.__globals__ }}", "one metric in quotes", id="attribute of now"),
        pytest.param("{{ ('a'|now)('b') }}", "calls", id="a filter named now, called"),
        pytest.param("{{ (value is now)('b') }}", "calls", id="a test named now, called"),
        pytest.param("{{ host.now('a.b') }}", "calls", id="a label named now, called"),
        pytest.param("{{ values['a'] }}", "counted from 0", id="values by name"),
        pytest.param("{{ values[value] }}", "counted from 0", id="computed number of a value"),
        pytest.param("{{ values[true] }}", "counted from 0", id="true as a number"),
        pytest.param("{{ values[0:2] }}", "counted from 0", id="slice of values"),
        pytest.param("{{ values.index }}", "counted from 0", id="method of values"),
        pytest.param("{{ value|bytes(true) }}", "too many arguments", id="argument of bytes"),
        pytest.param("{{ since|time('%999999999d') }}", "too many arguments", id="format of time"),
        pytest.param("{{ value|filesizeformat }}", "unknown filter", id="another format filter"),
        pytest.param("{{ threshold[0] }}", "only host, instance and labels", id="an end of a range"),
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
    started = time.process_time()
    problem = template_problem(text)
    assert time.process_time() - started < 1.0
    assert problem is not None
    assert part in problem
    assert "\n" not in problem


def test_nothing_that_is_allowed_multiplies() -> None:
    """The costliest allowed text over the longest values ends at once, and its output is cut."""
    text = "{{" + "~".join(["host"] * 600) + "}}"
    assert template_problem(text) is None
    started = time.process_time()
    message = render(replace(FIRING, description=text, alert=replace(ALERT, host="h" * 4096)))
    assert time.process_time() - started < 1.0
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
_VALUE = st.none() | _NUMBER | _TEXT
_LIMIT = _VALUE | st.tuples(_NUMBER, _NUMBER)
_HOLD = st.none() | st.builds(Hold, _NUMBER, _NUMBER, _NUMBER, _NUMBER, st.integers(0, 9))
_SUMMARIES = ["{{ value|bytes }}", "{{ since|time }} {{ values }} {{ clear }}", "{{ now('memory_usage.free') }}"]
_METRICS = [Metric(family.name, name) for family in FAMILIES.values() for name in family.fields]


@st.composite
def _effects(draw: Any) -> Effect:
    alert = Alert(
        rule=draw(_TEXT),
        host=draw(_TEXT),
        instance=draw(st.none() | st.text(max_size=5000)),
        state=draw(st.sampled_from(State)),
        episode=draw(_TEXT),
        severity=draw(st.sampled_from(Severity)),
        metric=draw(st.sampled_from(_METRICS) | st.builds(Metric, _TEXT, _TEXT)),
        subject=draw(_TEXT),
        unit=draw(st.sampled_from([unit.value for unit in Unit]) | _TEXT),
        comparator=draw(st.sampled_from(Comparator)),
        threshold=draw(_LIMIT),
        clear=draw(_LIMIT),
        value=draw(_VALUE),
        values=tuple(draw(st.lists(_VALUE, max_size=4))),
        members=draw(st.none() | st.tuples(st.integers(0, 9999), st.integers(0, 9))),
        peak=draw(_VALUE),
        since=draw(_NUMBER),
        clocks=tuple(draw(st.lists(st.builds(held, _HOLD), max_size=3))),
        told=tuple(draw(st.lists(st.sampled_from(Severity), max_size=3, unique=True))),
        is_quiet=draw(st.booleans()),
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
        readings=draw(st.dictionaries(st.just("memory_usage.free") | _TEXT, _NUMBER | _TEXT, max_size=3)),
        summary=draw(_TEXT | st.sampled_from(_SUMMARIES)),
        description=draw(_TEXT | st.just("{{ host }}\n" * 300)),
        runbook=draw(_TEXT | st.just("https://wiki/{{ value }}")),
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
    assert all(_is_one_line(text) for text in message.fields.values())
    (message.title + message.key + "".join(message.fields.values())).encode()


@settings(max_examples=200, deadline=None)
@given(st.text("{}%#|()[]~.'\" \n+-*/<>=ahost01valueifendnotws", max_size=120))
def test_any_text_is_either_fine_or_refused_in_a_sentence(text: str) -> None:
    problem = template_problem("{{" + text + "}}")
    assert problem is None or _is_one_line(problem)
    render(replace(FIRING, summary=text))
