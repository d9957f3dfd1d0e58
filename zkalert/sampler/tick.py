"""When each family is read, and what becomes of its sample: kept, and published while ZooKeeper answers.

Comes in: the monotonic time, and states of the connection. Goes out: samples, and the time of the next step.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue

from zkalert import __version__, clock, zk
from zkalert.metrics import FAMILIES, SAMPLED
from zkalert.model import HostInfo, HostNameTaken, LayoutTooNew, Sample, ZkalertError
from zkalert.sampler import presence
from zkalert.sampler.collect import Collector
from zkalert.sampler.publish import Publisher
from zkalert.sampler.reading import fit
from zkalert.tree import Tree

log = logging.getLogger("zkalert.sampler")

MIN_MAX_AGE = 10.0
"""Seconds that a sample speaks at least."""

_LOOK = 1.0  # how often the connection is looked after between ticks
_LOOK_SOON = 0.1  # and before there was one
_RETRY = 3.0
_TOGETHER = 0.01  # families whose times are this near are read together
_FIRST_SPAN = 0.2  # shares need some time to be shares of


class Cadence:
    """Which families are due when: each on its own grid, all grids from one first moment.

    What was missed (a stopped process, a slow disk) is skipped, never caught up with.
    """

    def __init__(self, intervals: Mapping[str, float], first_at: float) -> None:
        self._intervals = dict(intervals)
        self._due_at = dict.fromkeys(intervals, first_at)

    def take(self, now: float) -> list[str]:
        """The families that are due at `now` (monotonic seconds); each is due again one interval later."""
        due = [family for family, at in self._due_at.items() if at <= now + _TOGETHER]
        for family in due:
            at, interval = self._due_at[family], self._intervals[family]
            self._due_at[family] = at + interval * (1 + math.floor((now + _TOGETHER - at) / interval))
        return due

    @property
    def next_at(self) -> float:
        return min(self._due_at.values())


def first_delay(intervals: Mapping[str, float], machine: str) -> float:
    """Seconds until the first tick: soon, and spread by machine, so that a rack that boots does not write at once."""
    latest = max(_FIRST_SPAN, min(1.0, *intervals.values()))
    part = int(hashlib.sha256(machine.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return _FIRST_SPAN + part * (latest - _FIRST_SPAN)


def max_age(interval: float) -> float:
    """How long a sample speaks at most, so that two that are lost in between leave no hole."""
    return max(3 * interval, MIN_MAX_AGE)


class Sampler:
    """Samples one host; `step` is called from one thread, again and again.

    `intervals` changes the cadence of families (seconds), `keep` is handed the samples of every tick, published or
    not. The client must be started; it is neither stopped nor closed here.
    """

    def __init__(  # noqa: PLR0913 - the parts that the agent joins
        self,
        *,
        client: zk.Client,
        tree: Tree,
        host: str,
        labels: Mapping[str, str],
        machine: str,
        intervals: Mapping[str, float],
        keep: Callable[[Sequence[Sample]], None],
    ) -> None:
        now = clock.monotonic()
        self._host = host
        self._keep = keep
        self._intervals = {name: intervals.get(name, FAMILIES[name].interval) for name in SAMPLED}
        self._collector = Collector(now)
        self._cadence = Cadence(self._intervals, now + first_delay(self._intervals, machine))
        system = os.uname()
        info = HostInfo(
            name=host,
            labels=labels,
            platform=f"{system.sysname} {system.release} {system.machine}",
            version=__version__,
            machine=machine,
        )
        self._publisher = Publisher(client, tree, info, presence.myself(machine))
        self._client = client
        self._states: SimpleQueue[zk.ConnectionState] = SimpleQueue()
        self._has_name = False
        self._had_name = False
        self._claim_at = 0.0
        self._told: dict[str, str] = {}
        zk.listen(client, self._states.put)

    @property
    def has_name(self) -> bool:
        """Whether it speaks for the host, as far as known."""
        return self._has_name

    def step(self, now: float) -> float:
        """Do what is due at `now` (monotonic seconds); when to be called again, in the same seconds.

        Raises HostNameTaken, LayoutTooNew or another ZkalertError where the host's name could not be had to begin
        with; once it was had, trouble is logged and tried again.
        """
        self._hear()
        if not self._has_name and self._client.connected and now >= self._claim_at:
            self._claim(now)
        due = self._cadence.take(now)
        if due:
            samples, payloads = self._read(due, now)
            self._keep(samples)
            if self._has_name and self._client.connected:
                self._publish(payloads)
        return min(self._cadence.next_at, now + (_LOOK if self._has_name else _LOOK_SOON))

    def _read(self, families: Sequence[str], now: float) -> tuple[list[Sample], dict[str, bytes]]:
        samples, payloads = [], {}
        at = clock.wall()
        for family in families:
            reading = self._collector.read(family, now)
            interval = self._intervals[family]
            sample, payloads[family] = fit(
                Sample(
                    family=family,
                    at=at,
                    interval=interval,
                    max_age=max_age(interval),
                    values=reading.values,
                    instances=reading.instances,
                    labels=reading.labels,
                    errors=reading.errors,
                )
            )
            self._tell(family, "; ".join(sample.errors), logging.WARNING, "is read without errors again")
            samples.append(sample)
        return samples, payloads

    def _hear(self) -> None:
        while not self._states.empty():
            state = self._states.get()
            if state is zk.ConnectionState.CONNECTED:
                self._tell("ZooKeeper", "", logging.WARNING, "answers again; publishing goes on")
            else:
                trouble = "does not answer; samples are kept in the history alone until it does"
                self._tell("ZooKeeper", trouble, logging.WARNING)
            if state is zk.ConnectionState.LOST:
                self._has_name = False
                self._claim_at = 0.0

    def _claim(self, now: float) -> None:
        try:
            self._publisher.claim()
        except zk.UNCERTAIN:
            self._claim_at = now + _LOOK
        except (ZkalertError, zk.TransactionFailed, zk.KazooException) as error:
            self._refused(error, now)
        else:
            if not self._had_name:
                log.info('publishing as host "%s"', self._host)
            self._tell("publishing", "", logging.ERROR, "goes on")
            self._has_name = self._had_name = True

    def _publish(self, payloads: Mapping[str, bytes]) -> None:
        try:
            self._publisher.publish(payloads)
        except zk.UNCERTAIN:
            pass  # the next tick brings newer samples; the connection's own state tells the user
        except (ZkalertError, zk.TransactionFailed, zk.KazooException) as error:
            self._has_name = False
            self._refused(error, clock.monotonic())
        else:
            self._tell("publishing", "", logging.ERROR, "goes on")

    def _refused(self, error: Exception, now: float) -> None:
        """ZooKeeper answered, and the answer was no: the end if it is the first one, else a matter of patience."""
        known = isinstance(error, (HostNameTaken, LayoutTooNew))
        reason = str(error) or type(error).__name__
        text = (
            reason
            if known
            else f"ZooKeeper refuses what this sampler writes ({reason}); check zookeeper.auth and the chroot"
        )
        if not self._had_name:
            raise error if known else ZkalertError(text) from error
        self._claim_at = now + _RETRY
        self._tell("publishing", f"has stopped: {text}; trying again", logging.ERROR)

    def _tell(self, what: str, trouble: str, level: int, cured: str = "is well again") -> None:
        """Log a trouble once, when it begins or becomes another one, and its end."""
        before = self._told.get(what, "")
        if trouble == before:
            return
        self._told[what] = trouble
        log.log(level if trouble else logging.WARNING, "%s %s", what, trouble or cured)
