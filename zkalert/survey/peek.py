"""The znodes that a pattern matches, looked at once, with all that rules could say of them.

Comes in: a pattern, a reader, how its ensemble is reached. Goes out: what each match says, with the names of its
fields; where nothing matches, how far the path leads. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zkalert import clock
from zkalert.metrics import ZNODES, ZnodePattern
from zkalert.model import Value
from zkalert.survey.glimpse import matches_of, sliced
from zkalert.survey.reading import Reader
from zkalert.tree import ZnodeFields, is_open_to_all, pointers_in

SEEN_AT_ONCE = tuple(name for name in ZNODES.fields if name != "changes")
"""The fields of the table that a single look can tell: changes are counted from a first look on."""

_MOST_FOLDERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """One match: its values by field, as rules name them behind `#`, and what keeps others from being told."""

    path: str
    labels: Mapping[str, str]
    values: Mapping[str, Value]
    problem: str = ""

    @property
    def is_there(self) -> bool:
        return bool(self.values.get("exists"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEnd:
    """Where a path ends before the pattern does: `there` has these `children`, and no `missing`.

    `missing` is empty where any child would have done; `is_refused`: its children may not be read.
    """

    there: str
    missing: str
    children: tuple[str, ...]
    is_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """How many znodes match (`is_cut`: at least), the first of them, and a dead end where none of those is there."""

    matches: int
    is_cut: bool
    seen: tuple[Peek, ...]
    dead_end: DeadEnd | None


def peek(pattern: ZnodePattern, field: str | None, reader: Reader, most: int) -> Peeked:
    """What the first `most` matches of a pattern say: one `field` of them, or all that can be named.

    Raises as the methods of a reader do.
    """
    paths, is_cut = matches_of(pattern, reader)
    seen = tuple(one for some in sliced(paths[:most]) for one in _peeks(pattern, field, reader, some))
    is_dead = not any(one.is_there for one in seen)
    return Peeked(
        matches=len(paths), is_cut=is_cut, seen=seen, dead_end=_dead_end(pattern, reader) if is_dead else None
    )


def _peeks(pattern: ZnodePattern, field: str | None, reader: Reader, paths: Sequence[str]) -> Iterator[Peek]:
    client, now = reader.client, clock.wall()
    stood = reader.answers(client.get_async, paths)
    hidden = reader.answers(client.exists_async, [path for path in paths if path not in stood])
    acls = reader.answers(client.get_acls_async, [*stood, *hidden]) if field in (None, "acl_open") else {}
    for path in paths:
        data, stat = stood.get(path, (None, hidden.get(path)))
        names = (*SEEN_AT_ONCE, *pointers_in(data)) if field is None else (field,)
        fields = ZnodeFields(names)
        labels = pattern.labelled(pattern.names_in(path) or ())
        if stat is None:
            yield Peek(path=path, labels=labels, values=fields.missing())
            continue
        told, problem = fields.of_data(data)
        found = {**fields.of_stat(stat), "children": stat.numChildren, **fields.of_time(stat, now), **told}
        if path in acls:
            found["acl_open"] = int(is_open_to_all(acls[path][0]))
        if path in hidden:
            problem = "its data may not be read"
        values = {name: found[name] for name in dict.fromkeys(("exists", *names)) if name in found}
        yield Peek(path=path, labels=labels, values=values, problem=problem)


def _dead_end(pattern: ZnodePattern, reader: Reader) -> DeadEnd | None:
    """How far a pattern leads: a few of the folders that its open parts stand for are followed."""
    there = ["/"]
    for length, part in enumerate(pattern.parts):
        children = reader.answers(reader.client.get_children_async, there)
        known = {path: tuple(sorted(children.get(path, ()))) for path in there}
        if part is not None:
            further = [_joined(path, part) for path in there]
            further = list(reader.answers(reader.client.exists_async, further))
        else:
            further = [_joined(path, name) for path in there for name in known[path]][:_MOST_FOLDERS]
        if not further:
            last = max(there, key=lambda path: len(known[path]))
            missing = "" if pattern.parts[length] is None else _joined(last, str(part))
            return DeadEnd(there=last, missing=missing, children=known[last], is_refused=last not in children)
        there = further
    return None


def _joined(folder: str, name: Any) -> str:
    return f"/{name}" if folder == "/" else f"{folder}/{name}"
