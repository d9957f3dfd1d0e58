"""Metrics of znodes: `znode:/brokers/ids/*#children`, or `kafka:/brokers/ids#children` of an ensemble with a name.

Comes in: the text before `#`, as rules have it. Goes out: its parts, and the family that it makes. Nothing here reads
a znode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from zkalert.metrics.kinds import Family, Field, Kind, Unit, family

OWN_PREFIX = "znode"
"""What stands before the paths of the ensemble that zkalert's own tree is in."""

OWN_ENSEMBLE = "zookeeper"
"""What that ensemble is called where alerts name one."""

MOST_PATTERN = 1024

MOST_SEARCHED = 4096
"""Characters of a znode's data, or of a command line, that a regular expression is looked for in."""

_HEAD = re.compile(r"([a-z][a-z0-9_-]*):(/.*)", re.DOTALL)
_LABEL = re.compile(r"[a-z_][a-z0-9_]*")

_FIELDS = (
    Field("exists", Unit.FLAG, "1 where the znode is there, else 0."),
    Field("children", Unit.NUMBER, "How many children it has."),
    Field("length", Unit.BYTES, "Length of its data."),
    Field("age", Unit.SECONDS, "Time since its data was set last, or it was made."),
    Field("created", Unit.SECONDS, "Time since it was made."),
    Field("version", Unit.NUMBER, "How often its data was set since it was made."),
    Field("changes", Unit.NUMBER, "How often it was made or set, since the engine began to look.", Kind.COUNTER),
    Field("owner", Unit.TEXT, "Session that an ephemeral belongs to, in hexadecimal; empty of others.", Kind.TEXT),
    Field("acl_open", Unit.FLAG, "1 where anybody may change or delete it, or make children."),
    Field("value", Unit.ANY, "Its data: a number, or a text.", Kind.ANY),
)
ZNODES: Family = family("znode:/path", "Any znode of an ensemble; an instance per match of `*` or `{name}`.", *_FIELDS)
"""What every znode has; a family of rules adds its path. `#/pointer` and `#~regex` stand for parts of its data."""

_NAMES: Mapping[str, Field] = ZNODES.fields


class PatternError(ValueError):
    """A text that names no znode; `expected` says what would."""

    def __init__(self, message: str, *, expected: str) -> None:
        super().__init__(message)
        self.expected = expected


@dataclass(frozen=True, slots=True)
class ZnodePattern:
    """A path with perhaps some parts left open, in an ensemble. `parts` holds None for each of these.

    `labels` names them in order: `{topic}` is `topic`, a `*` is its number among the open ones, from 1.
    """

    ensemble: str
    parts: tuple[str | None, ...]
    labels: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        return bool(self.labels)

    def path(self, length: int, names: tuple[str, ...] = ()) -> str:
        """The first `length` parts as a path, with `names` in place of the open ones."""
        left = iter(names)
        found = [part if part is not None else next(left) for part in self.parts[:length]]
        return "/" + "/".join(found)

    def names_in(self, path: str) -> tuple[str, ...] | None:
        """What stands in a path in place of the open parts; None for a path that does not match."""
        parts = path[1:].split("/") if path != "/" else []
        if not path.startswith("/") or len(parts) != len(self.parts):
            return None
        if any(own is not None and own != part for own, part in zip(self.parts, parts, strict=True)):
            return None
        return tuple(part for own, part in zip(self.parts, parts, strict=True) if own is None)

    def labelled(self, names: tuple[str, ...]) -> dict[str, str]:
        """Names in place of the open parts, by label."""
        return dict(zip(self.labels, names, strict=True))


def is_znode(family_name: str) -> bool:
    """Whether a family is one of znodes."""
    return ":" in family_name


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> ZnodePattern:
    """What `<ensemble>:/path` says. Raises PatternError."""
    match = _HEAD.fullmatch(text)
    if match is None or len(text) > MOST_PATTERN or not text.isprintable():
        raise PatternError(
            f'"{text[:100]}" names no znode', expected="<ensemble>:/path#field, as znode:/brokers/ids#children"
        )
    prefix, path = match[1], match[2]
    if prefix == OWN_ENSEMBLE:
        raise PatternError(
            f'"{text[:100]}": the own ensemble is called {OWN_PREFIX} here', expected=f"{OWN_PREFIX}:{path}"
        )
    ensemble = OWN_ENSEMBLE if prefix == OWN_PREFIX else prefix
    if path == "/":
        return ZnodePattern(ensemble, ())
    parts: list[str | None] = []
    labels: list[str] = []
    for part in path[1:].split("/"):
        if part == "*":
            parts.append(None)
            labels.append(str(len(labels) + 1))
        elif part.startswith("{") and part.endswith("}"):
            label = part[1:-1]
            if not _LABEL.fullmatch(label) or label in labels:
                why = "stands there twice" if label in labels else "is no label"
                raise PatternError(f"{part} in {path} {why}", expected="{name} with letters, digits and _, each once")
            parts.append(None)
            labels.append(label)
        elif part in ("", ".", "..") or any(mark in part for mark in "*{}"):
            message = f'"{part}" in {path} is no name of a znode' if part else f"{path} has an empty part"
            raise PatternError(message, expected="whole names, * or {name} between the slashes")
        else:
            parts.append(part)
    return ZnodePattern(ensemble, tuple(parts), tuple(labels))


@lru_cache(maxsize=4096)
def znode_family(name: str) -> Family:
    """The family of one path. Raises PatternError."""
    pattern = parse_pattern(name)
    return Family(
        name=name,
        fields=_NAMES,
        help=ZNODES.help,
        main="exists",
        # Only paths that are written alike have instances that go together.
        instance_kind=f"znode of {name}" if pattern.is_open else None,
        has_whole=not pattern.is_open,
        interval=1.0,
        is_open=True,
        of_hosts=False,
    )


def znode_labels(name: str, path: str) -> Mapping[str, str]:
    """The labels of a match of a family's open path, which its path alone tells. Raises PatternError."""
    pattern = parse_pattern(name)
    names = pattern.names_in(path)
    return {} if names is None else pattern.labelled(names)


def znode_field_problem(name: str) -> str:
    """What is wrong with the name of a field of a znode that is not in the table; empty where nothing is."""
    if name.startswith("/"):
        return ""
    if name.startswith("~"):
        try:
            re.compile(name[1:])
        except re.error as error:
            return f"not a regular expression: {error}"
        return "" if len(name) > 1 else "an empty regular expression"
    return "no such field"
