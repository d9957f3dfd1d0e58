#!/usr/bin/env python3
"""The znodes of a Kafka cluster of three brokers, as Kafka 3 writes them. tree.py HOSTS healthy|broken.

Healthy: three brokers, the first of them is the controller, all partitions have leaders and all their copies. Broken:
the second broker died and nobody became the controller again, so that a topic with a single copy has no leader, what
brokers tell the controller piles up, and a broker has lost a disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planting import Plot, run

TOPS = (
    "/admin",
    "/brokers",
    "/cluster",
    "/config",
    "/consumers",
    "/controller",
    "/controller_epoch",
    "/feature",
    "/isr_change_notification",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
)
EMPTY = (
    "/admin/delete_topics",
    "/brokers/seqid",
    "/config/brokers",
    "/config/changes",
    "/config/clients",
    "/config/ips",
    "/config/topics",
    "/config/users",
    "/consumers",
    "/isr_change_notification",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
)
BROKERS = (1, 2, 3)
DEAD = 2
STARTED = "1767571200000"
TOPICS = {
    "orders": {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]},
    "payments": {0: [2, 1, 3]},
    "scratch": {0: [DEAD]},
}


def healthy(plot: Plot) -> None:
    _brokers(plot, dead=None)
    plot.put("/controller", {"version": 1, "brokerid": 1, "timestamp": STARTED}, owner=plot.session())


def broken(plot: Plot) -> None:
    _brokers(plot, dead=DEAD)
    for number in range(150):
        changed = {"version": 1, "partitions": [{"topic": "orders", "partition": number % 3}]}
        plot.put(f"/isr_change_notification/isr_change_{number:010}", changed)
    plot.put("/log_dir_event_notification/log_dir_event_0000000000", {"version": 1, "broker": 3, "event": 1})
    plot.put("/admin/delete_topics/old-orders")


def _brokers(plot: Plot, *, dead: int | None) -> None:
    for path in EMPTY:
        plot.put(path)
    plot.put("/cluster/id", {"version": "1", "id": "zkalert-example-cluster"})
    plot.put("/controller_epoch", b"1")
    plot.put("/feature", {"features": {}, "version": 2, "status": 1})
    plot.put("/brokers/ids")
    for broker in BROKERS:
        if broker != dead:
            plot.put(f"/brokers/ids/{broker}", _registration(broker), owner=plot.session())
    for topic, partitions in TOPICS.items():
        plot.put(f"/config/topics/{topic}", {"version": 1, "config": {}})
        plot.put(f"/brokers/topics/{topic}", _assignment(partitions))
        for partition, replicas in partitions.items():
            plot.put(f"/brokers/topics/{topic}/partitions/{partition}/state", _state(replicas, dead))


def _registration(broker: int) -> object:
    """What a broker says of itself, below /brokers/ids."""
    host = f"kafka{broker}.example.org"
    return {
        "features": {},
        "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"},
        "endpoints": [f"PLAINTEXT://{host}:9092"],
        "jmx_port": -1,
        "port": 9092,
        "host": host,
        "version": 5,
        "timestamp": STARTED,
    }


def _assignment(partitions: dict[int, list[int]]) -> object:
    """Which brokers a topic's partitions are kept on."""
    replicas = {str(partition): brokers for partition, brokers in partitions.items()}
    return {"removing_replicas": {}, "partitions": replicas, "adding_replicas": {}, "version": 3}


def _state(replicas: list[int], dead: int | None) -> object:
    """Who leads a partition and who is in sync; the last one in sync stays there when it dies."""
    alive = [broker for broker in replicas if broker != dead]
    return {
        "controller_epoch": 1,
        "leader": alive[0] if alive else -1,
        "version": 1,
        "leader_epoch": 0 if alive == replicas else 1,
        "isr": alive or replicas,
    }


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
