"""A queue and a worker for each target, so that a hung or slow one delays no other.

Comes in: entries of the outbox. For each of its deliveries: claim it, render the message, send, mark it. Goes out:
marks in the ledger, and what happened, to whoever wants to show it. It knows of ZooKeeper only that a change of the
ledger can be refused or uncertain.

Which way it errs: a notification is marked after it was sent, so a crash between the two repeats it, and the repeat
says so. A command is claimed before it runs, and one that was claimed by an engine that died is never run again.
A claim costs a write of its own; where a channel is idle, its first delivery is claimed by the write that makes the
entry, so that the message leaves that much sooner.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import (
    Delivery,
    DeliveryState,
    Effect,
    Message,
    OutboxEntry,
    SendResult,
    SendState,
    Target,
    TargetKind,
)
from zkalert.render import render

log = logging.getLogger("zkalert.dispatch")

GIVE_UP_AFTER = 24 * 3600.0
FIRST_RETRY = 1.0
LONGEST_RETRY = 300.0
NOT_NOW = 0.2  # until a ledger that could not be reached is asked again
AFTER_ERROR = 60.0
RUNS_AT_ONCE = 4


class Sender(Protocol):
    """Sends to one target. It never raises: whatever happens is a result."""

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult: ...


class DeliveryLog(Protocol):
    """The ledger: applies an absolute change to the entry of an effect."""

    def update(self, effect_id: str, change: Callable[[OutboxEntry], OutboxEntry]) -> OutboxEntry: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One try at one target, for logs and tables. `retry_in` (seconds) is None where nothing more is tried."""

    effect: Effect
    target: Target
    message: Message
    result: SendResult
    attempt: int
    retry_in: float | None = None


@dataclass(slots=True)
class _Job:
    """One delivery on its way. `result` is set once it was sent, and stays until the ledger has it.

    `is_claimed` says that the next try is claimed already, as its entry was made.
    """

    effect: Effect
    attempts: int = 0
    is_claimed: bool = False
    due: float = 0.0
    is_repeat: bool = False
    is_running: bool = False
    result: SendResult | None = None
    said: str = ""


class _Worker:
    """One target's queue. Deliveries of one episode keep their order; those of others overtake a failing one."""

    def __init__(self, target: Target, sender: Sender | None, dispatcher: Dispatcher, width: int) -> None:
        self.target = target
        self._sender = sender
        self._dispatcher = dispatcher
        self._jobs: list[_Job] = []
        self._wake = threading.Condition()
        self._is_stopped = False
        self.threads = [
            threading.Thread(target=self._run, name=f"zkalert-{target.id}", daemon=True) for _ in range(width)
        ]
        for thread in self.threads:
            thread.start()

    def add(self, job: _Job) -> None:
        with self._wake:
            if not any(other.effect.id == job.effect.id for other in self._jobs):
                self._jobs.append(job)
                self._wake.notify()

    def drop(self) -> list[_Job]:
        """Forget what was not begun; what was sent and not marked is handed back."""
        with self._wake:
            unmarked = [job for job in self._jobs if job.result is not None]
            self._jobs = [job for job in self._jobs if job.is_running]
            return unmarked

    def renew(self, target: Target, sender: Sender) -> None:
        """Go on with what the configuration says now: another password, say."""
        with self._wake:
            self.target, self._sender = target, sender

    def stop(self) -> None:
        with self._wake:
            self._is_stopped = True
            self._wake.notify_all()

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def _run(self) -> None:
        while True:
            with self._wake:
                job, due = self._next(clock.monotonic())
                while job is None and not self._is_stopped:
                    self._wake.wait(None if due is None else max(0.0, due - clock.monotonic()))
                    job, due = self._next(clock.monotonic())
                if self._is_stopped or job is None:
                    return
                job.is_running = True
                target, sender = self.target, self._sender
            try:
                is_done = self._dispatcher.deliver(target, sender, job)
            except Exception:
                # The outermost frame of the worker: an error in one delivery must not silence its channel.
                log.exception("%s: %s could not be delivered; trying again", job.effect.key, target.name)
                job.due = clock.monotonic() + AFTER_ERROR
                is_done = False
            with self._wake:
                job.is_running = False
                if is_done and job in self._jobs:
                    self._jobs.remove(job)
                self._wake.notify()

    def _next(self, now: float) -> tuple[_Job | None, float | None]:
        """The first job that may go now, else when one may."""
        episodes: set[str] = set()
        due: float | None = None
        for job in self._jobs:
            episode = job.effect.alert.episode
            if episode not in episodes and not job.is_running:
                if job.due <= now:
                    return job, None
                due = job.due if due is None else min(due, job.due)
            episodes.add(episode)
        return None, due


class Dispatcher:
    """Hands each delivery to its target's worker, and settles the ledger.

    `make_sender` builds the sender of a target on its first use; `tell` hears of every try, on the workers' threads.
    `not_now` are the exceptions of the ledger that mean "ask again", `not_ours` those that mean "leave it".
    """

    def __init__(
        self,
        ledger: DeliveryLog,
        make_sender: Callable[[Target], Sender],
        now: Callable[[], float],
        *,
        tell: Callable[[Told], None],
        not_now: tuple[type[Exception], ...],
        not_ours: type[Exception],
    ) -> None:
        self._ledger = ledger
        self._make_sender = make_sender
        self._now = now
        self._tell = tell
        self._not_now = not_now
        self._not_ours = not_ours
        self._lock = threading.Lock()
        self._targets: Mapping[str, Target] = {}
        self._workers: dict[str, _Worker] = {}
        self._unknown: dict[tuple[str, str], tuple[Effect, Delivery]] = {}
        self._unmarked: dict[tuple[str, str], SendResult] = {}

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """The targets that rules and configuration name now. One that is gone keeps what is on its way."""
        with self._lock:
            self._targets = targets
            for id_, worker in list(self._workers.items()):
                target = targets.get(id_)
                if target is not None and target != worker.target:
                    worker.renew(target, self._make_sender(target))
                elif target is None and not worker.waiting:
                    worker.stop()
                    del self._workers[id_]
        self._ask_for_unknown()

    def _ask_for_unknown(self) -> None:
        """Look again at what had no target: there may be one now, or it may be too old."""
        with self._lock:
            unknown, self._unknown = self._unknown, {}
        for effect, delivery in unknown.values():
            self._dispatch(effect, delivery)

    def first_delivery(self, target: Target, now: float) -> Delivery:
        """The line for a target in a new entry: claimed where the target is an idle channel."""
        worker = self._workers.get(target.id)
        delivery = Delivery(target=target.id, kind=target.kind, name=target.name)
        if target.kind is TargetKind.RUN or (worker is not None and worker.waiting):
            return delivery
        return replace(delivery, state=DeliveryState.CLAIMED, attempts=1, at=now)

    def submit(self, entries: Iterable[OutboxEntry], *, is_new: bool = False) -> None:
        """Entries that are in the ledger: deliver what is not done.

        `is_new` says that they were made just now, by us: what is claimed in them is claimed by us.
        """
        if self._unknown:
            self._ask_for_unknown()
        for entry in entries:
            for delivery in entry.deliveries:
                if not delivery.state.is_done:
                    self._dispatch(entry.effect, delivery, is_new=is_new)

    def drop(self) -> None:
        """The outbox is not ours any more: begin nothing further."""
        with self._lock:
            self._unknown.clear()
            for id_, worker in self._workers.items():
                for job in worker.drop():
                    if job.result is not None:
                        self._unmarked[job.effect.id, id_] = job.result

    def stop(self, timeout: float) -> None:
        """End the workers; one that hangs in a send is left behind after `timeout` seconds."""
        deadline = clock.monotonic() + timeout
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        for worker in workers:
            for thread in worker.threads:
                thread.join(max(0.0, deadline - clock.monotonic()))

    @property
    def waiting(self) -> int:
        """How many deliveries are on their way."""
        with self._lock:
            return len(self._unknown) + sum(worker.waiting for worker in self._workers.values())

    def _dispatch(self, effect: Effect, delivery: Delivery, *, is_new: bool = False) -> None:
        with self._lock:
            target = self._targets.get(delivery.target)
            result = self._unmarked.pop((effect.id, delivery.target), None)
            if target is None and result is None:
                if self._now() - effect.at < GIVE_UP_AFTER:
                    self._keep_unknown(effect, delivery)
                    return
                result = SendResult(state=SendState.FAILED, detail="no rule and no channel names it any more")
                log.error("%s: %s failed for good: %s", effect.key, delivery.name, result.detail)
            worker = self._worker(target, delivery)
        is_claimed = delivery.state is DeliveryState.CLAIMED and is_new
        was_claimed = delivery.state is DeliveryState.CLAIMED and not is_new
        if result is None and was_claimed and delivery.kind is TargetKind.RUN:
            result = SendResult(
                state=SendState.UNKNOWN,
                detail="claimed by an engine that ended before it told the result; not run again",
            )
            log.error("%s: %s was %s", effect.key, delivery.name, result.detail)
        attempts = delivery.attempts - is_claimed
        worker.add(_Job(effect, attempts, is_claimed=is_claimed, is_repeat=was_claimed, result=result))

    def _keep_unknown(self, effect: Effect, delivery: Delivery) -> None:
        key = (effect.id, delivery.target)
        if key not in self._unknown:
            log.warning("%s waits: no rule and no channel names its target %s any more", effect.key, delivery.name)
        self._unknown[key] = effect, delivery

    def _worker(self, target: Target | None, delivery: Delivery) -> _Worker:
        """The worker of a target; one for a target that is gone has no sender, and only settles the ledger."""
        worker = self._workers.get(delivery.target)
        if worker is None:
            width = RUNS_AT_ONCE if delivery.kind is TargetKind.RUN else 1
            sender = None if target is None else self._make_sender(target)
            known = target or Target(id=delivery.target, kind=delivery.kind, name=delivery.name)
            worker = self._workers[delivery.target] = _Worker(known, sender, self, width)
        return worker

    # On the workers' threads.

    def deliver(self, target: Target, sender: Sender | None, job: _Job) -> bool:
        """One try at one delivery; whether it is done with, for good or for bad."""
        try:
            if job.result is None and sender is not None:
                job.attempts += 1
                if not job.is_claimed:
                    self._mark(target, job, DeliveryState.CLAIMED, "")
                job.is_claimed = False
                self._send(target, sender, job)
            return self._settle(target, job)
        except self._not_now:
            if job.result is None:
                job.attempts -= 1  # it was not claimed
            job.due = clock.monotonic() + NOT_NOW
            return False
        except self._not_ours:
            if job.result is not None:
                with self._lock:
                    self._unmarked[job.effect.id, target.id] = job.result
            return True

    def _send(self, target: Target, sender: Sender, job: _Job) -> None:
        message = render(job.effect)
        if message.problem:
            log.warning("%s: %s; the plain text goes out", job.effect.key, message.problem)
        job.result = sender.send((job.effect,), message, is_repeat=job.is_repeat)
        retry_in = self._retry_in(target, job, job.result)
        self._say(target, job, retry_in)
        told = Told(
            effect=job.effect,
            target=target,
            message=message,
            result=job.result,
            attempt=job.attempts,
            retry_in=retry_in,
        )
        if retry_in is not None:
            job.is_repeat = job.is_repeat or job.result.state is SendState.UNKNOWN
            job.due = clock.monotonic() + retry_in
            job.result = None
        self._tell(told)

    def _retry_in(self, target: Target, job: _Job, result: SendResult) -> float | None:
        """Seconds until the next try, None where there is none: exponential, with jitter, for a day."""
        if result.state is SendState.DELIVERED or target.kind is TargetKind.RUN or not result.is_retryable:
            return None
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(job.attempts - 1, 20)) * random.uniform(0.8, 1.2)  # noqa: S311
        return pause if self._now() + pause - job.effect.at < GIVE_UP_AFTER else None

    def _settle(self, target: Target, job: _Job) -> bool:
        result = job.result
        if result is None:
            return False
        if result.state is SendState.DELIVERED:
            self._mark(target, job, DeliveryState.DELIVERED, "")
        elif result.state is SendState.UNKNOWN and target.kind is TargetKind.RUN:
            self._mark(target, job, DeliveryState.UNKNOWN, result.detail)
        else:
            self._mark(target, job, DeliveryState.FAILED, result.detail)
        return True

    def _mark(self, target: Target, job: _Job, state: DeliveryState, detail: str) -> None:
        at, attempts = self._now(), job.attempts

        def change(entry: OutboxEntry) -> OutboxEntry:
            if state is DeliveryState.CLAIMED and any(
                delivery.target == target.id and delivery.state.is_done for delivery in entry.deliveries
            ):
                raise self._not_ours  # it was told meanwhile; what we have is older than that
            deliveries = tuple(
                replace(delivery, state=state, attempts=attempts, at=at, detail=detail[:200])
                if delivery.target == target.id
                else delivery
                for delivery in entry.deliveries
            )
            return replace(entry, deliveries=deliveries)

        self._ledger.update(job.effect.id, change)

    def _say(self, target: Target, job: _Job, retry_in: float | None) -> None:
        result, effect = job.result, job.effect
        if result is None:
            return
        if result.state is SendState.DELIVERED:
            log.info("%s: %s told %s in %.0f ms", effect.alert.id, target.name, effect.key, result.seconds * 1000)
        elif retry_in is None:
            log.error("%s: %s failed for good: %s", effect.key, target.name, result.detail)
        elif result.detail != job.said:  # a failure that repeats itself is said once
            job.said = result.detail
            log.warning(
                "%s: %s failed, trying again in %s: %s",
                effect.key,
                target.name,
                format_duration(retry_in),
                result.detail,
            )
