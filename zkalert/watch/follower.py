"""Follows znodes by one watch each, however many ask for them, and sets all of them anew on CONNECTED.

Comes in: what to follow, each with what makes an event of it. Goes out, to one function: what it held, every time it
changed. The callbacks run on kazoo's threads, where whoever blocks holds up everybody: they decode, put one event and
return.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from zkalert import clock
from zkalert.zk import MOST_IN_FLIGHT, UNCERTAIN, Client, EventType, NoNodeError

log = logging.getLogger("zkalert.watch")

UNTOLD = -1
"""In place of a zxid, of what was not told yet: that of znodes which every ensemble begins with is 0."""


class Part(str, Enum):
    """What of a znode is followed: its data, the names of its children, or (without its data) its Stat."""

    DATA = "data"
    CHILDREN = "children"
    STAT = "stat"


class Reading(NamedTuple):
    """What a question was answered with: bytes or the names of children, the Stat, and when the answer came."""

    content: Any
    stat: Any
    mono: float
    is_news: bool


class Watched(Protocol):
    """One znode that is followed, and what makes events of it.

    `key` tells it from all others that one follower has. `is_awaited` says that nothing else tells when it is made.
    `zxid` is that of what was told last, or UNTOLD; `is_news` whether a change is to be told rather than a first
    reading.
    """

    key: tuple[str, Part]
    is_awaited: bool
    zxid: int
    is_news: bool
    asked_at: float

    def seen(self, reading: Reading) -> Any: ...

    def gone(self, mono: float) -> Any: ...

    def refused(self, error: Exception, mono: float) -> Any | None:
        """What to tell where we may not read it; None for nothing."""


class Follower:
    """Follows znodes over one client.

    `put` takes the events; it is called on kazoo's threads and must not block. With `spacing` (seconds) one znode is
    read that often at most: what changes sooner is read by `ask_late`, which is due at `late_at`; `stirred` is called
    when there is something to wait for.
    """

    def __init__(
        self,
        client: Client,
        put: Callable[[Any], None],
        *,
        spacing: float = 0.0,
        stirred: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._put = put
        self._spacing = spacing
        self._stirred = stirred
        self._lock = threading.Lock()
        self._watched: dict[tuple[str, Part], Watched] = {}
        self._waiting: deque[Watched] = deque()
        self._late: deque[tuple[float, Watched]] = deque()  # nearly by time: none waits for more than one spacing
        self._in_flight = 0

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def is_idle(self) -> bool:
        """Whether no first or repeated reading is on its way; what was answered has been put."""
        with self._lock:
            return not self._waiting and not self._in_flight

    def follow(self, watched: Watched) -> None:
        """Begin to follow a znode, unless it is followed."""
        with self._lock:
            if watched.key in self._watched:
                return
            self._watched[watched.key] = watched
            self._waiting.append(watched)
        self._pump()

    def follow_or_tell(self, watched: Watched) -> None:
        """Begin to follow a znode; if it is followed, read it once more and tell it though it is the same."""
        with self._lock:
            self._watched[watched.key] = watched
            watched.zxid = UNTOLD
            self._waiting.append(watched)
        self._pump()

    def forget(self, path: str, part: Part = Part.DATA) -> None:
        """Stop following a znode; a watch that is still set on it fires into the void."""
        with self._lock:
            self._watched.pop((path, part), None)

    def forget_below(self, top: str) -> None:
        """Stop following a znode and all below it."""
        with self._lock:
            for key in [key for key in self._watched if key[0] == top or key[0].startswith(top + "/")]:
                del self._watched[key]

    def rearm(self, *, tells_all: bool = False) -> None:
        """Read and watch everything again: a dropped connection drops all watches, also when the session lives.

        With `tells_all` what did not change is told too.
        """
        with self._lock:
            self._waiting.clear()
            self._late.clear()
            self._in_flight = 0
            for watched in self._watched.values():
                watched.is_news = False  # a change that was lost on the way is old by now
                if tells_all:
                    watched.zxid = UNTOLD
                self._waiting.append(watched)
        self._pump()

    @property
    def late_at(self) -> float | None:
        """When (on this process's clock) `ask_late` is due."""
        late = self._late
        try:
            return late[0][0] if late else None
        except IndexError:  # another thread cleared it
            return None

    def ask_late(self, mono: float) -> None:
        """Read what changed again soon after it was read."""
        due: list[Watched] = []
        with self._lock:
            while self._late and self._late[0][0] <= mono:
                due.append(self._late.popleft()[1])
            self._waiting.extend(watched for watched in due if self._watched.get(watched.key) is watched)
        if due:
            self._pump()

    # On kazoo's threads too.

    def _pump(self) -> None:
        """Ask for what waits, with a bounded number of questions on the way."""
        while True:
            with self._lock:
                if not self._waiting or self._in_flight >= MOST_IN_FLIGHT:
                    return
                watched = self._waiting.popleft()
                self._in_flight += 1
            self._ask(watched, self._answered_in_turn)

    def _ask(self, watched: Watched, answered: Callable[[Watched, Any], None]) -> None:
        path, part = watched.key
        watched.asked_at = clock.monotonic()
        if part is Part.CHILDREN:
            result = self._client.get_children_async(path, watch=self._on_children, include_data=True)
        elif part is Part.DATA:
            result = self._client.get_async(path, watch=self._on_data)
        else:
            result = self._client.exists_async(path, watch=self._on_stat)
        result.rawlink(lambda reply: answered(watched, reply))

    def _answered_in_turn(self, watched: Watched, reply: Any) -> None:
        self._answered(watched, reply)
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)
        self._pump()

    def _answered(self, watched: Watched, reply: Any) -> None:
        mono = clock.monotonic()
        error = reply.exception
        if error is not None:
            if isinstance(error, NoNodeError):
                self._missing(watched, mono)
            elif not isinstance(error, UNCERTAIN):  # after one of those CONNECTED asks again
                self._refused(watched, error, mono)
            return
        part = watched.key[1]
        if part is Part.STAT:
            content, stat = None, reply.value
            if stat is None:
                self._missing(watched, mono)
                return
        else:
            content, stat = reply.value
        zxid = stat.pzxid if part is Part.CHILDREN else stat.mzxid
        # A reading that repeats what was told would make the same sample speak twice as long.
        if zxid == watched.zxid:
            return
        watched.zxid = zxid
        is_news, watched.is_news = watched.is_news, False
        if self._watched.get(watched.key) is watched:
            try:
                self._put(watched.seen(Reading(content, stat, mono, is_news)))
            except Exception:  # kazoo would swallow it
                log.exception("%s could not be decoded", watched.key[0])

    def _refused(self, watched: Watched, error: Exception, mono: float) -> None:
        event = watched.refused(error, mono)
        if event is not None:
            self._put(event)

    def _missing(self, watched: Watched, mono: float) -> None:
        """The znode is not there: wait until it is made, or until the list of its parent names it again."""
        with self._lock:
            if self._watched.get(watched.key) is not watched:
                return
            watched.zxid = UNTOLD
            if not watched.is_awaited:
                del self._watched[watched.key]
        path, part = watched.key
        if watched.is_awaited and part is not Part.STAT:  # of which the question has set a watch
            on_event = self._on_children if part is Part.CHILDREN else self._on_data
            result = self._client.exists_async(path, watch=on_event)
            result.rawlink(lambda reply: self._exists_answered(watched, reply))
        self._put(watched.gone(mono))

    def _exists_answered(self, watched: Watched, reply: Any) -> None:
        if reply.exception is None and reply.value is not None:
            self._ask(watched, self._answered)

    def _on_data(self, event: Any) -> None:
        self._on_event(event, Part.DATA)

    def _on_children(self, event: Any) -> None:
        self._on_event(event, Part.CHILDREN)

    def _on_stat(self, event: Any) -> None:
        self._on_event(event, Part.STAT)

    def _on_event(self, event: Any, part: Part) -> None:
        """A watch fired. NONE says that the connection changed, which the state listener tells as well."""
        if event.type == EventType.NONE:
            return
        watched = self._watched.get((event.path, part))
        if watched is None:
            return
        watched.is_news = True
        if self._spacing:
            due = watched.asked_at + self._spacing
            if due > clock.monotonic():
                with self._lock:
                    self._late.append((due, watched))
                self._stirred()
                return
        self._ask(watched, self._answered)
