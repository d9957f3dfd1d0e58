"""What engines ask this host to run: taken, run and answered, beside the sampling and never in its way.

Comes in: the names of requests below `actions/<host>`. Each is read, claimed by compare-and-set, run with what this
host's own configuration says of the action, and answered. One that is claimed is never run again, by nobody. Of a
request nothing but the action's name and its time limit decides what is run.

One thread hears of requests and keeps those to look at again; up to four work on them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from zkalert import clock, zk
from zkalert.metrics import nearest
from zkalert.model import Claim, Problem, RequestEnd, RequestResult, Run
from zkalert.process import Handout, execute
from zkalert.store.claims import Claims, Found
from zkalert.tree import Tree
from zkalert.watch import Event, FactsSeen, Registry

log = logging.getLogger("zkalert.actions")

AT_ONCE = 4
LEFT_AFTER = 180.0
"""Seconds beyond its own time limit after which nobody waits for a request any more."""

_SOON = 0.2
_PATIENCE = 300.0
_LONGEST = 86400.0


class Settings(NamedTuple):
    """What this host offers: its actions by name, whether any may run, where relative commands start from."""

    actions: Mapping[str, Run]
    may_run: bool
    folder: Path | None


class _Again(NamedTuple):
    """A request to be looked at again, `at` in monotonic seconds."""

    name: str
    at: float


class _Taken(NamedTuple):
    """A claim of ours: its token, and when (monotonic) it was first asked for."""

    token: str
    asked_at: float


class ActionRunner:
    """Runs what this host is asked to, from `start` until `stop`.

    The client must be started. `is_ours` says whether this process speaks for the host: another one may do so.
    """

    def __init__(
        self,
        client: zk.Client,
        tree: Tree,
        *,
        host: str,
        machine: str,
        settings: Settings,
        is_ours: Callable[[], bool],
    ) -> None:
        self._host = host
        self._machine = machine
        self._settings = settings
        self._is_ours = is_ours
        self._folder = tree.requests(host)
        self._ensemble = clock.EnsembleClock()
        self._claims = Claims(client, tree, host, self._ensemble)
        self._heard: queue.SimpleQueue[Event | zk.ConnectionState | _Again | None] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._registry = Registry(client, tree, self._heard.put)
        self._known: frozenset[str] = frozenset()
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._taken: dict[str, _Taken] = {}
        self._first_seen: dict[str, float] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._listen, name="actions", daemon=True)]
        self._threads += [
            threading.Thread(target=self._run, name=f"action-{number}", daemon=True) for number in range(AT_ONCE)
        ]
        zk.listen(client, self._heard.put)

    def start(self) -> None:
        self._registry.follow_facts(self._folder)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing further. What runs goes on without us: half a restart is worse than one nobody reports."""
        self._stop.set()
        self._heard.put(None)
        for _ in range(AT_ONCE):
            self._work.put(None)

    # On the thread that hears.

    def _listen(self) -> None:
        while not self._stop.is_set():
            due = min(self._due.values(), default=None)
            try:
                event = self._heard.get(timeout=None if due is None else max(0.0, due - clock.monotonic()))
            except queue.Empty:
                event = None
            if event is zk.ConnectionState.CONNECTED:
                self._registry.rearm()
            elif isinstance(event, FactsSeen):
                self._names_seen(event.names)
            elif isinstance(event, _Again) and event.name in self._known:
                self._due[event.name] = event.at
            now = clock.monotonic()
            for name in [name for name, at in self._due.items() if at <= now]:
                del self._due[name]
                self._work.put(name)

    def _names_seen(self, names: frozenset[str]) -> None:
        now = clock.monotonic()
        for name in self._known - names:
            self._due.pop(name, None)
            self._first_seen.pop(name, None)
        for name in sorted(names - self._known):
            self._first_seen[name] = now
            self._due[name] = now
        self._known = names

    # On the threads that work.

    def _run(self) -> None:
        while not self._stop.is_set():
            name = self._work.get()
            if name is None or self._stop.is_set():
                return
            with self._lock:
                if name in self._busy:  # a list that came late named it anew
                    continue
                self._busy.add(name)
            try:
                again_in = self._look(name)
            except zk.UNCERTAIN:
                again_in = _SOON
            except zk.KazooException as error:
                log.error("%s/%s cannot be worked on: %s", self._folder, name, type(error).__name__)
                again_in = _PATIENCE
            except Exception:
                # The outermost frame of the worker: one request must not cost the others theirs.
                log.exception("%s/%s could not be worked on", self._folder, name)
                again_in = _PATIENCE
            with self._lock:
                self._busy.remove(name)
            if again_in is not None:
                self._heard.put(_Again(name, clock.monotonic() + again_in))

    def _look(self, name: str) -> float | None:
        """Do what is to be done about a request now; seconds until it is to be looked at again, if it is."""
        if not self._is_ours():
            return _SOON
        found = self._claims.read(name)
        if found is None:
            self._taken.pop(name, None)
            return None
        if isinstance(found, Problem):
            log.error("%s/%s cannot be used: %s", self._folder, name, found.message)
            return None
        request = found.request
        if request.result is not None or (request.claim is not None and not self._is_claimed_by_us(found)):
            return self._left(found)
        run = self._settings.actions.get(request.action)
        refused = self._refused(request.action) if run is None or not self._settings.may_run else ""
        if refused:
            log.warning("%s asks for %s: %s", request.rule, request.action, refused)
            self._claims.finish(found, RequestResult(end=RequestEnd.REFUSED, detail=refused))
        elif run is not None and (claimed := self._claimed(found)) is not None:
            self._finish(claimed, self._result(claimed, run))
        return LEFT_AFTER

    def _refused(self, action: str) -> str:
        if not self._settings.may_run:
            return "shell actions are switched off there"
        near = nearest(action, self._settings.actions)
        return f'its configuration has no action "{action}"' + (f'; did you mean "{near}"?' if near else "")

    def _is_claimed_by_us(self, found: Found) -> bool:
        """Whether a claim is one of ours that we never heard the answer to, so that nothing was begun."""
        taken, claim = self._taken.get(found.request.id), found.request.claim
        return taken is not None and claim is not None and claim.token == taken.token

    def _claimed(self, found: Found) -> Found | None:
        """The request with our claim on it; None where somebody else has it, or it is over."""
        name = found.request.id
        if found.request.claim is not None:
            return found
        taken = self._taken.setdefault(name, _Taken(secrets.token_hex(8), clock.monotonic()))
        claim = Claim(machine=f"{self._machine}/{os.getpid()}", token=taken.token, at=self._ensemble.now())
        claimed = self._claims.claim(found, claim)
        if claimed is None:
            del self._taken[name]
        return claimed

    def _result(self, claimed: Found, run: Run) -> RequestResult:
        """Run a request that is ours, unless its time is over, and say what came of it."""
        request = claimed.request
        # No later than this by the ensemble's clock, which stamped the claim: however long we were stopped since.
        taken = self._taken.pop(request.id)
        if claimed.changed_at + clock.monotonic() - taken.asked_at > request.not_after:
            return RequestResult(end=RequestEnd.EXPIRED, detail="it was taken too late, and not run")
        limited = replace(run, timeout=min(run.timeout, request.timeout))
        result = execute(limited, Handout(request.fields, request.document), self._settings.folder)
        return RequestResult(
            end=RequestEnd.DONE,
            detail=result.detail,
            seconds=result.seconds,
            exit_code=result.exit_code,
            tail=result.tail,
        )

    def _finish(self, claimed: Found, result: RequestResult) -> None:
        """Write what came of it, for as long as somebody may wait for that."""
        until = clock.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(*zk.UNCERTAIN):
                self._claims.finish(claimed, result)  # where that is refused, an earlier try was applied
                return
            if clock.wait(self._stop, _SOON) or clock.monotonic() > until:
                log.error("%s: ZooKeeper did not take the result: %s", claimed.request.id, result.detail)
                return

    def _left(self, found: Found) -> float | None:
        """Clear up what was asked for by an engine that has gone; seconds until that may be done."""
        name = found.request.id
        self._taken.pop(name, None)
        first_seen = self._first_seen.get(name, clock.monotonic())
        left = first_seen + min(found.request.timeout, _LONGEST) + LEFT_AFTER - clock.monotonic()
        if left > 0:
            return left
        self._claims.remove(found)
        return None
