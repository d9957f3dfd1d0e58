"""The sampler's znodes: the host, its ephemeral, and a znode per family, written in one transaction per tick.

Comes in: samples. Goes out: transactions. Nothing is submitted while the connection is down: that is the caller's
promise, since kazoo would keep such a write and apply it seconds later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from zkalert import zk
from zkalert.model import Alive, HostInfo
from zkalert.sampler import presence
from zkalert.tree import Tree, decode_alive, encode_alive, encode_host

_TRIES = 3
_OVERHEAD = 512  # what an operation's path and header may take in a transaction


class Publisher:
    """Writes for one host over one client; `claim` comes first, and again after a session was lost."""

    def __init__(self, client: zk.Client, tree: Tree, host: HostInfo, alive: Alive) -> None:
        self._client = client
        self._tree = tree
        self._host = host
        self._alive = alive
        self._alive_path = tree.alive(host.name)
        self._known: set[str] = set()

    def claim(self) -> None:
        """Become the one sampler that speaks for the host, and make what is missing around it.

        Raises HostNameTaken where another one does, LayoutTooNew, TransactionFailed, or what kazoo raises.
        """
        zk.open_tree(self._client, self._tree)
        self._client.ensure_path(self._tree.hosts)
        for left in reversed(range(_TRIES)):
            try:
                zk.commit(self._client, list(self._claiming()))
                break
            except zk.TransactionFailed as failure:
                # Somebody wrote between our look and the transaction: look again.
                if not left or not isinstance(failure.error, (zk.NodeExistsError, zk.NoNodeError, zk.BadVersionError)):
                    raise
        metrics = self._tree.metrics(self._host.name)
        self._known = {f"{metrics}/{child}" for child in self._client.get_children(metrics)}

    def _claiming(self) -> Iterator[zk.Operation]:
        host, metrics = self._tree.host(self._host.name), self._tree.metrics(self._host.name)
        replaced: list[zk.Operation] = []
        is_ours = False
        if self._client.exists(host) is None:
            yield zk.Create(host, encode_host(self._host))
        else:
            replaced, is_ours = self._look()
            yield zk.Set(host, encode_host(self._host))
        if self._client.exists(metrics) is None:
            yield zk.Create(metrics)
        if not is_ours:
            # Delete and create in one transaction: no moment in which the host has nobody to speak for it.
            yield from replaced
            yield zk.Create(self._alive_path, encode_alive(self._alive), ephemeral=True)

    def _look(self) -> tuple[list[zk.Operation], bool]:
        """What has to go before our ephemeral can stand, and whether it stands already."""
        try:
            data, stat = self._client.get(self._alive_path)
        except zk.NoNodeError:
            return [], False
        if self._is_ours(stat.ephemeralOwner):
            return [], True
        found = decode_alive(data)
        if isinstance(found, Alive) and presence.is_leftover(found, self._alive):
            return [zk.Delete(self._alive_path, stat.version)], False
        raise presence.taken(self._host.name, found, self._alive)

    def publish(self, payloads: Mapping[str, bytes]) -> float | None:
        """Write the payload of each family: all of them, or none. When that was by ZooKeeper's clock, if it told.

        Only what cannot be one transaction (100 operations, 256 KiB) is more than one. Raises as `claim` does: a name
        that went to another one is noticed here, before anything is written.
        """
        # A check in the transaction cannot tell our ephemeral from another's: both have version 0.
        if not self._has_name():
            self.claim()
        try:
            return self._write(payloads)
        except zk.TransactionFailed as failure:
            if not isinstance(failure.error, (zk.NodeExistsError, zk.NoNodeError)):
                raise
            # Somebody deleted or made znodes of ours: claiming makes what is missing and learns what is there.
            self.claim()
            return self._write(payloads)

    def withdraw(self, families: Iterable[str]) -> None:
        """Delete what an earlier sampler of this host published, and this one never will. Raises as `claim` does."""
        paths = [self._tree.family(self._host.name, family) for family in families]
        stale = [path for path in paths if path in self._known]
        if stale:
            zk.commit(self._client, [zk.Check(self._alive_path), *map(zk.Delete, stale)])
            self._known.difference_update(stale)

    def _has_name(self) -> bool:
        stat = self._client.exists(self._alive_path)
        return stat is not None and self._is_ours(stat.ephemeralOwner)

    def _is_ours(self, owner: int) -> bool:
        session = self._client.client_id
        return session is not None and owner == session[0]

    def _write(self, payloads: Mapping[str, bytes]) -> float | None:
        stat = None
        for batch in _batches(self._writing(payloads)):
            *_, done = zk.commit(self._client, [zk.Check(self._alive_path), *batch])
            self._known.update(operation.path for operation in batch)
            # Of what was created ZooKeeper tells the path alone.
            stat = done if isinstance(batch[-1], zk.Set) else self._client.exists(batch[-1].path)
        return None if stat is None else float(stat.mtime) / 1000

    def _writing(self, payloads: Mapping[str, bytes]) -> Iterator[zk.Create | zk.Set]:
        for family, payload in payloads.items():
            path = self._tree.family(self._host.name, family)
            yield zk.Set(path, payload) if path in self._known else zk.Create(path, payload)


def _batches(operations: Iterable[zk.Create | zk.Set]) -> Iterator[list[zk.Create | zk.Set]]:
    batch: list[zk.Create | zk.Set] = []
    size = 0
    for operation in operations:
        weight = len(operation.data) + _OVERHEAD
        if batch and (len(batch) + 1 >= zk.MOST_OPERATIONS or size + weight > zk.MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        yield batch
