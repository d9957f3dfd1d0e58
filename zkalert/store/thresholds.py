"""What the rules in force ask of samplers, one znode a family: written by the owner of the tree, read by every host."""

from __future__ import annotations

from collections.abc import Mapping

from zkalert.store.errors import NotOwner, OutOfStep
from zkalert.tree import Tree, escape, unescape
from zkalert.zk import (
    MOST_BYTES,
    MOST_OPERATIONS,
    Check,
    Client,
    Create,
    Delete,
    Operation,
    Set,
    TransactionFailed,
    commit_over,
    read_below,
)


def write_thresholds(client: Client, tree: Tree, payloads: Mapping[str, bytes], fence: str) -> int:
    """Have `thresholds/` say this of each family, and nothing of others; how many znodes that changed.

    What says so already is left alone: every host watches it. Raises NotOwner where the fence is gone, OutOfStep where
    somebody else wrote meanwhile, one of zk.UNCERTAIN where nobody knows, or another KazooException.
    """
    client.ensure_path(tree.thresholds)
    operations: list[Operation] = []
    left = dict(payloads)
    for path, data, stat in read_below(client, tree.thresholds):
        part = path.rpartition("/")[2]
        wanted = left.pop(name, None) if escape(name := unescape(part)) == part else None
        if wanted is None:
            operations.append(Delete(path, stat.version))
        elif data != wanted:
            operations.append(Set(path, wanted, stat.version))
    operations += [Create(tree.threshold(family), payload) for family, payload in left.items()]
    batch: list[Operation] = []
    size = 0
    for operation in operations:
        weight = len(getattr(operation, "data", b""))
        if batch and (len(batch) + 1 >= MOST_OPERATIONS or size + weight > MOST_BYTES):
            _commit(client, batch, fence)
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        _commit(client, batch, fence)
    return len(operations)


def _commit(client: Client, operations: list[Operation], fence: str) -> None:
    try:
        commit_over(client, [Check(fence), *operations])
    except TransactionFailed as failed:
        if failed.operation == Check(fence):
            raise NotOwner from failed
        raise OutOfStep(str(failed)) from failed
