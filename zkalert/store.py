"""Alert records and the outbox in ZooKeeper: read back whole, changed by compare-and-set alone.

Two writers, never of the same znode: the evaluator writes `alerts/` and creates the entries of `outbox/` in the same
transaction; from then on an entry belongs to the dispatcher. So neither breaks the versions that the other expects.

Every transaction carries a check of the fence, the lock's own node: who has lost the lock can write nothing, however
late a write of his arrives. A write whose answer was lost may have been applied. The evaluator then reads everything
back; the dispatcher, whose changes are absolute, makes the same change again on what it finds.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from zkalert.model import Alert, OutboxEntry, Phase, Problem, State
from zkalert.tree import Tree, decode_alert, decode_entry, encode_alert, encode_entry
from zkalert.zk import (
    MOST_BYTES,
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
    commit,
    read_below,
    session,
)

log = logging.getLogger("zkalert.store")


class Change(NamedTuple):
    """One transition to be written: where an alert stands now, and what has to be told of it."""

    alert: Alert
    entries: tuple[OutboxEntry, ...] = ()


class NotOwner(Exception):  # noqa: N818
    """The fence is gone: somebody else may own what was ours."""


class OutOfStep(Exception):  # noqa: N818
    """What stands in the tree is not what we wrote last: read it back before anything else."""


def _order(entry: OutboxEntry) -> tuple[float, float, bool]:
    """When an effect came to be, and no earlier than its firing: the clock may have gone back between them."""
    effect = entry.effect
    fired_at = effect.at if effect.alert.fired_at is None else effect.alert.fired_at
    return max(effect.at, fired_at), fired_at, effect.phase is not Phase.FIRING


class AlertStore:
    """The alert records, for the evaluator's thread alone."""

    def __init__(self, client: Client, tree: Tree, shard: int) -> None:
        self._client = client
        self._tree = tree
        self._shard = shard
        self._versions: dict[str, int] = {}
        self._rules: set[str] = set()
        self._numbers = itertools.count(1)

    def load(self) -> list[Alert]:
        """Every alert that is not inactive, and from now on the versions that writes expect."""
        self._client.sync(self._tree.top)
        self._client.ensure_path(self._tree.alerts)
        self._versions.clear()
        self._rules = set(self._client.get_children(self._tree.alerts))
        alerts = []
        for rule in self._rules:
            for path, data, stat in read_below(self._client, f"{self._tree.alerts}/{rule}"):
                # Of a broken one too: the next transition of its series writes over it.
                self._versions[path] = stat.version
                alert = decode_alert(data)
                if isinstance(alert, Problem) or self._path(alert) != path:
                    why = alert.message if isinstance(alert, Problem) else "it belongs to another path"
                    log.error("the alert record %s cannot be used: %s", path, why)
                    continue
                alerts.append(alert)
        return alerts

    def commit(self, changes: Sequence[Change], fence: str) -> None:
        """Write transitions in order, in as few transactions as their bounds allow.

        Raises NotOwner where the fence is gone, OutOfStep where the tree is not as expected, one of zk.UNCERTAIN
        where nobody knows; after each of them only `load` tells what was applied.
        """
        batch: list[Operation] = []
        size = 0
        for change in changes:
            operations = self._operations(change)
            more = sum(len(getattr(operation, "data", b"")) for operation in operations)
            if batch and (len(batch) + len(operations) >= MOST_OPERATIONS or size + more > MOST_BYTES):
                self._commit(batch, fence)
                batch, size = [], 0
            batch.extend(operations)
            size += more
        if batch:
            self._commit(batch, fence)

    def _commit(self, operations: Sequence[Operation], fence: str) -> None:
        try:
            commit(self._client, [Check(fence), *operations])
        except TransactionFailed as failed:
            if failed.operation == Check(fence):
                raise NotOwner from failed
            raise OutOfStep(str(failed)) from failed

    def _operations(self, change: Change) -> list[Operation]:
        alert = replace(change.alert, writer=f"{session(self._client)}-{next(self._numbers)}")
        path, is_over = self._path(alert), alert.state in (State.RESOLVED, State.INACTIVE)
        version = self._versions.get(path)
        operations: list[Operation] = []
        if is_over:
            if version is not None:
                operations.append(Delete(path, version))
                del self._versions[path]
        elif version is None:
            folder = self._tree.rule_alerts(alert.rule)
            if (name := folder.rpartition("/")[2]) not in self._rules:
                operations.append(Create(folder))
                self._rules.add(name)
            operations.append(Create(path, encode_alert(alert)))
            self._versions[path] = 0
        else:
            operations.append(Set(path, encode_alert(alert), version))
            self._versions[path] = version + 1
        for entry in change.entries:
            written = replace(entry, writer=alert.writer)
            operations.append(Create(self._tree.outbox_entry(self._shard, entry.effect.id), encode_entry(written)))
        return operations

    def _path(self, alert: Alert) -> str:
        return self._tree.alert(alert.rule, alert.host, alert.instance)


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
