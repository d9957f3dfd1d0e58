#!/usr/bin/env python3
"""The znodes of a SolrCloud of three nodes, as Solr 9 writes them. tree.py HOSTS healthy|broken.

Healthy: three nodes, the first of them is overseer; two collections, all shards have a leader, authentication is set
up. Broken: the third node died, a shard that had its only other replica there elects nobody, no node becomes overseer
and the queue grows, and there is no authentication.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planting import CLOSED, Plot, run

TOPS = (
    "/aliases.json",
    "/clusterprops.json",
    "/collections",
    "/configs",
    "/live_nodes",
    "/overseer",
    "/overseer_elect",
    "/roles.json",
    "/security.json",
)
EMPTY = (
    "/live_nodes",
    "/overseer/async_ids",
    "/overseer/collection-map-completed",
    "/overseer/collection-map-failure",
    "/overseer/collection-map-running",
    "/overseer/collection-queue-work",
    "/overseer/queue",
    "/overseer/queue-work",
    "/overseer_elect/election",
)
NODES = tuple(f"solr{number}.example.org:8983_solr" for number in (1, 2, 3))
DEAD = NODES[2]
SHARDS = {
    "books": {"shard1": (NODES[0], NODES[1]), "shard2": (NODES[1], DEAD)},
    "authors": {"shard1": NODES},
}
SECURITY = {"authentication": {"class": "solr.BasicAuthPlugin", "blockUnknown": True, "credentials": {}}}


def healthy(plot: Plot) -> None:
    plot.client.default_acl = CLOSED
    _cloud(plot, dead=None)
    plot.put("/security.json", SECURITY)
    plot.put("/overseer_elect/leader", {"id": f"1-{NODES[0]}-n_0000000000"}, owner=plot.session())


def broken(plot: Plot) -> None:
    _cloud(plot, dead=DEAD)
    plot.put("/security.json", {})
    for number in range(1500):
        plot.put(f"/overseer/queue/qn-{number:010}", {"operation": "downnode", "node_name": DEAD})
    plot.put("/overseer/collection-queue-work/qn-0000000000", {"operation": "create", "name": "editions"})


def _cloud(plot: Plot, *, dead: str | None) -> None:
    for path in EMPTY:
        plot.put(path)
    for path in ("/aliases.json", "/clusterprops.json", "/roles.json"):
        plot.put(path, {})
    sessions = {node: plot.session() for node in NODES if node != dead}
    for number, (node, session) in enumerate(sessions.items()):
        plot.put(f"/live_nodes/{node}", owner=session)
        plot.put(f"/overseer_elect/election/{number + 1}-{node}-n_{number:010}", owner=session)
    for collection, shards in SHARDS.items():
        plot.put(f"/configs/{collection}/schema.xml", b"<schema/>")
        plot.put(f"/collections/{collection}", {"configName": collection})
        plot.put(f"/collections/{collection}/state.json", {collection: _state(collection, shards, dead)})
        for shard, nodes in shards.items():
            place = f"/collections/{collection}"
            plot.put(f"{place}/terms/{shard}", {_core_node(number): 4 for number in range(len(nodes))})
            plot.put(f"{place}/leaders/{shard}")
            plot.put(f"{place}/leader_elect/{shard}/election")
            for number, node in enumerate(nodes):
                if node != dead:
                    name = f"{number + 1}-{_core_node(number)}-n_{number:010}"
                    plot.put(f"{place}/leader_elect/{shard}/election/{name}", owner=sessions[node])
            if dead is None or dead not in nodes or len(nodes) > 2:
                leader = {"core": f"{collection}_{shard}_replica_n1", "node_name": nodes[0]}
                plot.put(f"{place}/leaders/{shard}/leader", leader, owner=sessions[nodes[0]])


def _state(collection: str, shards: dict[str, tuple[str, ...]], dead: str | None) -> object:
    """A collection as state.json has it. A replica on a node that just died still says active."""
    return {
        "pullReplicas": "0",
        "replicationFactor": "2",
        "router": {"name": "compositeId"},
        "shards": {
            shard: {
                "range": "80000000-7fffffff",
                "state": "active",
                "replicas": {
                    _core_node(number): {
                        "core": f"{collection}_{shard}_replica_n{number + 1}",
                        "node_name": node,
                        "type": "NRT",
                        "state": "down" if dead in nodes and node != dead and len(nodes) == 2 else "active",
                    }
                    for number, node in enumerate(nodes)
                },
            }
            for shard, nodes in shards.items()
        },
    }


def _core_node(number: int) -> str:
    return f"core_node{2 * number + 3}"


if __name__ == "__main__":
    sys.exit(run(TOPS, {"healthy": healthy, "broken": broken}))
