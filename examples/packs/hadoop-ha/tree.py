#!/usr/bin/env python3
"""The znodes of automatic failover in HDFS and YARN, as Hadoop 3 writes them. tree.py HOSTS healthy|broken.

Healthy: one name node and one resource manager are active. Broken: the failover controller of the active name node
died, and none took over, as when it cannot be fenced; the resource manager was stopped, and there is no second one.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planting import CLOSED, Plot, run

TOPS = ("/hadoop-ha", "/yarn-leader-election", "/rmstore")
HDFS = "/hadoop-ha/prod"
YARN = "/yarn-leader-election/prod"
APPLICATIONS = "/rmstore/ZKRMStateRoot/RMAppRoot"
STARTED = 1767571200000
KEPT = 20


def healthy(plot: Plot) -> None:
    plot.client.default_acl = CLOSED
    plot.put(HDFS)
    _elected(plot, HDFS, _name_node("nn1"))
    _yarn(plot)
    _elected(plot, YARN, b"\n\x04prod\x12\x03rm1")


def broken(plot: Plot) -> None:
    plot.put(f"{HDFS}/ActiveBreadCrumb", _name_node("nn1"))
    _yarn(plot)


def _elected(plot: Plot, place: str, data: bytes) -> None:
    """Who is active holds the lock, and leaves its address for whoever may have to fence it."""
    plot.put(f"{place}/ActiveStandbyElectorLock", data, owner=plot.session())
    plot.put(f"{place}/ActiveBreadCrumb", data)


def _yarn(plot: Plot) -> None:
    plot.put(YARN)
    for number in range(KEPT):
        plot.put(f"{APPLICATIONS}/application_{STARTED}_{number:04}")


def _name_node(name: str) -> bytes:
    """ActiveNodeInfo as protocol buffers: the name service, the name node, its host and ports."""
    host = f"{name}.example.org".encode()
    return b"\n\x04prod\x12\x03%b\x1a%c%b \xd4>(\xd3?" % (name.encode(), len(host), host)


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
