"""What a znode of anybody's says: the fields that rules ask for, of its data, its Stat, its children, its ACL.

Comes in: bytes that nobody of us wrote. Goes out: numbers and texts. What is no such value is absent, and nothing
raises: what comes from ZooKeeper is input.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from zkalert.metrics import MOST_SEARCHED
from zkalert.model import Value
from zkalert.tree.codec import MAX_PAYLOAD, MAX_TEXT

_NUMBER = re.compile(r"\s*[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)
_OF_DATA = ("value",)
_OF_TIME = frozenset({"age", "created"})
_OPEN_TO = ("world", "anyone")
_MAY_CHANGE = 2 | 4 | 8 | 16  # write, create, delete, admin
_MISSING = object()


class ZnodeFields:
    """The fields that are asked for of some znodes; which questions they take, and what the answers say.

    `names` are those of the metric table, `/pointer` and `~regex`. Raises re.error for one that does not compile.
    """

    __slots__ = ("_names", "_patterns", "_pointers", "has_acl", "has_changes", "has_children", "has_data", "is_timed")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._pointers = {name: _steps(name) for name in self._names if name.startswith("/")}
        self._patterns = {name: re.compile(name[1:]) for name in self._names if name.startswith("~")}
        self.has_data = bool(self._pointers or self._patterns or self._names.intersection(_OF_DATA))
        self.has_children = "children" in self._names
        self.has_changes = "changes" in self._names
        self.has_acl = "acl_open" in self._names
        self.is_timed = not self._names.isdisjoint(_OF_TIME)

    def missing(self) -> dict[str, Value]:
        """What is said of a znode that is not there."""
        return {"exists": 0}

    def of_stat(self, stat: Any) -> dict[str, Value]:
        """What the Stat says, but for what moves with time."""
        found: dict[str, Value] = {"exists": 1}
        names = self._names
        if "length" in names:
            found["length"] = int(stat.dataLength)
        if "version" in names:
            found["version"] = int(stat.version)
        if "owner" in names:
            found["owner"] = f"{stat.ephemeralOwner & 0xFFFFFFFFFFFFFFFF:x}" if stat.ephemeralOwner else ""
        return found

    def of_time(self, stat: Any, now: float) -> dict[str, Value]:
        """What moves with time; `now` in epoch seconds of the clock that the znode's times are of.

        ZooKeeper's own znodes, such as /zookeeper, have no times until somebody sets their data.
        """
        found: dict[str, Value] = {}
        if "age" in self._names and stat.mtime:
            found["age"] = max(0.0, round(now - stat.mtime / 1000, 3))
        if "created" in self._names and stat.ctime:
            found["created"] = max(0.0, round(now - stat.ctime / 1000, 3))
        return found

    def of_data(self, data: bytes | None) -> tuple[dict[str, Value], str]:
        """What the data says, and what is wrong with it, empty where nothing is."""
        if not data:
            return {}, "" if not self._pointers else "it has no data"
        if len(data) > MAX_PAYLOAD:
            return {}, f"{len(data):,} bytes, of which at most {MAX_PAYLOAD:,} are read"
        text = data.decode("utf-8", "replace")
        found: dict[str, Value] = {}
        if "value" in self._names:
            found["value"] = number_or_text(text)
        for name, pattern in self._patterns.items():
            match = pattern.search(text[:MOST_SEARCHED])
            group = None if match is None else match[1] if pattern.groups else match[0]
            if group is not None:
                found[name] = number_or_text(group)
        if self._pointers:
            try:
                document = json.loads(text)
            except (ValueError, RecursionError):
                return found, "it is no JSON"
            for name, steps in self._pointers.items():
                value = _value(_at(document, steps))
                if value is not None:
                    found[name] = value
        return found, ""


def is_open_to_all(acls: Iterable[Any]) -> bool:
    """Whether anybody may change or delete a znode, or make children of it; kazoo's ACLs."""
    return any((acl.id.scheme, acl.id.id) == _OPEN_TO and acl.perms & _MAY_CHANGE for acl in acls)


def number_or_text(text: str) -> Value:
    """A text that is written as a number is one; any other is cut at 256 characters."""
    if _NUMBER.fullmatch(text):
        stripped = text.strip()
        try:
            number: int | float = int(stripped)
        except ValueError:
            number = float(stripped)
        if math.isfinite(number):
            return number if abs(number) < 2**63 else float(number)
    return text.strip()[:MAX_TEXT]


def _steps(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _at(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if isinstance(document, dict):
            document = document.get(step, _MISSING)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and len(step) < 10:
            document = document[int(step)] if int(step) < len(document) else _MISSING
        else:
            return _MISSING
    return document


def _value(found: Any) -> Value | None:
    """A number, a text, `true` or `false`; of a list or an object how many it has."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, (list, dict)):
        return len(found)
    if isinstance(found, str):
        return found[:MAX_TEXT]
    if isinstance(found, (int, float)) and abs(found) < 1e300 and math.isfinite(found):
        return found if abs(found) < 2**63 else float(found)
    return None
