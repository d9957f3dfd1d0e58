"""Rule sets as they are published in ZooKeeper: which one is current, and which were before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One time that a rule set became the current one: which, when, by whom, and why.

    `set_id` is the SHA-256 of its manifest in hexadecimal, so that the same files have the same id.
    """

    set_id: str
    at: float
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publications:
    """The newest publication, and those before it, the last one first."""

    current: Publication
    previous: tuple[Publication, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A rule set as it was read: its publication, and what stands in each file by its name in the set."""

    publication: Publication
    files: Mapping[str, bytes] = field(repr=False)
