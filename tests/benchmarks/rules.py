"""Evaluations a second on one core: one rule judging one series once, from sample to alert, without ZooKeeper.

Each sample is read by ten rules that fire at once or are pending, of hosts of which a tenth is out of bounds, with
values that change each time. The floor is a loop that takes the same values from the same samples and compares them.
"""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from zkalert.model import (
    Comparator,
    Condition,
    HostInfo,
    Metric,
    Moment,
    Observation,
    Rule,
    Sample,
    Stat,
    State,
    Step,
    Term,
    Window,
)
from zkalert.rulebook import Rulebook, RuleWatcher, readers

RULES = 10
ROUNDS = 5
INTERVAL = 5.0
TEN_MINUTES = Window(over=600.0, stat=Stat.AVG)


class _Fleet:
    """Hosts, their rules, and the samples that they send, tick by tick."""

    def __init__(self, hosts: int, window: Window | None) -> None:
        numbers = itertools.count()
        self.book = Rulebook(lambda *_: None, lambda: f"{next(numbers):016x}")
        self.book.set_rules(_rule(number, window) for number in range(RULES))
        self.names = [f"h{number}" for number in range(hosts)]
        self.watchers: dict[str, list[RuleWatcher]] = {}
        for name in self.names:
            info = HostInfo(name=name)
            for watcher in self.book.watchers.values():
                watcher.attach(info)
            self.watchers[name] = readers(self.book.watchers, info, "memory_usage")
        self._random = random.Random(1)
        self._ticks = 0

    def samples(self, ticks: int) -> list[Observation]:
        return [self._sample(tick, name) for tick in self._next(ticks) for name in self.names]

    def _next(self, ticks: int) -> range:
        self._ticks += ticks
        return range(self._ticks - ticks, self._ticks)

    def _sample(self, tick: int, name: str) -> Observation:
        is_high = 10 * self.names.index(name) < len(self.names)
        percent = self._random.uniform(91, 99) if is_high else self._random.uniform(1, 80)
        mono = tick * INTERVAL
        at = 1_700_000_000.0 + mono
        values = {"percent": percent, "total": 16_000_000_000, "used": 8_000_000_000}
        sample = Sample(family="memory_usage", at=at, interval=INTERVAL, max_age=3 * INTERVAL, values=values)
        return Observation(host=name, sample=sample, now=Moment(at, mono))

    def judge(self, samples: list[Observation]) -> None:
        for observation in samples:
            self.book.judge(observation, self.watchers[observation.host], observation.now)

    def mix(self) -> str:
        """How many series of a hundred are in which state."""
        series = len(self.names) * RULES
        states = [alert.state for alert in self.book.alerts()]
        shares = {state: 100 * states.count(state) / series for state in (State.PENDING, State.FIRING)}
        shown = ", ".join(f"{share:.0f} % {state.value}" for state, share in shares.items())
        return f"{100 - sum(shares.values()):.0f} % inactive, {shown}"


def _rule(number: int, window: Window | None) -> Rule:
    term = Term(metric=Metric("memory_usage", "percent"), window=window)
    step = Step(duration=1e9 if number % 2 else 0.0)
    condition = Condition(term=term, comparator=Comparator.GT, threshold=90.0, unit="percent")
    return Rule(name=f"rule-{number}", conditions=(condition,), steps=(step,), digest=f"d{number}")


def _floor(samples: list[Observation]) -> None:
    high = 0
    for observation in samples:
        for _ in range(RULES):
            value = observation.sample.values.get("percent")
            if value is not None and value > 90.0:  # type: ignore[operator]
                high += 1
    assert high


def _seconds(judge: Callable[[list[Observation]], None], samples: list[Observation]) -> float:
    """Processor time for each evaluation."""
    gc.collect()
    began = time.process_time()
    judge(samples)
    return (time.process_time() - began) / (len(samples) * RULES)


def run(_hosts: str, _folder: Path) -> None:
    for name, window, hosts, ticks in (
        ("plain comparators", None, 100, 50),
        ("avg over 10m, 100 windows", TEN_MINUTES, 10, 400),
        ("avg over 10m, 1,000 windows", TEN_MINUTES, 100, 40),
    ):
        fleet = _Fleet(hosts, window)
        fleet.judge(fleet.samples(130))  # until each window is full
        ours, floor = [], []
        for _ in range(ROUNDS):
            samples = fleet.samples(ticks)
            ours.append(_seconds(fleet.judge, samples))
            floor.append(_seconds(_floor, samples))
        cost = statistics.median(ours)
        ratio = statistics.median(one / base for one, base in zip(ours, floor, strict=True))
        print(
            f"  {name:28} {1 / cost:9,.0f} evaluations/s  {cost * 1e6:5.2f} us each  {ratio:5.0f} times the bare loop"
            f"  ({fleet.mix()})"
        )
