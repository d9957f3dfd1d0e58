"""YAML text -> values, where nothing in it is out of the ordinary: most files, in two thirds of the time.

It follows the parser's events and makes no nodes. Where it meets a tag, an anchor, a key that stands twice, whatever is
wrong or beyond the bounds, it gives up, and the thorough reader says what there is to say. What both read is the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yaml.cyaml import CParser  # type: ignore[attr-defined] # the stubs leave it out
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MAX_DEPTH = 64
MAX_NODES = 1_000_000
MERGE = "<<"
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
LITERALS = {"true": True, "false": False, "null": None, "": None}
NO_TEXTS = frozenset({"", *"tfn", *"-0123456789"})
"""How literals and numbers begin."""


class Plain(NamedTuple):
    """A document's values, and the line (from 1) of each item of the lists right below its keys."""

    data: Any
    lines: Mapping[str | int, Sequence[int]]


class _Unusual(Exception):  # noqa: N818 - never leaves this module
    pass


def number(match: re.Match[str]) -> float | None:
    """What NUMBER has found, an int where it is written as one; None where it is not finite."""
    held = float(match[0])
    if not math.isfinite(held):
        return None
    return held if match[1] or match[2] else int(match[0])


def read(text: str) -> Plain | None:
    """The values in a text, None where it takes the thorough reader."""
    try:
        return _read(text)
    except (_Unusual, MarkedYAMLError):
        return None


def _read(text: str) -> Plain:  # noqa: C901, PLR0912, PLR0915 - one loop over everything, in which each call counts
    next_event = CParser(text).get_event
    may_have_names = "&" in text or "!" in text
    may_have_nul = "\\" in text
    documents = 0
    data: Any = None
    lines: dict[str | int, list[int]] = {}
    around: list[tuple[Any, str | None]] = []  # what encloses the mapping or list that is read now, and its key there
    inside: Any = None
    key: str | None = None
    for _ in range(MAX_NODES):
        event: Any = next_event()
        kind = type(event)
        if kind is ScalarEvent:
            value: Any = event.value
            if may_have_names and (event.anchor is not None or event.tag is not None):
                raise _Unusual
            if may_have_nul and "\0" in value:
                raise _Unusual
            if key is None:
                if type(inside) is dict:
                    if value in inside:
                        raise _Unusual
                    key = value
                    continue
                if len(around) == 2:
                    _note(lines, around, event)
            if value[:1] in NO_TEXTS and event.implicit[0]:  # (plain, quoted)
                value = _scalar(value)
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None or event.tag is not None or len(around) > MAX_DEPTH - 3:
                raise _Unusual
            if key is None:
                if type(inside) is dict:  # a key that is a mapping or a list
                    raise _Unusual
                if len(around) == 2:
                    _note(lines, around, event)
            around.append((inside, key))
            inside = {} if kind is MappingStartEvent else []
            key = None
            continue
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            if kind is MappingEndEvent and MERGE in inside:
                raise _Unusual
            value = inside
            inside, key = around.pop()
        elif kind is StreamEndEvent:
            return Plain(data, lines)
        else:
            documents += kind is DocumentStartEvent
            if kind is AliasEvent or documents > 1:
                raise _Unusual
            continue
        if key is not None:
            inside[key] = value
            key = None
        elif inside is not None:
            inside.append(value)
        else:
            data = value
    raise _Unusual


def _note(lines: dict[str | int, list[int]], around: list[tuple[Any, str | None]], event: Any) -> None:
    """Note the line of an item, if the list is in the mapping at the top."""
    key = around[1][1]
    if key is not None:
        lines.setdefault(key, []).append(event.start_mark.line + 1)


def _scalar(text: str) -> Any:
    """What a text without quotes stands for."""
    if text in LITERALS:
        return LITERALS[text]
    match = NUMBER.fullmatch(text)
    if match is None:
        return text
    held = number(match)
    if held is None:
        raise _Unusual
    return held
