#!/usr/bin/env python3
"""The znodes of an HBase cluster of three region servers, as HBase 2.5 writes them. tree.py HOSTS healthy|broken.

Healthy: a master, a backup, three region servers, one peer that is up to date. Broken: both masters are gone, so nobody
sees to the region server that died: its log is not split, and its replication queue is not taken over.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planting import CLOSED, Plot, run

TOPS = ("/hbase",)
EMPTY = (
    "/hbase/backup-masters",
    "/hbase/draining",
    "/hbase/flush-table-proc",
    "/hbase/namespace",
    "/hbase/online-snapshot/abort",
    "/hbase/online-snapshot/acquired",
    "/hbase/online-snapshot/reached",
    "/hbase/replication/hfile-refs",
    "/hbase/rs",
    "/hbase/splitWAL",
    "/hbase/switch",
    "/hbase/table",
)
STARTED = 1767571200000
PROTOBUF = b"PBUF"  # what HBase's own messages begin with, after what ZooKeeperMetaData puts before them
MASTERS = tuple(f"master{number}.example.org,16000,{STARTED}" for number in (1, 2))
SERVERS = tuple(f"rs{number}.example.org,16020,{STARTED}" for number in (1, 2, 3))
DEAD = SERVERS[2]
PEER = "dr"


def healthy(plot: Plot) -> None:
    plot.client.default_acl = CLOSED
    _cluster(plot, SERVERS)
    plot.put("/hbase/master", PROTOBUF, owner=plot.session())
    plot.put(f"/hbase/backup-masters/{MASTERS[1]}", PROTOBUF, owner=plot.session())
    for server in SERVERS:
        _queue(plot, server, logs=1)


def broken(plot: Plot) -> None:
    _cluster(plot, tuple(server for server in SERVERS if server != DEAD))
    for server in SERVERS:
        _queue(plot, server, logs=24 if server == DEAD else 1)
    plot.put(f"/hbase/splitWAL/WALs%2F{_escaped(DEAD)}-splitting%2F{_escaped(_escaped(DEAD))}.{STARTED}", PROTOBUF)
    plot.put("/hbase/online-snapshot/acquired/nightly", PROTOBUF)


def _cluster(plot: Plot, alive: tuple[str, ...]) -> None:
    """What stands there while a cluster runs; /hbase/running goes with stop-hbase.sh alone."""
    for path in EMPTY:
        plot.put(path)
    for name in ("balancer", "hbaseid", "meta-region-server", "normalizer", "running"):
        plot.put(f"/hbase/{name}", PROTOBUF)
    plot.put(f"/hbase/replication/peers/{PEER}", PROTOBUF)
    plot.put(f"/hbase/replication/peers/{PEER}/peer-state", PROTOBUF)
    for server in alive:
        plot.put(f"/hbase/rs/{server}", PROTOBUF, owner=plot.session())


def _queue(plot: Plot, server: str, *, logs: int) -> None:
    """A server's logs that the peer has not read whole; the last one is being written."""
    for number in range(logs):
        plot.put(f"/hbase/replication/rs/{server}/{PEER}/{_escaped(server)}.{STARTED + 3_600_000 * number}", PROTOBUF)


def _escaped(name: str) -> str:
    """As in names of logs and of tasks."""
    return name.replace("%", "%25").replace(",", "%2C")


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
