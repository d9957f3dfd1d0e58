"""What of a document may be shown to people: secrets are covered, since findings end in logs and terminals.

In every document whatever follows `scheme://` is covered, for URLs of services carry their passwords. In a
confidential one (`x-confidential` in its schema) each value is covered unless the schema knows its place and does not
call it secret (`x-secret`): a password under a misspelt key is still a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from zkalert.documents.shipped import schema

# To the quote that it stands in, else to the next space: a password may hold brackets. What has no `//` but ends in
# `@` is a URL in which something was left out.
_URL = re.compile(
    r"""(?<=")([A-Za-z][A-Za-z0-9+.-]*\s*://)[^"]+"""
    r"""|(?<=')([A-Za-z][A-Za-z0-9+.-]*\s*://)[^']+"""
    r"""|([A-Za-z][A-Za-z0-9+.-]*\s*://)\S+"""
    r"""|([A-Za-z][A-Za-z0-9+.-]*:)[^\s"']*[:/][^\s"']*@"""
)
_PLAIN_NAME = re.compile(r"[\w<. -]{1,40}")
_REFERENCE = re.compile(r"\$\{\w+\}|file:.*")  # says where a secret is, and not what it is
_COVER = "*"


def urls(text: str) -> str:
    """The text with URLs covered behind their scheme, as long as before."""
    return _URL.sub(_covered, text)


def _covered(match: re.Match[str]) -> str:
    shown = match[match.lastindex or 0]
    return shown + _COVER * (len(match[0]) - len(shown))


def name(key: str) -> str:
    """A key for a message: quoted, unless it looks like no name at all."""
    return f'"{key}"' if _PLAIN_NAME.fullmatch(key) else "a key"


def is_confidential(kind: str) -> bool:
    return bool(schema(kind).get("x-confidential"))


def is_open(kind: str, path: tuple[str | int, ...]) -> bool:
    """Whether the value at `path` may be shown."""
    if not is_confidential(kind):
        return True
    whole = schema(kind)
    place: Mapping[str, Any] | None = whole
    for part in path:
        place = _below(whole, place, part)
    return _shows(place)


def _shows(place: Mapping[str, Any] | None) -> bool:
    """Whether a scalar may be shown in this place: the schema knows it, and wants a scalar there, before all else."""
    if place is None:
        return False
    types = place.get("type")
    return (types[0] if isinstance(types, list) else types) not in ("object", "array")


def _below(whole: Mapping[str, Any], place: Mapping[str, Any] | None, part: str | int) -> Mapping[str, Any] | None:
    """The schema of a part of a value; None where it is unknown or secret."""
    if place is None:
        return None
    inside: Any
    if isinstance(part, int):
        inside = place.get("items")
    else:
        inside = place.get("properties", {}).get(part, place.get("additionalProperties"))
    if not isinstance(inside, dict) or inside.get("x-secret"):
        return None
    reference = inside.get("$ref", "").removeprefix("#/$defs/")
    return {**whole["$defs"][reference], **inside} if reference else inside


class Masks:
    """The covers of one document, made once: for each line the columns that are not shown."""

    def __init__(self, kind: str, root: Node | None) -> None:
        self._is_confidential = is_confidential(kind)
        self._is_readable = root is not None
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._ends: dict[int, int] = {}
        if self._is_confidential and root is not None:
            self._cover(kind, root)

    def _cover(self, kind: str, root: Node) -> None:
        for node, is_shown in _scalars(schema(kind), root):
            start, end = node.start_mark, node.end_mark
            for line in range(start.line, end.line + 1):
                left = start.column if line == start.line else 0
                right = end.column if line == end.line else 1_000_000
                self._ends[line] = max(self._ends.get(line, 0), right)
                if not is_shown:
                    self._spans.setdefault(line, []).append((left, right))

    def apply(self, line: int, text: str) -> str:
        """A source line as it may be shown."""
        if not self._is_confidential:
            return urls(text)
        if not self._is_readable:
            return ""
        for left, right in self._spans.get(line, ()):
            right = min(right, len(text))  # noqa: PLW2901
            text = text[:left] + _COVER * max(0, right - left) + text[right:]
        end = self._ends.get(line, 0)
        comment = text.find("#", end)
        return urls(text if comment < 0 else text[:comment].rstrip())


def _scalars(whole: Mapping[str, Any], root: Node) -> Iterator[tuple[Node, bool]]:
    """Each scalar of a tree, keys too, and whether it may be shown; an alias may bring one twice."""
    seen: set[tuple[int, bool]] = set()
    left: list[tuple[Node, Mapping[str, Any] | None]] = [(root, whole)]
    while left:
        node, place = left.pop()
        if (id(node), _shows(place)) in seen:
            continue
        seen.add((id(node), _shows(place)))
        if isinstance(node, ScalarNode):
            yield node, _shows(place) or bool(_REFERENCE.fullmatch(node.value))
        elif isinstance(node, SequenceNode):
            left += [(item, _below(whole, place, 0)) for item in node.value]
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                if isinstance(key, ScalarNode):
                    yield key, bool(_PLAIN_NAME.fullmatch(key.value))
                    left.append((value, _below(whole, place, key.value)))
                else:
                    left += [(key, None), (value, None)]
