"""Paths and payloads: each encoder with its decoder, and bytes that anybody may have written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert import tree
from zkalert.model import (
    Alert,
    Alive,
    Clock,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    EngineInfo,
    Hold,
    HostInfo,
    Metric,
    OutboxEntry,
    Phase,
    Problem,
    Reason,
    Sample,
    Seen,
    Severity,
    State,
    TargetKind,
)

names = st.text(min_size=1, max_size=80)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62)
spans = st.floats(min_value=0.001, max_value=1e9)
short = st.text(max_size=100)
values = st.dictionaries(short, numbers | short, max_size=5)
texts = st.dictionaries(short, short, max_size=3)

samples = st.builds(
    Sample,
    family=st.just("memory_usage"),
    at=st.floats(0, 4e9).map(lambda at: round(at, 3)),
    interval=spans,
    max_age=spans,
    values=values,
    instances=st.dictionaries(short, values, max_size=3),
    labels=st.dictionaries(short, texts, max_size=3),
    errors=st.tuples(short),
)
holds = st.builds(
    Hold, held=spans, at=spans, mono=st.just(-math.inf), cover=spans, gaps=st.integers(min_value=0, max_value=99)
)
optional = st.none() | st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10_000)
thresholds = optional | short | st.tuples(spans, spans)
clocks = st.builds(
    Clock,
    state=st.sampled_from(State),
    hold=st.none() | holds,
    clearing=st.none() | holds,
    spans=st.lists(st.tuples(spans, spans), max_size=3).map(tuple),
)
alerts = st.builds(
    Alert,
    rule=short,
    host=short,
    instance=st.none() | short,
    state=st.sampled_from(State),
    episode=st.text("0123456789abcdef", min_size=16, max_size=16),
    digest=short,
    severity=st.sampled_from(Severity),
    metric=st.just(Metric("memory_usage", "percent")),
    comparator=st.sampled_from(Comparator),
    subject=short,
    unit=short,
    threshold=thresholds,
    clear=thresholds,
    value=optional | short,
    values=st.tuples(optional | short, optional),
    members=st.none() | st.tuples(counts, counts),
    peak=optional | short,
    since=spans,
    fired_at=optional,
    resolved_at=optional,
    clocks=st.tuples(clocks) | st.tuples(clocks, clocks),
    told=st.lists(st.sampled_from(Severity), max_size=3).map(tuple),
    rises=counts,
    repeats=counts,
    repeat_at=optional,
    escalations=counts,
    escalate_at=optional,
    is_quiet=st.booleans(),
    missing=st.none(),
    writer=short,
)
deliveries = st.builds(
    Delivery,
    target=short,
    kind=st.sampled_from(TargetKind),
    name=short,
    state=st.sampled_from(DeliveryState),
    attempts=st.integers(0, 10_000),
    at=optional,
    detail=short,
)
effects = st.builds(
    Effect,
    alert=alerts,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    at=spans,
    labels=texts,
    host_labels=texts,
    instance_labels=texts,
    name=short,
    escalation=st.none() | counts,
    readings=values,
    summary=short,
    description=short,
    runbook=short,
)
entries = st.builds(OutboxEntry, effect=effects, deliveries=st.tuples(deliveries), writer=short)


@given(samples)
def test_a_sample_comes_back_as_it_was(sample: Sample) -> None:
    assert tree.decode_sample("memory_usage", tree.encode_sample(sample)) == sample


@given(alerts)
def test_an_alert_comes_back_as_it_was(alert: Alert) -> None:
    assert tree.decode_alert(tree.encode_alert(alert)) == alert


@given(entries)
def test_an_outbox_entry_comes_back_as_it_was(entry: OutboxEntry) -> None:
    assert tree.decode_entry(tree.encode_entry(entry)) == entry


@given(st.builds(HostInfo, name=short, labels=texts, platform=short, version=short))
def test_a_host_comes_back_as_it_was(host: HostInfo) -> None:
    assert tree.decode_host(tree.encode_host(host)) == host


def test_small_payloads_come_back_as_they_were() -> None:
    alive = Alive(machine="ab12", pid=4711, started_at=1700000000.5)
    assert tree.decode_alive(tree.encode_alive(alive)) == alive
    assert tree.decode_layout(tree.encode_layout()) == tree.LAYOUT_VERSION
    assert tree.decode_seen(tree.encode_seen(Seen(1700000000.123, "d"))) == Seen(1700000000.123, "d")
    engine = EngineInfo(version="1", rules="d", host="web1", pid=7)
    assert tree.decode_engine(tree.encode_engine(engine)) == engine
    assert engine.name == "web1 (pid 7)"


@given(names, names)
def test_any_host_and_family_make_one_path_that_parses_back(host: str, family: str) -> None:
    paths = tree.Tree("/zkalert")
    path = paths.family(host, family)
    assert path.count("/") == 5
    assert not any(part in (".", "..") for part in path.split("/"))
    if len(tree.escape(host)) < tree.MAX_NAME and "~" not in path:
        assert paths.parse_family(path) == (host, family)


@given(st.text(max_size=400))
def test_a_name_that_became_a_part_of_a_path_stands_for_itself(name: str) -> None:
    part = tree.escape(name)
    assert len(part) <= tree.MAX_NAME
    assert tree.escape(tree.unescape(part)) == part
    if len(part) < 150:
        assert tree.unescape(part) == name


@pytest.mark.parametrize("part", ["%ff", "%", "%zz", "a%E4%BD", "%ED%A0%80"])
def test_a_part_that_no_name_made_is_known_by_that(part: str) -> None:
    assert tree.escape(tree.unescape(part)) != part


@given(st.text(max_size=400), st.none() | st.text(max_size=400))
def test_a_series_name_is_one_bounded_part_of_a_path(host: str, instance: str | None) -> None:
    name = tree.series_name(host, instance)
    assert "/" not in name
    assert len(name) <= tree.MAX_NAME


def test_series_that_differ_have_names_that_differ() -> None:
    pairs = [("a,b", None), ("a", "b"), ("a", "b,c"), ("a,b", "c"), ("x" * 300, None), ("x" * 301, None), (".", "..")]
    assert len({tree.series_name(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(
    "path", ["/zkalert", "/zkalert/hosts/web1", "/zkalert/hosts/web1/alive", "/other/hosts/a/metrics/b"]
)
def test_other_paths_are_no_families(path: str) -> None:
    assert tree.Tree("/zkalert").parse_family(path) is None


def test_a_root_of_a_chroot_makes_paths_without_a_prefix() -> None:
    paths = tree.Tree("/")
    assert (paths.top, paths.hosts, paths.outbox(0)) == ("/", "/hosts", "/outbox/0")


GOOD: dict[str, Any] = {"v": 1, "time": 1.0, "interval": 5.0, "max_age": 15.0, "values": {"percent": 50.0}}


def payload(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(None, "empty", id="no data"),
        pytest.param(b"\xff\xfe", "not-json", id="no UTF-8"),
        pytest.param(b"{", "not-json", id="half an object"),
        pytest.param(b"[1]", "wrong-shape", id="a list"),
        pytest.param(b"x" * 1_000_000, "too-large", id="1 MB"),
        pytest.param(b"[" * 60_000, "too-deep", id="nested lists"),
        pytest.param(b'{"a":' * 10_000, "too-deep", id="nested objects"),
        pytest.param(payload().replace(b"50.0", b"NaN"), "not-finite", id="NaN"),
        pytest.param(payload().replace(b"50.0", b"-Infinity"), "not-finite", id="infinity"),
        pytest.param(payload().replace(b"50.0", b"1e999"), "not-finite", id="a number past floating point"),
        pytest.param(payload().replace(b"50.0", b"9" * 400), "not-finite", id="an integer past 64 bits"),
        pytest.param(payload().replace(b"50.0", b"9" * 5000), "wrong-shape", id="an integer past Python's bound"),
        pytest.param(payload(values={"percent": True}), "wrong-shape", id="a boolean"),
        pytest.param(payload(values={"percent": None}), "wrong-shape", id="null"),
        pytest.param(payload(values={"percent": {"deep": {"er": 1}}}), "wrong-shape", id="a nested object"),
        pytest.param(payload(values={"percent": "x" * 300}), "wrong-shape", id="a long text"),
        pytest.param(payload(values=[1]), "wrong-shape", id="values as a list"),
        pytest.param(payload(instances={str(n): {} for n in range(300)}), "wrong-shape", id="300 instances"),
        pytest.param(payload(instances=[1]), "wrong-shape", id="instances as a list"),
        pytest.param(payload(labels={"a": 1}), "wrong-shape", id="labels as a number"),
        pytest.param(payload(errors=5), "wrong-shape", id="errors as a number"),
        pytest.param(payload(v=2), "version", id="a later version"),
        pytest.param(payload(max_age=0), "wrong-shape", id="a sample that speaks for no time"),
        pytest.param(payload(interval="5"), "wrong-shape", id="an interval as text"),
        pytest.param(json.dumps({"v": 1}).encode(), "wrong-shape", id="nothing but a version"),
    ],
)
def test_a_bad_sample_is_a_problem_and_never_an_exception(data: bytes | None, code: str) -> None:
    problem = tree.decode_sample("memory_usage", data)
    assert isinstance(problem, Problem)
    assert problem.code == code


def test_a_sample_that_lacks_a_key_is_told_which() -> None:
    problem = tree.decode_sample("orders", b'{"v": 1, "time": 0, "interval": 60, "values": {"depth": 1}}')
    assert problem == Problem(code="wrong-shape", message="it has no 'max_age'")


@given(
    st.binary(max_size=200)
    | st.recursive(numbers | short | st.none(), lambda inner: st.lists(inner) | st.dictionaries(short, inner)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_decoders_take_any_bytes(data: bytes) -> None:
    for decode in (tree.decode_alert, tree.decode_entry, tree.decode_host, tree.decode_alive, tree.decode_seen):
        assert decode(data) is not None
    assert tree.decode_sample("x", data) is not None


def test_the_longest_texts_that_a_rule_may_have_can_be_read_back() -> None:
    labels = {f"{number}" + "字" * 200: "字" * 256 for number in range(20)}
    alert = Alert(
        rule="r",
        host="字" * 80,
        episode="e" * 16,
        metric=Metric("memory_usage", "percent"),
        comparator=Comparator.GT,
        threshold=1.0,
    )
    effect = Effect(
        alert=alert,
        phase=Phase.FIRING,
        reason=Reason.HELD,
        at=1.0,
        labels=labels,
        host_labels=labels,
        instance_labels=labels,
        summary="字" * 4096,
        description="字" * 4096,
        runbook="字" * 4096,
    )
    entry = OutboxEntry(effect=effect, deliveries=())
    assert tree.decode_entry(tree.encode_entry(entry)) == entry
    host = HostInfo(name="字" * 80, labels=labels)
    assert tree.decode_host(tree.encode_host(host)) == host


def test_a_name_that_is_no_unicode_is_published_all_the_same() -> None:
    sample = Sample(family="x", at=1, interval=1, max_age=1, instances={"/mnt/\udcff": {"percent": 1}})
    assert tree.decode_sample("x", tree.encode_sample(sample)) == sample


def test_a_number_that_is_not_finite_is_never_published() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        tree.encode_sample(Sample(family="x", at=1, interval=1, max_age=1, values={"a": math.nan}))
