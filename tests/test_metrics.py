"""The table of metrics and the units of thresholds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert.metrics import (
    FAMILIES,
    Kind,
    MetricError,
    QuantityError,
    Unit,
    field_of,
    format_duration,
    format_quantity,
    parse_duration,
    parse_metric,
    parse_quantity,
)
from zkalert.model import Metric


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_a_family_has_a_main_field_of_its_own_and_a_sentence_for_each_field(family: object) -> None:
    family = FAMILIES[family.name]  # type: ignore[attr-defined]
    assert family.main is None or family.main in family.fields
    assert family.has_whole or family.instance_kind
    assert family.help.endswith(".")
    for field in family.fields.values():
        assert field.help.endswith(".")
        assert field.judged_unit in Unit


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("memory_usage", Metric("memory_usage", "percent")),
        ("memory_usage.used", Metric("memory_usage", "used")),
        ("load_average", Metric("load_average", "5m_per_cpu")),
        ("disk_io.reads", Metric("disk_io", "reads")),
    ],
)
def test_a_metric_is_a_family_and_a_field(text: str, metric: Metric) -> None:
    assert parse_metric(text) == metric
    assert parse_metric(str(metric)) == metric


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("memory", "memory_usage"),
        ("cpu", "cpu_usage"),
        ("memory_usge", "memory_usage"),
        ("memory_usge.used", "memory_usage.used"),
        ("memory_usage.usd", "memory_usage.used"),
        ("memory_usage.", ""),
        ("disk_io", ""),
        ("", ""),
        (".", ""),
        ("xyzzy", ""),
    ],
)
def test_an_unknown_metric_is_refused_with_the_nearest_name(text: str, hint: str) -> None:
    with pytest.raises(MetricError) as caught:
        parse_metric(text)
    assert caught.value.hint == hint
    assert caught.value.expected.startswith("one of ")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        (90, Unit.PERCENT, 90.0),
        ("90", Unit.PERCENT, 90.0),
        ("90%", Unit.PERCENT, 90.0),
        (" 90 % ", Unit.PERCENT, 90.0),
        ("2GiB", Unit.BYTES, 2.0 * 2**30),
        ("500MB", Unit.BYTES, 500e6),
        ("1.5 KiB", Unit.BYTES, 1536.0),
        ("100B", Unit.BYTES, 100.0),
        ("10MB/s", Unit.BYTES_PER_SECOND, 10e6),
        ("5MiB/s", Unit.BYTES_PER_SECOND, 5.0 * 2**20),
        ("100/s", Unit.PER_SECOND, 100.0),
        ("80%", Unit.RATIO, 0.8),
        ("0.8", Unit.RATIO, 0.8),
        ("2k", Unit.NUMBER, 2000.0),
        ("5m", Unit.SECONDS, 300.0),
        ("1h30m", Unit.SECONDS, 5400.0),
        ("500ms", Unit.SECONDS, 0.5),
        ("90", Unit.SECONDS, 90.0),
        ("-5", Unit.NUMBER, -5.0),
        ("1e3", Unit.NUMBER, 1000.0),
    ],
)
def test_a_quantity_is_read_in_the_unit_of_its_metric(text: str | float, unit: Unit, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", Unit.NUMBER),
        ("high", Unit.PERCENT),
        ("90 %%", Unit.PERCENT),
        ("2GiB", Unit.PERCENT),
        ("10MB", Unit.BYTES_PER_SECOND),
        ("10%", Unit.BYTES),
        ("2gib", Unit.BYTES),
        ("5x", Unit.SECONDS),
        ("5m", Unit.NUMBER),
        ("1e999", Unit.NUMBER),
        ("\u0665", Unit.NUMBER),
        ("nan", Unit.NUMBER),
        (float("nan"), Unit.NUMBER),
        (float("inf"), Unit.NUMBER),
        (10**400, Unit.NUMBER),
        ("1e300PiB", Unit.BYTES),
    ],
    ids=lambda row: str(row)[:12],
)
def test_what_is_no_quantity_is_refused_with_an_example(text: str | float, unit: Unit) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, unit)
    assert caught.value.expected


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5m ", "1h-30m", "5M", "m5", "5mm", "1e3s", "\u0665m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_whole_duration_of_one_or_two_units_reads_back_as_it_was_written(seconds: int) -> None:
    text = format_duration(seconds)
    assert re.fullmatch(r"(\d+[dhms]){1,2}", text)
    assert format_duration(parse_duration(text)) == text
    assert parse_duration(text) <= seconds


@given(st.floats(-1e18, 1e18), st.sampled_from(list(Unit)))
def test_what_is_shown_is_near_what_it_was(value: float, unit: Unit) -> None:
    text = format_quantity(value, unit)
    assert text
    if unit is Unit.SECONDS and value < 0:
        assert text.startswith("-")  # thresholds of spans are never negative, so that none is read back
        return
    if unit in (Unit.BYTES, Unit.BYTES_PER_SECOND, Unit.SECONDS) and abs(value) > 1:
        near = 0.06 if unit is not Unit.SECONDS else 0.6
    else:
        near = 0.01
    read = parse_quantity(text, unit)
    assert read == pytest.approx(value, rel=near, abs=0.06)


def test_counters_are_judged_by_their_rate() -> None:
    counters = [
        (family.name, field) for family in FAMILIES.values() for field in family.fields.values()
        if field.kind is Kind.COUNTER
    ]  # fmt: skip
    assert counters
    for family, field in counters:
        assert field.judged_unit in (Unit.BYTES_PER_SECOND, Unit.PER_SECOND, Unit.RATIO), (family, field)
        assert field_of(Metric(family, field.name)) is field
