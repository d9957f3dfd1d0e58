#!/usr/bin/env python3
"""The znodes of ClickHouse with three replicas of two tables, as its servers write them. tree.py HOSTS healthy|broken.

Healthy: all replicas are active and have done all that is in the log. Broken: the third server died, the log is kept
for it and it is lost for one table, the second one cannot fetch an insert, and nobody answers an ON CLUSTER query.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planting import CLOSED, Plot, run

TOPS = ("/clickhouse",)
DDL = "/clickhouse/task_queue/ddl"
TABLES = ("hits", "visits")
REPLICAS = ("r1", "r2", "r3")
SLOW, DEAD = "r2", "r3"
LOGGED = 12
KEPT_FOR_A_DEAD_ONE = 620


def healthy(plot: Plot) -> None:
    plot.client.default_acl = CLOSED
    for table in TABLES:
        _table(plot, table, logged=LOGGED)
        for replica in REPLICAS:
            _replica(plot, table, replica)
            plot.put(f"{_place(table, replica)}/is_active", b"pid: 1, random: 1", owner=plot.session())
    _query(plot, 0)
    for replica in REPLICAS:
        plot.put(f"{DDL}/query-0000000000/finished/{replica}:9000", b"0")


def broken(plot: Plot) -> None:
    for table in TABLES:
        _table(plot, table, logged=KEPT_FOR_A_DEAD_ONE)
        for replica in REPLICAS:
            is_behind = (replica, table) == (SLOW, "hits")
            _replica(plot, table, replica, is_behind=is_behind, is_lost=(replica, table) == (DEAD, "visits"))
            if replica != DEAD:
                plot.put(f"{_place(table, replica)}/is_active", b"pid: 1, random: 1", owner=plot.session())
    plot.put(f"{_place('hits')}/quorum/status", b"version: 1\npart_name: 202601_5_5_0\n")
    _query(plot, 0)


def _place(table: str, replica: str = "") -> str:
    return f"/clickhouse/tables/01/{table}" + (f"/replicas/{replica}" if replica else "")


def _table(plot: Plot, table: str, *, logged: int) -> None:
    """What all replicas of a table share."""
    place = _place(table)
    for name in ("block_numbers", "blocks", "mutations", "quorum/failed_parts", "quorum/last_part", "temp"):
        plot.put(f"{place}/{name}")
    plot.put(f"{place}/columns", b"columns format version: 1\n")
    plot.put(f"{place}/metadata", b"metadata format version: 1\n")
    plot.put(f"{place}/lost_part_count")
    plot.put(f"{place}/leader_election/leader_election-0", b"all (multiple leaders Ok)")
    for number in range(logged):
        plot.put(f"{place}/log/log-{number:010}", b"format version: 4\n")


def _replica(plot: Plot, table: str, replica: str, *, is_behind: bool = False, is_lost: bool = False) -> None:
    """What one replica keeps for itself, but for the ephemeral."""
    place = _place(table, replica)
    for name in ("columns", "flags", "host", "metadata", "mutation_pointer", "parts", "queue"):
        plot.put(f"{place}/{name}")
    plot.put(f"{place}/is_lost", b"1" if is_lost else b"0")
    plot.put(f"{place}/log_pointer", str(LOGGED).encode())
    waits_since = int(time.time()) if is_behind else 0
    plot.put(f"{place}/max_processed_insert_time", b"0")
    plot.put(f"{place}/min_unprocessed_insert_time", str(waits_since).encode())
    for number in range(30 if is_behind else 0):
        plot.put(f"{place}/queue/queue-{number:010}", b"format version: 4\n")


def _query(plot: Plot, number: int) -> None:
    """A query that was sent with ON CLUSTER, and that nobody is at."""
    place = f"{DDL}/query-{number:010}"
    plot.put(
        place, b"version: 1\nquery: CREATE DATABASE shop ON CLUSTER main\nhosts: ['r1:9000','r2:9000','r3:9000']\n"
    )
    plot.put(f"{place}/active")
    plot.put(f"{place}/finished")


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
