"""One ZooKeeper watch per znode, however many rules read it.

Comes in: znodes to follow, in zkalert's own tree (`Registry`) or anywhere (`Znodes`). Goes out, into one queue: what
each of them held, every time it changed. No DataWatch and no ChildrenWatch: those re-read in a thread of their own for
every rule, and stop for good on a deleted parent.
"""

from zkalert.watch.follower import Part
from zkalert.watch.registry import (
    AliveSeen,
    BadSampleSeen,
    Event,
    FactSeen,
    FactsSeen,
    FamiliesSeen,
    Gone,
    HostInfoSeen,
    HostsSeen,
    Registry,
    SampleSeen,
)
from zkalert.watch.znodes import SPACING, Acl, Znodes, ZnodeSeen, ZnodesStirred

__all__ = [
    "SPACING",
    "Acl",
    "AliveSeen",
    "BadSampleSeen",
    "Event",
    "FactSeen",
    "FactsSeen",
    "FamiliesSeen",
    "Gone",
    "HostInfoSeen",
    "HostsSeen",
    "Part",
    "Registry",
    "SampleSeen",
    "ZnodeSeen",
    "Znodes",
    "ZnodesStirred",
]
