"""What the servers of an ensemble say of themselves, every few seconds: the family `zookeeper`.

Comes in: how an ensemble is reached, and whether anybody wants to know. Goes out: ServersSeen, each with a Sample of
all servers. It knows neither rules nor znodes, and asks nothing that needs a session::

    servers = Servers("zookeeper", EnsembleSettings(zookeeper=..., members=config.members), queue.put, is_wanted)
    servers.start()   # `queue.put(ServersSeen(...))` from a thread of its own, every INTERVAL while is_wanted()
    servers.stop()    # no further one; questions that are on their way are not waited for

`is_wanted` is called from that thread, about once a second while it says no. `put` must not block.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zkalert import clock
from zkalert.metrics import ZOOKEEPER_FAMILY
from zkalert.model import EnsembleSettings, Sample
from zkalert.servers.member import Member
from zkalert.servers.whole import MOST_SERVERS, Asked, Memory, servers_of, summed
from zkalert.servers.wire import TIMEOUT

__all__ = ["INTERVAL", "MAX_AGE", "Servers", "ServersSeen"]

log = logging.getLogger("zkalert.servers")

INTERVAL = 5.0
MAX_AGE = 15.0
LOOK = 1.0
"""Seconds until another look whether anybody wants to know."""
GRACE = 0.2
"""Seconds beyond TIMEOUT that a server has: for threads to come round."""

_MOST_ERRORS = 16


class ServersSeen(NamedTuple):
    """A round: `ensemble` is the name of the ensemble, `mono` (monotonic) when its last answer was there."""

    ensemble: str
    sample: Sample
    mono: float


class Servers:
    """Asks all servers of one ensemble, side by side, while `is_wanted`; never raises, and says once what fails."""

    def __init__(
        self,
        ensemble: str,
        settings: EnsembleSettings,
        put: Callable[[ServersSeen], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._ensemble = ensemble
        names = servers_of(settings)
        self._left_out = len(names) - MOST_SERVERS
        self._desks = tuple(_Desk(Member(name, settings)) for name in names[:MOST_SERVERS])
        self._put = put
        self._is_wanted = is_wanted
        self._memory = Memory()
        self._said: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"zkalert-servers-{ensemble}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        pause = 0.0
        while not clock.wait(self._stop, pause):
            if not self._is_wanted():
                pause = LOOK
                continue
            began = clock.monotonic()
            seen = self.step()
            if not self._stop.is_set():
                self._put(seen)
            pause = max(0.0, INTERVAL - (clock.monotonic() - began))

    def step(self) -> ServersSeen:
        """One round: all servers are asked, and waited for no longer than they may take."""
        at = clock.wall()
        deadline = clock.monotonic() + TIMEOUT + GRACE
        for desk in self._desks:
            desk.begin()
        asked = [desk.result(deadline) for desk in self._desks]
        self._tell(asked)
        summary = summed(asked, self._memory)
        self._memory = summary.memory
        errors = list(summary.errors)
        if self._left_out > 0:
            errors.insert(0, f"only the first {MOST_SERVERS} servers are asked, and {self._left_out} are not")
        sample = Sample(
            family=ZOOKEEPER_FAMILY,
            at=at,
            interval=INTERVAL,
            max_age=MAX_AGE,
            values=summary.values,
            instances=summary.instances,
            errors=tuple(errors[:_MOST_ERRORS]),
        )
        return ServersSeen(self._ensemble, sample, clock.monotonic())

    def _tell(self, asked: Sequence[Asked]) -> None:
        for one in asked:
            before = self._said.get(one.name, "")
            if one.trouble and one.trouble != before:
                log.warning("ensemble %s: %s: %s", self._ensemble, one.name, one.trouble)
            elif before and not one.trouble:
                log.warning("ensemble %s: %s answers again", self._ensemble, one.name)
            self._said[one.name] = one.trouble


class _Desk:
    """A member and the thread that asks it. A name server can hold that up beyond any timeout of ours."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._is_free = threading.Event()
        self._is_free.set()
        self._asked = Asked(name=member.name)

    def begin(self) -> None:
        """Ask, unless an earlier question still waits for its end."""
        if self._is_free.is_set():
            self._is_free.clear()
            threading.Thread(target=self._work, name=f"zkalert-ask-{self._member.name}", daemon=True).start()

    def result(self, deadline: float) -> Asked:
        """What came of it until `deadline` (monotonic)."""
        if clock.wait(self._is_free, deadline - clock.monotonic()):
            return self._asked
        return Asked(name=self._member.name, trouble=f"did not answer within {TIMEOUT:g} s")

    def _work(self) -> None:
        try:
            self._asked = self._member.ask()
        except Exception:
            log.exception("%s could not be asked", self._member.name)
            self._asked = Asked(name=self._member.name, trouble="could not be asked by an error of zkalert's own")
        finally:
            self._is_free.set()
