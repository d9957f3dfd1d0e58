"""What is kept of each znode that a pattern matches, and of the folders on the way to it. There may be thousands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zkalert.metrics import ZnodePattern
from zkalert.model import Value


class Folder:
    """A folder whose children an open part stands for. `names` are those of the open parts before it."""

    __slots__ = ("children", "index", "names")

    def __init__(self, names: tuple[str, ...], index: int) -> None:
        self.names = names
        self.index = index
        self.children: frozenset[str] = frozenset()


class Leaf:
    """One znode that the pattern matches; `stat` None while it is not there, or (not `is_read`) was not read yet."""

    __slots__ = ("acl_open", "changes", "children", "data", "is_read", "stat")

    def __init__(self) -> None:
        self.is_read = False
        self.stat: Any = None
        self.data: dict[str, Value] = {}
        self.children: int | None = None
        self.acl_open: int | None = None
        self.changes = 0


class Labels(Mapping[str, Mapping[str, str]]):
    """The labels of each match, made when they are asked for: few of thousands ever are."""

    __slots__ = ("_leaves", "_pattern")

    def __init__(self, pattern: ZnodePattern, leaves: Mapping[str, Leaf]) -> None:
        self._pattern = pattern
        self._leaves = leaves

    def __getitem__(self, path: str) -> Mapping[str, str]:
        names = self._pattern.names_in(path) if path in self._leaves else None
        if names is None:
            raise KeyError(path)
        return self._pattern.labelled(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)


def is_child(path: str, folder: str, names: frozenset[str]) -> bool:
    """Whether a path is one of these names in a folder."""
    head, _, name = path.rpartition("/")
    return (head or "/") == folder and name in names


def changes_between(before: Any, after: Any) -> int:
    """How often a znode was made or set between two looks at it, as far as its Stat tells."""
    if before.czxid == after.czxid:
        return max(0, int(after.version) - int(before.version))
    return 1 + int(after.version)
