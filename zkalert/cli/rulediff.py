"""What differs between two rule sets: by file, by rule, and line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from zkalert import documents, rulefile
from zkalert.cli.logs import CONTROL
from zkalert.model import Rule

MOST_LINES = 20_000
"""Of two files together: what takes longer to compare is only said to differ."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Names that are new, whose meaning is another, and that are gone; each sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def lines(self) -> Iterator[str]:
        """For people: `added: a, b`."""
        for word, names in (("added", self.added), ("changed", self.changed), ("removed", self.removed)):
            if names:
                yield f"{word}: {', '.join(names)}"

    def document(self) -> dict[str, list[str]]:
        return {"added": [*self.added], "changed": [*self.changed], "removed": [*self.removed]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """From the files `old` to the files `new`. A rule that moved to another file has not changed."""

    files: Changes
    rules: Changes
    text: str


def compare(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Difference:
    """The rules of files with errors are not known, so they count as absent."""
    files = _changes(old, new)
    text = "".join(_of_file(name, old.get(name), new.get(name)) for name in sorted({*old, *new}))
    return Difference(files=files, rules=_changes(_rules(old), _rules(new)), text=text)


def as_json(difference: Difference, published: str | None) -> str:
    """As one object, whose keys stay as they are from release to release::

    {"published": "<id of the set>" or null, "files": {"added": [], "changed": ["host.yaml"], "removed": []},
     "rules": {"added": ["disk-full"], "changed": [], "removed": []}, "text": "--- published/host.yaml ..."}
    """
    document: dict[str, Any] = {
        "published": published,
        "files": difference.files.document(),
        "rules": difference.rules.document(),
        "text": difference.text,
    }
    return json.dumps(document, indent=2)


def _changes(old: Mapping[str, _T], new: Mapping[str, _T]) -> Changes:
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


def _rules(files: Mapping[str, bytes]) -> dict[str, Rule]:
    return {rule.name: replace(rule, source="") for rule in rulefile.load_texts(files).rules}


def _of_file(name: str, old: bytes | None, new: bytes | None) -> str:
    """The lines that differ, with a few around them; secrets in URLs covered, and nothing that drives a terminal."""
    if old == new:
        return ""
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) > MOST_LINES:
        return f"{name} differs, and is too long to be compared line by line\n"
    compared = difflib.unified_diff(
        before,
        after,
        "/dev/null" if old is None else f"published/{name}",
        "/dev/null" if new is None else f"files/{name}",
        lineterm="",
    )
    return _joined(compared) or f"{name} differs in its line endings\n"


def _lines(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def _joined(lines: Iterable[str]) -> str:
    return "".join(documents.without_urls(line).translate(CONTROL) + "\n" for line in lines)
