"""What people said of alerts, as it stands in the tree: silences, acknowledgements, wishes.

Comes in: what the registry saw in the folders of facts. Goes out: all silences and all acknowledgements that there are
now, and the names of those who wish something. Belongs to the evaluator's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from zkalert.model import Ack, Silence
from zkalert.tree import Tree, decode_ack, decode_engine, decode_silence, escape
from zkalert.watch import FactSeen, FactsSeen, Registry

log = logging.getLogger("zkalert.engine")

MOST = 10_000
"""Facts of one kind that are followed; more than that nobody has said."""


AT_ONCE = 500
"""Facts that may be read before they are heeded: all facts are looked at then, so not for each of many."""


def as_ack(fact: object) -> Ack | None:
    return fact if isinstance(fact, Ack) else None


def as_silence(fact: object) -> Silence | None:
    return fact if isinstance(fact, Silence) else None


class Facts:
    """The facts of all folders that are followed. `note` hears of each that came, changed or went."""

    def __init__(self, registry: Registry, tree: Tree, note: Callable[[Any, Any], None]) -> None:
        self._registry = registry
        self._note = note
        self._old: set[tuple[str, str]] = set()  # what was there before anybody looked is no news
        self._folders: Mapping[str, Callable[[str], Callable[[bytes | None], Any]]] = {
            tree.silences: lambda name: partial(decode_silence, name),
            tree.acks: lambda _: decode_ack,
            tree.engines: lambda _: decode_engine,
        }
        self._wishes = (tree.resend, tree.closes)
        self._silences, self._acks, self._engines = tree.silences, tree.acks, tree.engines
        self._seen: dict[str, dict[str, Any]] = {folder: {} for folder in self._folders}
        self._names: dict[str, frozenset[str]] = {}
        self._handed: dict[str, set[str]] = {folder: set() for folder in self._wishes}
        self._unread: dict[str, set[str]] = {folder: set() for folder in self._folders}
        self._unheeded: dict[str, int] = dict.fromkeys(self._folders, 0)

    def follow(self) -> None:
        """Follow all folders; they may not be there yet."""
        for folder in (*self._folders, *self._wishes):
            self._registry.follow_facts(folder)

    def names_seen(self, event: FactsSeen) -> bool:
        """Names came or went; whether a fact is gone by that. Each new one is read on its own."""
        names = event.names
        if len(names) > MOST:
            log.error("%s has %d entries; the first %d count", event.folder, len(names), MOST)
            names = frozenset(sorted(names)[:MOST])
        is_first = event.folder not in self._names
        before, self._names[event.folder] = self._names.get(event.folder, frozenset()), names
        decoder = self._folders.get(event.folder)
        if decoder is None:
            self._handed[event.folder] &= names
            return False
        if is_first:
            self._old.update((event.folder, name) for name in names)
        seen = self._seen[event.folder]
        self._unread[event.folder] |= names - before
        for name in names - before:
            self._registry.follow_fact(event.folder, name, decoder(name))
        gone = before - names
        known = len(seen)
        for name in gone:
            self._registry.forget(f"{event.folder}/{escape(name)}")
            self._old.discard((event.folder, name))  # gone before it was read
            self._unread[event.folder].discard(name)
            if (fact := seen.pop(name, None)) is not None:
                self._note(fact, None)
        return len(seen) < known

    def fact_seen(self, event: FactSeen) -> bool:
        """A fact was read; whether there is something new to be heeded now."""
        seen = self._seen.get(event.folder)
        if seen is None:
            return False
        before = seen.get(event.name)
        if event.fact is None:
            seen.pop(event.name, None)
        else:
            seen[event.name] = event.fact
        is_old = (event.folder, event.name) in self._old
        self._old.discard((event.folder, event.name))
        if before != event.fact and not is_old:
            self._note(before, event.fact)
        self._unread[event.folder].discard(event.name)
        self._unheeded[event.folder] += before != event.fact or is_old
        is_due = not self._unread[event.folder] or self._unheeded[event.folder] >= AT_ONCE
        if not (is_due and self._unheeded[event.folder]):
            return False
        self._unheeded[event.folder] = 0
        return True

    @property
    def are_acks_known(self) -> bool:
        """Whether all acknowledgements that there were at first have been read."""
        return self._acks in self._names and not any(folder == self._acks for folder, _ in self._old)

    def silences(self) -> list[Silence]:
        return list(self._seen[self._silences].values())

    def acks(self) -> dict[str, Ack]:
        """By episode; one that stands under another's name counts for nothing."""
        return {name: ack for name, ack in self._seen[self._acks].items() if ack.episode == name}

    @property
    def has_skew(self) -> bool:
        """Whether the engines that live do not all run the same rules."""
        return len({engine.rules for engine in self._seen[self._engines].values()}) > 1

    def wishes(self, folder: str) -> frozenset[str]:
        """The names in a folder of wishes, each handed out once until it goes, or `ask_again`."""
        new = self._names.get(folder, frozenset()) - self._handed[folder]
        self._handed[folder] |= new
        return new

    def ask_again(self) -> None:
        """What was wished for may not have been done: hand all wishes out once more."""
        for handed in self._handed.values():
            handed.clear()
