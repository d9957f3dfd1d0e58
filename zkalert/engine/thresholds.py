"""Tells samplers what the rules in force ask of them, so that they need not write what nobody would notice.

Comes in: the rules, and the fence of who owns the tree. Goes out: `thresholds/`, one znode a family that samplers
publish, with nothing in it where no rule reads the family. Only the owner writes; what he says stands until another
one says something else, for it is no more than advice: a crossing is published whatever it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable

from zkalert import clock
from zkalert.model import Rule
from zkalert.rulebook import limits_of
from zkalert.store import NotOwner, OutOfStep
from zkalert.store.thresholds import write_thresholds
from zkalert.tree import Tree, encode_limits
from zkalert.zk import UNCERTAIN, Client, KazooException

log = logging.getLogger("zkalert.engine")

AGAIN = 5.0
"""Seconds after which a write that failed is tried again."""


class Thresholds:
    """What samplers are told, on a thread of its own: no alert waits for it. The methods come from any thread."""

    def __init__(self, client: Client, tree: Tree) -> None:
        self._client = client
        self._tree = tree
        self._wanted: dict[str, bytes] | None = None
        self._fence = ""
        self._written: tuple[str, dict[str, bytes]] | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()

    def want(self, rules: Iterable[Rule], shown: Collection[str]) -> None:
        """These rules are in force now, and somebody looks at the families `shown`."""
        self._wanted = {family: encode_limits(limits) for family, limits in limits_of(rules, shown).items()}
        self._wake.set()

    def own(self, fence: str) -> None:
        """The tree is ours, as long as this node of the lock stands."""
        self._fence = fence
        self._wake.set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="zkalert-thresholds", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def _run(self) -> None:
        clock.wait(self._wake, None)
        while not self._stop.is_set():
            self._wake.clear()
            clock.wait(self._wake, self._settle())

    def _settle(self) -> float | None:
        """Write what is not written; after how many seconds to try again, None for not before somebody says more."""
        wanted, fence = self._wanted, self._fence
        if wanted is None or not fence or self._written == (fence, wanted):
            return None
        try:
            write_thresholds(self._client, self._tree, wanted, fence)
        except NotOwner:  # whoever owns it now says what his rules ask for
            return None
        except UNCERTAIN:  # the connection's own state tells the user
            return AGAIN
        except (OutOfStep, KazooException) as error:
            log.warning("samplers could not be told what the rules ask for (%s); trying again", type(error).__name__)
            return AGAIN
        self._written = (fence, wanted)
        return None
