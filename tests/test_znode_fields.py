"""What znodes say, whatever stands in them: never an error, always a number or a text of bounded length."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo.security import ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, Id, make_digest_acl

from zkalert.tree import ZnodeFields, is_open_to_all, number_or_text

STAT = SimpleNamespace(mtime=5_000, ctime=2_000, version=3, dataLength=7, ephemeralOwner=-2, mzxid=9, czxid=8)
PERSISTENT = SimpleNamespace(mtime=5_000, ctime=2_000, version=3, dataLength=7, ephemeralOwner=0, mzxid=9, czxid=8)


def of_data(name: str, data: bytes | None) -> Any:
    return ZnodeFields([name]).of_data(data)[0].get(name)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"42", 42),
        (b" 4.5\n", 4.5),
        (b"-1", -1),
        (b"1e3", 1000.0),
        (b"on", "on"),
        (b" on \n", "on"),
        (b"1.2.3", "1.2.3"),
        (b"NaN", "NaN"),
        (b"1e400", "1e400"),
        (b"9" * 40, "9" * 40),
        (b"x" * 999, "x" * 256),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", None),
        (None, None),
        (b"x" * 65_537, None),
    ],
)
def test_a_value_is_a_number_where_it_is_written_as_one_else_a_text(data: bytes | None, value: Any) -> None:
    assert of_data("value", data) == value


DOCUMENT = {"leader": -1, "isr": [1, 2], "up": True, "down": False, "none": None, "a/b": {"m~n": "deep"}, "big": 10**30}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/leader", -1),
        ("/isr", 2),
        ("/isr/1", 2),
        ("/isr/2", None),
        ("/isr/x", None),
        ("/up", "true"),
        ("/down", "false"),
        ("/none", None),
        ("/a~1b", 1),
        ("/a~1b/m~0n", "deep"),
        ("/big", 1e30),
        ("/nowhere/else", None),
        ("/leader/x", None),
    ],
)
def test_a_pointer_finds_a_number_a_text_or_how_many(pointer: str, value: Any) -> None:
    assert of_data(pointer, json.dumps(DOCUMENT).encode()) == value


@pytest.mark.parametrize(("pattern", "value"), [(r"~workers=(\d+)", 4), (r"~w\w+", "workers"), (r"~none", None)])
def test_a_regular_expression_gives_its_first_group(pattern: str, value: Any) -> None:
    assert of_data(pattern, b"a=1 workers=4 b=c") == value


def test_what_does_not_fit_is_said_and_not_told() -> None:
    assert ZnodeFields(["/a"]).of_data(b"{") == ({}, "it is no JSON")
    assert ZnodeFields(["/a"]).of_data(b"[" * 50_000) == ({}, "it is no JSON")
    assert ZnodeFields(["/a"]).of_data(b"") == ({}, "it has no data")
    assert ZnodeFields(["value"]).of_data(b"x" * 70_000)[1] == "70,000 bytes, of which at most 65,536 are read"


def test_the_stat_says_the_rest() -> None:
    fields = ZnodeFields(["exists", "length", "version", "owner", "age", "created"])
    assert fields.of_stat(STAT) == {"exists": 1, "length": 7, "version": 3, "owner": "fffffffffffffffe"}
    assert fields.of_stat(PERSISTENT)["owner"] == ""
    assert fields.of_time(STAT, 6.5) == {"age": 1.5, "created": 4.5}
    assert fields.of_time(STAT, 1.0) == {"age": 0.0, "created": 0.0}, "a clock that is behind makes nothing negative"
    assert fields.missing() == {"exists": 0}


def test_what_zookeeper_made_itself_has_no_times() -> None:
    born = SimpleNamespace(mtime=0, ctime=0)
    assert ZnodeFields(["age", "created"]).of_time(born, 6.5) == {}


@pytest.mark.parametrize(
    ("acls", "is_open"),
    [
        (OPEN_ACL_UNSAFE, True),
        (READ_ACL_UNSAFE, False),
        ([make_digest_acl("a", "b", all=True), *READ_ACL_UNSAFE], False),
        ([ACL(8, Id("world", "anyone"))], True),
        ([ACL(31, Id("ip", "10.0.0.1"))], False),
        ([], False),
    ],
)
def test_a_znode_is_open_where_anybody_may_change_it(acls: list[ACL], is_open: bool) -> None:
    assert is_open_to_all(acls) is is_open


@given(st.binary(max_size=2000) | st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_an_error_or_a_value_without_bounds(data: bytes) -> None:
    found, _ = ZnodeFields(["value", "/a/0", "~(.+)", "/"]).of_data(data)
    for value in found.values():
        assert (len(value) <= 256) if isinstance(value, str) else abs(value) < 1e309


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_makes_an_error(document: Any) -> None:
    found, _ = ZnodeFields(["/a", "/0", ""]).of_data(json.dumps(document).encode())
    assert all(not isinstance(value, (list, dict, bool)) for value in found.values())


def test_a_number_beyond_64_bits_is_one_still() -> None:
    assert number_or_text(str(2**70)) == float(2**70)
