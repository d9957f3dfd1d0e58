#!/usr/bin/env python3
"""Locks, an election and queues, made with the recipes of kazoo. tree.py HOSTS healthy|broken.

Healthy: a lock with a holder and two who wait, an election with two candidates, short queues, and nobody else may
write. Broken: thirty wait for a lock, whose first place nobody owns; nobody stands for the election; a queue is long;
anybody may delete it all.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kazoo.client import KazooClient
from planting import CLOSED, Plot, run

TOPS = ("/elections", "/locking-queues", "/locks", "/queues")
MANY = 1200


def healthy(plot: Plot) -> None:
    app = plot.session(default_acl=CLOSED)
    for top in TOPS:
        app.ensure_path(top)
    app.Lock("/locks/nightly", "worker1").acquire()
    for waiter in ("worker2", "worker3"):
        _contend(app, "/locks/nightly", waiter)
    for candidate in ("host1", "host2"):
        _contend(app, "/elections/scheduler", candidate)
    app.Queue("/queues/mails").put(b"to: ops@example.org")
    jobs = app.LockingQueue("/locking-queues/jobs")
    jobs.put_all([b"resize 1", b"resize 2"])
    jobs.get()


def broken(plot: Plot) -> None:
    app = plot.session()
    app.Lock("/locks/nightly", "worker1").acquire(ephemeral=False)
    for number in range(2, 32):
        _contend(app, "/locks/nightly", f"worker{number}")
    app.ensure_path("/elections/scheduler")
    transaction = app.transaction()
    app.ensure_path("/queues/mails")
    for number in range(MANY):
        transaction.create(f"/queues/mails/entry-100-{number:010}", b"to: ops@example.org")
    transaction.commit()
    app.LockingQueue("/locking-queues/jobs").put(b"resize 1")


def _contend(client: KazooClient, path: str, who: str) -> None:
    """What kazoo's Lock leaves in ZooKeeper while it waits."""
    lock = client.Lock(path, who)
    client.ensure_path(path)
    client.create(lock.create_path, lock.data, ephemeral=True, sequence=True)


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
