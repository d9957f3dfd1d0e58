"""A session with ZooKeeper for one command: it asks, or writes, and is over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from zkalert import zk
from zkalert.model import ZookeeperSettings
from zkalert.tree import Tree


class Session(NamedTuple):
    client: zk.Client
    tree: Tree


@contextlib.contextmanager
def connected(settings: ZookeeperSettings) -> Iterator[Session]:
    """A client that is connected, and its tree; what goes wrong with ZooKeeper becomes a ZkalertError of one line.

    Connecting may take as long as a session's timeout.
    """
    with zk.connected(settings) as client:
        yield Session(client, Tree(settings.root))
