"""The goodbye of a sampler that was stopped for good: what its machine published is deleted, and nothing else is."""

from __future__ import annotations

from zkalert import zk
from zkalert.config import Config
from zkalert.model import Alive, HostInfo, ZkalertError, ZookeeperSettings
from zkalert.sampler import machine_id, presence
from zkalert.store.hosts import Mark, forget_host, read_host
from zkalert.tree import Tree


def leave(config: Config, settings: ZookeeperSettings) -> str:
    """Delete this host's znodes; a sentence that says so.

    Raises ZkalertError where a sampler runs, where another machine publishes under this host's name, or where
    ZooKeeper does not answer or refuses.
    """
    host = config.host
    mine = presence.myself(machine_id(config.state_dir))
    with zk.connected(settings) as client:
        tree = Tree(settings.root)
        found = read_host(client, tree, host)
        if found is None:
            return f"there is no host {host} in the tree: nothing is to be done"
        info, mark = found
        _check(host, info, mark, mine)
        count = forget_host(client, tree, host, mark)
    return f"host {host} has left: {count} znode{'' if count == 1 else 's'} deleted"


def _check(host: str, info: HostInfo, mark: Mark | None, mine: Alive) -> None:
    """Whether the host is this machine's, and nobody speaks for it. Raises ZkalertError where that is not so."""
    if mark is not None:
        if not isinstance(mark.alive, Alive) or not presence.is_leftover(mark.alive, mine):
            raise ZkalertError(f"nothing was deleted: {presence.taken(host, mark.alive, mine)}")
    elif info.machine != mine.machine:
        whose = f"machine {info.machine}" if info.machine else "nobody knows which machine"
        raise ZkalertError(
            f'nothing was deleted: {whose} published as host "{host}", and this is machine {mine.machine}; '
            f"`zkalert hosts forget` deletes any host that is gone"
        )
