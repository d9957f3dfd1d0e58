"""What waits for one target: which of it goes now, as one message, and when to ask again.

Comes in: effects, in the order in which they came to be, and what came of each message. Goes out: batches (one
effect, or the members of a digest) and what is not to be told at all. It knows no clock, and sends nothing.

    of a group                 the first goes at once; more of it, the resolved ones too, wait until `group_interval`
                               after its last message, and go as one digest; without an interval each goes alone
    of the channel             never faster than its rate; where more groups are due than messages may go, all that is
                               due goes as one digest
    in quiet hours             only loud severities go, and ends: those who were told hear of the end
    of an episode              in order: what is due takes along what waits before it, and waits for what is on its way
    by severity                critical before warning before info
    a try that was refused     due again in its time, alone or with others
    one that may have been     goes again as it went: the members of a digest together, under the same id
      heard

An effect that nobody has heard of yet can be overtaken by what follows in its episode; then it is dropped:

    a reminder                 by the next one, and by the end
    a firing                   by the end, which is dropped too
    a higher level             by the end, if the firing was told

Each effect is moved a few times at most, and a message costs no more than a look at what is due: a storm is told in
digests of `MOST`, so its cost grows with its size, not with the square of it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias

from zkalert.model import Effect, Moment, Phase
from zkalert.routing.items import Dropped, Stage, T
from zkalert.routing.pace import Bucket, Group, Pace

MOST = 500
"""Members of one digest."""

UNTOLD = "over before it was told"
OUTDATED = "a newer reminder came"
OVER = "its alert is over"

_ENDS = (Phase.RESOLVED, Phase.CLOSED)

QuietUntil: TypeAlias = Callable[[float], "float | None"]
"""Until when (epoch seconds) a channel is left in peace at a moment; None where it is not."""


@dataclass(slots=True)
class _Promise:
    """One message that was promised; `opened` is when its group was open before."""

    effect_id: str
    group: Group
    opened: float


class Batches(Generic[T]):
    """What waits for one target. Not for more than one thread."""

    def __init__(self, pace: Pace, quiet_until: QuietUntil) -> None:
        self._pace, self._quiet_until = pace, quiet_until
        self._bucket = Bucket(pace.burst, pace.pause)
        self._numbers = itertools.count(1)
        self._items: dict[str, T] = {}
        self._lanes: dict[str, list[T]] = {}  # by episode, in order; what is on its way stays at the head
        self._bundles: dict[str, list[T]] = {}
        self._later: list[tuple[float, int, T]] = []  # a heap; what has moved on since is passed over
        self._due: dict[Group, dict[int, T]] = {}
        self._due_bundles: dict[str, list[T]] = {}
        self._paid: dict[int, T] = {}
        self._opens: dict[Group, float] = {}
        self._told: set[str] = set()  # episodes of which a message went out, until their end
        self._promise: _Promise | None = None

    def __len__(self) -> int:
        return len(self._items)

    def find(self, effect_id: str) -> T | None:
        """What is not done of an effect."""
        return self._items.get(effect_id)

    def configure(self, pace: Pace, quiet_until: QuietUntil) -> None:
        """Go on by other settings."""
        if (pace.burst, pace.pause) != (self._pace.burst, self._pace.pause):
            self._bucket = Bucket(pace.burst, pace.pause)
        self._pace, self._quiet_until = pace, quiet_until
        self._due.clear()
        self._due_bundles.clear()
        self._paid.clear()
        for item in self._items.values():
            item.group = pace.group(item.effect)
            if item.stage is not Stage.OUT:
                self._wait(item, item.ready_at)

    # What comes in.

    def promise(self, effect: Effect, now: Moment) -> bool:
        """Whether a message of this effect may go at once, ahead of all others: then it counts as gone.

        Its effect is added with `is_claimed`, or the promise taken back.
        """
        group = self._pace.group(effect)
        opened = self._opens.get(group, -math.inf)
        if self._items or self._promise is not None or opened > now.mono or not self._bucket.tokens(now.mono):
            return False
        if not self._is_loud(effect) and self._quiet_until(now.at) is not None:
            return False
        self._promise = _Promise(effect.id, group, opened)
        self._open_again(group, now)
        self._bucket.take(now.mono)
        return True

    def take_back(self) -> None:
        """What was promised does not come."""
        if self._promise is not None:
            self._opens[self._promise.group] = self._promise.opened
            self._bucket.give_back()
            self._promise = None

    def add(self, items: Iterable[T]) -> list[Dropped[T]]:
        """Take in what waits, in order; what is here already stays as it is. What is not to be told comes back."""
        dropped: list[Dropped[T]] = []
        for item in items:
            if item.effect.id not in self._items:
                dropped += self._add(item)
        return dropped

    def _add(self, item: T) -> list[Dropped[T]]:
        if self._promise is not None and self._promise.effect_id == item.effect.id:
            self._promise = None
        item.order = next(self._numbers)
        item.group = self._pace.group(item.effect)
        lane = self._lanes.get(item.effect.alert.episode, [])
        if not self._pace.has_digests or not item.is_fresh:
            self._keep(item)
            return []
        ends = [one for one in lane if one.effect.phase in _ENDS]
        if ends and item.effect.phase not in _ENDS:
            return self._add_before(item, ends[-1])
        dropped = self._overtaken(item, lane)
        for one in dropped:
            if one.item is not item:
                self._forget(one.item)
        if not dropped or dropped[-1].item is not item:
            self._keep(item)
        return dropped

    def _add_before(self, item: T, end: T) -> list[Dropped[T]]:
        """An effect that was held back until its alert's end had come in."""
        if not end.is_fresh:
            return [Dropped(item, UNTOLD)]
        self._forget(end)
        return [*self._add(item), *self._add(end)]

    def _keep(self, item: T) -> None:
        self._items[item.effect.id] = item
        self._lanes.setdefault(item.effect.alert.episode, []).append(item)
        if item.bundle:
            self._bundles.setdefault(item.bundle, []).append(item)
        self._wait(item, item.ready_at)

    def _overtaken(self, item: T, lane: list[T]) -> list[Dropped[T]]:
        """Whom an effect makes needless, itself at the end where it is one of them."""
        phase, episode = item.effect.phase, item.effect.alert.episode
        waiting = [one for one in lane if one.stage is not Stage.OUT and not one.is_repeat and not one.is_claimed]
        if phase is Phase.REPEATED:
            return [Dropped(one, OUTDATED) for one in waiting if one.effect.phase is Phase.REPEATED]
        if phase not in _ENDS:
            return []
        if lane and lane[0].effect.phase is Phase.FIRING and all(one.is_fresh for one in lane):
            return [Dropped(one, UNTOLD) for one in (*lane, item)]
        is_told = episode in self._told or any(not one.is_fresh for one in lane)
        dropped = [Dropped(one, OVER) for one in waiting if one.effect.phase is Phase.REPEATED]
        if is_told:
            fresh = (one for one in waiting if one.is_fresh and one.effect.phase is not Phase.REPEATED)
            dropped += [Dropped(one, UNTOLD) for one in fresh]
        return dropped

    # What goes out.

    def take(self, now: Moment) -> tuple[T, ...]:
        """What goes now as one message, nothing where nothing may: ask again at `next_at`.

        It is on its way until `done` or `again` says what came of it.
        """
        self._ripen(now)
        if self._paid:
            return self._out([next(iter(self._paid.values()))], now)
        if not self._pace.has_digests:
            return self._out([next(iter(items.values())) for items in itertools.islice(self._due.values(), 1)], now)
        tokens = self._bucket.tokens(now.mono)
        if not tokens or not (self._due or self._due_bundles):
            return ()
        bundle = min(self._due_bundles.values(), key=lambda items: min(map(self._urgency, items)), default=[])
        group = min(self._due.values(), key=lambda items: min(map(self._urgency, items.values())), default={})
        if bundle and (not group or min(map(self._urgency, bundle)) < min(map(self._urgency, group.values()))):
            picked = sorted(bundle, key=self._urgency)
        else:
            is_crowd = len(self._due) + len(self._due_bundles) > tokens
            everything = (item for items in self._due.values() for item in items.values())
            picked = self._pick(everything if is_crowd else group.values())
        self._bucket.take(now.mono)
        return self._out(picked, now)

    def next_at(self, now: Moment) -> float | None:
        """When (monotonic) `take` may have something, after it had nothing; None for not before something changes."""
        if self._due or self._due_bundles:
            return self._bucket.next_at(now.mono)
        while self._later and not self._is_current(self._later[0]):
            heapq.heappop(self._later)
        at = self._later[0][0] if self._later else math.inf
        return None if at == math.inf else at

    def done(self, items: Iterable[T], *, is_told: bool = False) -> None:
        """These are done with, for good or for bad; `is_told` says that somebody has heard."""
        for item in items:
            self._forget(item)
            if is_told and item.effect.phase not in _ENDS:
                self._told.add(item.effect.alert.episode)
            elif item.effect.phase in _ENDS:
                self._told.discard(item.effect.alert.episode)

    def again(self, items: Iterable[T]) -> None:
        """These were tried, and are to be tried again: each at its `ready_at`."""
        for item in items:
            item.is_claimed = False
            if item.bundle:
                self._bundles.setdefault(item.bundle, []).append(item)
            self._wait(item, item.ready_at)

    def remove(self, item: T) -> None:
        """It is not to be told any more. Not for what is on its way."""
        self._forget(item)

    def clear(self) -> None:
        """Forget all but what is on its way."""
        self.take_back()
        self._bundles.clear()
        for item in [one for one in self._items.values() if one.stage is not Stage.OUT]:
            self._forget(item)
        self._later.clear()
        self._told.clear()

    # How it waits.

    def _wait(self, item: T, until: float) -> None:
        item.stage, item.wakes_at = Stage.LATER, until
        heapq.heappush(self._later, (until, next(self._numbers), item))

    def _is_current(self, waiting: tuple[float, int, T]) -> bool:
        wakes_at, _, item = waiting
        return item.stage is Stage.LATER and item.wakes_at == wakes_at and item.effect.id in self._items

    def _ripen(self, now: Moment) -> None:
        """Move what has waited for its time to where it waits for its turn."""
        if not self._later or self._later[0][0] > now.mono:
            return
        quiet_at = self._quiet_until(now.at)
        quiet_until = None if quiet_at is None else now.mono + max(quiet_at - now.at, 0.001)
        while self._later and self._later[0][0] <= now.mono:
            waiting = heapq.heappop(self._later)
            if not self._is_current(waiting):
                continue
            item = waiting[2]
            mates = self._bundles[item.bundle] if item.bundle else [item]
            if any(mate.wakes_at > now.mono for mate in mates):
                continue  # the last of them brings the others along
            until = self._shut_until(mates, quiet_until, now)
            if until is not None:
                for mate in mates:
                    self._wait(mate, until)
            elif item.bundle:
                self._ripen_bundle(mates)
            else:
                self._ripen_one(item)

    def _shut_until(self, mates: list[T], quiet_until: float | None, now: Moment) -> float | None:
        if quiet_until is not None and not all(mate.is_claimed or self._is_loud(mate.effect) for mate in mates):
            return quiet_until
        item = mates[0]
        if item.is_ripe or not item.is_fresh or item.bundle:
            return None
        opens = self._opens.get(item.group, -math.inf)
        return opens if opens > now.mono else None

    def _is_loud(self, effect: Effect) -> bool:
        return effect.alert.severity in self._pace.loud or effect.phase in _ENDS

    def _ripen_bundle(self, mates: list[T]) -> None:
        is_blocked = any(earlier not in mates for mate in mates for earlier in self._before(mate))
        for mate in mates:
            mate.stage = Stage.BEHIND if is_blocked else Stage.DUE
        if not is_blocked:
            self._due_bundles[mates[0].bundle] = mates

    def _ripen_one(self, item: T) -> None:
        """Make an effect due, with those of its episode that wait before it; or let it wait for them."""
        item.is_ripe = True
        before = list(self._before(item))
        if any(
            one.bundle or one.stage in (Stage.OUT, Stage.BEHIND) or (one.stage is Stage.LATER and not one.is_fresh)
            for one in before
        ):
            item.stage = Stage.BEHIND
            return
        for one in (*before, item):
            one.stage, one.is_ripe = Stage.DUE, True
            if one.is_claimed:
                self._paid[one.order] = one
            else:
                self._due.setdefault(one.group, {})[one.order] = one

    def _before(self, item: T) -> Iterator[T]:
        """What is not done of its episode, and came before it."""
        return itertools.takewhile(lambda one: one is not item, self._lanes[item.effect.alert.episode])

    # How it is chosen.

    def _urgency(self, item: T) -> tuple[int, int]:
        return -item.effect.alert.severity.rank, item.order

    def _pick(self, candidates: Iterable[T]) -> list[T]:
        """The most urgent ones, each after those of its episode that came before it."""
        picked: dict[int, T] = {}
        for item in sorted(candidates, key=self._urgency):
            chain = [one for one in (*self._before(item), item) if one.order not in picked]
            if picked and len(picked) + len(chain) > MOST:
                break
            picked.update((one.order, one) for one in chain)
        return list(picked.values())

    def _out(self, items: list[T], now: Moment) -> tuple[T, ...]:
        for item in items:
            self._leave(item)
            if item.attempts == 0:
                self._open_again(item.group, now)
            item.stage = Stage.OUT
        return tuple(items)

    def _open_again(self, group: Group, now: Moment) -> None:
        if not self._pace.group_interval:
            return
        if len(self._opens) > 2 * len(self._items) + MOST:  # groups may be named after anything
            self._opens = {known: at for known, at in self._opens.items() if at > now.mono}
        self._opens[group] = now.mono + self._pace.group_interval

    def _leave(self, item: T) -> None:
        """Take an effect from where it is, and its bundle apart."""
        if item.bundle:
            self._bundles.pop(item.bundle, None)
            self._due_bundles.pop(item.bundle, None)
        self._paid.pop(item.order, None)
        if (group := self._due.get(item.group)) is not None:
            group.pop(item.order, None)
            if not group:
                del self._due[item.group]

    def _forget(self, item: T) -> None:
        """An effect is done; what waited behind it may be next."""
        if self._items.pop(item.effect.id, None) is None:
            return
        if item.stage is not Stage.OUT:
            mates = self._bundles.get(item.bundle, [])
            self._leave(item)
            if rest := [mate for mate in mates if mate is not item]:
                self._bundles[item.bundle] = rest
                for mate in rest:
                    self._wait(mate, mate.wakes_at)
        episode = item.effect.alert.episode
        lane = self._lanes[episode]
        lane.remove(item)
        if not lane:
            del self._lanes[episode]
        for one in lane:
            if one.stage is Stage.BEHIND:
                self._wait(one, -math.inf)
