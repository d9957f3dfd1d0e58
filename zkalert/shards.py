"""Who owns the series: one lock for each shard, and the signs of life that a successor goes by.

Comes in: a client and the shard. Goes out: ownerships, each with the path of its lock's node, the fence that every
write of the owner checks. There is one shard yet; a second engine on the same tree waits for it and says so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from zkalert import __version__, clock
from zkalert.model import EngineInfo, Problem, Seen
from zkalert.tree import Tree, decode_engine, decode_seen, encode_engine, encode_seen
from zkalert.zk import (
    UNCERTAIN,
    Check,
    Client,
    Create,
    KazooException,
    NoNodeError,
    Set,
    TransactionFailed,
    commit,
    read_below,
)

log = logging.getLogger("zkalert.engine")

SHARD = 0
SIGN_OF_LIFE = 5.0


class Owned(NamedTuple):
    """The shard is ours: `fence` is the lock's own node, `seen_at` when its former owner last watched it."""

    fence: str
    seen_at: float


class Owner:
    """Takes the shard's lock, shows that it is alive, and starts anew when its session was lost.

    `own` is called with each ownership, on the owner's own thread. `digest` tells which rules this engine runs.
    """

    def __init__(  # noqa: PLR0913 - what an engine shows of itself
        self,
        client: Client,
        tree: Tree,
        ensemble: clock.EnsembleClock,
        *,
        engine: str,
        host: str,
        pid: int,
        digest: Callable[[], str],
        own: Callable[[Owned], None],
    ) -> None:
        self._client = client
        self._tree = tree
        self._ensemble = ensemble
        self._engine = engine
        self._host = host
        self._pid = pid
        self._digest = digest
        self._own = own
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._lock: Any = None
        self._steady = 0.0
        self._in_line = threading.Event()
        self._ahead = ""
        self._thread = threading.Thread(target=self._run, name="zkalert-owner", daemon=True)
        self._signing = threading.Thread(target=self._sign_on, name="zkalert-sign", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._signing.start()

    @property
    def waits_for(self) -> str:
        """The engine that owns the tree, while this one waits; otherwise empty."""
        return self._ahead if self._in_line.is_set() else ""

    def lost(self) -> None:
        """The session is over (LOST), or the fence was found gone: what was owned is not ours any more."""
        self._lost.set()
        lock = self._lock
        if lock is not None:
            lock.cancel()

    def show_soon(self) -> None:
        """Say what this engine runs now, without waiting; who waits for the lock says nothing else."""
        if self._client.connected:
            self._client.set_async(self._tree.engine(self._engine), self._sign())

    def stop(self, timeout: float) -> None:
        """Give the lock back, so that a waiting engine need not wait for the session's end."""
        self._stop.set()
        self.lost()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _sign_on(self) -> None:
        """While it waits for the lock, too, an engine shows that it is alive, and what it runs."""
        while not clock.wait(self._stop, SIGN_OF_LIFE):
            if self.waits_for:
                self.show_soon()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._lost.clear()
            try:
                fence = self._acquire()
                if fence is not None and not self._yields():
                    self._hold(fence)
            except TransactionFailed as failed:
                log.warning("ownership of shard %d ended: %s", SHARD, failed)
            except (KazooException, *UNCERTAIN):
                pass  # the connection went; the state listener says so
            except Exception:
                log.exception("ownership of shard %d ended", SHARD)
            finally:
                self._release()
            clock.wait(self._stop, 0.2)

    def _acquire(self) -> str | None:
        """Wait for the lock; the path of its node, or None where there is something to start anew."""
        self._show()
        path = self._tree.shard(SHARD)
        self._clear(path)
        # A Lock still says that it is acquired after LOST: a new one for every try.
        self._lock = self._client.Lock(path, identifier=self._sign().decode())
        if self._lost.is_set() or self._stop.is_set():
            return None
        if not self._lock.acquire(blocking=False):
            self._lock = self._client.Lock(path, identifier=self._sign().decode())
            self._stand_in_line(self._lock)
        return f"{path}/{self._lock.node}" if self._lock.is_acquired else None

    def _yields(self) -> bool:
        """Whether another engine runs the very rules of the owner before, where this one does not.

        It gets the lock: alerts whose rules are not here would stand as orphans.
        """
        seen = decode_seen(self._client.get(self._tree.shard(SHARD))[0])
        if isinstance(seen, Problem) or not seen.rules or seen.rules == self._digest():
            return False
        waiting = {holder.name for holder in _contenders(self._lock)[1:]}
        for _, data, _ in read_below(self._client, self._tree.engines):
            other = decode_engine(data)
            if not isinstance(other, Problem) and other.rules == seen.rules and other.name in waiting:
                log.warning(
                    "%s runs the rules of the owner before, this engine has others: it may own the tree", other.name
                )
                return True
        return False

    def _clear(self, path: str) -> None:
        """Take away what this session left in the queue for the lock, where the connection went before a release.

        It stands for as long as the session does: we would wait for ourselves.
        """
        ours = self._client.client_id[0]
        for name in self._client.get_children(path):
            stat = self._client.exists(f"{path}/{name}")
            if stat is not None and stat.ephemeralOwner == ours:
                self._client.delete(f"{path}/{name}")

    def _stand_in_line(self, lock: Any) -> None:
        """Wait until the lock is ours. Another thread looks meanwhile for whom we wait: that may change."""
        self._say_who(lock)
        self._in_line.set()
        is_over = threading.Event()
        threading.Thread(target=self._look_ahead, args=(lock, is_over), name="zkalert-in-line", daemon=True).start()
        try:
            lock.acquire()
        finally:
            is_over.set()
            self._in_line.clear()
            self._ahead = ""

    def _look_ahead(self, lock: Any, is_over: threading.Event) -> None:
        while not clock.wait(is_over, SIGN_OF_LIFE):
            if self._client.connected:
                with contextlib.suppress(KazooException, *UNCERTAIN):
                    self._say_who(lock)

    def _say_who(self, lock: Any) -> None:
        ahead = next((engine.name for engine in _contenders(lock)), "another engine")
        if ahead != self._ahead:
            self._ahead = ahead
            log.warning("the engine at %s owns this tree; waiting to take over", ahead)

    def _hold(self, fence: str) -> None:
        path = self._tree.shard(SHARD)
        data, stat = self._client.get(path)
        seen = decode_seen(data)
        self._learn_time()  # we may have waited for days, and it was corrected meanwhile
        self._steady = self._ensemble.now() - clock.monotonic()
        self._live(fence)
        seen_at = stat.mtime / 1000 if isinstance(seen, Problem) else seen.at
        self._own(Owned(fence, seen_at))
        while not self._stop.is_set() and not clock.wait(self._lost, SIGN_OF_LIFE):
            if self._client.connected:
                try:
                    self._live(fence)
                except UNCERTAIN:
                    continue  # SUSPENDED: the lock may still be ours; LOST will tell

    def _live(self, fence: str) -> None:
        """One write shows that we are here, until when we watched, and what time the ensemble has."""
        # Never ahead of what passed by our own clock since we own the shard: a successor counts it as held.
        at = min(self._ensemble.now(), self._steady + clock.monotonic())
        results = commit(
            self._client,
            [
                Check(fence),
                Set(self._tree.engine(self._engine), self._sign()),
                Set(self._tree.shard(SHARD), encode_seen(Seen(at, self._digest()))),
            ],
        )
        self._ensemble.saw(results[1].mtime / 1000, clock.monotonic())

    def _show(self) -> None:
        self._client.ensure_path(self._tree.engines)
        self._client.ensure_path(self._tree.shard(SHARD))
        self._client.ensure_path(self._tree.hosts)
        path = self._tree.engine(self._engine)
        try:
            self._learn_time()
        except NoNodeError:
            commit(self._client, [Create(path, self._sign(), ephemeral=True)])
            self._learn_time()

    def _learn_time(self) -> None:
        """What time the ensemble has, by a write of what this engine is."""
        stat = self._client.set(self._tree.engine(self._engine), self._sign())
        self._ensemble.saw(stat.mtime / 1000, clock.monotonic())

    def _release(self) -> None:
        if self._lock is not None and self._client.connected:
            try:
                self._lock.release()
            except (KazooException, *UNCERTAIN):
                pass  # the end of the session frees it
        self._lock = None

    def _sign(self) -> bytes:
        return encode_engine(EngineInfo(version=__version__, rules=self._digest(), host=self._host, pid=self._pid))


def _contenders(lock: Any) -> list[EngineInfo]:
    """Who holds the lock, and who waits for it, in their order; the rules are those of when they came."""
    found = [decode_engine(name.encode()) for name in lock.contenders()]
    return [engine for engine in found if not isinstance(engine, Problem)]
