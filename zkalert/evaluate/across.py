"""One number made of many series.

Comes in: the samples of all hosts that a rule looks at, one by one. Goes out: the verdict on their number, or on that
of the sample's group. What a host adds is kept until its sample no longer speaks; a sample changes what its own host
adds and what that is part of, so that its cost hardly grows with the hosts.

Where none has spoken, as at the start or after an outage, they come back one by one, and a sum of the first few would
be a false alarm: until all have spoken there is no verdict, for as long as a sample speaks, a minute at most.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

from zkalert.evaluate.compare import Judge, Ladder, judge_of
from zkalert.evaluate.numbers import ROUNDING, Number, Picker
from zkalert.evaluate.terms import finite
from zkalert.model import Across, HostInfo, Observation, Of, Outcome, Rule, Total, Value, Verdict

PATIENCE = 60.0

_SPARE = 64


class AcrossLook:
    """One number of many series: those of all hosts, or the instances of one host.

    A member counts as long as its sample speaks. `by` makes one number for each value of that label of the hosts.
    `patience` is how long those who have not spoken yet are waited for, at most, in seconds.
    """

    def __init__(
        self, rule: Rule, across: Across, variant: Callable[[str | None], Rule], *, patience: float = PATIENCE
    ) -> None:
        self._rule = rule
        self._across = across
        self._patience = patience
        self._is_of_hosts = across.of is Of.HOSTS
        self._ladder = Ladder(variant(None))
        self._counts = None if across.comparator is None else judge_of(across.comparator, across.threshold)
        self._picker = Picker(rule)
        self._numbers: dict[str, Number] = {}
        self._groups: dict[str, str | None] = {}  # of hosts: by host
        self._crowds: dict[str | None, _Crowd] = {}  # by group; of instances: by host

    def attach(self, host: HostInfo) -> None:
        """Look at a host, or hear what its labels are now."""
        if not self._is_of_hosts:
            return
        name, group = host.name, None if self._across.by is None else host.labels.get(self._across.by, "")
        if name in self._groups:
            if self._groups[name] == group:
                return
            added, until = self._leave(name, self._groups[name])
        else:
            added, until = _NOTHING, -math.inf
        self._groups[name] = group
        self._crowd(group, name).put(name, added, until)

    def forget(self, host: str) -> None:
        """Look at a host no longer."""
        self._numbers.pop(host, None)
        if not self._is_of_hosts:
            self._crowds.pop(host, None)
        elif host in self._groups:
            self._leave(host, self._groups.pop(host))

    def look(self, observation: Observation) -> list[tuple[str | None, Verdict]]:
        host, mono, max_age = observation.host, observation.now.mono, observation.sample.max_age
        if self._is_of_hosts and host not in self._groups:
            return []
        group = self._groups[host] if self._is_of_hosts else None
        number = self._numbers.get(host)
        if number is None:
            number = self._numbers[host] = Number(self._rule, self._rule.conditions[0], self._picker)
        number.see(observation)
        crowd = self._crowd(group if self._is_of_hosts else host, host)
        all_of_them = crowd.take(host, *_added(number, self._counts, mono), mono)
        if not all_of_them.hosts or crowd.waits(mono, min(max_age, self._patience)):
            return []
        total = _total(self._across.stat, all_of_them)
        verdict = self._ladder.nothing(max_age) if total is None else self._ladder.verdict(total, max_age)
        return [(group, verdict._replace(members=(all_of_them.members, len(crowd) - all_of_them.hosts)))]

    def _crowd(self, key: str | None, host: str) -> _Crowd:
        crowd = self._crowds.get(key)
        if crowd is None:
            crowd = self._crowds[key] = _Crowd()
        crowd.add(host)
        return crowd

    def _leave(self, host: str, group: str | None) -> tuple[_Share, float]:
        """What a host that leaves its group added to it, and until when that counts."""
        crowd = self._crowds[group]
        left = crowd.remove(host)
        if not len(crowd):
            del self._crowds[group]
        return left


class _Share(NamedTuple):
    """What some hosts add: how many of them speak, their members, and of those that count number, sum and ends."""

    hosts: int
    members: int
    counted: int
    total: float
    low: float
    high: float


_NOTHING = _Share(0, 0, 0, 0.0, math.inf, -math.inf)


def _join(a: _Share, b: _Share) -> _Share:
    if not b.hosts:
        return a
    if not a.hosts:
        return b
    return _Share(
        a.hosts + b.hosts,
        a.members + b.members,
        a.counted + b.counted,
        a.total + b.total,
        min(a.low, b.low),
        max(a.high, b.high),
    )


def _added(number: Number, counts: Judge | None, mono: float) -> tuple[_Share, float]:
    """What one host adds, and until when."""
    values: list[Value] = []
    until = -math.inf
    for instance in number.instances():
        reading = number.read(instance, mono)
        if reading.value is not None and reading.until + ROUNDING >= mono:
            values.append(reading.value)
            until = max(until, reading.until)
    if not values:
        return _NOTHING, until
    counted = values if counts is None else [value for value in values if counts(value) is Outcome.TRUE]
    numbers = [value for value in counted if not isinstance(value, str)]
    low, high = (min(numbers), max(numbers)) if numbers else (math.inf, -math.inf)
    return _Share(1, len(values), len(counted), float(sum(numbers)), low, high), until


def _total(total: Total, share: _Share) -> float | None:
    """The number that many make; None where an average or an end is asked for, and none counts."""
    if total is Total.COUNT:
        return share.counted
    if total is Total.PERCENT:
        return 100.0 * share.counted / share.members
    if total is Total.SUM:
        return finite(share.total)
    if not share.counted:
        return None
    if total is Total.AVG:
        return finite(share.total / share.counted)
    return share.low if total is Total.MIN else share.high


class _Crowd:
    """The hosts of one group, and what all of them add.

    The leaves of a binary tree are what single hosts add, each node above is the sum of its two: what one host
    changes costs as many additions as the tree is high, and nothing is ever subtracted.
    """

    __slots__ = ("_ends", "_free", "_half", "_nodes", "_slots", "_untils", "_waits_since")

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._half = 1  # leaves; the root is node 1, the children of node n are 2n and 2n + 1
        self._nodes = [_NOTHING] * 2
        self._untils: dict[str, float] = {}
        self._ends: list[tuple[float, str]] = []  # a heap: one entry for each host in `_untils`, perhaps too early
        self._waits_since: float | None = None

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, host: str) -> None:
        """A host is one of them now, if it was not before."""
        if host in self._slots:
            return
        slot = self._free.pop() if self._free else len(self._slots)
        if slot == self._half:
            self._grow()
        self._slots[host] = slot

    def remove(self, host: str) -> tuple[_Share, float]:
        """A host is no more; what it added, and until when that counts."""
        slot = self._slots.pop(host)
        share = self._nodes[self._half + slot]
        self._set(slot, _NOTHING)
        self._free.append(slot)
        until = self._untils.get(host, -math.inf)
        if len(self._untils) > 2 * len(self._slots) + _SPARE:
            self._untils = {host: end for host, end in self._untils.items() if host in self._slots}
            self._queue_anew()
        return share, until

    def take(self, host: str, share: _Share, until: float, mono: float) -> _Share:
        """What a host adds from now on, and then what all of them add."""
        self._expire(mono)
        if not self._nodes[1].hosts:
            self._waits_since = mono
        self.put(host, share, until)
        return self._nodes[1]

    def put(self, host: str, share: _Share, until: float) -> None:
        self._set(self._slots[host], share)
        if not share.hosts:
            return
        before = self._untils.get(host)
        self._untils[host] = until
        if before is None:
            heapq.heappush(self._ends, (until, host))
        elif until < before:  # of a sampler with a shorter interval now
            self._queue_anew()

    def waits(self, mono: float, patience: float) -> bool:
        """Whether some have not spoken since the first did after all were silent, and there is patience left."""
        since = self._waits_since
        if since is None or self._nodes[1].hosts == len(self._slots) or mono - since >= patience:
            self._waits_since = None
            return False
        return True

    def _expire(self, mono: float) -> None:
        ends = self._ends
        while ends and ends[0][0] + ROUNDING < mono:
            host = ends[0][1]
            until = self._untils[host]
            if until + ROUNDING >= mono:
                heapq.heapreplace(ends, (until, host))
                continue
            heapq.heappop(ends)
            del self._untils[host]
            if host in self._slots:
                self._set(self._slots[host], _NOTHING)

    def _queue_anew(self) -> None:
        self._ends = [(until, host) for host, until in self._untils.items()]
        heapq.heapify(self._ends)

    def _set(self, slot: int, share: _Share) -> None:
        nodes, node = self._nodes, self._half + slot
        nodes[node] = share
        while node > 1:
            node //= 2
            nodes[node] = _join(nodes[2 * node], nodes[2 * node + 1])

    def _grow(self) -> None:
        leaves = self._nodes[self._half :]
        self._half *= 2
        self._nodes = [_NOTHING] * self._half + leaves + [_NOTHING] * len(leaves)
        for node in range(self._half - 1, 0, -1):
            self._nodes[node] = _join(self._nodes[2 * node], self._nodes[2 * node + 1])
