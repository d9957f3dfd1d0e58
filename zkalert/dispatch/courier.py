"""One message on its way: claimed, rendered, sent, marked."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from zkalert import clock
from zkalert.dispatch import pauses
from zkalert.dispatch.clerk import Clerk
from zkalert.dispatch.jobs import Job, Parcel
from zkalert.dispatch.values import DeliveryLog, Told
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
from zkalert.render import render, render_digest

log = logging.getLogger("zkalert.dispatch")

MAX_DETAIL = 200


class Courier:
    """Takes parcels to their targets, on the workers' threads, and writes in the ledger what came of them.

    `tell` hears of every try, `dropped` of every delivery that is not to be told, once that is written.
    """

    def __init__(  # noqa: PLR0913 - whom it works with
        self,
        ledger: DeliveryLog,
        clerk: Clerk,
        now: Callable[[], float],
        *,
        tell: Callable[[Told], None],
        dropped: Callable[[Effect, Target, str], None],
        new_id: Callable[[], str],
        not_now: tuple[type[Exception], ...],
        not_ours: type[Exception],
    ) -> None:
        self._ledger = ledger
        self._clerk = clerk
        self._now = now
        self._tell = tell
        self._dropped = dropped
        self._new_id = new_id
        self._not_now = not_now
        self._not_ours = not_ours
        self._lock = threading.Lock()
        self._unmarked: dict[tuple[str, str], SendResult] = {}

    def unmarked(self, effect_id: str, target_id: str) -> SendResult | None:
        """What came of a delivery that could not be marked before the ledger was not ours any more; told once."""
        with self._lock:
            return self._unmarked.pop((effect_id, target_id), None)

    # Without a message.

    def settle(self, effect: Effect, target: Target, attempts: int, result: SendResult) -> None:
        """Mark a delivery of which is known what came of it."""
        change = _marked(target.id, _state_of(target, result), attempts, self._now(), result.detail)
        self._clerk.change(effect.id, change, otherwise=lambda: self._leave(effect.id, target.id, result))

    def drop(
        self,
        effect_id: str,
        why: str,
        targets: Mapping[str, Target],
        is_meant: Callable[[str], bool] = lambda target_id: True,  # noqa: ARG005 - all
    ) -> None:
        """Mark what is not done of an effect as not to be told, at the targets that are meant by their id.

        `targets` are those that are known.
        """
        found: list[Delivery] = []
        effects: list[Effect] = []
        at = self._now()

        def change(entry: OutboxEntry) -> OutboxEntry:
            found[:] = [one for one in entry.deliveries if not one.state.is_done and is_meant(one.target)]
            effects[:] = [entry.effect]
            deliveries = tuple(
                replace(one, state=DeliveryState.DROPPED, at=at, detail=why[:MAX_DETAIL]) if one in found else one
                for one in entry.deliveries
            )
            return replace(entry, deliveries=deliveries)

        def then() -> None:
            for delivery in found:
                known = Target(id=delivery.target, kind=delivery.kind, name=delivery.name)
                log.info("%s: %s is not told: %s", effects[0].key, delivery.name, why)
                self._dropped(effects[0], targets.get(delivery.target, known), why)

        self._clerk.change(effect_id, change, then=then)

    def drop_at(self, target: Target, effect_id: str, why: str) -> None:
        """Mark one delivery as not to be told."""
        self.drop(effect_id, why, {target.id: target}, lambda target_id: target_id == target.id)

    def put_off(self, parcel: Parcel) -> None:
        """After an error of our own: one of them cannot be told, and nobody knows which, so each is tried alone."""
        for job in parcel.unsettled:
            if self._now() - job.began_at >= pauses.GIVE_UP_AFTER:
                result = SendResult(state=SendState.FAILED, detail="an error within zkalert; its log says which")
                self.settle(job.effect, parcel.target, job.attempts, result)
                parcel.over.append(job)
                continue
            job.is_alone, job.digest = True, ""
            job.ready_at = clock.monotonic() + pauses.AFTER_ERROR
            parcel.again.append(job)

    # A message.

    def deliver(self, parcel: Parcel) -> None:
        """One try at one message; what came of its jobs stands in the parcel."""
        jobs = self._claim(parcel)
        if jobs:
            self._send(parcel, jobs)

    def _claim(self, parcel: Parcel) -> tuple[Job, ...]:
        """Claim what is to be told; the jobs that stand claimed now."""
        for job in parcel.jobs:
            if job.withheld:
                self._withhold(parcel, job)
        jobs = parcel.unsettled
        digest = jobs[0].digest if jobs else ""
        if len(jobs) > 1 and not digest:
            digest = self._new_id()
        at, changes = self._now(), {}
        for job in jobs:
            job.digest = digest
            job.attempts += 1
            if not job.is_claimed:
                changes[job.effect.id] = self._claimed(parcel.target, job, at)
            job.is_claimed = False
        if changes:
            made = self._write(parcel, changes)
            if made is None:
                parcel.left += jobs
                return ()
            parcel.over += [job for job in jobs if job.effect.id in changes and job.effect.id not in made]
        return tuple(parcel.unsettled)

    def _claimed(self, target: Target, job: Job, at: float) -> Callable[[OutboxEntry], OutboxEntry]:
        attempts, digest = job.attempts, job.digest

        def change(entry: OutboxEntry) -> OutboxEntry:
            if any(delivery.target == target.id and delivery.state.is_done for delivery in entry.deliveries):
                raise self._not_ours  # it was told meanwhile; what we have is older than that
            deliveries = tuple(
                replace(
                    delivery,
                    state=DeliveryState.CLAIMED,
                    attempts=attempts,
                    at=at,
                    detail=job.said[:MAX_DETAIL],
                    digest=digest,
                    since=job.since,
                )
                if delivery.target == target.id
                else delivery
                for delivery in entry.deliveries
            )
            return replace(entry, effect=job.effect, deliveries=deliveries)

        return change

    def _send(self, parcel: Parcel, jobs: tuple[Job, ...]) -> None:
        target, effects = parcel.target, tuple(job.effect for job in jobs)
        if len(effects) == 1:
            message = render(effects[0], channel=target.channel)
        else:
            message = render_digest(effects, jobs[0].digest, channel=target.channel)
        if message.problem:
            log.warning("%s: %s; the plain text goes out", message.key, message.problem)
        is_repeat = any(job.is_repeat for job in jobs)
        result = parcel.result = parcel.sender.send(effects, message, is_repeat=is_repeat)
        retry_in = self._retry_in(target, jobs, result)
        again = [] if retry_in is None else [job for job in jobs if self._has_time(job, retry_in)]
        final = [job for job in jobs if job not in again]
        _say(target, message, result, again, final, retry_in)
        for some, pause in ((final, None), (again, retry_in)):
            if some:
                self._hear(
                    Told(
                        effects=tuple(job.effect for job in some),
                        target=target,
                        message=message,
                        result=result,
                        attempt=max(job.attempts for job in some),
                        retry_in=pause,
                        is_repeat=is_repeat,
                    )
                )
        for job in again:
            job.said = result.detail
            job.ready_at = clock.monotonic() + (retry_in or 0.0)
            job.is_repeat = job.is_repeat or result.state is SendState.UNKNOWN
            if not job.is_repeat:
                job.digest = ""  # nobody has heard of it in that company
            parcel.again.append(job)
        self._settle(parcel, result, final)

    def _hear(self, told: Told) -> None:
        try:
            self._tell(told)
        except Exception:  # what was sent was sent, whoever cannot bear to hear of it
            log.exception("%s: a try could not be shown", told.message.key)

    def _retry_in(self, target: Target, jobs: Iterable[Job], result: SendResult) -> float | None:
        """Seconds until the next try, with jitter; None where there is none."""
        if result.state is SendState.DELIVERED or target.kind is TargetKind.RUN or not result.is_retryable:
            return None
        return pauses.pause(max(job.attempts for job in jobs)) * random.uniform(0.8, 1.2)  # noqa: S311

    def _has_time(self, job: Job, pause: float) -> bool:
        return self._now() + pause - job.began_at < pauses.GIVE_UP_AFTER and not job.withheld

    def _settle(self, parcel: Parcel, result: SendResult, final: list[Job]) -> None:
        target, at, changes = parcel.target, self._now(), {}
        state = _state_of(target, result)
        for job in final:
            if job.withheld and result.state is not SendState.DELIVERED and result.is_retryable:
                self._withhold(parcel, job)
            else:
                changes[job.effect.id] = _marked(target.id, state, job.attempts, at, result.detail)
        if changes and self._write(parcel, changes) is None:
            for effect_id in changes:
                self._leave(effect_id, target.id, result)
            parcel.left += [job for job in final if job.effect.id in changes]
            return
        is_heard = result.state is not SendState.FAILED
        (parcel.told if is_heard else parcel.over).extend(job for job in final if job.effect.id in changes)

    def _withhold(self, parcel: Parcel, job: Job) -> None:
        self.drop_at(parcel.target, job.effect.id, job.withheld)
        parcel.over.append(job)

    # The ledger.

    def _write(
        self, parcel: Parcel, changes: Mapping[str, Callable[[OutboxEntry], OutboxEntry]]
    ) -> Mapping[str, OutboxEntry] | None:
        """Change entries, however long that takes; None where they are not ours any more."""
        tries = 0
        while True:
            try:
                return self._ledger.update_all(changes)
            except self._not_now as error:  # noqa: PERF203 - what it tries again is this
                tries += 1
                if tries == pauses.SAY_AFTER:
                    name, why = parcel.target.name, type(error).__name__
                    log.warning("%s: the ledger cannot be written (%s); trying again", name, why)
                if clock.wait(parcel.halt, pauses.NOT_NOW):
                    return None
            except self._not_ours:
                return None

    def _leave(self, effect_id: str, target_id: str, result: SendResult) -> None:
        with self._lock:
            self._unmarked[effect_id, target_id] = result


def _state_of(target: Target, result: SendResult) -> DeliveryState:
    if result.state is SendState.DELIVERED:
        return DeliveryState.DELIVERED
    if result.state is SendState.UNKNOWN and target.kind is TargetKind.RUN:
        return DeliveryState.UNKNOWN
    return DeliveryState.FAILED


def _marked(
    target_id: str, state: DeliveryState, attempts: int, at: float, detail: str
) -> Callable[[OutboxEntry], OutboxEntry]:
    said = "" if state is DeliveryState.DELIVERED else detail[:MAX_DETAIL]

    def change(entry: OutboxEntry) -> OutboxEntry:
        deliveries = tuple(
            replace(delivery, state=state, attempts=attempts, at=at, detail=said)
            if delivery.target == target_id and not delivery.state.is_done
            else delivery
            for delivery in entry.deliveries
        )
        return replace(entry, deliveries=deliveries)

    return change


def _say(
    target: Target,
    message: Message,
    result: SendResult,
    again: list[Job],
    final: list[Job],
    retry_in: float | None,
) -> None:
    jobs = [*final, *again]
    what = jobs[0].effect.key if len(jobs) == 1 else f"{message.key} ({len(jobs)} alerts)"
    if result.state is SendState.DELIVERED:
        whom = jobs[0].effect.alert.id if len(jobs) == 1 else "digest"
        log.info("%s: %s told %s in %.0f ms", whom, target.name, what, result.seconds * 1000)
        return
    if final:
        log.error("%s: %s failed for good: %s", what, target.name, result.detail)
    # A failure that repeats itself is said once.
    if retry_in is not None and any(job.said != result.detail for job in again):
        pause = format_duration(retry_in)
        log.warning("%s: %s failed, trying again in %s: %s", what, target.name, pause, result.detail)
