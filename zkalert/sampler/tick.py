"""When each family is read, and what becomes of its sample: kept, and published while ZooKeeper answers.

Comes in: the monotonic time, states of the connection, and what the rules in force ask for. Goes out: samples, and the
time of the next step. Which samples are worth a write is for the desk to say.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from types import MappingProxyType

from zkalert import __version__, clock, zk
from zkalert.metrics import FAMILIES, HOST_FAMILY, SAMPLED
from zkalert.model import FamilyLimits, HostInfo, HostNameTaken, LayoutTooNew, Sample, ZkalertError
from zkalert.sampler import presence
from zkalert.sampler.band import max_age
from zkalert.sampler.collect import Collector, Reader
from zkalert.sampler.desk import Desk
from zkalert.sampler.publish import Publisher
from zkalert.sampler.reading import Reading, fit
from zkalert.tree import Tree

log = logging.getLogger("zkalert.sampler")

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


class Sampler:
    """Samples one host; `step` is called from one thread, again and again.

    `intervals` changes the cadence of families (seconds), `keep` is handed the samples of every tick, published or
    not. `asked` says what the rules in force ask of each family (the same object until that changes); where it says
    nothing of one, every sample of it is published. `resting` and `fast` as for the desk. The client must be started;
    it is neither stopped nor closed here.
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
        configured: Mapping[str, Reader] = MappingProxyType({}),
        asked: Callable[[], Mapping[str, FamilyLimits]] = dict,
        resting: float | None = None,
        fast: float | None = None,
    ) -> None:
        now = clock.monotonic()
        self._host = host
        self._keep = keep
        self._intervals = {name: intervals.get(name, FAMILIES[name].interval) for name in SAMPLED}
        self._collector = Collector(now, configured, processor_span=self._intervals["cpu_usage"])
        first_at = now + first_delay(self._intervals, machine)
        self._cadence = Cadence(self._intervals, first_at)
        self._asked = asked
        self._desk = Desk(self._intervals, resting=resting, fast=fast, first_at=first_at)
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
        self._ensemble = clock.EnsembleClock()
        self._knows_ensemble = False
        self._stale: set[str] = set()  # families that the configuration may have had once
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
        self._desk.heed(self._asked())
        due = self._cadence.take(now)
        at = clock.wall()
        samples = [*self._read(due, now, at), *self._glance(due, now, at)]
        if samples:
            self._keep(samples)
            chosen = [fit(sample) for sample in self._desk.weigh(samples, now)]
            if chosen:
                self._publish({sample.family: payload for sample, payload in chosen})
        if self._stale and self._has_name and self._client.connected:
            self._withdraw()
        look = _LOOK if self._has_name else _LOOK_SOON
        return min(self._cadence.next_at, self._desk.next_glance_at, now + look)

    def _read(self, families: Sequence[str], now: float, at: float) -> Iterator[Sample]:
        for family in families:
            reading = self._collector.read(family, now)
            if reading is None:  # this system has nothing of the kind
                if not self._collector.has(family):
                    self._stale.add(family)
                continue
            sample, _ = fit(self._sample(family, reading, at))
            self._tell(family, "; ".join(sample.errors), logging.WARNING, "is read without errors again")
            yield sample

    def _glance(self, done: Sequence[str], now: float, at: float) -> Iterator[Sample]:
        """Look at cheap families between their ticks, for crossings alone; not at those that were `done` now."""
        for family in self._desk.glances(now):
            if family in done:
                continue
            before = clock.worked()
            reading = self._collector.read(family, now)
            sample = None if reading is None else self._sample(family, reading, at)
            is_news = sample is not None and self._desk.is_news(sample, now)
            self._desk.spent(family, clock.worked() - before)
            if sample is not None and is_news:
                yield fit(sample)[0]

    def _sample(self, family: str, reading: Reading, at: float) -> Sample:
        interval, values = self._intervals[family], reading.values
        if family == HOST_FAMILY and self._knows_ensemble:
            # As far as it can tell: the engine goes by when the sample was written.
            values = {**values, "clock_skew": round(at - self._ensemble.now(), 2)}
        return Sample(
            family=family,
            at=at,
            interval=interval,
            max_age=max_age(interval),
            values=values,
            instances=reading.instances,
            labels=reading.labels,
            errors=reading.errors,
        )

    def _hear(self) -> None:
        while not self._states.empty():
            state = self._states.get()
            if state is zk.ConnectionState.CONNECTED:
                self._desk.doubt()  # an outage is a gap for whoever counts the time
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
            self._desk.doubt()

    def _publish(self, payloads: Mapping[str, bytes]) -> None:
        if not (self._has_name and self._client.connected):
            self._desk.doubt(payloads)
            return
        try:
            written_at = self._publisher.publish(payloads)
        except zk.UNCERTAIN:
            # The next tick brings newer samples; the connection's own state tells the user.
            self._desk.doubt(payloads)
        except (ZkalertError, zk.TransactionFailed, zk.KazooException) as error:
            self._has_name = False
            self._desk.doubt(payloads)
            self._refused(error, clock.monotonic())
        else:
            if written_at is not None:
                self._ensemble.saw(written_at, clock.monotonic())
                self._knows_ensemble = True
            self._tell("publishing", "", logging.ERROR, "goes on")

    def _withdraw(self) -> None:
        """What an earlier sampler said, and nobody says any more, would look as if it stood still."""
        with contextlib.suppress(zk.TransactionFailed, zk.KazooException, *zk.UNCERTAIN):  # the next round tries again
            self._publisher.withdraw(self._stale)
            self._stale.clear()

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
