"""The records of alerts, which the evaluator alone writes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from zkalert.model import Alert, OutboxEntry, Problem, State
from zkalert.store.errors import NotOwner, OutOfStep
from zkalert.tree import Tree, decode_alert, encode_alert, encode_entry
from zkalert.zk import (
    MOST_BYTES,
    MOST_OPERATIONS,
    Check,
    Client,
    Create,
    Delete,
    NoAuthError,
    NoNodeError,
    Operation,
    Set,
    TransactionFailed,
    commit_over,
    read_below,
    session,
)

log = logging.getLogger("zkalert.store")


class Change(NamedTuple):
    """One transition to be written: where an alert stands now, and what has to be told of it."""

    alert: Alert
    entries: tuple[OutboxEntry, ...] = ()


class AlertStore:
    """The alert records, for the evaluator's thread alone."""

    def __init__(self, client: Client, tree: Tree, shard: int) -> None:
        self._client = client
        self._tree = tree
        self._shard = shard
        self._versions: dict[str, int] = {}
        self._locked: set[str] = set()  # records that we may not read or write: somebody else made them
        self._rules: set[str] = set()
        self._numbers = itertools.count(1)

    def load(self) -> list[Alert]:
        """Every alert that is not inactive, and from now on the versions that writes expect."""
        self._client.sync(self._tree.top)
        self._client.ensure_path(self._tree.alerts)
        self._versions.clear()
        self._locked.clear()
        self._rules = set(self._client.get_children(self._tree.alerts))
        alerts = []
        for rule in self._rules:
            try:
                found = list(read_below(self._client, f"{self._tree.alerts}/{rule}"))
            except (NoAuthError, NoNodeError) as error:
                log.error("%s/%s cannot be read: %s", self._tree.alerts, rule, type(error).__name__)
                continue
            for path, data, stat in found:
                if data is None:
                    self._locked.add(path)
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

    def delete_soon(self, paths: Iterable[str]) -> None:
        """Delete facts that are of no use any more, without waiting; one that stays costs nothing but its place."""
        for path in paths:
            if self._client.connected:
                self._client.delete_async(path)

    def _commit(self, operations: Sequence[Operation], fence: str) -> None:
        try:
            commit_over(self._client, [Check(fence), *operations])
        except TransactionFailed as failed:
            if failed.operation == Check(fence):
                raise NotOwner from failed
            raise OutOfStep(str(failed)) from failed

    def _operations(self, change: Change) -> list[Operation]:
        alert = replace(change.alert, writer=f"{session(self._client)}-{next(self._numbers)}")
        path, is_over = self._path(alert), alert.state in (State.RESOLVED, State.INACTIVE)
        version = self._versions.get(path)
        operations: list[Operation] = []
        if path in self._locked and version is not None:
            # Its parent's ACL counts for deleting it, not its own.
            operations.append(Delete(path, version))
            self._locked.remove(path)
            del self._versions[path]
            version = None
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
