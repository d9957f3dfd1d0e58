"""Znodes of any ensemble, followed: their data, their Stat, the names of their children, and who may write them.

Comes in: paths. Goes out, into one queue: what each of them is now. Nothing here writes, and nothing here knows what a
znode is followed for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.watch.follower import UNTOLD, Follower, Part, Reading
from zkalert.zk import MOST_IN_FLIGHT, UNCERTAIN, Client, NoNodeError

SPACING = 0.2
"""Seconds between two readings of one znode at least: a storm of changes is read as one."""

log = logging.getLogger("zkalert.watch")


class ZnodeSeen(NamedTuple):
    """What stands in a znode, or (`stat` None) that it is not there, or (`is_refused`) that we may not read it.

    `content` is its data, or the names of its children. `mono` is when that was read, on this process's clock.
    """

    ensemble: str
    path: str
    part: Part
    content: Any
    stat: Any
    mono: float
    is_refused: bool = False


class Acl(NamedTuple):
    """Who may do what with a znode, as kazoo's ACLs; None where it is not there or may not be asked."""

    ensemble: str
    path: str
    acls: Any
    mono: float


class ZnodesStirred(NamedTuple):
    """Something changed that is to be read a little later: `Znodes.late_at` has moved."""

    ensemble: str


class _Watched:
    """One part of one znode; there may be many thousands of them."""

    __slots__ = ("_ensemble", "asked_at", "is_awaited", "is_news", "key", "zxid")

    def __init__(self, ensemble: str, path: str, part: Part) -> None:
        self._ensemble = ensemble
        self.key = (path, part)
        self.is_awaited = False
        self.is_news = False
        self.zxid = UNTOLD
        self.asked_at = 0.0

    def seen(self, reading: Reading) -> ZnodeSeen:
        path, part = self.key
        return ZnodeSeen(self._ensemble, path, part, reading.content, reading.stat, reading.mono)

    def gone(self, mono: float) -> ZnodeSeen:
        return ZnodeSeen(self._ensemble, *self.key, None, None, mono)

    def refused(self, _error: Exception, mono: float) -> ZnodeSeen:
        return ZnodeSeen(self._ensemble, *self.key, None, None, mono, is_refused=True)


class Znodes:
    """Follows znodes of one ensemble; nothing is asked before the first `rearm`, which belongs to CONNECTED.

    `put` takes the events; it is called on kazoo's threads and must not block.
    """

    def __init__(self, client: Client, ensemble: str, put: Callable[[Any], None]) -> None:
        self._client = client
        self._ensemble = ensemble
        self._put = put
        self._is_open = False
        self._known: dict[tuple[str, Part], _Watched] = {}
        self._acls: deque[str] = deque()
        stirred = ZnodesStirred(ensemble)
        self._follower = Follower(client, put, spacing=SPACING, stirred=lambda: put(stirred))

    def __len__(self) -> int:
        return len(self._follower)

    def follow(self, path: str, part: Part, *, is_awaited: bool = True) -> None:
        """Follow a part of a znode, which may not be there yet; one that is followed is told once more.

        One that nobody awaits is not followed any more once it is seen not to be there, until this is called again:
        the list of its parent tells when it is made. Watches on what will never be there again would stay for good.
        """
        watched = self._known.get((path, part))
        if watched is None:
            watched = _Watched(self._ensemble, path, part)
            self._known[watched.key] = watched
        watched.is_awaited |= is_awaited
        if self._is_open:
            self._follower.follow_or_tell(watched)

    def forget(self, path: str, part: Part) -> None:
        self._known.pop((path, part), None)
        self._follower.forget(path, part)

    def rearm(self) -> None:
        """There is a connection, anew: read and tell everything."""
        self._is_open = True
        self._follower.rearm(tells_all=True)
        for watched in self._known.values():
            self._follower.follow(watched)

    def suspend(self) -> None:
        """There is none: what is to be followed waits for `rearm`."""
        self._is_open = False
        self._acls.clear()

    @property
    def late_at(self) -> float | None:
        """When (on this process's clock) `ask_late` is due."""
        return self._follower.late_at if self._is_open else None

    def ask_late(self, mono: float) -> None:
        """Read what changed again soon after it was read."""
        if self._is_open:
            self._follower.ask_late(mono)

    def ask_acls(self, paths: Iterable[str]) -> None:
        """Ask once who may do what; no watch tells of a change. A bounded number of questions is on the way."""
        if not self._is_open:
            return
        is_asking = bool(self._acls)
        self._acls.extend(paths)
        if not is_asking:
            for _ in range(min(MOST_IN_FLIGHT, len(self._acls))):
                self._ask_acl()

    def _ask_acl(self) -> None:
        try:
            path = self._acls.popleft()
        except IndexError:
            return
        self._client.get_acls_async(path).rawlink(lambda reply: self._acl_answered(path, reply))

    def _acl_answered(self, path: str, reply: Any) -> None:
        error = reply.exception
        if not isinstance(error, UNCERTAIN):
            if error is not None and not isinstance(error, NoNodeError):
                log.debug("the ACL of %s may not be asked: %s", path, type(error).__name__)
            acls = None if error is not None else reply.value[0]
            self._put(Acl(self._ensemble, path, acls, clock.monotonic()))
            self._ask_acl()
