"""Joins the parts that run on each host: the sampler, the history of what it read, and what the host is asked to run.

Comes in: a Config, and the event that ends it. It knows nothing of rules or messages, and loads none of their parts.
"""

from __future__ import annotations

import threading

from zkalert import clock, zk
from zkalert.agent.actions import ActionRunner, Settings
from zkalert.agent.configured import Configured
from zkalert.agent.limits import AskedLimits
from zkalert.config import Config, zookeeper_of
from zkalert.journal import FILE_NAME, History
from zkalert.metrics import SAMPLED
from zkalert.model import ZookeeperSettings
from zkalert.sampler import Sampler, machine_id
from zkalert.tree import Tree

_GRACE = 0.4  # seconds for the step in hand, and again for the end of the session


def run(config: Config, stop: threading.Event) -> None:
    """Sample this host until `stop` is set, then close everything within a second.

    An error that ends it sets `stop` itself, for whoever else waits on it. Raises UsageError where no ZooKeeper is
    configured, HostNameTaken, LayoutTooNew, HistoryError, or another ZkalertError where the first write is refused.
    """
    zookeeper = zookeeper_of(config)
    client = zk.make_client(zookeeper)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _sample(config, zookeeper, client, stop)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)
        finally:
            stop.set()

    # A thread of its own: its step may wait for a server that has gone silent, and `stop` is heard all the same.
    worker = threading.Thread(target=work, name="sampler", daemon=True)
    worker.start()
    clock.wait(stop, None)
    worker.join(_GRACE)
    zk.leave(client, _GRACE)
    worker.join(_GRACE)
    if errors:
        raise errors[0]


def _sample(config: Config, zookeeper: ZookeeperSettings, client: zk.Client, stop: threading.Event) -> None:
    tree, machine = Tree(zookeeper.root), machine_id(config.state_dir)
    configured = Configured(config, machine, stop)
    history = History(config.state_dir / FILE_NAME, config.history.max_age, config.history.max_size)
    try:
        sampler = Sampler(
            client=client,
            tree=tree,
            host=config.host,
            labels=config.labels,
            machine=machine,
            intervals=config.intervals,
            keep=lambda samples: history.append(samples, config.host),
            configured=configured.readers,
            asked=AskedLimits(client, tree, SAMPLED),
            resting=config.publishing.resting,
            fast=config.publishing.fast,
        )
        folder = config.source.parent if config.source else None
        actions = ActionRunner(
            client,
            tree,
            host=config.host,
            machine=machine,
            settings=Settings(config.actions, config.may_run, folder),
            is_ours=lambda: sampler.has_name,
        )
        threading.Thread(target=_connect, args=(client, actions, stop), name="connect", daemon=True).start()
        configured.start()
        try:
            while not stop.is_set():
                next_at = sampler.step(clock.monotonic())
                clock.wait(stop, next_at - clock.monotonic())
        finally:
            actions.stop()
            configured.stop()
    finally:
        history.close()


def _connect(client: zk.Client, actions: ActionRunner, stop: threading.Event) -> None:
    """Beside the sampling: a host that starts before its ensemble does keeps a history all the same."""
    if zk.connect(client, stop):
        actions.start()
