"""Hands each delivery to its target's worker."""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from zkalert import clock
from zkalert.dispatch import pauses
from zkalert.dispatch.clerk import Clerk
from zkalert.dispatch.courier import MAX_DETAIL, Courier
from zkalert.dispatch.jobs import Job
from zkalert.dispatch.values import DeliveryLog, Sender, TargetStatus, Told
from zkalert.dispatch.worker import Worker
from zkalert.model import (
    Delivery,
    DeliveryState,
    Effect,
    OutboxEntry,
    SendResult,
    SendState,
    Target,
    TargetKind,
)

log = logging.getLogger("zkalert.dispatch")

_NO_TARGET = "no rule and no channel names it any more"


class Dispatcher:
    """Hands each delivery to its target's worker, and settles the ledger. None of its methods waits for that.

    `make_sender` builds the sender of a target on its first use. `tell` hears of every try, on the workers' threads,
    and `dropped` of every delivery that is not to be told, with the reason, on the ledger's. `new_id` makes the ids of
    digests. `not_now` are the exceptions of the ledger that mean "ask again", `not_ours` the one that means "leave it".
    """

    def __init__(  # noqa: PLR0913 - all that it joins
        self,
        ledger: DeliveryLog,
        make_sender: Callable[[Target], Sender],
        now: Callable[[], float],
        *,
        tell: Callable[[Told], None],
        not_now: tuple[type[Exception], ...],
        not_ours: type[Exception],
        dropped: Callable[[Effect, Target, str], None] = lambda effect, target, why: None,  # noqa: ARG005
        new_id: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self._ledger = ledger
        self._make_sender = make_sender
        self._now = now
        self._clerk = Clerk(ledger, not_now=not_now, not_ours=not_ours)
        self._courier = Courier(
            ledger,
            self._clerk,
            now,
            tell=tell,
            dropped=dropped,
            new_id=new_id,
            not_now=not_now,
            not_ours=not_ours,
        )
        self._lock = threading.Lock()
        self._targets: Mapping[str, Target] = {}
        self._workers: dict[str, Worker] = {}
        self._unknown: dict[tuple[str, str], tuple[Effect, Delivery]] = {}
        self._held: dict[str, OutboxEntry] = {}

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

    def first_delivery(self, target: Target, effect: Effect) -> Delivery:
        """The line for a target in a new entry: claimed if that is an idle channel that may be told at once."""
        delivery = Delivery(target=target.id, kind=target.kind, name=target.name)
        if target.kind is TargetKind.RUN:
            return delivery
        with self._lock:
            worker = self._worker(target)
        if not worker.promise(effect):
            return delivery
        return replace(delivery, state=DeliveryState.CLAIMED, attempts=1, at=self._now())

    def submit(self, entries: Iterable[OutboxEntry], *, is_new: bool = False) -> None:
        """Entries that are in the ledger: deliver what is not done. What is held waits for `release` or `withhold`.

        `is_new` says that they were made just now, by us: what is claimed in them is claimed by us.
        """
        if self._unknown:
            self._ask_for_unknown()
        if not is_new:
            with self._lock:
                workers = list(self._workers.values())
            for worker in workers:
                worker.take_back()
        self._take_in(entries, is_new=is_new)

    def hold(self, effect_id: str, why: str) -> None:
        """What is held of an effect is held for this reason by now: to be shown."""

        def change(entry: OutboxEntry) -> OutboxEntry:
            deliveries = tuple(
                replace(delivery, detail=why[:MAX_DETAIL]) if delivery.state is DeliveryState.HELD else delivery
                for delivery in entry.deliveries
            )
            return entry if deliveries == entry.deliveries else replace(entry, deliveries=deliveries)

        self._clerk.change(effect_id, change)

    def release(self, effect: Effect) -> None:
        """What is held of an effect goes out now, with this effect in place of the one in its entry."""
        with self._lock:
            entry = self._held.pop(effect.id, None)
        if entry is None:
            log.warning("%s is not held; it is not released", effect.key)
            return
        now = self._now()
        held = {delivery.target for delivery in entry.deliveries if delivery.state is DeliveryState.HELD}

        def change(entry: OutboxEntry) -> OutboxEntry:
            # What a worker has claimed since has this effect already.
            deliveries = tuple(
                replace(delivery, state=DeliveryState.NEW, at=now, since=now, detail="")
                if delivery.state is DeliveryState.HELD
                else delivery
                for delivery in entry.deliveries
            )
            return entry if deliveries == entry.deliveries else replace(entry, effect=effect, deliveries=deliveries)

        # The workers first: what comes next in the episode must not overtake it while the ledger is asked.
        self._hand_out(
            (effect, replace(delivery, state=DeliveryState.NEW, since=now))
            for delivery in entry.deliveries
            if delivery.target in held
        )
        # Until that is written it may be read back as held, and kept here once more.
        self._clerk.change(effect.id, change, then=lambda: self._forget_held(effect.id))

    def _forget_held(self, effect_id: str) -> None:
        with self._lock:
            self._held.pop(effect_id, None)

    def withhold(self, effect_id: str, why: str) -> None:
        """Tell no more of an effect: what is not done of it, and not on its way just now, is dropped."""
        with self._lock:
            self._held.pop(effect_id, None)
            for key in [key for key in self._unknown if key[0] == effect_id]:
                del self._unknown[key]
            workers = dict(self._workers)
            known = dict(self._targets)
        on_their_way = {id_ for id_, worker in workers.items() if worker.withdraw(effect_id, why)}
        self._courier.drop(effect_id, why, known, lambda target_id: target_id not in on_their_way)

    def resend(self, effect_id: str) -> None:
        """Try once more, for as long as ever, what failed for good of an effect."""

        def act() -> None:
            entry = self._ledger.resend(effect_id, self._now())
            if entry is not None:
                log.info("%s is sent again", entry.effect.key)
                self._take_in([entry])

        self._clerk.call(act)

    def purge_dead(self, before: float) -> None:
        """Delete what failed for good before a moment, in epoch seconds."""

        def act() -> None:
            if count := self._ledger.purge_dead(before):
                log.info("%d undelivered messages were deleted for their age", count)

        self._clerk.call(act)

    def drop(self) -> None:
        """The outbox is not ours any more: begin nothing further."""
        with self._lock:
            self._unknown.clear()
            self._held.clear()
            workers = list(self._workers.values())
        for worker in workers:
            worker.clear()
        self._clerk.drop()

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
        self._clerk.stop()
        self._clerk.thread.join(max(0.0, deadline - clock.monotonic()))

    # What it shows.

    @property
    def waiting(self) -> int:
        """How many deliveries are not done, without those that are held."""
        with self._lock:
            return len(self._unknown) + sum(worker.waiting for worker in self._workers.values())

    @property
    def progress_at(self) -> float:
        """Until when (monotonic) messages were seen to go: now, unless one is on its way.

        A message that hangs keeps this where it is, unless another target's goes through. What waits for its time is
        no delay, and a command may take as long as it does.
        """
        with self._lock:
            workers = [worker for worker in self._workers.values() if worker.target.kind is TargetKind.NOTIFY]
        busy = [since for worker in workers if (since := worker.busy_since) is not None]
        if not busy:
            return clock.monotonic()
        return max(min(busy), *(worker.tried_at for worker in workers))

    def status(self) -> tuple[TargetStatus, ...]:
        """Every target that had something to deliver, by id."""
        with self._lock:
            workers = list(self._workers.values())
            unknown = [delivery for _, delivery in self._unknown.values()]
        found = {worker.target.id: worker.status() for worker in workers}
        for delivery in unknown:
            known = found.get(delivery.target, TargetStatus(id=delivery.target, name=delivery.name, waiting=0))
            found[delivery.target] = replace(known, waiting=known.waiting + 1, last_error=_NO_TARGET)
        return tuple(status for _, status in sorted(found.items()))

    # To the workers.

    def _ask_for_unknown(self) -> None:
        """Look again at what had no target: there may be one now, or it may be too old."""
        with self._lock:
            unknown, self._unknown = self._unknown, {}
        self._hand_out(unknown.values())

    def _take_in(self, entries: Iterable[OutboxEntry], *, is_new: bool = False) -> None:
        open_: list[tuple[Effect, Delivery]] = []
        for entry in entries:
            if any(delivery.state is DeliveryState.HELD for delivery in entry.deliveries):
                with self._lock:
                    self._held[entry.effect.id] = entry
            open_ += [
                (entry.effect, delivery)
                for delivery in entry.deliveries
                if not delivery.state.is_done and delivery.state is not DeliveryState.HELD
            ]
        self._hand_out(open_, is_new=is_new)

    def _hand_out(self, deliveries: Iterable[tuple[Effect, Delivery]], *, is_new: bool = False) -> None:
        """Deliveries in order; each worker gets its part whole, so that the members of a digest come together."""
        parts: dict[str, list[Job]] = {}
        workers: dict[str, Worker] = {}
        for effect, delivery in deliveries:
            began_at = effect.at if delivery.since is None else delivery.since
            with self._lock:
                target = self._targets.get(delivery.target)
                result = self._known_result(effect, delivery, is_new=is_new)
                if result is None and target is None:
                    if self._now() - began_at < pauses.GIVE_UP_AFTER:
                        self._keep_unknown(effect, delivery)
                        continue
                    result = SendResult(state=SendState.FAILED, detail=_NO_TARGET)
                    log.error("%s: %s failed for good: %s", effect.key, delivery.name, result.detail)
                if target is not None and result is None:
                    workers[target.id] = self._worker(target)
            if result is not None:
                known = target or Target(id=delivery.target, kind=delivery.kind, name=delivery.name)
                self._courier.settle(effect, known, delivery.attempts, result)
            else:
                parts.setdefault(delivery.target, []).append(self._job(effect, delivery, began_at, is_new=is_new))
        for id_, jobs in parts.items():
            workers[id_].add(jobs)

    def _known_result(self, effect: Effect, delivery: Delivery, *, is_new: bool) -> SendResult | None:
        """What came of a delivery already, where it has only to be marked."""
        result = self._courier.unmarked(effect.id, delivery.target)
        if result is not None or is_new or delivery.state is not DeliveryState.CLAIMED:
            return result
        if delivery.kind is not TargetKind.RUN:
            return None
        worker = self._workers.get(delivery.target)
        if worker is not None and worker.has(effect.id):
            return None  # it is running here
        detail = "claimed by an engine that ended before it told the result; not run again"
        log.error("%s: %s was %s", effect.key, delivery.name, detail)
        return SendResult(state=SendState.UNKNOWN, detail=detail)

    def _job(self, effect: Effect, delivery: Delivery, began_at: float, *, is_new: bool) -> Job:
        is_claimed = delivery.state is DeliveryState.CLAIMED
        ready_at = -math.inf
        if is_claimed and not is_new and delivery.at is not None:
            # Whoever tried it last would wait for as long; a clock that is ahead does not make that longer.
            left = delivery.at + pauses.pause(delivery.attempts) - self._now()
            ready_at = clock.monotonic() + min(max(0.0, left), pauses.LONGEST_RETRY)
        return Job(
            effect=effect,
            attempts=delivery.attempts - (is_claimed and is_new),
            ready_at=ready_at,
            is_repeat=is_claimed and not is_new,
            is_claimed=is_claimed and is_new,
            digest=delivery.digest if is_claimed and not is_new else "",
            began_at=began_at,
            since=delivery.since,
        )

    def _keep_unknown(self, effect: Effect, delivery: Delivery) -> None:
        key = (effect.id, delivery.target)
        if key not in self._unknown:
            log.warning("%s waits: no rule and no channel names its target %s any more", effect.key, delivery.name)
        self._unknown[key] = effect, delivery

    def _worker(self, target: Target) -> Worker:
        worker = self._workers.get(target.id)
        if worker is None:
            worker = self._workers[target.id] = Worker(target, self._make_sender(target), self._courier, self._now)
        return worker
