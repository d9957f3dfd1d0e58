"""The ledger of what is told: created with the change of an alert, then the dispatcher's alone.

An entry whose deliveries are all done is deleted. Where a notification failed for good, it goes to `dead/` with the
same write: there it waits a week for somebody who has it sent again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from zkalert.model import Delivery, DeliveryState, OutboxEntry, Phase, Problem, TargetKind
from zkalert.store.errors import NotOwner
from zkalert.tree import Tree, decode_entry, encode_entry
from zkalert.zk import (
    MOST_BYTES,
    MOST_IN_FLIGHT,
    MOST_OPERATIONS,
    BadVersionError,
    Check,
    Client,
    Create,
    Delete,
    NodeExistsError,
    NoNodeError,
    Operation,
    Set,
    TransactionFailed,
    commit_over,
    read_below,
    session,
)

log = logging.getLogger("zkalert.store")

EntryChange: TypeAlias = Callable[[OutboxEntry], OutboxEntry]
"""Absolute: made twice it says the same. It may raise NotOwner, to leave its entry as it is."""

_LOCKED_AT_ONCE = 99


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


class _Write(NamedTuple):
    """One entry's part of a transaction."""

    filed: _Filed
    changed: OutboxEntry
    operations: tuple[Operation, ...]

    @property
    def size(self) -> int:
        return sum(len(getattr(operation, "data", b"")) for operation in self.operations)


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
        self._client.ensure_path(self._tree.dead)
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

    def update_all(self, changes: Mapping[str, EntryChange]) -> dict[str, OutboxEntry]:
        """Apply an absolute change to each of many entries, in as few transactions as their bounds allow.

        Goes out: the entries as they stand now; one that is not here any more, or that its change leaves alone, is
        left out. Once all its deliveries are done, an entry is deleted, or put aside as dead.

        Raises NotOwner where they are no longer ours, one of zk.UNCERTAIN where nobody knows: then some may be
        changed and others not, and all changes are to be made again.
        """
        fence = self._fence
        if fence is None:
            raise NotOwner
        made: dict[str, OutboxEntry] = {}
        # Sorted, so that two threads with some entries in common never wait for each other's.
        left = sorted(changes)
        while left:
            some = {effect_id: one for effect_id in left[:_LOCKED_AT_ONCE] if (one := self._filed.get(effect_id))}
            with contextlib.ExitStack() as locks:
                for one in some.values():
                    locks.enter_context(one.lock)
                # Done and deleted while we waited for its lock, or read back: then it stands in another place.
                moved = [effect_id for effect_id, one in some.items() if self._filed.get(effect_id) is not one]
                for effect_id in moved:
                    del some[effect_id]
                made |= self._change(some, changes, fence)
            left = moved + left[_LOCKED_AT_ONCE:]
        return made

    def _change(
        self, some: Mapping[str, _Filed], changes: Mapping[str, EntryChange], fence: str
    ) -> dict[str, OutboxEntry]:
        """Change entries whose locks are held; what was refused is read back and changed once more."""
        made: dict[str, OutboxEntry] = {}
        left = dict(some)
        while left:
            writes: dict[str, _Write] = {}
            for effect_id, filed in left.items():
                with contextlib.suppress(NotOwner):
                    changed = changes[effect_id](filed.entry)
                    if changed == filed.entry:
                        made[effect_id] = changed
                    else:
                        writes[effect_id] = self._write(filed, changed)
            left = {}
            for transaction in _transactions(writes):
                try:
                    commit_over(self._client, [Check(fence), *_operations(transaction.values())])
                except TransactionFailed as failed:
                    if failed.operation == Check(fence):
                        raise NotOwner from failed
                    here = self._read_back(transaction, failed)
                    left |= here
                    # Gone by a deletion of ours whose answer was lost: what deletes it again has come about.
                    written = {id_: write for id_, write in transaction.items() if id_ not in here}
                    written = {id_: write for id_, write in written.items() if write.changed.is_done}
                else:
                    written = transaction
                for effect_id, write in written.items():
                    made[effect_id] = write.changed
                    self._wrote(effect_id, write)
        return made

    def _write(self, filed: _Filed, changed: OutboxEntry) -> _Write:
        changed = replace(changed, writer=f"{session(self._client)}-o{next(self._numbers)}")
        path = self._path(changed)
        if not changed.is_done:
            return _Write(filed, changed, (Set(path, encode_entry(changed), filed.version),))
        gone = Delete(path, filed.version)
        if not any(map(_has_failed, changed.deliveries)):
            if _dropped(changed) - _dropped(filed.entry):
                # ZooKeeper's own log says then what was not told and why, should nobody live to write it elsewhere.
                last = Set(path, encode_entry(changed), filed.version)
                return _Write(filed, changed, (last, Delete(path, filed.version + 1)))
            return _Write(filed, changed, (gone,))
        return _Write(filed, changed, (gone, Create(self._tree.dead_entry(changed.effect.id), encode_entry(changed))))

    def _wrote(self, effect_id: str, write: _Write) -> None:
        write.filed.entry = write.changed
        write.filed.version += 1
        if write.changed.is_done:
            self._filed.pop(effect_id, None)

    def _read_back(self, writes: Mapping[str, _Write], failed: TransactionFailed) -> dict[str, _Filed]:
        """After a refused write: nobody but us writes under our fence, so an earlier write of ours was applied.

        Goes out: those that are still there, as they stand; what is gone was deleted by us, and is filed no more.
        """
        if not isinstance(failed.error, (BadVersionError, NoNodeError, NodeExistsError)):
            raise failed.error
        if failed.operation.path.startswith(f"{self._tree.dead}/"):
            self._make_way(failed)
            return {effect_id: write.filed for effect_id, write in writes.items()}
        here: dict[str, _Filed] = {}
        replies = [
            (effect_id, self._client.get_async(self._path(write.changed))) for effect_id, write in writes.items()
        ]
        for effect_id, reply in replies:
            filed = writes[effect_id].filed
            try:
                data, stat = reply.get()
            except NoNodeError:
                self._filed.pop(effect_id, None)
                continue
            entry = decode_entry(data)
            if isinstance(entry, Problem):
                log.error("the outbox entry of %s was changed by somebody else and is left alone: %s", effect_id, entry)
                self._filed.pop(effect_id, None)
                continue
            filed.entry, filed.version = entry, stat.version
            here[effect_id] = filed
        return here

    def _make_way(self, failed: TransactionFailed) -> None:
        """Among the dead: an older entry of the same effect stands there, or the folder was taken away."""
        if isinstance(failed.error, NodeExistsError):
            with contextlib.suppress(NoNodeError):
                self._client.delete(failed.operation.path, recursive=True)
        else:
            self._client.ensure_path(self._tree.dead)

    # Among the dead.

    def resend(self, effect_id: str, now: float) -> OutboxEntry | None:
        """Move a dead entry back: what failed is new again, and tried for as long from `now` (epoch seconds).

        The wish for it (`resend/<effect id>`) is deleted with the same write. None where there is no such entry.
        Raises what `update_all` raises; made again after that, it gives the entry that the first call moved.
        """
        fence = self._fence
        if fence is None:
            raise NotOwner
        wish = self._tree.resend_entry(effect_id)
        granted: list[Operation] = [Check(fence)]
        if self._client.exists(wish) is not None:
            granted.append(Delete(wish))
        dead = self._dead(effect_id)
        if dead is None:
            self._commit(granted)
            return self._found(effect_id)
        entry, version = dead
        granted.append(Delete(self._tree.dead_entry(effect_id), version))
        if self._client.exists(self._path(entry)) is not None:
            self._commit(granted)  # it is on its way once more already
            return self._found(effect_id)
        deliveries = tuple(
            replace(delivery, state=DeliveryState.NEW, attempts=0, at=now, since=now, detail="", digest="")
            if _has_failed(delivery)
            else delivery
            for delivery in entry.deliveries
        )
        entry = replace(entry, deliveries=deliveries, writer=f"{session(self._client)}-o{next(self._numbers)}")
        self._commit([*granted, Create(self._path(entry), encode_entry(entry))])
        self.file([entry])
        return entry

    def _dead(self, effect_id: str) -> tuple[OutboxEntry, int] | None:
        """A dead entry and its version."""
        try:
            data, stat = self._client.get(self._tree.dead_entry(effect_id))
        except NoNodeError:
            return None
        entry = decode_entry(data)
        if isinstance(entry, Problem) or entry.effect.id != effect_id:
            log.error("the dead entry of %s cannot be used and is left alone", effect_id)
            return None
        return entry, stat.version

    def _found(self, effect_id: str) -> OutboxEntry | None:
        """An entry of the outbox that is not filed: moved here by a write whose answer was lost."""
        try:
            data, stat = self._client.get(self._tree.outbox_entry(self._shard, effect_id))
        except NoNodeError:
            return None
        entry = decode_entry(data)
        if isinstance(entry, Problem) or effect_id in self._filed:
            return None
        self._filed[effect_id] = _Filed(entry, stat.version, threading.Lock())
        return entry

    def _commit(self, operations: Sequence[Operation]) -> None:
        try:
            commit_over(self._client, operations)
        except TransactionFailed as failed:
            if failed.operation == operations[0]:
                raise NotOwner from failed
            raise failed.error from failed

    def purge_dead(self, before: float) -> int:
        """Delete dead entries that were put aside before a moment (epoch seconds); how many there were.

        Raises what `update_all` raises.
        """
        fence = self._fence
        if fence is None:
            raise NotOwner
        old: list[Operation] = [
            Delete(path, stat.version)
            for path, stat in _stats_below(self._client, self._tree.dead)
            if stat.mtime / 1000 < before
        ]
        for start in range(0, len(old), MOST_OPERATIONS - 1):
            self._commit([Check(fence), *old[start : start + MOST_OPERATIONS - 1]])
        return len(old)

    def _path(self, entry: OutboxEntry) -> str:
        return self._tree.outbox_entry(self._shard, entry.effect.id)


def _has_failed(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.FAILED and delivery.kind is TargetKind.NOTIFY


def _dropped(entry: OutboxEntry) -> set[str]:
    """The targets that are not to be told."""
    return {delivery.target for delivery in entry.deliveries if delivery.state is DeliveryState.DROPPED}


def _operations(writes: Iterable[_Write]) -> Iterator[Operation]:
    for write in writes:
        yield from write.operations


def _transactions(writes: Mapping[str, _Write]) -> Iterator[dict[str, _Write]]:
    """The writes in parts that fit into a transaction, beside its check of the fence."""
    part: dict[str, _Write] = {}
    operations = size = 0
    for effect_id, write in writes.items():
        is_full = operations + len(write.operations) >= MOST_OPERATIONS or size + write.size > MOST_BYTES
        if part and is_full:
            yield part
            part, operations, size = {}, 0, 0
        part[effect_id] = write
        operations += len(write.operations)
        size += write.size
    if part:
        yield part


def _stats_below(client: Client, folder: str) -> Iterator[tuple[str, Any]]:
    """Path and Stat of each child, asked for many at a time."""
    try:
        names = client.get_children(folder)
    except NoNodeError:
        return
    for start in range(0, len(names), MOST_IN_FLIGHT):
        paths = [f"{folder}/{name}" for name in names[start : start + MOST_IN_FLIGHT]]
        for path, reply in [(path, client.exists_async(path)) for path in paths]:
            if (stat := reply.get()) is not None:
                yield path, stat
