"""Regular expressions in rules: those that could keep an engine busy are refused, and no others."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert.documents.patterns import MAX_PATTERN, pattern_problem


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "Debian",
        r"Linux [345]\..*",
        r".*(error|fail).*",
        r".*a.*b.*",
        r"(?i)debian .*",
        r"(?!Debian).*",
        r"([a-z0-9-]+\.)+[a-z]+",
        r"\d+\.\d+\.\d+\.\d+(-\w+)?",
        r"(a|b)*",
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"(?:(?:a|b)+c)+",
        r"^x$",
        "\u00e9+",
    ],
)
def test_an_ordinary_expression_passes(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (r"(a+)+", "for ever"),
        (r"(a*)*", "for ever"),
        (r"(a|aa)+", "for ever"),
        (r"(a|a)*b", "for ever"),
        (r"(\d+|\w+)*", "for ever"),
        (r"(\s*\w+\s*)*", "for ever"),
        (r"(x+x+)+y", "for ever"),
        (r"(a?){25}a{25}", "for ever"),
        ("a?" * 40 + "a" * 40, "for ever"),
        (r"(.*)*", "for ever"),
        (r".*.*.*.*.*x", "for ever"),
        (r"(?i)(ab|AB)*x", "for ever"),
        ("(?i)(sa|\u017fa)*x", "for ever"),
        (r"(?:a{1,20}b?)*", "for ever"),
        (r"((?=a)ab((?=a))*(xb)*)*", "for ever"),
        (r"(.){1,13}([ab]|b)+aa*(a|\d)+", "for ever"),
        (r".*a.*b.*c.*", "for ever"),
        (r"(a)\1", "back to a group"),
        (r"(?P<n>a)(?(n)b|c)", "back to a group"),
        (r"(?P<n>a)(?P=n)", "back to a group"),
        (r"(", "no regular expression"),
        (r"[[a]", "no regular expression"),
        (r"a**", "no regular expression"),
        ("a" * (MAX_PATTERN + 1), "longer than"),
    ],
)
def test_an_expression_without_end_or_without_sense_is_refused(pattern: str, says: str) -> None:
    assert says in str(pattern_problem(pattern))


_PIECES = st.recursive(
    st.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", r"\w", "a?", "a*", "b+", ".*", "a{0,3}", ".{2}", r"\d"]),
    lambda inner: st.one_of(
        st.builds("({})*".format, inner),
        st.builds("({}|{})+".format, inner, inner),
        st.builds("({}){{1,3}}".format, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=5,
)


@given(_PIECES, st.sampled_from(["a", "b", "ab", "aab", "1"]))
@settings(max_examples=300, deadline=None)
def test_what_passes_is_done_soon(pattern: str, unit: str) -> None:
    """The worst text for a backtracking matcher is one that fails at its very end."""
    if pattern_problem(pattern) is not None:
        return
    text = (unit * 256)[:255] + "!"
    started = time.process_time()
    re.compile(pattern).fullmatch(text)
    assert time.process_time() - started < 2.0


@given(st.text("ab.*+?|()[]{}^$\\1?:=!<>Pi,-", max_size=24))
@settings(max_examples=500, deadline=None)
def test_no_text_raises(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is None or problem


@pytest.mark.parametrize("pattern", [r"workers=(\d+)", r"leader=(\S+)", "java.*kafka.Kafka", '"leader":\\s*(-?\\d+)'])
def test_what_is_looked_for_in_a_long_text_may_skip_once(pattern: str) -> None:
    assert pattern_problem(pattern, is_searched=True) is None


@pytest.mark.parametrize("pattern", ["java.*java.*x", "(a+)+$", r"a=(\d+).*b=(\d+)"])
def test_what_could_be_read_in_many_ways_from_every_place_is_refused(pattern: str) -> None:
    assert pattern_problem(pattern, is_searched=True) is not None


def test_what_begins_at_the_beginning_is_looked_for_from_one_place() -> None:
    assert pattern_problem('(?s)^(?:.*"state":"(?=down))?([a-z]*)', is_searched=True) is None
    for anywhere in ('(?s)(?:.*"state":"(?=down))?([a-z]*)', '(?sm)^(?:.*"state":"(?=down))?([a-z]*)'):
        assert pattern_problem(anywhere, is_searched=True) is not None
