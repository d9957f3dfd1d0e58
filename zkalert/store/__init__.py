"""Alert records and the outbox in ZooKeeper: read back whole, changed by compare-and-set alone.

Two writers, never of the same znode: the evaluator writes `alerts/` and creates the entries of `outbox/` in the same
transaction; from then on an entry belongs to the dispatcher. So neither breaks the versions that the other expects.

Every transaction carries a check of the fence, the lock's own node: who has lost the lock can write nothing, however
late a write of his arrives. A write whose answer was lost may have been applied. The evaluator then reads everything
back; the dispatcher, whose changes are absolute, makes the same change again on what it finds.

What people say (silences, acknowledgements) is written by commands, under no fence: one znode a fact.
"""

from zkalert.store.alerts import AlertStore, Change
from zkalert.store.errors import NotOwner, OutOfStep
from zkalert.store.facts import Changed, Facts, Filed
from zkalert.store.outbox import Outbox

__all__ = ["AlertStore", "Change", "Changed", "Facts", "Filed", "NotOwner", "OutOfStep", "Outbox"]
