"""What dominates a cost, and what would lower it."""

from __future__ import annotations

from collections.abc import Iterator

from zkalert.costs.fleet import Cost, FamilyCost
from zkalert.metrics import format_duration

_MUCH = 0.25
_MANY_TRANSACTIONS = 60_000
"""A minute, of one ensemble: a tenth of what three servers with fast disks take."""
_MANY_WATCHES = 200_000


def advise(cost: Cost) -> Iterator[str]:
    """Sentences, the weightiest first; empty where nothing stands out."""
    yield from _writes(cost)
    yield from _awake(cost)
    yield from _unread(cost)
    yield from _reads(cost)
    yield from _memory(cost)


def _writes(cost: Cost) -> Iterator[str]:
    families = cost.host.families
    if not families:
        return
    fastest = min(one.published.interval for one in families)
    quick = [one for one in families if one.published.interval == fastest]
    slower = min((one.published.interval for one in families if one.published.interval > fastest), default=0.0)
    if slower and len(quick) <= 2:
        names = " and ".join(one.published.family.name for one in quick)
        yield (
            f"only {names} is read every {format_duration(fastest)}: with {format_duration(slower)} (`intervals`) "
            f"each host would write {fastest / slower:.0%} of its transactions"
        )
    if cost.transactions.full > _MANY_TRANSACTIONS:
        yield (
            f"{cost.transactions.full:,.0f} transactions a minute are much for one ensemble: "
            "give families longer `intervals`"
        )


def _awake(cost: Cost) -> Iterator[str]:
    """Families that never rest, since some rule needs every sample of them."""
    awake = [one.published.family.name for one in cost.host.families if one.needs_all]
    if awake and cost.fleet.resting is not None and cost.host.transactions.rest > _MUCH * cost.host.transactions.full:
        yield (
            f"{', '.join(awake)}: some rule needs every sample (`over`, `relative_to`, `across`, absent or changed), "
            "so hosts write at full rate also when nothing is near a limit"
        )


def _unread(cost: Cost) -> Iterator[str]:
    """Families that no rule reads; their znodes are written for people alone."""
    whole = cost.host.bytes_per_second.full
    unread = [one for one in cost.host.families if not one.readers]
    share = sum(one.bytes_per_second.full for one in unread) / whole if whole else 0.0
    if share > _MUCH:
        largest = sorted(unread, key=_weight, reverse=True)[:3]
        names = ", ".join(one.published.family.name for one in largest)
        yield (
            f"{share:.0%} of the bytes are families that no rule reads, {names} first: "
            "longer `intervals` cost no alert anything"
        )


def _weight(one: FamilyCost) -> float:
    return one.bytes_per_second.full


def _reads(cost: Cost) -> Iterator[str]:
    if cost.fleet.engines > 2:
        yield f"{cost.fleet.engines} engines each read everything: two are enough to take over from each other"
    if cost.watches > _MANY_WATCHES:
        yield f"{cost.watches:,} watches: ZooKeeper keeps each in memory, some 100 bytes and the path"


def _memory(cost: Cost) -> Iterator[str]:
    by = cost.engine.memory_by
    largest = max(by, key=lambda name: by[name])
    if largest == "windows (`over`)":
        yield "most memory of an engine goes into windows: a shorter `over` or a longer interval takes less"
    elif largest == "last samples":
        family = max((one for one in cost.host.families if one.readers), key=lambda one: one.payload, default=None)
        if family is not None:
            yield f"most memory of an engine goes into last samples, {family.published.family.name} first"
