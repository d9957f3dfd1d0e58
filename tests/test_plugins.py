"""What a check command's output means under the monitoring-plugins contract."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert.metrics import parse_metric
from zkalert.model import Value
from zkalert.sampler.plugins import MAX_FIELDS, OWN_FIELDS, first_line, performance


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ("load1=0.380;5.000;10.000;0;", {"load1": 0.38, "load1.warn": 5, "load1.crit": 10, "load1.min": 0}),
        ("procs=89;1:500;;0;", {"procs": 89, "procs.warn_low": 1, "procs.warn_high": 500, "procs.min": 0}),
        ("time=0,012s", {"time": 0.012}),
        ("time=12ms;;;0;10000", {"time": 0.012, "time.min": 0, "time.max": 10}),
        ("a=5us b=5ns c=2s", {"a": 5e-6, "b": 5e-9, "c": 2}),
        ("a=1B b=1KB c=1kB d=1MB e=1GB f=1TB", {"a": 1, "b": 1e3, "c": 1e3, "d": 1e6, "e": 1e9, "f": 1e12}),
        ("a=1KiB b=1MiB c=2GiB", {"a": 2**10, "b": 2**20, "c": 2**31}),
        ("used=71%;80;90", {"used": 71, "used.warn": 80, "used.crit": 90}),
        ("bytes=123456789c", {"bytes": 123456789}),
        ("watts=12.5W", {"watts": 12.5}),
        ("a=1;10:", {"a": 1, "a.warn_low": 10}),
        ("a=1;~:10", {"a": 1, "a.warn_high": 10}),
        ("a=1;@10:20;@5", {"a": 1, "a.warn_low": 10, "a.warn_high": 20, "a.crit_low": 0, "a.crit_high": 5}),
        ("a=1;-5:5", {"a": 1, "a.warn_low": -5, "a.warn_high": 5}),
        ("a=1;ten;1:2:3;x;y", {"a": 1}),
        ("a=-1.5e3", {"a": -1500}),
        ("'disk used'=5 'it''s'=6 'a=b'=7", {"disk_used": 5, "it's": 6, "a=b": 7}),
        ("/=30626807808B;243497277849;257024904396;0;270552530944", {
            "/": 30626807808, "/.warn": 243497277849, "/.crit": 257024904396, "/.min": 0, "/.max": 270552530944,
        }),
        ("a=U b=2", {"b": 2}),
        ("a=1 a=2", {"a": 1}),
        ("status=7 output=8", {"perf_status": 7, "perf_output": 8}),
        ("a b=1 =2 c= d=x 'e=3 f=4", {"b": 1, "f": 4}),
        ("a=1e400 b=1e30 c=3", {"c": 3}),
        ("", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_performance_data_become_fields(data: str, fields: dict[str, Value]) -> None:
    assert performance(f"OK - fine | {data}\n") == fields


def test_more_performance_data_stand_after_the_long_text() -> None:
    output = "DISK OK | /=2;;;;\nall is well\nwith / | /boot=3\n/home=4 /var=5\n"
    assert performance(output) == {"/": 2, "/boot": 3, "/home": 4, "/var": 5}
    assert first_line(output) == "DISK OK"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("OK - fine|a=1", "OK - fine"),
        ("\n  OK  \nmore", "OK"),
        ("OK \x1b[31mred\x07|a=1", "OK  [31mred"),
        ("x" * 1000, "x" * 256),
        ("|a=1", ""),
        ("", ""),
    ],
    ids=["performance data", "empty line before", "orders to a terminal", "long", "no text", "nothing"],
)
def test_people_read_the_first_line(output: str, line: str) -> None:
    assert first_line(output) == line


@pytest.mark.parametrize(
    "data",
    ["'" * 65000, "' " * 32000, "a" * 65000, "'a" * 32000, "a=1;" * 16000, "x=1" + ";1" * 32000, "=" * 65000],
    ids=["quotes", "quotes and spaces", "one word", "open quotes", "no spaces", "limits", "equals"],
)
def test_hostile_output_takes_no_time(data: str) -> None:
    started = time.process_time()
    performance("OK|" + data)
    assert time.process_time() - started < 0.2


def test_fields_are_bounded() -> None:
    assert len(performance("OK|" + " ".join(f"a{n}=1;2;3;4;5" for n in range(1000)))) == MAX_FIELDS


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_is_written_fields_have_names_that_rules_can_say(text: str, data: str) -> None:
    fields = performance(f"{text}|{data}")
    assert not set(fields) & OWN_FIELDS
    for name in fields:
        assert parse_metric(f"command.{name}").field == name


@given(st.from_regex(r"[^\s='|\x00-\x1f]{1,20}", fullmatch=True), st.floats(-1e12, 1e12))
def test_a_plain_number_comes_through_as_it_is(label: str, number: float) -> None:
    (found,) = performance(f"OK|{label}={number!r}").values() or [None]
    assert found is None or found == number
