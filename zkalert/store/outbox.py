"""The ledger of what is told: created with the change of an alert, then the dispatcher's alone."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from zkalert.model import OutboxEntry, Phase, Problem
from zkalert.store.errors import NotOwner
from zkalert.tree import Tree, decode_entry, encode_entry
from zkalert.zk import (
    BadVersionError,
    Check,
    Client,
    Delete,
    NodeExistsError,
    NoNodeError,
    Operation,
    Set,
    TransactionFailed,
    commit,
    read_below,
    session,
)

log = logging.getLogger("zkalert.store")


def _order(entry: OutboxEntry) -> tuple[float, float, bool]:
    """When an effect came to be, and no earlier than its firing: the clock may have gone back between them."""
    effect = entry.effect
    fired_at = effect.at if effect.alert.fired_at is None else effect.alert.fired_at
    return max(effect.at, fired_at), fired_at, effect.phase is not Phase.FIRING


@dataclass(slots=True)
class _Filed:
    """An entry as we last knew it, and the lock under which it changes."""

    entry: OutboxEntry
    version: int
    lock: threading.Lock


class Outbox:
    """The entries of the outbox, for the dispatcher's threads."""

    def __init__(self, client: Client, tree: Tree, shard: int) -> None:
        self._client = client
        self._tree = tree
        self._shard = shard
        self._fence: str | None = None
        self._filed: dict[str, _Filed] = {}
        self._numbers = itertools.count(1)

    def own(self, fence: str) -> list[OutboxEntry]:
        """Read every entry back, and write under this fence from now on.

        In the order in which they came to be: a resolved comes after its firing, and before the next one's.
        """
        folder = self._tree.outbox(self._shard)
        # The server we reached may not have seen yet what our last write did there, when its answer was lost.
        self._client.sync(self._tree.top)
        self._client.ensure_path(folder)
        filed = {}
        for path, data, stat in read_below(self._client, folder):
            entry = decode_entry(data)
            if isinstance(entry, Problem) or self._path(entry) != path:
                why = entry.message if isinstance(entry, Problem) else "it belongs to another path"
                log.error("the outbox entry %s cannot be used and is left alone: %s", path, why)
                continue
            filed[entry.effect.id] = _Filed(entry, stat.version, threading.Lock())
        # Replaced whole: a worker that looks meanwhile must not take a full outbox for an empty one.
        self._fence, self._filed = fence, filed
        entries = [one.entry for one in filed.values()]
        return sorted(entries, key=_order)

    def disown(self) -> None:
        """Write nothing any more."""
        self._fence = None

    def file(self, entries: Iterable[OutboxEntry]) -> None:
        """Take over entries that the evaluator has just created."""
        for entry in entries:
            self._filed[entry.effect.id] = _Filed(entry, 0, threading.Lock())

    def update(self, effect_id: str, change: Callable[[OutboxEntry], OutboxEntry]) -> OutboxEntry:
        """Apply an absolute change to an entry; once all its deliveries are done, delete it.

        Raises NotOwner where it is no longer ours, one of zk.UNCERTAIN where nobody knows: make the change again.
        """
        filed = self._filed.get(effect_id)
        fence = self._fence
        if filed is None or fence is None:
            raise NotOwner
        with filed.lock:
            while True:
                changed = replace(change(filed.entry), writer=f"{session(self._client)}-o{next(self._numbers)}")
                path = self._path(changed)
                write: Operation = (
                    Delete(path, filed.version) if changed.is_done else Set(path, encode_entry(changed), filed.version)
                )
                try:
                    commit(self._client, [Check(fence), write])
                except TransactionFailed as failed:
                    if failed.operation == Check(fence):
                        raise NotOwner from failed
                    if not self._read_back(filed, path, failed.error):
                        self._filed.pop(effect_id, None)
                        if not changed.is_done:
                            raise NotOwner from failed  # a claim of what was done and deleted before
                        return changed
                    continue
                filed.entry = changed
                filed.version += 1
                if changed.is_done:
                    self._filed.pop(effect_id, None)
                return changed

    def _read_back(self, filed: _Filed, path: str, error: Exception) -> bool:
        """After a refused write: nobody but us writes under our fence, so an earlier write of ours was applied.

        False where the entry is gone, by a deletion of ours whose answer was lost.
        """
        if not isinstance(error, (BadVersionError, NoNodeError, NodeExistsError)):
            raise error
        try:
            data, stat = self._client.get(path)
        except NoNodeError:
            return False
        entry = decode_entry(data)
        if isinstance(entry, Problem):
            log.error("the outbox entry %s was changed by somebody else and is left alone: %s", path, entry)
            raise NotOwner
        filed.entry, filed.version = entry, stat.version
        return True

    def _path(self, entry: OutboxEntry) -> str:
        return self._tree.outbox_entry(self._shard, entry.effect.id)
