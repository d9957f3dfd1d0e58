"""A queue and a worker for each target, so that a hung or slow one delays no other.

Comes in: entries of the outbox. What is due at a target goes out as one message, of one effect or of many: claim,
render, send, mark. Goes out too: what happened, to whoever wants to show it. It knows of ZooKeeper only that a change
of the ledger can be refused or uncertain.

    values       what it shares with others: a try, a target's status, the senders and the ledger as it sees them
    pauses       how long it waits before it tries again
    jobs         one delivery, and one message, on their way
    courier      one message: claimed, sent, marked
    clerk        changes of the ledger that nobody may wait for
    worker       one target's queue and threads
    dispatcher   hands each delivery to its worker

Which way it errs: a notification is marked after it was sent, so a crash between the two repeats it, and the repeat
says so; the members of a digest go again together, under the same id. A command is claimed before it runs, and one
that was claimed by an engine that died is never run again. A claim costs a write of its own; where a channel is idle,
its first delivery is claimed by the write that makes the entry, so that the message leaves that much sooner.
"""

from zkalert.dispatch.dispatcher import Dispatcher
from zkalert.dispatch.values import DeliveryLog, Sender, TargetStatus, Told

__all__ = ["DeliveryLog", "Dispatcher", "Sender", "TargetStatus", "Told"]
