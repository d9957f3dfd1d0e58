"""What an engine tells by itself: that ZooKeeper is gone, so that nothing is evaluated, and that it is back.

Comes in: connection states. Goes out: messages straight to channels, without a record, for what would hold the record
is what is gone. Each target has a thread of its own, so that one that hangs delays no other.

    ZooKeeper          the target            what happens
    gone for `after`   has not heard of it   it is told, again and again until it is known to have heard
    gone               has heard             nothing
    back               has heard, or may     it is told that this is over, again and again for `GIVE_UP_AFTER`
    back               cannot have heard     nothing

A target that has not heard yet that ZooKeeper is back when it goes again is told nothing new: to it, it was gone all
the time. An engine that is started without ZooKeeper counts from its start. What was told is not known to the next
engine on this host: it begins anew.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zkalert import clock
from zkalert.dispatch import Sender
from zkalert.metrics import format_duration
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Metric,
    Phase,
    Reason,
    SendResult,
    SendState,
    Severity,
    State,
    Target,
)
from zkalert.render import render
from zkalert.zk import ConnectionState

log = logging.getLogger("zkalert.lifeline")

RULE = "zookeeper-lost"
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
GIVE_UP_AFTER = 24 * 3600.0

_METRIC = Metric("zookeeper", "connected")
_WITHOUT = "No rule is evaluated by this engine until ZooKeeper answers again."


class Outage(NamedTuple):
    """A time without ZooKeeper: when it began, on this machine's clock (epoch seconds) and on the steady one."""

    since: float
    mono: float
    episode: str


class _Job(NamedTuple):
    """What a target has to hear next, not before `due` (monotonic)."""

    outage: Outage
    phase: Phase
    due: float


class Lifeline:
    """Tells targets of outages. `hear` comes from the connection's thread, the rest from anywhere.

    `zookeeper` is how people know the ensemble, `host` this engine's host. `make_sender` makes what sends to a target,
    on the target's own thread.
    """

    def __init__(self, *, zookeeper: str, host: str, make_sender: Callable[[Target], Sender]) -> None:
        self.make_sender = make_sender
        self.changed = threading.Condition()
        self.after = 0.0
        self.outage: Outage | None = None
        self._ended_at = 0.0
        self._zookeeper = zookeeper
        self._host = host
        self._heralds: dict[str, _Herald] = {}
        self._is_stopped = False

    def start(self) -> None:
        """From now on it is an outage that there is no connection, until `hear` says that there is one."""
        self._lose()

    def configure(self, targets: Sequence[Target], after: float) -> None:
        """Tell these targets, and nobody else, of outages of `after` seconds and more."""
        wanted = {target.id: target for target in targets}
        with self.changed:
            for id_ in self._heralds.keys() - wanted.keys():
                self._heralds.pop(id_).is_stopped = True
            for id_, target in wanted.items():
                if id_ in self._heralds:
                    self._heralds[id_].target = target
                elif not self._is_stopped:
                    self._heralds[id_] = _Herald(target, self)
            self.after = after
            self.changed.notify_all()

    def hear(self, state: ConnectionState) -> None:
        """The connection's state changed."""
        if state is not ConnectionState.CONNECTED:
            self._lose()
            return
        with self.changed:
            if self.outage is not None:
                self.outage, self._ended_at = None, clock.wall()
                self.changed.notify_all()

    def stop(self) -> None:
        """Tell nobody anything more; a send that is on its way is not waited for."""
        with self.changed:
            for herald in self._heralds.values():
                herald.is_stopped = True
            self._is_stopped = True
            self.changed.notify_all()

    def effect(self, outage: Outage, phase: Phase) -> Effect:
        """An outage (firing) or its end (resolved), in the shape that messages are made of."""
        is_over = phase is Phase.RESOLVED
        # The wall clock may have been set meanwhile.
        at = max(outage.since, self._ended_at if is_over else clock.wall())
        alert = Alert(
            rule=RULE,
            host=self._host,
            state=State.RESOLVED if is_over else State.FIRING,
            episode=outage.episode,
            severity=Severity.CRITICAL,
            metric=_METRIC,
            subject=f"ZooKeeper at {self._zookeeper}",
            comparator=Comparator.ABSENT,
            since=outage.since,
            fired_at=min(at, outage.since + self.after),
            resolved_at=at if is_over else None,
            told=(Severity.CRITICAL,),
        )
        if is_over:
            summary = f"ZooKeeper at {self._zookeeper} answers again, after {format_duration(round(at - outage.since))}"
        else:
            since = clock.iso(outage.since)
            summary = f"ZooKeeper at {self._zookeeper} does not answer since {since}: nothing is evaluated"
        return Effect(
            alert=alert,
            phase=phase,
            reason=Reason.CLEARED if is_over else Reason.HELD,
            at=at,
            summary=summary,
            description="" if is_over else _WITHOUT,
        )

    def _lose(self) -> None:
        with self.changed:
            if self.outage is None and not self._is_stopped:
                self.outage = Outage(clock.wall(), clock.monotonic(), secrets.token_hex(8))
                self.changed.notify_all()


class _Herald:
    """One target and what it knows; but for `target` and `is_stopped`, its own thread alone touches it.

    `_heard` is the outage that it was told of, `_is_sure` whether that surely came.
    """

    def __init__(self, target: Target, lifeline: Lifeline) -> None:
        self.target = target
        self.is_stopped = False
        self._lifeline = lifeline
        self._heard: Outage | None = None
        self._is_sure = False
        self._hopeless = ""  # the episode that it cannot be told of
        self._trying: tuple[str, Phase] | None = None
        self._tries = 0
        self._retry_at = 0.0
        self._may_have_come = False
        self._sender: tuple[Target, Sender] | None = None
        threading.Thread(target=self._run, name=f"zkalert-lifeline-{target.id}", daemon=True).start()

    def _run(self) -> None:
        while (job := self._await()) is not None:
            self._note(job, self._send(job))

    def _await(self) -> _Job | None:
        """Wait until there is something to tell; None once this was stopped."""
        with self._lifeline.changed:
            while not self.is_stopped:
                job, now = self._job(), clock.monotonic()
                if job is not None and job.due <= now:
                    return job
                self._lifeline.changed.wait(None if job is None else job.due - now)
        return None

    def _job(self) -> _Job | None:
        outage = self._lifeline.outage
        if outage is None:
            return None if self._heard is None else self._begin(self._heard, Phase.RESOLVED, 0.0)
        if self._is_sure or outage.episode == self._hopeless:
            return None
        return self._begin(outage, Phase.FIRING, outage.mono + self._lifeline.after)

    def _begin(self, outage: Outage, phase: Phase, due: float) -> _Job:
        if self._trying != (outage.episode, phase):
            self._trying = (outage.episode, phase)
            self._tries, self._retry_at, self._may_have_come = 0, 0.0, False
        return _Job(outage, phase, max(due, self._retry_at))

    def _send(self, job: _Job) -> SendResult:
        target = self.target
        try:
            if self._sender is None or self._sender[0] != target:
                self._sender = (target, self._lifeline.make_sender(target))
            effect = self._lifeline.effect(job.outage, job.phase)
            message = render(effect, channel=target.channel)
            return self._sender[1].send((effect,), message, is_repeat=self._may_have_come)
        except Exception as error:
            log.exception("a message that ZooKeeper is gone, or back, could not be made")
            return SendResult(state=SendState.FAILED, is_retryable=True, detail=type(error).__name__)

    def _note(self, job: _Job, result: SendResult) -> None:
        """Remember what came of a try."""
        is_over = job.phase is Phase.RESOLVED
        words = f"that ZooKeeper {'answers again' if is_over else 'is gone'}"
        self._tries += 1
        if result.state is SendState.DELIVERED:
            log.info("%s was told %s", self.target.name, words)
            self._heard, self._is_sure = (None, False) if is_over else (job.outage, True)
            return
        if result.state is SendState.UNKNOWN:
            self._may_have_come = True
            if not is_over:
                self._heard = job.outage
        is_late = is_over and clock.wall() - self._lifeline.effect(job.outage, job.phase).at > GIVE_UP_AFTER
        if (result.state is SendState.FAILED and not result.is_retryable) or is_late:
            log.error("%s cannot be told %s: %s", self.target.name, words, result.detail)
            if is_over:
                self._heard, self._is_sure = None, False
            else:
                self._hopeless = job.outage.episode
            return
        if self._tries == 1:
            log.warning("%s could not be told %s: %s; trying again", self.target.name, words, result.detail)
        pause = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(self._tries - 1, 20)) * random.uniform(0.8, 1.2)  # noqa: S311
        self._retry_at = clock.monotonic() + pause
