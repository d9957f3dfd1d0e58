"""What hosts are asked to run, one znode a request: made and followed by an engine. The host's side is `claims`.

A request stands until its end is known; then who asked takes it away. Whoever changes one names the version that he
saw, so of a claim and a withdrawal that cross each other exactly one is applied.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import ActionRequest, Problem, RequestEnd, RequestResult
from zkalert.tree import MAX_RECORD, Tree, decode_request, encode_request
from zkalert.zk import (
    UNCERTAIN,
    BadVersionError,
    Client,
    Create,
    Delete,
    KazooException,
    NodeExistsError,
    NoNodeError,
    Operation,
    TransactionFailed,
    commit,
)

log = logging.getLogger("zkalert.actions")

MAX_WAIT = 60.0
"""Seconds in which a host has to take a request."""
GRACE = 5.0
"""Seconds that it has beyond a command's own time: to end it, and to say so."""

_SLACK = 1.0  # between what two processes take for the ensemble's time
_PAUSE = 0.2
_REPLY = 5.0


@dataclass(slots=True)
class _Asking:
    """One request on its way: its znode, until when (monotonic) there is something to wait for, and how far it is."""

    path: str
    request: ActionRequest
    until: float
    may_stand: bool = False
    is_claimed: bool = False
    is_withdrawn: bool = False


class Requests:
    """Asks hosts to run actions, for any number of threads. `now` is the ensemble's time (epoch seconds)."""

    def __init__(self, client: Client, tree: Tree, now: Callable[[], float], wait: float = MAX_WAIT) -> None:
        self._client = client
        self._tree = tree
        self._now = now
        self._wait = wait
        self._never = threading.Event()

    def ask(self, host: str, request: ActionRequest) -> RequestResult:
        """Ask `host` to run an action, and wait for what comes of it; never raises.

        That takes as long as the host may take to claim it (`wait`), and then the request's own timeout.
        """
        request = replace(request, asker=secrets.token_hex(8), not_after=self._now() + self._wait)
        if len(encode_request(request)) > MAX_RECORD:
            return RequestResult(end=RequestEnd.REFUSED, detail="the alert's labels and texts are too long to hand on")
        until = clock.monotonic() + self._wait + _SLACK
        asking = _Asking(self._tree.request(host, request.id), request, until)
        try:
            return self._made(asking) or self._followed(asking)
        except KazooException as error:
            name = type(error).__name__
            log.error("%s: ZooKeeper refuses what is asked of it there (%s)", asking.path, name)
            end = RequestEnd.UNKNOWN if asking.may_stand else RequestEnd.REFUSED
            return RequestResult(end=end, detail=f"ZooKeeper refuses the request ({name})")

    def _made(self, asking: _Asking) -> RequestResult | None:
        """Make the znode; what stands against that, or None once it is there."""
        while clock.monotonic() < asking.until:
            if not self._client.connected:
                clock.wait(self._never, _PAUSE)
                continue
            try:
                if self._create(asking):
                    return None
            except UNCERTAIN:
                asking.may_stand = True  # if it does, the next try finds it
                clock.wait(self._never, _PAUSE)
            else:
                return RequestResult(end=RequestEnd.REFUSED, detail="it was asked to do the same already")
        if asking.may_stand:
            return RequestResult(end=RequestEnd.UNKNOWN, detail="ZooKeeper does not say whether it was asked")
        return RequestResult(end=RequestEnd.EXPIRED, detail="ZooKeeper did not answer, so it was never asked")

    def _create(self, asking: _Asking) -> bool:
        """Make the znode, and its folder for the first request of a host; whether it is ours that stands there."""
        operation = Create(asking.path, encode_request(asking.request))
        folder = asking.path.rpartition("/")[0]
        error = self._tried(operation)
        if isinstance(error, NoNodeError):
            for path in (folder.rpartition("/")[0], folder):
                if isinstance(error := self._tried(Create(path)), NoNodeError):
                    raise error
            error = self._tried(operation)
        if error is not None:
            return self._read(asking, threading.Event()) is not None
        asking.may_stand = True
        return True

    def _tried(self, operation: Operation) -> NoNodeError | NodeExistsError | BadVersionError | None:
        """Apply one change; what stands in the tree against it. Raises what else ZooKeeper says."""
        try:
            commit(self._client, [operation])
        except TransactionFailed as failed:
            if isinstance(failed.error, (NoNodeError, NodeExistsError, BadVersionError)):
                return failed.error
            raise failed.error from failed
        return None

    def _followed(self, asking: _Asking) -> RequestResult:
        """Wait for the end, woken by a watch."""
        while True:
            changed = threading.Event()
            try:
                result = self._ended(asking, changed)
            except UNCERTAIN:
                if clock.monotonic() >= asking.until:
                    return RequestResult(end=RequestEnd.UNKNOWN, detail="ZooKeeper does not answer, so nobody knows")
                clock.wait(self._never, _PAUSE)
                continue
            if result is not None:
                return result
            clock.wait(changed, asking.until - clock.monotonic())

    def _ended(self, asking: _Asking, changed: threading.Event) -> RequestResult | None:
        """How it ended; None where it is still under way, and `changed` tells of the next step."""
        found = self._read(asking, changed)
        if found is None:
            end = RequestEnd.UNKNOWN if asking.is_claimed or not asking.is_withdrawn else RequestEnd.EXPIRED
            return RequestResult(end=end, detail="the request was taken away")
        request, version = found
        if request.result is not None:
            with contextlib.suppress(KazooException, *UNCERTAIN):  # the host clears up what is left
                self._tried(Delete(asking.path))
            return request.result
        if request.claim is not None and not asking.is_claimed:
            asking.is_claimed = True
            asking.until = clock.monotonic() + request.timeout + GRACE
        if clock.monotonic() < asking.until:
            return None
        asking.is_withdrawn = True
        if self._tried(Delete(asking.path, version)) is not None:
            return None  # claimed or ended at the last moment: `until` is past, so that it is read at once
        if request.claim is not None:
            return RequestResult(end=RequestEnd.UNKNOWN, detail="it was begun, and nobody knows what came of it")
        wait = format_duration(self._wait)
        return RequestResult(end=RequestEnd.EXPIRED, detail=f"nobody took it within {wait}; does a sampler run there?")

    def _read(self, asking: _Asking, changed: threading.Event) -> tuple[ActionRequest, int] | None:
        """The request as it stands and its version; None where it is gone, or another one is in its place."""
        reply = self._client.get_async(asking.path, watch=lambda _event: changed.set())
        try:
            data, stat = reply.get(timeout=_REPLY)
        except NoNodeError:
            return None
        request = decode_request(asking.request.id, data)
        if isinstance(request, Problem):
            log.error("%s cannot be used: %s", asking.path, request.message)
            return None
        return (request, stat.version) if request.asker == asking.request.asker else None
