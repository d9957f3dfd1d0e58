"""What the rules in force ask of this host's samples, as the engine says it in `thresholds/`.

Comes in: what the registry sees there, states of the connection. Goes out: limits by family, read on the sampler's
thread. Until a family's znode was read nobody has said anything of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from queue import SimpleQueue

from zkalert import zk
from zkalert.model import FamilyLimits
from zkalert.tree import Tree, decode_limits, escape
from zkalert.watch import Event, FactSeen, FactsSeen, Registry


class AskedLimits:
    """Follows `thresholds/` for these families, over a client that need not be connected yet. For one thread."""

    def __init__(self, client: zk.Client, tree: Tree, families: Collection[str]) -> None:
        self._folder = tree.thresholds
        self._families = frozenset(families)
        self._heard: SimpleQueue[Event | zk.ConnectionState] = SimpleQueue()
        self._registry = Registry(client, tree, self._heard.put)
        self._names: frozenset[str] = frozenset()
        self._limits: Mapping[str, FamilyLimits] = {}
        self._follows = False
        zk.listen(client, self._heard.put)
        if client.connected:
            self._heard.put(zk.ConnectionState.CONNECTED)

    def __call__(self) -> Mapping[str, FamilyLimits]:
        """What is asked of each family now: the same object until that changes."""
        while not self._heard.empty():
            event = self._heard.get()
            if event is zk.ConnectionState.CONNECTED:
                self._follow()
            elif isinstance(event, FactsSeen):
                self._names_seen(event.names & self._families)
            elif isinstance(event, FactSeen):
                self._keep(event.name, event.fact)
        return self._limits

    def _follow(self) -> None:
        if self._follows:
            self._registry.rearm()
        else:
            self._follows = True
            self._registry.follow_facts(self._folder)

    def _names_seen(self, names: frozenset[str]) -> None:
        before, self._names = self._names, names
        for name in names - before:
            self._registry.follow_fact(self._folder, name, decode_limits)
        for name in before - names:
            self._registry.forget(f"{self._folder}/{escape(name)}")
            self._keep(name, None)

    def _keep(self, family: str, limits: FamilyLimits | None) -> None:
        others = {name: one for name, one in self._limits.items() if name != family}
        if limits is not None and family in self._names:
            self._limits = {**others, family: limits}
        elif len(others) < len(self._limits):
            self._limits = others
