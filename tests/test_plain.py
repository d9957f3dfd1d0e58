"""What is read from the parser's events is what the thorough reader finds, wherever that is read at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert import documents
from zkalert.documents import plain
from zkalert.model import Finding

ROOT = Path(__file__).parent.parent
FOLDERS = ("tests/rules", "tests/ruletests", "tests/packs", "rules", "examples")
TEXTS = [path.read_text(encoding="utf-8") for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.yaml"))]

many = settings(max_examples=1000, deadline=None)


def told(text: str) -> tuple[str, tuple[Finding, ...], list[int]]:
    """All that a text becomes: values with their types, findings, and where some of the values stand."""
    document, findings = documents.parse(text, "a.yaml", "rules")
    keys = list(document.data) if isinstance(document.data, dict) else [0]
    paths: list[tuple[Any, ...]] = [
        (),
        ("rules",),
        *((key, index) for key in keys for index in range(4)),
    ]
    return repr(document.data), findings, [document.line(path) for path in paths]


def told_thoroughly(text: str) -> tuple[str, tuple[Finding, ...], list[int]]:
    with mock.patch.object(plain, "read", return_value=None):
        return told(text)


def test_all_files_of_the_project_are_read_alike() -> None:
    assert all(told(text) == told_thoroughly(text) for text in TEXTS)
    plain_ones = sum(plain.read(text) is not None for text in TEXTS)
    assert 0.9 * len(TEXTS) < plain_ones < len(TEXTS)


_WORDS = (
    'null true -1 1e999 0x1 1.5 007 <<: << & &a *a !!str a:\tb rules: a:1 \\0 "\\x00" |\n --- ... \u00e9 \ufeff \u2028'
)
_ODD = st.sampled_from(
    [*":-[]{},#'\"!%@`?>~\\ \t", "", "\n", "\n  ", "  ", ": ", "- ", "? ", " #", "---\n", "%YAML 1.1\n---\n", "a: b\n"]
) | st.sampled_from(_WORDS.split(" "))


@given(st.data())
@many
def test_files_with_slips_are_read_alike(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.sampled_from([0, 0, 0, 1, 2, 10]))
        text = text[:start] + data.draw(_ODD) + text[end:]
    assert told(text) == told_thoroughly(text)


@given(st.lists(_ODD, max_size=12))
@many
def test_any_heap_of_signs_is_read_alike(parts: list[str]) -> None:
    text = "".join(parts)
    assert told(text) == told_thoroughly(text)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text("ab1 :#-\n'\"\\\u00e9", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:< 1", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON, st.booleans())
@many
def test_values_written_as_yaml_are_read_alike(value: Any, is_flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=is_flow)
    assert told(text) == told_thoroughly(text)


@given(_JSON)
@settings(max_examples=200, deadline=None)
def test_most_of_json_is_read_from_events(value: Any) -> None:
    text = json.dumps({"rules": [value]})
    read = plain.read(text)
    if not any(odd in text for odd in ('"<<"', "NaN", "Infinity")):
        assert read is not None
        assert read == ({"rules": [value]}, {"rules": [1]})


@pytest.mark.parametrize(
    "text",
    [
        *("a: &x 1", "a: *x", "a: !x 1", "!x {a: 1}", "&x [a]", "a: 1\na: 2", "<<: 1", "? [a]\n: 1", "? {a: b}\n: 1"),
        *("a: 1e999", "---\na\n---\nb", 'a: "\\0"', '"\\0": 1', "a: [", "a: b: c", "[" * 63 + "]" * 63),
        "[" + "a," * 1_000_000 + "]",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_thorough_reader(text: str) -> None:
    assert plain.read(text) is None


def test_items_are_known_by_their_lines_without_nodes() -> None:
    text = "# first\nrules:\n  - a: 1\n  -\n    b: [1,\n     2]\n  - [x]\n  - y\nother: [{a: [p, q]},\n z]\n"
    read = plain.read(text)
    assert read is not None
    assert read.lines == {"rules": [3, 5, 7, 8], "other": [9, 10]}


@pytest.mark.parametrize("text", ["- [a]\n- [b]\n", "a: {b: [c]}", "a: b"])
def test_lines_are_kept_of_no_other_lists(text: str) -> None:
    read = plain.read(text)
    assert read is not None
    assert read.lines == {}
