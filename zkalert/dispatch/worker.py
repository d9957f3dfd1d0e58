"""One target's queue, and the threads that work on it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence

from zkalert import clock
from zkalert.dispatch.courier import Courier
from zkalert.dispatch.jobs import Job, Parcel
from zkalert.dispatch.values import Sender, TargetStatus
from zkalert.lifecycle import is_open, next_change
from zkalert.model import Effect, Moment, SendState, Target, TargetKind
from zkalert.routing import Batches, Stage, pace_of

log = logging.getLogger("zkalert.dispatch")

RUNS_AT_ONCE = 4
_LONGEST_WAIT = 3600.0


class Worker:
    """Hands one message after the other to the courier: commands `RUNS_AT_ONCE`, messages one at a time."""

    def __init__(self, target: Target, sender: Sender, courier: Courier, now: Callable[[], float]) -> None:
        self.target = target
        self._sender = sender
        self._courier = courier
        self._now = now
        self._batches: Batches[Job] = Batches(pace_of(target), _quiet_until(target))
        self._parcels: list[Parcel] = []
        self._returned: dict[str, Job] = {}  # what came in once more while it was on its way
        self._wake = threading.Condition()
        self._is_stopped = False
        self._failing_since: float | None = None
        self._last_error = ""
        self.tried_at = -math.inf
        width = RUNS_AT_ONCE if target.kind is TargetKind.RUN else 1
        self.threads = [
            threading.Thread(target=self._run, name=f"zkalert-{target.id}", daemon=True) for _ in range(width)
        ]
        for thread in self.threads:
            thread.start()

    def promise(self, effect: Effect) -> bool:
        """Whether the message of this effect may go as soon as its entry is made."""
        with self._wake:
            return self._batches.promise(effect, self._moment())

    def take_back(self) -> None:
        """What was promised does not come, or not as it was promised."""
        with self._wake:
            self._batches.take_back()

    def add(self, jobs: Sequence[Job]) -> None:
        """Take in deliveries, in order; what is here already stays as it is."""
        with self._wake:
            new = []
            for job in jobs:
                known = self._batches.find(job.effect.id)
                if known is None:
                    new.append(job)
                elif known.stage is Stage.OUT:
                    self._returned[job.effect.id] = job
            dropped = self._batches.add(new)
            self._wake.notify(len(jobs))
        for one in dropped:
            self._courier.drop_at(self.target, one.item.effect.id, one.why)

    def has(self, effect_id: str) -> bool:
        """Whether the delivery of an effect waits, or is on its way."""
        with self._wake:
            return self._batches.find(effect_id) is not None

    def withdraw(self, effect_id: str, why: str) -> bool:
        """Tell an effect no more; whether it is on its way just now, and is left to what comes of that."""
        with self._wake:
            self._returned.pop(effect_id, None)
            job = self._batches.find(effect_id)
            if job is None:
                return False
            if job.stage is Stage.OUT:
                job.withheld = why
                return True
            self._batches.remove(job)
            self._wake.notify()
            return False

    def clear(self) -> None:
        """Forget what is not on its way; what is, has no time any more to wait for the ledger."""
        with self._wake:
            self._batches.clear()
            self._returned.clear()
            for parcel in self._parcels:
                parcel.halt.set()

    def renew(self, target: Target, sender: Sender) -> None:
        """Go on with what the configuration says now: another password, another rate."""
        with self._wake:
            self.target, self._sender = target, sender
            self._batches.configure(pace_of(target), _quiet_until(target))
            self._wake.notify_all()

    def stop(self) -> None:
        """End the threads, each after the message that it is at."""
        with self._wake:
            self._is_stopped = True
            for parcel in self._parcels:
                parcel.halt.set()
            self._wake.notify_all()

    @property
    def waiting(self) -> int:
        """How many deliveries are not done, those on their way included."""
        return len(self._batches)

    @property
    def busy_since(self) -> float | None:
        """When (monotonic) the oldest message that is on its way was begun."""
        with self._wake:
            return min((parcel.began for parcel in self._parcels), default=None)

    def status(self) -> TargetStatus:
        with self._wake:
            return TargetStatus(
                id=self.target.id,
                name=self.target.name,
                waiting=self.waiting,
                failing_since=self._failing_since,
                last_error=self._last_error,
            )

    # On its own threads.

    def _run(self) -> None:
        while (parcel := self._next()) is not None:
            try:
                self._courier.deliver(parcel)
            except Exception:
                # The outermost frame of the thread: an error in one message must not silence its channel.
                log.exception("%s: a message could not be delivered; trying again", parcel.target.name)
                self._courier.put_off(parcel)
            self._finish(parcel)

    def _next(self) -> Parcel | None:
        """Wait for what goes next; None once the worker is stopped."""
        with self._wake:
            while not self._is_stopped:
                now = self._moment()
                if jobs := self._batches.take(now):
                    parcel = Parcel(target=self.target, sender=self._sender, jobs=jobs, began=now.mono)
                    self._parcels.append(parcel)
                    return parcel
                due = self._batches.next_at(now)
                self._wake.wait(None if due is None else min(max(0.0, due - now.mono), _LONGEST_WAIT))
            return None

    def _finish(self, parcel: Parcel) -> None:
        with self._wake:
            self._parcels.remove(parcel)
            self.tried_at = clock.monotonic()
            self._note(parcel)
            self._batches.again(parcel.again)
            self._batches.done(parcel.told, is_told=True)
            self._batches.done(parcel.over)
            self._batches.done(parcel.left)
            returned = [(job, self._returned.pop(job.effect.id, None)) for job in parcel.jobs]
            self._wake.notify_all()
        # What was left because the ledger was not ours, and came in anew as it was ours again.
        left = [new for job, new in returned if new is not None and any(job is one for one in parcel.left)]
        fresh = []
        for job in left:
            result = self._courier.unmarked(job.effect.id, parcel.target.id)
            if result is None:
                fresh.append(job)
            else:
                self._courier.settle(job.effect, parcel.target, job.attempts, result)
        if fresh:
            self.add(fresh)

    def _note(self, parcel: Parcel) -> None:
        if parcel.result is None:
            return
        if parcel.result.state is SendState.DELIVERED:
            self._failing_since, self._last_error = None, ""
        else:
            self._failing_since = self._failing_since or self._now()
            self._last_error = parcel.result.detail

    def _moment(self) -> Moment:
        return Moment(self._now(), clock.monotonic())


def _quiet_until(target: Target) -> Callable[[float], float | None]:
    """Until when the quiet hours of a target's channel last, at a moment; both epoch seconds."""
    hours = None if target.channel is None else target.channel.quiet_hours
    if hours is None:
        return lambda at: None  # noqa: ARG005 - never quiet
    schedule = hours.schedule

    def until(at: float) -> float | None:
        if not is_open(schedule, at):
            return None
        end = next_change(schedule, at)
        return math.inf if end is None else end

    return until
