"""What people wish an engine to do: one znode each, which the owner of the tree deletes once it has seen to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from zkalert.tree import Tree
from zkalert.zk import MOST_OPERATIONS, Client, Create, NodeExistsError, TransactionFailed, commit


def wish_resent(client: Client, tree: Tree, effect_ids: Iterable[str]) -> None:
    """Have dead entries tried again. Raises what the client raises."""
    client.ensure_path(tree.resend)
    _write(client, [tree.resend_entry(effect_id) for effect_id in effect_ids])


def wish_closed(client: Client, tree: Tree, episode: str) -> str:
    """Have an alert closed whose rule no engine has; the path of the wish. Raises what the client raises."""
    client.ensure_path(tree.closes)
    path = tree.close(episode)
    _write(client, [path])
    return path


def _write(client: Client, paths: list[str]) -> None:
    """Create all of these; a wish that stands already is as good."""
    for start in range(0, len(paths), MOST_OPERATIONS):
        some = paths[start : start + MOST_OPERATIONS]
        try:
            commit(client, [Create(path) for path in some])
        except TransactionFailed as failed:
            if not isinstance(failed.error, NodeExistsError):
                raise failed.error from failed
            for path in some:
                with contextlib.suppress(NodeExistsError):
                    client.create(path)
