"""Backtests: samples of the past, as rows, CSV and JSONL, played to rules; reports and comparisons."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from zkalert import replay, rulefile
from zkalert.backtest import (
    Backtest,
    Choice,
    Message,
    Need,
    Past,
    Report,
    Series,
    Source,
    compare,
    from_rows,
    from_text,
    memory_of,
    needs_of,
    stand_ins,
    tolerances,
)
from zkalert.backtest.past import MOST_TOLD
from zkalert.backtest.show import Result, as_json, as_text, damage
from zkalert.model import HostInfo, Rule, Sample, Severity, ZkalertError
from zkalert.tree import encode_sample

START = 1_795_000_000.0

HIGH = """
rules:
  - name: memory-high
    metric: memory_usage.percent
    comparator: ">"
    threshold: 90
    duration: 20s
    severity: warning
    action: ops
"""


def rules_of(text: str) -> tuple[Rule, ...]:
    rules, findings = rulefile.parse(text, "rules.yaml")
    assert rules, findings
    return rules


def memory(percents: Iterable[float], *, start: float = START, interval: float = 5.0) -> list[Sample]:
    return [
        Sample(
            family="memory_usage",
            at=start + index * interval,
            interval=interval,
            max_age=max(3 * interval, 10.0),
            values={"percent": percent, "available": 2**30},
        )
        for index, percent in enumerate(percents)
    ]


def rows(samples: Iterable[Sample], host: str = "web1") -> list[tuple[int, str, str, str]]:
    return [
        (index, host, sample.family, encode_sample(sample).decode()) for index, sample in enumerate(samples, start=1)
    ]


def choice(rules: Sequence[Rule], **rest: float) -> Choice:
    return Choice(needs=needs_of(rules), **rest)  # type: ignore[arg-type]


def played(rules: Sequence[Rule], pasts: Iterable[Past], since: float | None = None) -> Report:
    backtest = Backtest(rules, channels=stand_ins(rules), since=since)
    for past in pasts:
        backtest.play(past)
    return backtest.report()


def report(text: str, samples: Iterable[Sample], since: float | None = None) -> Report:
    rules = rules_of(text)
    return played(rules, from_rows(rows(samples), choice(rules), Source(name="history", noun="row")), since)


def phases(found: Report) -> list[tuple[float, str, str]]:
    return [(message.at - START, message.phase, message.why) for message in found.messages]


# Episodes and messages.


def test_an_episode_has_its_times_its_peak_and_its_messages() -> None:
    found = report(HIGH, memory([50, 95, 96, 97.5, 96, 95, 95, 50, 50]))
    (episode,) = found.episodes
    assert episode.series == Series("memory-high", "web1", None)
    assert (episode.began - START, episode.ended) == (25.0, START + 35)
    assert (episode.peak, episode.severity) == ("97.5%", Severity.WARNING)
    assert phases(found) == [(25.0, "firing", ""), (35.0, "resolved", "")]
    assert [message.channels for message in found.messages] == [("ops",), ("ops",)]
    (rule,) = found.rules
    assert rule.sent == {"firing": 1, "resolved": 1}
    assert (rule.firing_for, rule.share) == (10.0, 0.25)
    assert rule.nearly == 0


def test_what_held_too_short_is_counted_apart_from_what_fired() -> None:
    (rule,) = report(HIGH, memory([95, 95, 50, 95, 95, 95, 50])).rules
    assert rule.episodes == ()
    assert (rule.nearly, rule.nearly_for) == (2, 10.0)


def test_what_fires_still_at_the_end_is_said_to() -> None:
    found = report(HIGH, memory([95] * 10))
    (episode,) = found.episodes
    assert episode.ended is None
    assert found.rules[0].still_firing == 1
    assert found.rules[0].firing_for == 25.0
    text = "\n".join(as_text(Result(report=found, sources=())))
    assert "still firing at the end: memory-high, web1, warning, since 2026-11-18 11:07:00" in text


def test_withheld_messages_have_their_reason() -> None:
    text = """
rules:
  - {name: exhausted, metric: memory_usage.percent, comparator: ">", threshold: 95, severity: critical, action: ops}
  - {name: high, metric: memory_usage.percent, comparator: ">", threshold: 90, severity: warning, action: ops,
     inhibited_by: [exhausted]}
"""
    found = report(text, memory([50, 97, 97, 97, 50]))
    exhausted, high = found.rules
    assert exhausted.sent == {"firing": 1, "resolved": 1}
    assert high.sent == {}
    assert high.withheld == {"inhibited by exhausted": 1, "never told": 1}
    assert len(high.episodes) == 1


def test_instances_and_counters_are_judged_as_by_the_engine() -> None:
    text = """
rules:
  - {name: full, metric: disk_usage.percent, comparator: ">", threshold: 95, severity: warning}
  - {name: busy, metric: network_io.rx_bytes, comparator: ">", threshold: 1MB/s, severity: warning}
"""
    samples = []
    for index, (data, total) in enumerate([(90, 0), (97, 10**6), (97, 10**9), (50, 10**9 + 1)]):
        at = START + 5 * index
        of = {"at": at, "interval": 5.0, "max_age": 15.0}
        samples += [
            Sample(
                family="disk_usage",
                instances={"/": {"percent": 10.0}, "/data": {"percent": data}},
                labels={"/": {"fstype": "ext4"}},
                **of,  # type: ignore[arg-type]
            ),
            Sample(family="network_io", instances={"eth0": {"rx_bytes": total}}, **of),  # type: ignore[arg-type]
        ]
    found = report(text, samples)
    spans = {one.series: (one.began - START, (one.ended or 0) - START) for one in found.episodes}
    assert spans == {Series("full", "web1", "/data"): (5.0, 15.0), Series("busy", "web1", "eth0"): (10.0, 15.0)}


def test_a_rule_that_had_nothing_to_look_at_says_so() -> None:
    text = """
rules:
  - {name: swap, metric: swap_usage.percent, comparator: ">", threshold: 1, severity: info}
  - {name: elsewhere, metric: memory_usage.percent, comparator: ">", threshold: 1, severity: info, hosts: [db*]}
  - {name: dead, metric: host.alive, comparator: "==", threshold: 0, severity: info}
"""
    notes = {rule.name: rule.notes for rule in report(text, memory([50, 50])).rules}
    assert notes == {
        "swap": ("no samples of swap_usage",),
        "elsewhere": ("it looks at none of these hosts",),
        "dead": ("a history does not say whether a host was alive",),
    }


MANY = """
rules:
  - {name: plain, metric: memory_usage.percent, comparator: ">", threshold: 70, duration: 10s, severity: info}
  - {name: clears, metric: memory_usage.percent, comparator: ">", threshold: 70, clear: 40, severity: info}
  - {name: held, metric: memory_usage.percent, comparator: "<", threshold: 20, clear_duration: 20s, severity: info}
  - {name: outside, metric: memory_usage.percent, comparator: outside, threshold: [10, 90], severity: info}
  - name: ladder
    metric: memory_usage.percent
    comparator: ">"
    levels: [{severity: info, threshold: 60}, {severity: critical, threshold: 80, duration: 10s}]
  - {name: silent, metric: memory_usage.percent, comparator: ">", threshold: 70, severity: info,
     no_data: {after: 12s, then: alert}}
  - {name: disks, metric: disk_usage.percent, comparator: ">", threshold: 70, severity: info, not_instances: [/a]}
  - {name: one-disk, metric: disk_usage.percent, comparator: ">", threshold: 50, severity: info,
     overrides: [{instances: [/b], threshold: 90}]}
  - {name: avg, metric: memory_usage.percent, over: 1m, stat: avg, comparator: ">", threshold: 60, severity: info}
  - {name: kernel, metric: host.kernel, comparator: "!=", threshold: "6.1", severity: info}
  - {name: swaps, metric: swap_usage.in, comparator: ">", threshold: 100, duration: 10s, severity: info}
  - name: received
    metric: network_io.rx_bytes
    instances: "*"
    not_instances: [eth1]
    comparator: ">"
    levels: [{severity: info, threshold: 100, clear: 50}, {severity: critical, threshold: 150}]
  - {name: sent, metric: network_io.tx_bytes, instances: "*", comparator: "<", threshold: 40, duration: 10s,
     severity: info}
"""


@pytest.mark.parametrize("seed", range(5))
def test_rules_that_are_asked_only_when_it_matters_say_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that see every sample are the measure for those that see only the samples that concern them."""
    chance = random.Random(seed)
    samples: list[Sample] = []
    counts: dict[str, float] = defaultdict(float)

    def counted(name: str) -> float:
        """The next value of a counter, which starts anew now and then."""
        counts[name] = chance.randrange(1000) + (counts[name] if chance.random() < 0.95 else 0)
        return counts[name]

    for index in range(400):
        of: dict[str, Any] = {"at": START + 5 * index, "interval": 5.0, "max_age": 15.0}
        if chance.random() < 0.9:
            samples.append(Sample(family="memory_usage", values={"percent": chance.randrange(100)}, **of))
        disks = {name: {"percent": chance.randrange(100)} for name in ("/a", "/b", "/c") if chance.random() < 0.9}
        samples.append(Sample(family="disk_usage", instances=disks, **of))
        samples.append(Sample(family="host", values={"kernel": chance.choice(["6.1", "6.1", "6.2"])}, **of))
        if chance.random() < 0.9:
            swaps = {"in": counted("in")} if chance.random() < 0.9 else {}
            samples.append(Sample(family="swap_usage", values=swaps, **of))
        cards = {
            name: {"rx_bytes": counted(f"{name} rx"), "tx_bytes": counted(f"{name} tx")}
            for name in ("eth0", "eth1", "eth2")
            if chance.random() < 0.9
        }
        samples.append(Sample(family="network_io", instances=cards, **of))
    pruned = as_json(Result(report=report(MANY, samples), sources=()))
    monkeypatch.setattr(replay, "alarm_of", lambda _: None)
    assert pruned == as_json(Result(report=report(MANY, samples), sources=()))
    fired = {one["rule"] for one in pruned["rules"] if one["episodes"]}
    assert fired == {one.name for one in rules_of(MANY)}


def test_a_rate_needs_two_samples_since_its_rule_follows_the_host() -> None:
    rules = rules_of("""
rules:
  - {name: always, metric: swap_usage.in, comparator: ">", threshold: 100, severity: info}
  - {name: of-role, metric: swap_usage.in, comparator: ">", threshold: 100, severity: info, hosts: {role: web}}
""")
    run = replay.Replay(rules, channels=stand_ins(rules))

    def fired_after(index: int, count: int) -> set[str]:
        at = START + 5 * index
        run.sample("web1", Sample(family="swap_usage", at=at, interval=5.0, max_age=15.0, values={"in": count}), at)
        return {alert.rule for alert in run.alerts()}

    run.host(HostInfo(name="web1"), START)
    assert [fired_after(0, 0), fired_after(1, 400)] == [set(), set()]
    run.host(HostInfo(name="web1", labels={"role": "web"}), START + 6)
    assert fired_after(2, 1000) == {"always"}
    assert fired_after(3, 1600) == {"always", "of-role"}


# Since, and what lies before.

WINDOW = """
rules:
  - {name: avg-high, metric: memory_usage.percent, over: 1m, stat: avg, comparator: ">", threshold: 90,
     severity: warning}
"""


def test_windows_are_full_by_since_and_nothing_before_is_reported() -> None:
    rules = rules_of(WINDOW)
    samples = memory([95] * 60 + [95] * 4 + [10] * 30)
    since = START + 60 * 5
    early = since - memory_of(rules)
    warm = played(
        rules, from_rows(rows(one for one in samples if one.at >= early), choice(rules), Source(name="x")), since
    )
    assert [one.began < since for one in warm.episodes] == [True]
    assert [message.phase for message in warm.messages] == ["resolved"]
    assert warm.since == since
    assert warm.samples == 34
    whole = report(WINDOW, samples, since)
    assert phases(whole) == phases(warm)
    cold = report(WINDOW, [one for one in samples if one.at >= since])
    assert cold.episodes == []


def test_what_has_long_held_by_since_fired_before_it() -> None:
    rules = rules_of(HIGH.replace("20s", "5m"))
    since = START + 3600
    early = since - memory_of(rules)
    samples = [sample for sample in memory([95] * 900) if sample.at >= early]
    found = played(rules, from_rows(rows(samples), choice(rules), Source(name="x")), since)
    assert found.messages == []
    assert found.rules[0].share == 1.0


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ("", 0.0),
        ("over: 10m, stat: avg", 600.0),
        ("over: 10m, stat: avg, duration: 5m", 900.0),
        ("duration: 5m, clear_duration: 10m", 600.0),
        ("relative_to: {over: 1d, stat: max}", 86400.0),
        ("flap: {changes: 3, within: 2h}", 7200.0),
    ],
    ids=["nothing", "window", "window and duration", "clear_duration", "relative_to", "flap"],
)
def test_how_far_back_matters_follows_from_the_rules(keys: str, seconds: float) -> None:
    base = 'name: r, metric: memory_usage.percent, comparator: ">", threshold: 90%, severity: info'
    assert memory_of(rules_of(f"rules: [{{{base}{', ' + keys if keys else ''}}}]")) == seconds + 120


# The three forms.


def jsonl(samples: Iterable[Sample], host: str = "web1") -> list[str]:
    return [
        json.dumps({"host": host, "family": sample.family, **json.loads(encode_sample(sample))}) + "\n"
        for sample in samples
    ]


def csv_lines(samples: Iterable[Sample], host: str = "web1") -> list[str]:
    lines = ["time,host,family,instance,field,value\n"]
    for sample in samples:
        seconds = f"2026-11-18T11:{6 + int(sample.at - START + 40) // 60:02}:{(sample.at - START + 40) % 60:06.3f}Z"
        for instance, values in (("", sample.values), *sample.instances.items()):
            lines += [
                f"{seconds},{host},{sample.family},{instance},{field},{value}\n" for field, value in values.items()
            ]
    return lines


def test_rows_csv_and_jsonl_say_the_same() -> None:
    samples = memory([50, 95, 96, 97.5, 96, 95, 95, 50, 95, 95, 95, 95, 95, 95])
    rules = rules_of(HIGH)
    reports = [
        played(rules, from_rows(rows(samples), choice(rules), Source(name="x"))),
        played(rules, from_text(jsonl(samples), choice(rules), Source(name="x"))),
        played(rules, from_text(csv_lines(samples), choice(rules), Source(name="x"))),
    ]
    documents = [as_json(Result(report=one, sources=())) for one in reports]
    assert documents[0] == documents[1] == documents[2]
    assert [one["ended"] for one in documents[0]["episodes"]] == [START + 35, None]


def test_csv_takes_the_span_between_samples_from_their_times() -> None:
    """At a minute apart each sample speaks for three, so the duration is reached; at 5 s it would not be."""
    samples = memory([95] * 8, interval=60.0)
    rules = rules_of(HIGH.replace("20s", "3m"))
    found = played(rules, from_text(csv_lines(samples), choice(rules), Source(name="x")))
    assert len(found.episodes) == 1


@pytest.mark.parametrize("form", [jsonl, csv_lines], ids=["jsonl", "csv"])
def test_a_text_begins_with_a_mark_or_blank_lines_at_will(form: Callable[[Iterable[Sample]], list[str]]) -> None:
    lines = form(memory([95] * 3))
    lines[0] = "\ufeff" + lines[0]
    source = Source(name="x")
    assert len(list(from_text(["\n", *lines], choice(rules_of(HIGH)), source))) == 3
    assert source.damaged == 0


def test_damaged_lines_of_json_are_left_out_with_their_numbers() -> None:
    lines = jsonl(memory([95] * 8))
    lines[1] = "{torn\n"
    lines[2] = "[]\n"
    lines[3] = lines[3].replace("95", '"a text' + "t" * 300 + '"')
    lines[4] = lines[4].replace('"v": 1', '"v": 2')
    source = Source(name="web1.jsonl")
    found = list(from_text(lines, choice(rules_of(HIGH)), source))
    assert [past.at - START for past in found] == [0, 25, 30, 35]
    assert [place for place, _ in source.told] == [2, 3, 4, 5]
    assert damage(source).startswith("web1.jsonl: 4 lines cannot be used and left out: 2: no JSON; 3: no object with")


def test_damaged_lines_of_csv_are_left_out_with_their_numbers() -> None:
    lines = csv_lines(memory([95] * 5))
    lines[3] = "2026-11-18T11:06:45.000Z,web1,memory_usage\n"
    lines[5] = lines[5].replace("2026-11-18T", "yesterday ")
    lines[7] = lines[7].replace("95", "much")
    source = Source(name="web1.csv")
    found = list(from_text(lines, choice(rules_of(HIGH)), source))
    assert [past.sample.values.get("percent") for past in found] == [95, None, None, None, 95]
    assert source.told == [
        (4, "3 fields, expected time,host,family,instance,field,value"),
        (6, '"yesterday 11:06:50.000Z" is no time such as 2026-11-23T17:03:19.123Z'),
        (8, '"much" is no value of memory_usage.percent'),
    ]


def test_only_the_first_of_many_damaged_lines_are_told_all_are_counted() -> None:
    lines = [*jsonl(memory([95])), *["{\n"] * 100]
    source = Source(name="x")
    assert len(list(from_text(lines, choice(rules_of(HIGH)), source))) == 1
    assert (source.damaged, len(source.told)) == (100, MOST_TOLD)
    assert damage(source).endswith("; ...")


def test_a_damaged_row_is_left_out() -> None:
    found = rows(memory([95] * 3))
    found[1] = (2, "web1", "memory_usage", '{"v":1,"time":1795000005.0,"values":{"percent":NaN}}')
    source = Source(name="x", noun="row")
    pasts = list(from_rows(found, choice(rules_of(HIGH)), source))
    assert len(pasts) == 2
    assert source.told == [(2, "NaN is no finite number")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "x is empty"),
        (["\n", "  \n"], "x is empty"),
        (["a,b,c\n"], "x is no history"),
        (["{\n", "{\n"], "x: none of its lines can be used; line 1: no JSON"),
        (["time,host,family,instance,field,value\n", "1,2,3\n"], "x: none of its lines can be used; line 2: 3 fields"),
    ],
    ids=["nothing", "blank", "another form", "no JSON at all", "no CSV at all"],
)
def test_a_text_without_a_good_line_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(ZkalertError, match=said):
        list(from_text(lines, choice(rules_of(HIGH)), Source(name="x")))


def test_times_that_go_back_a_little_count_as_the_same_moment_and_others_are_left_out() -> None:
    samples = memory([95] * 6)
    moved = [samples[0], samples[3], samples[1], *memory([95], start=START - 3600), *memory([95], start=START + 1e9)]
    source = Source(name="x", noun="row")
    found = list(from_rows(rows([*moved, samples[4]]), choice(rules_of(HIGH)), source))
    assert [past.at - START for past in found] == [0, 15, 15, 20]
    assert [place for place, _ in source.told] == [4, 5]


def test_only_wanted_hosts_times_and_families_are_read() -> None:
    rules = rules_of(HIGH)
    wanted = Choice(needs=needs_of(rules), hosts=frozenset({"web2"}), since=START + 5, until=START + 10)
    other = Sample(family="uptime", at=START + 5, interval=30.0, max_age=90.0, values={"seconds": 1.0})
    lines = [*jsonl(memory([95] * 4)), *jsonl([*memory([95] * 4), other], "web2")]
    source = Source(name="x")
    found = list(from_text(lines, wanted, source))
    assert [(past.host, past.at - START) for past in found] == [("web2", 5), ("web2", 10)]
    assert (source.damaged, source.unwanted) == (0, 7)


@pytest.mark.parametrize(
    ("keys", "need"),
    [
        ("metric: cpu_usage.percent", Need(("percent",), by_instance=False)),
        ('metric: cpu_usage.percent, instances: "*"', Need(("percent",), by_instance=True)),
        ("metric: cpu_usage.user, relative_to: cpu_usage.percent", Need(("user", "percent"), by_instance=False)),
    ],
    ids=["whole", "instances", "quotient"],
)
def test_what_rules_read_is_known(keys: str, need: Need) -> None:
    text = f'rules: [{{name: r, {keys}, comparator: ">", threshold: 90%, severity: info}}]'
    assert needs_of(rules_of(text)) == {"cpu_usage": need}


def test_instances_that_nobody_reads_are_not_decoded_and_errors_are_kept() -> None:
    rules = rules_of('rules: [{name: r, metric: cpu_usage.percent, comparator: ">", threshold: 9, severity: info}]')
    plain = Sample(
        family="cpu_usage",
        at=START,
        interval=5.0,
        max_age=15.0,
        values={"percent": 10},
        instances={"0": {"percent": 1}},
    )
    failed = Sample(family="cpu_usage", at=START + 5, interval=5.0, max_age=15.0, errors=('x,"errors":y',))
    found = [past.sample for past in from_rows(rows([plain, failed]), choice(rules), Source(name="x"))]
    assert (found[0].values, found[0].instances) == ({"percent": 10}, {})
    assert found[1].errors == failed.errors


def test_hosts_are_told_apart() -> None:
    rules = rules_of(HIGH)
    one = from_rows(rows(memory([95] * 10)), choice(rules), Source(name="a"))
    other = from_rows(rows(memory([50] * 10), "web2"), choice(rules), Source(name="b"))
    merged = itertools.chain.from_iterable(zip(one, other, strict=True))
    found = played(rules, merged)
    assert found.hosts == ("web1", "web2")
    assert [episode.series.host for episode in found.episodes] == ["web1"]


# Comparison.


def difference(old: str, new: str, samples: Sequence[Sample]) -> dict[str, int]:
    was, is_ = report(old, samples), report(new, samples)
    found = compare(was, is_, tolerances(rules_of(old), rules_of(new)))
    return {
        "same": found.same,
        "moved": len(found.moved),
        "new": len(found.new),
        "gone": len(found.gone),
        "severities": len(found.severities),
    }


NONE = {"same": 0, "moved": 0, "new": 0, "gone": 0, "severities": 0}
FLUTTER = memory([50, *[95] * 6, *[50] * 20, *[95] * 20, *[50] * 3])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("", ""), {"same": 4}),
        (("20s", "5s"), {"same": 2, "moved": 2}),
        (("20s", "1m"), {"same": 1, "moved": 1, "gone": 2}),
        (("90", "99"), {"gone": 4}),
        (("warning", "critical"), {"severities": 4}),
        (("memory-high", "mem"), {"new": 4, "gone": 4}),
    ],
    ids=["nothing", "shorter", "longer", "never", "severity", "another name"],
)
def test_a_comparison_counts_what_is_new_gone_and_moved(change: tuple[str, str], expected: dict[str, int]) -> None:
    assert difference(HIGH, HIGH.replace(*change), FLUTTER) == NONE | expected


def message(at: float) -> Message:
    return Message(at=at, series=Series("r", "web1", None), phase="firing", severity=Severity.INFO, where="web1")


def sent(*moments: float) -> Report:
    (rule,) = report(HIGH, memory([1, 1])).rules
    messages = tuple(message(at) for at in moments)
    return Report(since=0, until=1, hosts=(), samples=0, rules=(replace(rule, name="r", messages=messages),))


def test_messages_are_paired_with_the_nearest_within_the_tolerance() -> None:
    found = compare(sent(100, 500), sent(70, 99, 560.5), {})
    assert [(one.at, other.at) for one, other in found.moved] == [(100, 99)]
    assert [one.at for one in found.new] == [70, 560.5]
    assert [one.at for one in found.gone] == [500]


def test_the_tolerance_is_the_longest_duration_of_either_wording() -> None:
    old, new = rules_of(HIGH), rules_of(HIGH.replace("20s", "10m"))
    assert tolerances(old, old) == {"memory-high": 60.0}
    assert tolerances(old, new) == {"memory-high": 600.0}


# Texts.


def test_the_text_has_a_table_and_with_v_each_episode_and_message() -> None:
    found = report(HIGH, memory([50, 95, 96, 97.5, 96, 95, 95, 50, 50]))
    short = list(as_text(Result(report=found, sources=())))
    assert short[:2] == [
        "2026-11-18 11:06:40 to 2026-11-18 11:07:20 UTC (40s): 9 samples of web1, 1 rule",
        "2 messages: 1 firing, 1 resolved",
    ]
    assert "to ops: 2" in short
    assert any(line.split()[:6] == ["memory-high", "1", "10s", "25.0%", "2", "0"] for line in short)
    long = "\n".join(as_text(Result(report=found, sources=()), is_long=True))
    assert "2026-11-18 11:07:05  2026-11-18 11:07:15  10s  warning   memory-high  web1   97.5%" in long
    assert "2026-11-18 11:07:05  firing    warning   memory-high  web1   ops" in long


def test_names_in_texts_cannot_steer_a_terminal() -> None:
    rules = rules_of(HIGH)
    found = played(rules, from_rows(rows(memory([95] * 10), "\x1b[2Jweb1"), choice(rules), Source(name="x")))
    assert "\x1b" not in "".join(as_text(Result(report=found, sources=()), is_long=True))
