"""JSON pointers to what a znode's data holds: names that rules can use, of data that nobody vouches for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert.tree import ZnodeFields, pointers_in
from zkalert.tree.pointers import MOST_POINTERS


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({"leader": 1, "isr": [1, 2]}, ("/leader", "/isr")),
        ({"a": {"b": {"c": 1}}}, ("/a", "/a/b")),
        ({"a/b": {"~": 1}}, ("/a~1b", "/a~1b/~0")),
        ([{"host": "k1"}, 5], ("/0", "/0/host", "/1")),
        ({"": 1, "x\x1b": 2, "y" * 200: 3}, ("/",)),
        (5, ()),
        ("text", ()),
    ],
)
def test_the_top_two_levels_have_names(document: object, pointers: tuple[str, ...]) -> None:
    assert pointers_in(json.dumps(document).encode()) == pointers


@pytest.mark.parametrize(
    "data", [None, b"", b"{", b"\xff", b"[" * 60_000, b'{"a": 1}' + b" " * 70_000], ids=lambda data: repr(data)[:20]
)
def test_what_is_no_json_or_too_long_has_none(data: bytes | None) -> None:
    assert pointers_in(data) == ()


def test_there_is_a_bound() -> None:
    assert len(pointers_in(json.dumps({f"k{number}": 1 for number in range(1000)}).encode())) == MOST_POINTERS


_LEVELS = st.recursive(
    st.integers(-5, 5) | st.text(max_size=3) | st.booleans(),
    lambda inner: st.dictionaries(st.text("a~/0\u00e9", max_size=3), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)


@given(_LEVELS)
def test_each_name_leads_to_a_value(document: object) -> None:
    data = json.dumps(document).encode()
    names = pointers_in(data)
    assert set(ZnodeFields(names).of_data(data)[0]) == set(names)
