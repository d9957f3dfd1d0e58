"""The znodes that one pattern of the rules matches, and what they say now.

Comes in: what was seen of folders and znodes. Goes out: which of them to follow, and samples. Belongs to the
evaluator's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from zkalert.engine.leaves import Folder, Labels, Leaf, changes_between, is_child
from zkalert.metrics import parse_pattern
from zkalert.model import Moment, Observation, Sample, Value
from zkalert.tree import MAX_INSTANCE, ZnodeFields, is_open_to_all
from zkalert.watch import SPACING, Acl, Part, ZnodeSeen

log = logging.getLogger("zkalert.engine")

WATCHED_FOR = 1e9
"""Seconds that what is watched speaks: until it changes, or nobody watches it any more."""

MOST_MATCHES = 50_000
MOST_PROBLEMS = 8
PATIENCE = 1.0
"""Seconds that what changed waits at most for znodes that came with it and are not read yet."""

ACL_EVERY = 60.0
"""Seconds between two questions that no watch answers: of ACLs, and of what an ACL kept from us."""

PACE = 1e-5
"""Seconds between two samples for each match: a window, or a number of many, looks at all of them each time."""

_FEW = 2000
_OFTEN, _SELDOM = 1.0, 5.0
_MIN_MAX_AGE = 10.0


class Ground(Protocol):
    """Where znodes are followed, for several patterns at once."""

    def follow(self, matches: Matches, path: str, part: Part, *, is_awaited: bool) -> None: ...

    def forget(self, matches: Matches, path: str, part: Part) -> None: ...

    def ask_acls(self, paths: Iterable[str]) -> None: ...


class Matches:
    """One pattern, `wanted` fields of it. `needs_ticks`: a rule's number moves though nothing changes."""

    def __init__(self, family: str, wanted: frozenset[str], ground: Ground, *, needs_ticks: bool) -> None:
        self.family = family
        self.wanted = wanted
        self.needs_ticks = needs_ticks
        self._pattern = parse_pattern(family)
        self.ensemble = self._pattern.ensemble
        self._fields = ZnodeFields(wanted)
        own = Part.DATA if self._fields.has_data else Part.STAT
        self._parts = (own, Part.CHILDREN) if self._fields.has_children else (own,)
        self._is_ticking = needs_ticks or self._fields.is_timed
        self._ground = ground
        self._folders: dict[str, Folder] = {}
        self._leaves: dict[str, Leaf] = {}
        self._values: dict[str, Mapping[str, Value]] = {}
        self._unanswered: set[tuple[str, Part]] = set()
        self._missed: set[tuple[str, Part]] = set()  # not there, and followed again once its folder names it
        self._refused: set[tuple[str, Part]] = set()
        self._shut: set[str] = set()  # folders that are refused: what is in them is not known
        self._left_out: dict[str, frozenset[str]] = {}  # by folder: children that are too many, or have too long a path
        self._has_said_so = False
        self._problems: dict[str, str] = {}
        self._changed: set[str] = set()
        self._waits_since: float | None = None
        self._seen_at = 0.0  # this process's clock, of the newest reading
        self._tick_at: float | None = None
        self._acl_at = 0.0
        self._not_before = 0.0
        self.is_known = False
        """Whether all of it was read since the connection was made."""

    def __len__(self) -> int:
        return len(self._leaves)

    # What to follow.

    def begin(self) -> None:
        self._enter((), 0)

    def end(self) -> None:
        for path in list(self._folders):
            self._ground.forget(self, path, Part.CHILDREN)
        for path in list(self._leaves):
            self._unfollow(path)

    def blind(self) -> None:
        """The connection is gone: nothing is known until all was read anew."""
        self.is_known = False
        self._changed.clear()
        self._unanswered = {(path, Part.CHILDREN) for path in self._folders}
        self._unanswered.update((path, part) for path in self._leaves for part in self._parts)
        self._acl_at = 0.0

    def _enter(self, names: tuple[str, ...], start: int) -> bool:
        """Follow what comes after the first `start` parts, with `names` in place of the open ones. False: too much."""
        parts = self._pattern.parts
        if None in parts[start:]:
            index = parts.index(None, start)
            folder = self._pattern.path(index, names)
            self._folders[folder] = Folder(names, index)
            self._follow(folder, Part.CHILDREN)
            return True
        path = self._pattern.path(len(parts), names)
        if len(path) > MAX_INSTANCE or len(self._leaves) >= MOST_MATCHES:
            self._say_left_out(path)
            return False
        self._leaves[path] = Leaf()
        for part in self._parts:
            self._follow(path, part)
        return True

    def _say_left_out(self, path: str) -> None:
        if not self._has_said_so:
            self._has_said_so = True
            log.error(
                "%s matches more than can be watched: %s and others are left out (at most %d, of %d characters)",
                self.family,
                path[:200],
                MOST_MATCHES,
                MAX_INSTANCE,
            )

    def _leave(self, names: tuple[str, ...], start: int) -> None:
        """Forget what `_enter` followed."""
        parts = self._pattern.parts
        if None in parts[start:]:
            index = parts.index(None, start)
            path = self._pattern.path(index, names)
            folder = self._folders.pop(path, None)
            if folder is not None:
                self._forget(path, Part.CHILDREN)
                self._left_out.pop(path, None)
                for child in folder.children:
                    self._leave((*names, child), index + 1)
            return
        self._unfollow(self._pattern.path(len(parts), names))

    def _unfollow(self, path: str) -> None:
        if self._leaves.pop(path, None) is None:
            return
        for part in self._parts:
            self._forget(path, part)
        self._values.pop(path, None)
        self._changed.add(path)

    def _follow(self, path: str, part: Part) -> None:
        self._unanswered.add((path, part))
        self._ground.follow(self, path, part, is_awaited=self._is_awaited(path))

    def _forget(self, path: str, part: Part) -> None:
        self._ground.forget(self, path, part)
        for those in (self._unanswered, self._missed, self._refused):
            those.discard((path, part))
        self._shut.discard(path)
        self._problems.pop(path, None)

    def _is_awaited(self, path: str) -> bool:
        """Whether no list of ours tells when it is made: its last part is not an open one."""
        parts = self._pattern.parts
        return path == "/" or parts[path.count("/") - 1] is not None

    # What was seen.

    def seen(self, event: ZnodeSeen) -> None:
        """One of its folders or matches is read."""
        path, part = key = event.path, event.part
        folder = self._folders.get(path) if part is Part.CHILDREN else None
        leaf = self._leaves.get(path)
        if folder is None and (leaf is None or part not in self._parts):
            return
        self._unanswered.discard(key)
        self._seen_at = max(self._seen_at, event.mono)
        (self._refused.add if event.is_refused else self._refused.discard)(key)
        is_missed = event.stat is None and not event.is_refused and not self._is_awaited(path)
        (self._missed.add if is_missed else self._missed.discard)(key)
        if event.is_refused:
            self._tell(path, "it may not be read")
        if folder is not None:
            (self._shut.add if event.is_refused else self._shut.discard)(path)
            self._folder_seen(path, folder, event)
        elif leaf is None:
            return
        elif part is Part.CHILDREN:
            leaf.children = None if event.stat is None else len(event.content)
            if leaf.is_read:
                self._show(path, leaf, event.mono)
        else:
            self._leaf_seen(path, leaf, event)

    def _folder_seen(self, path: str, folder: Folder, event: ZnodeSeen) -> None:
        if event.is_refused:
            return
        self._tell(path, "")
        there = frozenset() if event.stat is None else frozenset(event.content)
        gone, came = folder.children - there, there - folder.children
        # What it names but was not there when it was asked for has been made anew since.
        for key in [key for key in self._missed if is_child(key[0], path, there)]:
            self._follow(*key)
        for child in gone:
            self._leave((*folder.names, child), folder.index + 1)
        left_out = frozenset(
            child for child in sorted(came) if not self._enter((*folder.names, child), folder.index + 1)
        )
        folder.children = there - left_out
        if left_out:
            self._left_out[path] = left_out
        else:
            self._left_out.pop(path, None)
        if gone or came:
            self._stir(event.mono)

    def _leaf_seen(self, path: str, leaf: Leaf, event: ZnodeSeen) -> None:
        before, leaf.data = leaf.stat, {}
        if event.is_refused:
            leaf.stat, leaf.is_read = None, False
            self._values[path] = {}  # it is there, and says nothing
            self._changed.add(path)
            self._stir(event.mono)
            return
        problem = ""
        leaf.stat = event.stat
        if event.stat is not None:
            if before is not None:
                leaf.changes += changes_between(before, event.stat)
            elif leaf.is_read:
                leaf.changes += 1 + event.stat.version
            if self._fields.has_data:
                leaf.data, problem = self._fields.of_data(event.content)
        else:
            leaf.acl_open = None
        leaf.is_read = True
        self._tell(path, problem)
        self._show(path, leaf, event.mono)

    def acl_seen(self, event: Acl) -> None:
        leaf = self._leaves.get(event.path)
        if leaf is not None:
            leaf.acl_open = None if event.acls is None else int(is_open_to_all(event.acls))
            self._show(event.path, leaf, event.mono)

    def _show(self, path: str, leaf: Leaf, mono: float) -> None:
        """Put together what a znode says."""
        stat, fields = leaf.stat, self._fields
        if stat is None and not self._is_awaited(path):
            self._values.pop(path, None)  # gone, as its folder will say
            self._changed.add(path)
            self._stir(mono)
            return
        if stat is None:
            values = fields.missing()
            if fields.has_changes:
                values["changes"] = leaf.changes
        else:
            values = fields.of_stat(stat)
            values.update(leaf.data)
            if fields.has_changes:
                values["changes"] = leaf.changes
            if leaf.children is not None:
                values["children"] = leaf.children
            if leaf.acl_open is not None:
                values["acl_open"] = leaf.acl_open
        self._values[path] = values
        self._changed.add(path)
        self._stir(mono)

    def _stir(self, mono: float) -> None:
        if self._waits_since is None:
            self._waits_since = mono

    def _tell(self, path: str, problem: str) -> None:
        """Say once of a znode that it cannot be used as the rules have it."""
        if problem == self._problems.get(path, ""):
            return
        if not problem:
            del self._problems[path]
            return
        self._problems[path] = problem
        if len(self._problems) <= MOST_PROBLEMS:
            log.warning("%s does not fit %s: %s", path, self.family, problem)

    @property
    def problems(self) -> int:
        return len(self._problems) + len(self._left_out)

    # What to say.

    def next_at(self) -> float | None:
        """When (on this process's clock) `take` or `poll` has something to do without an event."""
        due = [] if self._tick_at is None or not self.is_known else [self._tick_at]
        if self._waits_since is not None and self.is_known:
            due.append(max(self._waits_since + PATIENCE if self._unanswered else 0.0, self._not_before))
        if (self._fields.has_acl or self._refused) and self.is_known:
            due.append(self._acl_at)
        return min(due, default=None)

    def poll(self, mono: float) -> None:
        """Ask who may do what, and whether we may read by now: no watch would tell."""
        if not self.is_known or mono < self._acl_at or not (self._fields.has_acl or self._refused):
            return
        self._acl_at = mono + ACL_EVERY
        for key in tuple(self._refused):
            self._follow(*key)
        if self._fields.has_acl:
            self._ground.ask_acls(path for path, leaf in self._leaves.items() if leaf.stat is not None)

    def take(self, now: Moment, znode_now: float) -> Observation | None:
        """What is to be said at `now`; None for nothing. `znode_now` is the time that znodes' ages are told by."""
        if not self.is_known:
            if self._unanswered:
                return None
            self.is_known = True
            return self.everything(now, znode_now)
        if self._tick_at is not None and now.mono >= self._tick_at:
            return self.everything(now, znode_now)
        if not self._changed:
            self._waits_since = None
            return None
        waits = self._waits_since
        if self._unanswered and waits is not None and now.mono - waits < PATIENCE:
            return None
        if now.mono < self._not_before:
            return None
        self._waits_since = None
        self._not_before = now.mono + min(SPACING, PACE * len(self._leaves))
        changed, self._changed = frozenset(self._changed), set()
        if self._fields.is_timed:
            self._age(changed, znode_now)
        return self._observation(now, changed)

    def everything(self, now: Moment, znode_now: float) -> Observation:
        """What all of it says; it counts as told."""
        self._changed.clear()
        self._waits_since = None
        if self._is_ticking:
            self._tick_at = now.mono + self._interval()
        if self._fields.is_timed:
            self._age(self._leaves, znode_now)
        return self._observation(now, None)

    def sample(self, now: Moment, znode_now: float, instance: str | None) -> Sample:
        """What is known now, told or not; only the ages of one `instance` are those of now, where there are many."""
        if self._fields.is_timed:
            self._age((instance,) if instance is not None else () if self._pattern.is_open else self._leaves, znode_now)
        return self._observation(now, None).sample

    def _interval(self) -> float:
        return _OFTEN if len(self._leaves) <= _FEW else _SELDOM

    def _age(self, paths: Iterable[str], znode_now: float) -> None:
        for path in paths:
            leaf = self._leaves.get(path)
            if leaf is not None and leaf.stat is not None and path in self._values:
                self._values[path] = {**self._values[path], **self._fields.of_time(leaf.stat, znode_now)}

    @property
    def _is_partial(self) -> bool:
        return bool(self._shut or self._left_out)

    def _observation(self, now: Moment, changed: frozenset[str] | None) -> Observation:
        # What was read a while ago held from then on; how long it took until now is no part of any duration.
        mono = now.mono if changed is None else min(now.mono, self._seen_at)
        interval = self._interval()
        values: Mapping[str, Value] = {}
        instances: Mapping[str, Mapping[str, Value]] = {}
        if self._pattern.is_open:
            instances = self._values
        else:
            values = next(iter(self._values.values()), values)
        sample = Sample(
            family=self.family,
            at=now.at - (now.mono - mono),
            interval=interval,
            max_age=max(3 * interval, _MIN_MAX_AGE) if self._is_ticking else WATCHED_FOR,
            values=values,
            instances=instances,
            labels=Labels(self._pattern, self._leaves) if self._pattern.is_open else {},
            errors=("some znodes may not be read",) if self._is_partial else (),
            changed=changed if self._pattern.is_open else None,
        )
        return Observation(host=self.ensemble, sample=sample, now=Moment(sample.at, mono))
