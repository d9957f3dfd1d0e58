"""Follows the published rule set, for an engine whose rules come from ZooKeeper.

A thread and a session of its own: large files are read and judged here while the evaluator goes on, and an engine
that has no rules yet owns nothing. Comes in: settings of the ensemble. Goes out: each set that becomes current, to
`take`, which judges it; a set that is refused, or cannot be read, changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from zkalert import clock
from zkalert.model import PublishedSet, ZkalertError, ZookeeperSettings
from zkalert.store.rulesets import BadRuleSet, read_files, read_pointer
from zkalert.tree import Tree
from zkalert.zk import UNCERTAIN, ConnectionState, KazooException, connect, leave, listen, make_client, open_tree

log = logging.getLogger("zkalert.rules")

LOOK_AGAIN = 30.0
"""Seconds after which a set that could not be read is tried anew: whoever published it may have mended it."""

_NOBODY_KNOWS = 1.0


class Follower:
    """Reads the published set whenever it changes, and hands it to `take`, on a thread of its own.

    `take` raises ZkalertError for a set that it refuses. `fail` is told, once, that nothing can be followed at all.
    `problem` says why what is published is not in use (empty where it is), `refused` counts what was not taken.
    """

    def __init__(
        self,
        zookeeper: ZookeeperSettings,
        take: Callable[[PublishedSet], None],
        fail: Callable[[ZkalertError], None],
    ) -> None:
        self.problem = ""
        self.refused = 0
        self._take = take
        self._fail = fail
        self._tree = Tree(zookeeper.root)
        self._client = make_client(zookeeper)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._seen = ""  # the id of the set that was judged last
        self._thread = threading.Thread(target=self._run, name="zkalert-rules", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Follow no more; twice `timeout` seconds at most are spent on leaving."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        leave(self._client, timeout)  # ends a question that nobody has answered, too

    def again(self) -> None:
        """Judge what is published once more: whoever judges may have changed its mind."""
        self._seen = ""
        self._wake.set()

    def _run(self) -> None:
        try:
            is_open = self._open()
        except ZkalertError as error:
            self._fail(error)
            return
        if is_open:
            listen(self._client, self._connection_changed)
            self._follow()

    def _open(self) -> bool:
        """Wait for ZooKeeper, and look at the tree; False where `stop` came first.

        Raises LayoutTooNew for a tree that this version does not know, ZkalertError for one that it may not use.
        """
        if not connect(self._client, self._stop):
            return False
        while not self._is_ours():
            if clock.wait(self._stop, _NOBODY_KNOWS):
                return False
        return True

    def _is_ours(self) -> bool:
        """Whether the tree was looked at, and may be used."""
        try:
            open_tree(self._client, self._tree)
        except UNCERTAIN:
            return False
        except KazooException as error:
            raise ZkalertError(
                f"ZooKeeper refuses to show the published rules below {self._tree.top} ({type(error).__name__}); "
                "check zookeeper.auth and who may read there"
            ) from error
        return True

    def _follow(self) -> None:
        look_in: float | None = 0.0
        while True:
            clock.wait(self._wake, look_in)
            if self._stop.is_set():
                return
            self._wake.clear()
            try:
                look_in = self._look()
            except Exception:
                log.exception("the published rules could not be read")
                look_in = LOOK_AGAIN

    def _look(self) -> float | None:
        """Take what is current, if it is news; in how many seconds to look again, None for once it has changed."""
        try:
            pointer = read_pointer(self._client, self._tree, self._changed)
            if pointer is None:
                self._nothing()
                return None
            if pointer.set_id == self._seen:
                return None
            files = read_files(self._client, self._tree, pointer.set_id)
        except UNCERTAIN:
            return _NOBODY_KNOWS
        except (BadRuleSet, KazooException) as error:
            self._refuse(str(error) or type(error).__name__)
            return LOOK_AGAIN
        self._seen = pointer.set_id
        try:
            self._take(PublishedSet(publication=pointer.publications.current, files=files))
        except ZkalertError as error:
            self._refuse(str(error))
        else:
            self.problem = ""
        return None

    def _nothing(self) -> None:
        """Nothing is published yet, or nothing any more."""
        if self._seen:
            self._refuse(f"nothing is published at {self._tree.current_rules} any more")
            self._seen = ""
        elif not self.problem:
            self.problem = "no rules are published"
            log.warning("no rules are published at %s; waiting for `zkalert rules push`", self._tree.current_rules)

    def _refuse(self, why: str) -> None:
        if why != self.problem:
            self.problem = why
            self.refused += 1
            log.error("the published rules are not taken, those before stay: %s", why)

    # On kazoo's threads.

    def _changed(self, _event: object) -> None:
        self._wake.set()

    def _connection_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:  # the watch went with the connection
            self._wake.set()
