"""What the evaluator decided, written down before anybody acts on it; and what stands in the tree, read back.

Comes in: changes of alerts with what has to be told of them. Goes out: one transaction, and then what it lets go: to
the journal, the dispatcher, the outlet. Belongs to the evaluator's thread.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import NamedTuple

from zkalert.dispatch import Dispatcher
from zkalert.engine.chronicle import Chronicle
from zkalert.engine.outlet import Outlet, is_kept
from zkalert.engine.standing import Transition, Unwritten, is_over
from zkalert.model import Alert, OutboxEntry, Reason
from zkalert.shards import Owned
from zkalert.store import AlertStore, Change, NotOwner, Outbox, OutOfStep
from zkalert.tree import Tree
from zkalert.zk import UNCERTAIN, KazooException

log = logging.getLogger("zkalert.engine")


class End(Enum):
    """What came of a write. WRITTEN: all of it stands, and is acted on. DOUBTED: nobody knows what of it does, and
    nothing is acted on before it was read back. NOT_OURS: somebody else owns the tree. DROPPED: nobody owned it here.
    """

    WRITTEN = 1
    DOUBTED = 2
    NOT_OURS = 3
    DROPPED = 4


class Standing(NamedTuple):
    """What stands in the tree: what has to be told, and the records of alerts."""

    entries: list[OutboxEntry]
    records: list[Alert]


class Ledger:
    """The writes of an evaluator, and its reading back. `unwritten` is what it decided and did not write yet."""

    def __init__(
        self,
        *,
        store: AlertStore,
        outbox: Outbox,
        dispatcher: Dispatcher,
        outlet: Outlet,
        chronicle: Chronicle,
        tree: Tree,
    ) -> None:
        self.unwritten = Unwritten()
        self._store = store
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._outlet = outlet
        self._chronicle = chronicle
        self._tree = tree
        self._said = ""

    def write(self, owned: Owned | None) -> End:
        """Write what is unwritten, and let go what follows from it."""
        changes, transitions = self.unwritten.take()
        if owned is None:
            self._outlet.forget()
            return End.DROPPED
        try:
            self._store.commit(changes, owned.fence)
        except NotOwner:
            return End.NOT_OURS
        except (OutOfStep, KazooException, *UNCERTAIN) as error:
            log.warning("a transition was not confirmed (%s); reading the alerts back", type(error).__name__)
            self._outlet.doubt()
            return End.DOUBTED
        self.unwritten.written()
        self._let_go(changes, transitions)
        return End.WRITTEN

    def _let_go(self, changes: list[Change], transitions: list[Transition]) -> None:
        entries = [entry for change in changes for entry in change.entries]
        self._outbox.file(entries)
        for transition in transitions:  # before what follows from it
            self._chronicle.transition(transition)
        # What is kept first, so that it can be released; then what is released, which came before what goes now.
        self._dispatcher.submit([entry for entry in entries if is_kept(entry)], is_new=True)
        self._outlet.flush()
        self._dispatcher.submit([entry for entry in entries if not is_kept(entry)], is_new=True)
        self._store.delete_soon(
            self._tree.ack(one.old.episode) for one in transitions if one.old.ack is not None and is_over(one)
        )

    def note(self, old: Alert, new: Alert, entries: tuple[OutboxEntry, ...] = (), reason: Reason | None = None) -> None:
        """A change that has to be written."""
        self.unwritten.add(old, new, entries, reason)

    def load(self, owned: Owned) -> Standing | None:
        """What stands in the tree; None where that cannot be read now, which is said once."""
        try:
            entries = self._outbox.own(owned.fence)
            records = self._store.load()
        except (KazooException, *UNCERTAIN) as error:
            reason = type(error).__name__
            if reason != self._said:
                self._said = reason
                log.warning("the alerts could not be read back (%s); trying again", reason)
            return None
        self._said = ""
        self.unwritten.clear()
        self._outlet.forget()
        return Standing(list(entries), list(records))

    def disown(self) -> None:
        """The tree is somebody else's: what is unwritten here is nothing now."""
        self._outbox.disown()
        self._dispatcher.drop()
        self.unwritten.clear(forgets=True)
        self._outlet.disown()
