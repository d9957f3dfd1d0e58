"""The end of a host: its znodes are deleted, all of them, and nothing is told of it any more as of a host.

Deleted from the bottom up. The host's own znode goes with the last transaction: that is refused where a sampler has
come back meanwhile, since its mark stands below the host.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from zkalert.model import Alive, HostInfo, Problem, ZkalertError
from zkalert.tree import Tree, decode_alive, decode_host
from zkalert.zk import (
    MOST_OPERATIONS,
    BadVersionError,
    Client,
    Delete,
    NoNodeError,
    NotEmptyError,
    TransactionFailed,
    commit,
)

_TRIES = 5
_MOST = 10_000
"""Znodes below one host; who finds more has found something else."""


class HostIsBack(ZkalertError):  # noqa: N818 - says what happened
    """A sampler speaks for the host (again), so that it was not forgotten."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of the sampler that speaks for a host, or of one that has just gone; `alive` may not be readable."""

    alive: Alive | Problem
    version: int


def read_host(client: Client, tree: Tree, host: str) -> tuple[HostInfo, Mark | None] | None:
    """What a host says of itself, and the mark of its sampler, None where there is none; None for no such host."""
    try:
        data, _ = client.get(tree.host(host))
    except NoNodeError:
        return None
    info = decode_host(data)
    try:
        mark, stat = client.get(tree.alive(host))
    except NoNodeError:
        found = None
    else:
        found = Mark(decode_alive(mark), stat.version)
    return (HostInfo(name=host) if isinstance(info, Problem) else info), found


def forget_host(client: Client, tree: Tree, host: str, mark: Mark | None = None) -> int:
    """Delete all that a host has published; how many znodes that were.

    `mark` is one that may go too. Raises HostIsBack where another stands, and what the client raises; what was begun
    then is finished by the next call.
    """
    top, alive = tree.host(host), tree.alive(host)
    deleted = 0
    for _ in range(_TRIES):
        paths = _below(client, top)
        if alive in paths and mark is None:
            raise HostIsBack(f'a sampler publishes as host "{host}"')
        operations = [Delete(path, mark.version if mark and path == alive else -1) for path in paths]
        try:
            for start in range(0, len(operations), MOST_OPERATIONS):
                some = operations[start : start + MOST_OPERATIONS]
                commit(client, some)
                deleted += len(some)
        except TransactionFailed as failed:
            if not isinstance(failed.error, (NotEmptyError, NoNodeError, BadVersionError)):
                raise failed.error from failed
            continue  # somebody wrote between our look and the transaction
        # What it was asked to run goes too, where nobody waits for an answer.
        with contextlib.suppress(NoNodeError, NotEmptyError):
            client.delete(tree.requests(host))
        return deleted
    raise HostIsBack(f'somebody goes on publishing as host "{host}"')


def _below(client: Client, top: str) -> list[str]:
    """A znode and all below it, each after what is below it."""
    found: list[str] = []
    left = [top]
    while left and len(found) < _MOST:
        path = left.pop()
        try:
            left += [f"{path}/{name}" for name in client.get_children(path)]
        except NoNodeError:
            continue
        found.append(path)
    return found[::-1]
