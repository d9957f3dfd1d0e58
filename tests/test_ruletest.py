"""Unit tests of rules: what a test document may say, what its tests come to, and how failures are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert import documents, rulefile, ruletest
from zkalert.metrics import FAMILIES, Field, field_of, parse_metric
from zkalert.model import Finding, Phase, State, Value
from zkalert.ruletest import words

HERE = Path(__file__).parent
PASSING, FAILING, BAD = (sorted((HERE / "ruletests" / kind).glob("*")) for kind in ("passing", "failing", "bad"))
PACKS = sorted(documents.shipped("rules").glob("*.yaml"))
EXPECT = re.compile(r"# expect: (\d+):(\d+) ([a-z0-9-]+): (.*)")
FIELDS = [field for family in FAMILIES.values() for field in family.fields.values()]
FAILS = re.compile(r"# fails: ([a-z0-9-]+): (.*)")


def read(path: Path) -> tuple[ruletest.Suite | None, tuple[Finding, ...], tuple[ruletest.Result, ...]]:
    """A test file as the command takes it: its suite, its findings, what its tests come to."""
    suite, found = ruletest.parse(path.read_bytes(), path.name)
    if suite is None:
        return None, found, ()
    rules = suite.rules
    if suite.files:
        loaded = rulefile.load(path.parent / file for file, _ in suite.files)
        assert loaded.is_usable, loaded.findings
        rules = loaded.rules
    found = ruletest.link(suite, rules)
    return suite, found, () if found else tuple(ruletest.run(suite, one, rules) for one in suite.tests)


def of(text: str) -> tuple[ruletest.Result, ...]:
    """What the tests of a text come to."""
    suite, found = ruletest.parse(text, "a.test.yaml")
    assert suite is not None, found
    assert ruletest.link(suite, suite.rules) == ()
    return tuple(ruletest.run(suite, one, suite.rules) for one in suite.tests)


@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.name.partition(".")[0])
def test_what_should_pass_passes(path: Path) -> None:
    suite, found, results = read(path)
    assert suite is not None
    assert found == ()
    assert len(results) == len(suite.tests) > 0
    assert [failure.finding.message for result in results for failure in result.failures] == []


@pytest.mark.parametrize("path", FAILING, ids=lambda path: path.name.partition(".")[0])
def test_what_should_fail_fails_at_its_line_and_says_what_came(path: Path) -> None:
    _, found, results = read(path)
    assert found == ()
    wanted = {
        number: match.groups()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := FAILS.search(line))
    }
    failures = {failure.finding.line: failure for result in results for failure in result.failures}
    assert sum(len(result.failures) for result in results) == len(failures)
    assert failures.keys() == wanted.keys()
    for line, (code, message) in wanted.items():
        finding = failures[line].finding
        assert finding.code == code
        assert message in finding.message
        assert finding.expected
        assert failures[line].details
    assert all(result.failures for result in results), "a test without a failure has no place in this folder"


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name.partition(".")[0])
def test_a_bad_file_has_the_one_finding_that_its_comment_expects(path: Path) -> None:
    _, found, results = read(path)
    assert results == ()
    (wanted,) = [match.groups() for line in path.read_text().splitlines() if (match := EXPECT.search(line))]
    assert [(str(one.line), str(one.column), one.code, one.message) for one in found] == [wanted]
    assert found[0].expected or found[0].hint


def test_the_corpus_is_there() -> None:
    assert len(PASSING) >= 15
    assert len(FAILING) >= 3
    assert len(BAD) >= 50


# The shipped packs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.stem)
def test_each_shipped_rule_is_shown_to_fire_to_stay_quiet_and_to_resolve(pack: Path) -> None:
    """By expectations that hold: a message of each phase, and a test about the rule in which it says nothing."""
    suite, found, results = read(HERE / "packs" / f"{pack.stem}.test.yaml")
    assert suite is not None
    assert found == ()
    assert [failure.finding.message for result in results for failure in result.failures] == []
    told = {
        (message.rule, phase)
        for test in suite.tests
        for message in test.messages or ()
        for phase in message.phases or ()
    }
    quiet = {
        state.rule
        for test in suite.tests
        if test.messages == ()
        for state in test.states
        if state.state is State.INACTIVE
    }
    for rule in rulefile.load([pack]).rules:
        assert (rule.name, Phase.FIRING) in told, f"no test shows that {rule.name} fires"
        assert (rule.name, Phase.RESOLVED) in told, f"no test shows that {rule.name} resolves"
        assert rule.name in quiet, f"no test shows that {rule.name} stays quiet"


# The notation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "text", "values"),
    [
        ("memory_usage.percent", "95", [95]),
        ("memory_usage.percent", "95%", [95]),
        ("memory_usage.percent", "95.5x3", [95.5, 95.5, 95.5]),
        ("memory_usage.percent", "0+10x5", [0, 10, 20, 30, 40]),
        ("memory_usage.percent", "100-5x3", [100, 95, 90]),
        ("memory_usage.percent", "-5-1x3", [-5, -6, -7]),
        ("memory_usage.percent", "+5+1%x2", [5, 6]),
        ("memory_usage.percent", "98+0.5x3", [98, 98.5, 99]),
        ("memory_usage.percent", "1e1 1e+1x2 1e-1", [10, 10, 10, 0.1]),
        ("memory_usage.percent", "1e1+1e0x2", [10, 11]),
        ("memory_usage.percent", "_ 5 _x2", [None, 5, None, None]),
        ("memory_usage.percent", " 1\n\t2 ", [1, 2]),
        ("memory_usage.free", "2GiB 1kB+1kBx2", [2**31, 1000, 2000]),
        ("network_io.rx_bytes", "0+10MBx2", [0, 10_000_000]),
        ("uptime.seconds", "1h30m 5m+30x2 90sx2", [5400, 300, 330, 90, 90]),
        ("uptime.seconds", "1h30m+1m30sx2", [5400, 5490]),
        ("disk_usage.error", "0 1", [0, 1]),
        ("host.os", "'a b'x2 _ 'it''s' ''", ["a b", "a b", None, "it's", ""]),
        ("host.os", "'x5'x2", ["x5", "x5"]),
    ],
)
def test_values_are_written_shortly(metric: str, text: str, values: list[Value | None]) -> None:
    assert list(ruletest.parse_values(text, field_of(parse_metric(metric)), most=100)) == pytest.approx(values)


@pytest.mark.parametrize(("text", "last"), [("0+0.1x100000", 9999.9), ("0+58.2x13", 698.4), ("1-0.1x8", 0.3)])
def test_a_rising_series_ends_at_the_number_that_would_be_written(text: str, last: float) -> None:
    assert ruletest.parse_values(text, field_of(parse_metric("memory_usage")), most=100_000)[-1] == last


def test_the_bound_counts_what_stands_before() -> None:
    field = field_of(parse_metric("memory_usage"))
    assert len(ruletest.parse_values("5x9 1", field, most=10)) == 10
    with pytest.raises(ruletest.NotationError) as caught:
        ruletest.parse_values("5x9 1x2", field, most=10)
    assert (caught.value.at, caught.value.expected) == (4, "1 more at most")


def values_or_error(text: str, field: Field) -> tuple[Value | None, ...] | ruletest.NotationError:
    try:
        return ruletest.parse_values(text, field, most=1000)
    except ruletest.NotationError as error:
        return error


@given(st.text(alphabet="0159xx++--__..''eE%GiBsmh \t", max_size=30), st.sampled_from(FIELDS))
@settings(max_examples=500)
def test_any_text_is_values_or_an_error_with_its_place(text: str, field: Field) -> None:
    found = values_or_error(text, field)
    if isinstance(found, tuple):
        assert 0 < len(found) <= 1000
    else:
        assert 0 <= found.at <= len(text)
        assert str(found)


def test_a_count_of_a_hundred_thousand_digits_is_refused_at_once() -> None:
    with pytest.raises(ruletest.NotationError, match="more values"):
        ruletest.parse_values("5x" + "9" * 100_000, field_of(parse_metric("memory_usage")), most=1000)


# Times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "0.25s"),
        (59.999, "59.999s"),
        (90, "1m30s"),
        (3600, "1h"),
        (3905, "1h5m5s"),
        (86400.5, "1d0.5s"),
    ],
)
def test_moments_are_told_to_the_millisecond(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


HOT = (
    'rules:\n  - {name: hot, metric: memory_usage, comparator: ">", threshold: 90, action: ops}\ntests:\n  - name: a\n'
)


def test_tests_do_not_know_of_each_other() -> None:
    one = "    series: [{metric: memory_usage, host: web1, values: 95}]\n    messages: [{at: 0s, phase: firing}]\n"
    results = of(HOT + one + "  - name: b\n" + one)
    assert [result.failures for result in results] == [(), ()]
    assert [result.fired for result in results] == [{"hot"}, {"hot"}]


def test_the_same_test_always_ends_the_same_way() -> None:
    text = HOT + "    series: [{metric: memory_usage, host: web1, values: 95x3 5}]\n    messages: []\n"
    assert of(text) == of(text)


def test_a_rule_that_is_only_pending_did_not_fire() -> None:
    text = HOT.replace("action", "duration: 5m, action") + (
        "    series: [{metric: memory_usage, host: web1, values: 95x3}]\n"
    )
    assert of(text)[0].fired == set()


def test_messages_of_one_moment_may_stand_in_any_order_and_take_what_fits_them() -> None:
    """The first item fits both messages: it has to leave the one that the second needs."""
    text = HOT + (
        "    series:\n"
        "      - {metric: memory_usage, host: web1, values: 95}\n"
        "      - {metric: memory_usage, host: web2, values: 95}\n"
        "    messages:\n"
        "      - {at: 0s, phase: firing}\n"
        "      - {at: 0s, phase: firing, host: web1}\n"
    )
    assert of(text)[0].failures == ()
    assert of(text.replace("web1}\n", "web2}\n", 1))[0].failures == ()
    assert len(of(text.replace("phase: firing}", "host: web1}"))[0].failures) == 2


def test_thousands_of_messages_at_one_moment_find_their_partners() -> None:
    hosts = range(1500)
    text = HOT + "    series:\n"
    text += "".join(f"      - {{metric: memory_usage, host: web{host}, values: 95}}\n" for host in hosts)
    text += "    messages:\n"
    text += "".join(f"      - {{at: 0s, host: web{host}}}\n" for host in reversed(hosts))
    assert of(text)[0].failures == ()


def test_long_lists_in_a_failure_are_cut_around_the_moment() -> None:
    text = HOT + (
        "    interval: 1m\n"
        "    series: [{metric: memory_usage, host: web1, values: " + "95 5 " * 40 + "}]\n"
        "    expect: [{at: 40m, rule: hot, host: web1, state: inactive}]\n"
    )
    (failure,) = of(text)[0].failures
    assert len(failure.details) == 14
    assert any(line.startswith("  40m ") for line in failure.details)
    assert failure.details[-1] == "  and 68 more"


def test_a_test_that_never_stops_talking_is_stopped() -> None:
    """Ten hosts for two days at a reminder every ten seconds: 172,800 of them."""
    text = HOT.replace("action", "repeat: 10s, action") + "    series:\n"
    text += "".join(f"      - {{metric: memory_usage, host: web{host}, values: 95}}\n" for host in range(10))
    text += "    expect: [{at: 2d, rule: hot, state: inactive}]\n"
    (failure,) = of(text)[0].failures
    assert failure.finding.message == "the test was stopped at 13h53m20s, after 50,000 messages"
