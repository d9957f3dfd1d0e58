"""The less plain keys of rules: what each of them becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert import documents, rulefile
from zkalert.metrics import FAMILIES
from zkalert.model import (
    Across,
    Comparator,
    Condition,
    Escalation,
    Flap,
    HostMatch,
    Join,
    Level,
    Metric,
    NoData,
    Notify,
    Of,
    Override,
    Quiet,
    Rule,
    Run,
    Schedule,
    Severity,
    Stat,
    Step,
    Term,
    Total,
    Window,
)

SIMPLE = 'metric: cpu_usage, comparator: ">", threshold: 90'


def rule(keys: str) -> Rule:
    """The rule with these keys, which nothing can be said against."""
    rules, findings = rulefile.parse(f"rules: [{{name: a, {keys}}}]", "a.yaml")
    assert findings == ()
    return rules[0]


def condition(keys: str) -> Condition:
    [found] = rule(keys).conditions
    return found


def codes(keys: str, **options: object) -> list[tuple[str, Level]]:
    findings = rulefile.parse(f"rules: [{{name: a, {keys}}}]", "a.yaml", **options)[1]  # type: ignore[arg-type]
    return [(finding.code, finding.level) for finding in findings]


@pytest.mark.parametrize(
    ("metric", "keys", "window", "unit", "subject"),
    [
        ("cpu_usage", "", None, "percent", "cpu_usage.percent"),
        ("disk_io.reads", "", None, "per second", "disk_io.reads"),
        ("cpu_usage", "over: 10m", Window(over=600, stat=Stat.AVG), "percent", "avg of cpu_usage.percent over 10m"),
        ("disk_io.reads", "over: 2m", Window(over=120, stat=Stat.RATE), "per second", "rate of disk_io.reads over 2m"),
        (
            "disk_io.read_bytes",
            "over: 1d, stat: delta",
            Window(over=86400, stat=Stat.DELTA),
            "bytes",
            "delta of disk_io.read_bytes over 1d",
        ),
        (
            "load_average.1m",
            "over: 1h, stat: p95",
            Window(over=3600, stat=Stat.PERCENTILE, parameter=95),
            "number",
            "p95 of load_average.1m over 1h",
        ),
        (
            "disk_usage.free",
            "over: 6h, stat: {time_to: 1GiB}",
            Window(over=21600, stat=Stat.TIME_TO, parameter=2**30),
            "seconds",
            "time until disk_usage.free reaches 1 GiB (line over 6h)",
        ),
        (
            "host.kernel",
            "over: 1h, stat: changes",
            Window(over=3600, stat=Stat.CHANGES),
            "number",
            "changes of host.kernel over 1h",
        ),
    ],
    ids=["gauge", "counter", "avg", "rate", "delta", "percentile", "time-to", "text"],
)
def test_a_window_says_what_is_taken_and_gives_it_a_unit(
    metric: str, keys: str, window: Window | None, unit: str, subject: str
) -> None:
    found = condition(f'metric: {metric}, comparator: ">", threshold: 5{", " if keys else ""}{keys}')
    assert (found.term.window, found.unit, found.subject) == (window, unit, subject)


@pytest.mark.parametrize(
    ("keys", "other", "unit", "subject"),
    [
        (
            "metric: memory_usage.free, relative_to: memory_usage.total, threshold: 5%",
            Term(metric=Metric("memory_usage", "total")),
            "percent",
            "memory_usage.free relative to memory_usage.total",
        ),
        (
            "metric: network_io.rx_errors, over: 2m, relative_to: network_io.rx_packets, threshold: 5%",
            Term(metric=Metric("network_io", "rx_packets"), window=Window(over=120, stat=Stat.RATE)),
            "percent",
            "rate of network_io.rx_errors over 2m relative to that of network_io.rx_packets",
        ),
        (
            "metric: cpu_usage, over: 5m, relative_to: {over: 1d}, threshold: 5%",
            Term(metric=Metric("cpu_usage", "percent"), window=Window(over=86400, stat=Stat.AVG)),
            "percent",
            "avg of cpu_usage.percent over 5m relative to that over 1d",
        ),
        (
            "metric: cpu_usage, relative_to: {over: 1d, stat: max}, threshold: 5%",
            Term(metric=Metric("cpu_usage", "percent"), window=Window(over=86400, stat=Stat.MAX)),
            "percent",
            "cpu_usage.percent relative to its max over 1d",
        ),
        (
            "metric: disk_io.read_time, relative_to: {metric: disk_io.reads}, threshold: 5ms",
            Term(metric=Metric("disk_io", "reads")),
            "seconds",
            "disk_io.read_time relative to disk_io.reads",
        ),
    ],
    ids=["metric", "same-window", "past", "peak", "other-unit"],
)
def test_relative_to_divides_by_a_metric_or_by_another_window(keys: str, other: Term, unit: str, subject: str) -> None:
    found = condition(f'{keys}, comparator: ">"')
    assert (found.relative_to, found.unit, found.subject) == (other, unit, subject)


def test_the_threshold_of_a_percentage_of_two_metrics_is_in_percent() -> None:
    keys = 'metric: memory_usage.free, relative_to: memory_usage.total, comparator: "<", threshold: 20%, clear: 30%'
    assert (condition(keys).threshold, condition(keys).clear) == (20.0, 30.0)


@pytest.mark.parametrize(
    ("keys", "threshold"),
    [
        ('metric: memory_usage.free, comparator: outside, threshold: [1KiB, "5"]', (5.0, 1024.0)),
        ("metric: memory_usage.free, comparator: between, threshold: [1KiB, 1MB]", (1024.0, 1_000_000.0)),
        ('metric: host.os, comparator: "==", threshold: Debian', "Debian"),
        ("metric: host.os, comparator: matches, threshold: Debian .*", "Debian .*"),
        ("metric: host.os, comparator: absent", None),
    ],
    ids=["reversed", "pair", "text", "pattern", "none"],
)
def test_a_threshold_is_a_number_a_pair_a_text_or_nothing(keys: str, threshold: object) -> None:
    if threshold == (5.0, 1024.0):
        assert codes(keys) == [("wrong-threshold", Level.ERROR)]
    else:
        assert condition(keys).threshold == threshold


def test_changed_looks_at_the_last_five_minutes_unless_told_otherwise() -> None:
    assert condition("metric: host.os, comparator: changed").term.window == Window(over=300, stat=Stat.CHANGES)
    found = condition("metric: host.os, comparator: changed, over: 1h")
    assert (found.term.window, found.subject) == (Window(over=3600, stat=Stat.CHANGES), "host.os")


def test_levels_are_steps_and_take_their_clocks_from_the_rule() -> None:
    found = rule(
        'metric: cpu_usage, comparator: ">", duration: 1m, clear_duration: 2m, action: ops, levels: ['
        "{severity: warning, threshold: 80, clear: 70},"
        "{severity: critical, threshold: 95, duration: 0, clear_duration: 5m, action: boss}]"
    )
    assert (found.conditions[0].threshold, found.conditions[0].clear) == (None, None)
    assert found.steps == (
        Step(severity=Severity.WARNING, threshold=80.0, clear=70.0, duration=60.0, clear_duration=120.0),
        Step(
            severity=Severity.CRITICAL,
            threshold=95.0,
            clear_duration=300.0,
            actions=(Notify(channel="boss"),),
        ),
    )
    assert found.actions == (Notify(channel="ops"),)


@pytest.mark.parametrize("word", ["all", "any"])
def test_several_conditions_have_one_step_without_a_threshold(word: str) -> None:
    found = rule(
        f'{word}: [{{metric: cpu_usage, comparator: ">", threshold: 90, clear: 80}},'
        ' {metric: disk_usage.free, comparator: "<", threshold: 1KB}], severity: critical, duration: 1m'
    )
    assert [(str(one.metric), one.threshold, one.clear) for one in found.conditions] == [
        ("cpu_usage.percent", 90.0, 80.0),
        ("disk_usage.free", 1000.0, None),
    ]
    assert (found.join, found.steps) == (Join(word), (Step(severity=Severity.CRITICAL, duration=60.0),))


def test_across_judges_a_number_made_of_the_members() -> None:
    found = rule(
        'metric: cpu_usage, comparator: ">=", threshold: 50%,'
        ' across: {of: hosts, by: role, stat: percent, where: {comparator: ">", threshold: 90}}'
    )
    assert found.across == Across(of=Of.HOSTS, by="role", stat=Total.PERCENT, comparator=Comparator.GT, threshold=90.0)
    assert found.conditions[0].unit == "percent"
    assert found.conditions[0].subject == "percent of cpu_usage.percent across hosts by role where > 90"


@pytest.mark.parametrize(
    ("stat", "unit"),
    [("sum", "bytes"), ("avg", "bytes"), ("min", "bytes"), ("max", "bytes"), ("count", "number")],
)
def test_a_number_made_of_members_has_their_unit_unless_it_counts_them(stat: str, unit: str) -> None:
    keys = f'metric: memory_usage.free, comparator: "<", threshold: 5, across: {{of: hosts, stat: {stat}}}'
    assert condition(keys).unit == unit


def test_a_sum_of_flags_is_a_number() -> None:
    assert (
        condition('metric: host.alive, comparator: "<", threshold: 3, across: {of: hosts, stat: sum}').unit == "number"
    )


def test_across_instances_means_each_instance_unless_some_are_named() -> None:
    assert rule(f"{SIMPLE}, across: {{of: instances, stat: min}}").instances == ("*",)
    assert rule(f'{SIMPLE}, instances: "1*", across: {{of: instances, stat: min}}').instances == ("1*",)


def test_who_names_instances_that_are_left_out_means_all_others() -> None:
    found = rule(f'{SIMPLE}, not_instances: ["0", "1"], not_hosts: {{role: lab}}')
    assert (found.instances, found.not_instances) == (("*",), ("0", "1"))
    assert found.not_hosts == (HostMatch(labels={"role": "lab"}),)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("alert", NoData(then=Quiet.ALERT)),
        ("{after: 1m}", NoData(after=60.0)),
        ("{after: 1m, then: resolve}", NoData(after=60.0, then=Quiet.RESOLVE)),
        ("{then: alert}", NoData(then=Quiet.ALERT)),
    ],
)
def test_no_data_is_a_word_or_a_mapping(written: str, expected: NoData) -> None:
    assert rule(f"{SIMPLE}, no_data: {written}").no_data == expected


def test_instances_that_are_gone_are_closed_unless_they_must_be_there() -> None:
    keys = 'metric: disk_usage, comparator: ">", threshold: 90'
    assert not rule(keys).keeps_gone
    assert not rule(f"{keys}, instance_gone: close").keeps_gone
    assert rule(f"{keys}, instance_gone: keep").keeps_gone


def test_overrides_say_only_what_is_different() -> None:
    found = rule(
        'metric: disk_usage, comparator: ">", threshold: 90, overrides: ['
        "{hosts: db*, threshold: 95, clear: 85}, {instances: [/a, /b], duration: 0, severity: info, action: ops}]"
    )
    assert found.overrides == (
        Override(hosts=(HostMatch(glob="db*"),), threshold=95.0, clear=85.0),
        Override(instances=("/a", "/b"), duration=0.0, severity=Severity.INFO, actions=(Notify(channel="ops"),)),
    )


def test_reminders_escalations_and_flapping_are_read() -> None:
    found = rule(
        f"{SIMPLE}, repeat: [15m, 1h], escalate: [{{after: 30m, action: boss}}, {{after: 1h, action: {{run: ls}}}}],"
        " flap: {changes: 5, within: 10m}"
    )
    assert found.repeat == (900.0, 3600.0)
    assert found.escalate == (
        Escalation(after=1800.0, actions=(Notify(channel="boss"),)),
        Escalation(after=3600.0, actions=(Run(command="ls"),)),
    )
    assert found.flap == Flap(changes=5, within=600.0)
    assert rule(f"{SIMPLE}, repeat: 4h, escalate: {{after: 1d, action: boss}}").repeat == (14400.0,)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{days: mon-fri}", Schedule(days=frozenset({0, 1, 2, 3, 4}))),
        ("{days: fri-mon}", Schedule(days=frozenset({4, 5, 6, 0}))),
        ("{days: [sat, 'mon,wed-thu']}", Schedule(days=frozenset({5, 0, 2, 3}))),
        ("{days: mon-mon}", Schedule(days=frozenset({0}))),
        ('{hours: "22:00-06:30"}', Schedule(hours=((79200.0, 23400.0),))),
        ('{hours: ["13:00-24:00", "8:00-12:00"]}', Schedule(hours=((28800.0, 43200.0), (46800.0, 86400.0)))),
        (
            '{days: sun, hours: "00:00-24:00", timezone: Europe/Berlin}',
            Schedule(days=frozenset({6}), hours=((0.0, 86400.0),), timezone="Europe/Berlin"),
        ),
    ],
)
def test_a_schedule_has_days_and_spans_of_the_day(written: str, expected: Schedule) -> None:
    assert rule(f"{SIMPLE}, schedule: {written}").schedule == expected


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/localtime", "America", "", "x" * 99, "Nowhere/Land"])
def test_a_time_zone_that_is_none_is_a_finding_whatever_it_is(name: str) -> None:
    [(code, _)] = codes(f'{SIMPLE}, schedule: {{days: mon, timezone: "{name}"}}')
    assert code == ("wrong-value" if not name else "unknown-timezone")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ('metric: cpu_usage, comparator: ">", threshold: 101', "threshold-range"),
        ('metric: network_io.up, comparator: "==", threshold: 2', "threshold-range"),
        ('metric: cpu_usage, comparator: ">", threshold: 100', "never-fires"),
        ('metric: memory_usage.free, comparator: "<", threshold: 0', "never-fires"),
        ("metric: cpu_usage, comparator: outside, threshold: [0, 100]", "never-fires"),
        ('metric: network_io.up, comparator: ">=", threshold: 0', "always-fires"),
        ("metric: cpu_usage, comparator: between, threshold: [0, 100]", "always-fires"),
        ('metric: cpu_usage, comparator: "==", threshold: 50', "exact-number"),
        (f"{SIMPLE}, duration: 2s", "short-duration"),
        (f"{SIMPLE}, clear_duration: 2s", "short-duration"),
        (f"{SIMPLE}, over: 6s", "short-window"),
        (f"{SIMPLE}, no_data: {{after: 6s}}", "early-no-data"),
        (f"{SIMPLE}, flap: {{changes: 10, within: 20s}}", "short-flap"),
        (f"{SIMPLE}, duration: 1h, repeat: 10m", "early-repeat"),
        (f"{SIMPLE}, action: [ops, {{notify: chat, at: repeated}}]", "mute-action"),
        (f"{SIMPLE}, action: [ops, {{notify: chat, at: escalated}}]", "mute-action"),
        (f"{SIMPLE}, severity: critical, action: {{notify: ops, at: firing}}", "no-end"),
        (
            'metric: cpu_usage, comparator: ">", levels: [{severity: info, threshold: 100}]',
            "never-fires",
        ),
        (f"{SIMPLE}, overrides: [{{hosts: b, threshold: 150}}]", "threshold-range"),
    ],
)
def test_a_right_rule_that_hardly_does_what_was_meant_is_told_so(keys: str, code: str) -> None:
    assert codes(keys) == [(code, Level.ADVICE)]


def test_what_is_short_depends_on_the_sampler_s_own_intervals() -> None:
    second = dict.fromkeys(FAMILIES, 1.0)
    for keys in (f"{SIMPLE}, duration: 2s", f"{SIMPLE}, over: 2s", f"{SIMPLE}, no_data: {{after: 3s}}"):
        assert codes(keys, intervals=second) == []
        assert codes(keys) != []


def test_urls_in_rules_are_checked_by_whom_the_caller_names_and_reported_in_their_place() -> None:
    text = f"rules:\n  - {{name: a, {SIMPLE}, action: [ops, 'json://good', {{notify: 'json://u:hunter2@bad'}}]}}\n"
    asked: list[str] = []

    def check(url: str) -> str:
        asked.append(url)
        return "no such host as json://u:hunter2@bad" if "bad" in url else ""

    rules, [finding] = rulefile.parse(text, "a.yaml", check_url=check)
    assert rules == ()
    assert asked == ["json://good", "json://u:hunter2@bad"]
    assert (finding.code, finding.line, finding.column) == ("wrong-url", 2, text.splitlines()[1].index("'json://u") + 1)
    assert "hunter2" not in repr(finding)


def test_defaults_that_cannot_stand_beside_a_rule_s_own_keys_are_left_out() -> None:
    text = f"""
defaults: {{{SIMPLE}, severity: info, instances: "*"}}
rules:
  - {{name: plain}}
  - {{name: memory, metric: memory_usage}}
  - {{name: ladder, levels: [{{severity: warning, threshold: 80}}]}}
  - {{name: gone, comparator: absent}}
  - name: both
    all: [{{metric: swap_usage, comparator: ">", threshold: 1}}, {{metric: cpu_usage, comparator: ">", threshold: 2}}]
"""
    rules, findings = rulefile.parse(text, "a.yaml")
    assert findings == ()
    plain, memory, ladder, gone, both = rules
    assert (plain.instances, memory.instances) == (("*",), None)
    assert [step.severity for step in ladder.steps] == [Severity.WARNING]
    assert (gone.conditions[0].threshold, gone.severity) == (None, Severity.INFO)
    assert len(both.conditions) == 2


@pytest.mark.parametrize(
    "keys",
    [
        "over: 5m",
        "clear: 80",
        "not_hosts: db*",
        "instances: '1'",
        "not_instances: '1'",
        "duration: 5m, within: 10m",
        "across: {of: hosts, stat: avg}",
        "across: {of: hosts, stat: max}",
        "relative_to: {over: 1d}",
        "overrides: [{hosts: a, threshold: 95}]",
    ],
)
def test_the_digest_changes_with_each_key_of_the_condition(keys: str) -> None:
    threshold = "95%" if "relative" in keys else "95"
    plain = f'metric: cpu_usage, comparator: ">", threshold: {threshold}'
    base = rule('metric: cpu_usage, comparator: ">", threshold: 95').digest
    assert rule(f"{plain}, {keys}").digest != base


@pytest.mark.parametrize(
    "keys",
    [
        "clear_duration: 5m",
        "no_data: alert",
        "repeat: 1h",
        "escalate: {after: 1h, action: ops}",
        "flap: {changes: 3, within: 1h}",
        "schedule: {days: mon}",
        "runbook: x",
        "overrides: [{hosts: a, duration: 1h}]",
    ],
)
def test_the_digest_stays_with_keys_that_are_not_of_the_condition(keys: str) -> None:
    assert rule(f"{SIMPLE}, {keys}").digest == rule(SIMPLE).digest


def test_the_digest_of_levels_covers_their_thresholds_and_not_their_clocks() -> None:
    def of(threshold: int, rest: str = "") -> str:
        return rule(
            f'metric: cpu_usage, comparator: ">", levels: [{{severity: warning, threshold: {threshold}{rest}}}]'
        ).digest

    assert of(80) == of(80, ", duration: 5m, action: ops")
    assert len({of(80), of(81), of(80, ", clear: 70")}) == 3


def test_all_and_any_of_the_same_conditions_have_digests_of_their_own() -> None:
    both = '[{metric: cpu_usage, comparator: ">", threshold: 1}, {metric: swap_usage, comparator: ">", threshold: 1}]'
    assert rule(f"all: {both}").digest != rule(f"any: {both}").digest


def pool() -> dict[str, list[Any]]:
    """All values that the corpus has for each key of a rule, right and wrong."""
    found: dict[str, list[Any]] = {}
    for path in sorted((Path(__file__).parent / "rules").glob("*/*.yaml")):
        data = documents.parse(path.read_bytes(), path.name, "rules")[0].data
        if isinstance(data, dict) and isinstance(data.get("rules"), list):
            for raw in [data.get("defaults", {}), *data["rules"]]:
                for key, value in raw.items() if isinstance(raw, dict) else ():
                    values = found.setdefault(key, [])
                    if value not in values:
                        values.append(value)
    return {key: values for key, values in found.items() if key not in ("name", "runbook", "summary", "description")}


POOL = pool()
ANY_KEYS = st.dictionaries(st.sampled_from(sorted(POOL)), st.integers(0, 10_000), max_size=9)


@given(ANY_KEYS, ANY_KEYS)
@settings(max_examples=400, deadline=None)
def test_no_combination_of_keys_raises_and_what_is_wrong_has_a_place_and_a_cure(
    own: dict[str, int], defaults: dict[str, int]
) -> None:
    def chosen(picks: dict[str, int]) -> dict[str, Any]:
        return {key: POOL[key][index % len(POOL[key])] for key, index in picks.items()}

    text = json.dumps({"defaults": chosen(defaults), "rules": [{**chosen(own), "name": "a"}]}, indent=1)
    rules, findings = rulefile.parse(text, "a.yaml")
    is_wrong = any(finding.level is Level.ERROR for finding in findings)
    assert len(rules) == (0 if is_wrong else 1)
    for finding in findings:
        assert 1 <= finding.line <= text.count("\n") + 1
        assert finding.message
        assert finding.expected or finding.hint


def test_the_digest_of_a_set_sees_every_key_and_not_how_a_default_is_written() -> None:
    plain = rulefile.digest([rule(SIMPLE)])
    assert rulefile.digest([rule(f"{SIMPLE}, duration: 0s, severity: warning")]) == plain
    for keys in ("repeat: 1h", "flap: {changes: 3, within: 1h}", "schedule: {days: mon}", "no_data: alert"):
        assert rulefile.digest([rule(f"{SIMPLE}, {keys}")]) != plain
