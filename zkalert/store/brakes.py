"""Brakes on commands, one znode a group: how many run at once, and how many were started of late, in the whole cluster.

Changed by compare-and-set alone, so that of two engines that see the last free place one gets it. A command that died
without giving its place back keeps it for its timeout and a minute more.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import Brake, BrakeState, Place, Problem, Run, Where
from zkalert.store.requests import MAX_WAIT
from zkalert.tree import MAX_STARTS, Tree, decode_brake, encode_brake
from zkalert.zk import (
    UNCERTAIN,
    BadVersionError,
    Client,
    Create,
    KazooException,
    NodeExistsError,
    NoNodeError,
    Set,
    TransactionFailed,
    commit,
)

KEPT = 60.0
"""Seconds beyond its timeout after which a command that gave no place back has lost it."""
PATIENCE = 30.0
"""Seconds that ZooKeeper is waited for, before a command is not run for want of an answer."""

_PAUSE = 0.2
_REPLY = 5.0
_RULE = "rule:"  # before the name of a rule's own group, so that no group of users is meant


def may_run(state: BrakeState, brake: Brake, now: float) -> tuple[bool, BrakeState, str]:
    """Whether one more command may run now, the state without what is over, and if not why.

    The state doesn't count the command itself: see `with_place`.
    """
    running = {ticket: until for ticket, until in state.running.items() if until > now}
    state = replace(state, running=running)
    if len(running) >= brake.at_once:
        runs = "1 run is" if len(running) == 1 else f"{len(running)} runs are"
        return False, state, f"{runs} under way"
    started = sum(at > now - brake.per for at in state.starts)
    if started >= brake.most:
        runs = "1 run" if started == 1 else f"{started} runs"
        return False, state, f"{runs} in the last {format_duration(brake.per)}"
    return True, state, ""


def with_place(state: BrakeState, ticket: str, now: float, until: float) -> BrakeState:
    """The state with one more command, that started now and may keep its place until then."""
    return BrakeState(starts=(*state.starts, now)[-MAX_STARTS:], running={**state.running, ticket: until})


class Brakes:
    """The brakes of the cluster, for any number of threads. `now` is the ensemble's time (epoch seconds)."""

    def __init__(self, client: Client, tree: Tree, now: Callable[[], float], patience: float = PATIENCE) -> None:
        self._client = client
        self._tree = tree
        self._now = now
        self._patience = patience
        self._never = threading.Event()

    def take(self, run: Run, rule: str, effect_id: str) -> Place:
        """A place for one more run of a command that has a brake; never raises.

        Whatever is in doubt stands against the run: a brake that cannot be asked or read lets nothing pass.
        """
        brake = run.brake or Brake()
        group, name = _group(brake, rule), f"group {brake.group}" if brake.group else f"rule {rule}"
        ticket = f"{effect_id}-{secrets.token_hex(4)}"
        kept = run.timeout + KEPT + (MAX_WAIT if run.where is Where.HOST else 0.0)
        why = ""

        def change(state: BrakeState) -> BrakeState | None:
            nonlocal why
            if ticket in state.running:  # by a write of ours whose answer was lost
                return None
            now = self._now()
            is_free, state, why = may_run(state, brake, now)
            return with_place(state, ticket, now, now + kept) if is_free else None

        try:
            problem = self._change(group, change)
        except KazooException as error:
            problem = f"ZooKeeper refuses what would be written ({type(error).__name__})"
        if problem:
            return Place("", f"held by the brake, which cannot be asked: {problem} ({name})")
        return Place("", f"held by the brake: {why} ({name})") if why else Place(ticket)

    def release(self, run: Run, rule: str, ticket: str) -> None:
        """Give a place back; never raises. Where ZooKeeper doesn't answer for long, it ends by itself."""

        def change(state: BrakeState) -> BrakeState | None:
            if ticket not in state.running:
                return None
            return replace(state, running={one: until for one, until in state.running.items() if one != ticket})

        with contextlib.suppress(KazooException):
            self._change(_group(run.brake or Brake(), rule), change)

    def _change(self, group: str, change: Callable[[BrakeState], BrakeState | None]) -> str:
        """Apply a change to the state of a group (None: nothing to change); a sentence where that was not possible."""
        deadline = clock.monotonic() + self._patience
        while clock.monotonic() < deadline:
            if not self._client.connected:
                clock.wait(self._never, _PAUSE)
                continue
            try:
                state, version = self._read(group)
                if isinstance(state, Problem):
                    return f"{self._tree.brake(group)} holds what cannot be used: {state.message}"
                changed = change(state)
                if changed is None or self._write(group, changed, version):
                    return ""
            except UNCERTAIN:
                clock.wait(self._never, _PAUSE)
        return "ZooKeeper does not answer"

    def _read(self, group: str) -> tuple[BrakeState | Problem, int | None]:
        """The state and its version; None where there is none yet."""
        try:
            data, stat = self._client.get_async(self._tree.brake(group)).get(timeout=_REPLY)
        except NoNodeError:
            return BrakeState(), None
        return decode_brake(data), stat.version

    def _write(self, group: str, state: BrakeState, version: int | None) -> bool:
        """Write it; False where somebody else was quicker."""
        path, data = self._tree.brake(group), encode_brake(state)
        try:
            commit(self._client, [Create(path, data) if version is None else Set(path, data, version)])
        except TransactionFailed as failed:
            if isinstance(failed.error, NoNodeError) and version is None:
                with contextlib.suppress(TransactionFailed):  # another engine made the folder
                    commit(self._client, [Create(self._tree.brakes)])
            elif not isinstance(failed.error, (BadVersionError, NodeExistsError, NoNodeError)):
                raise failed.error from failed
            return False
        return True


def _group(brake: Brake, rule: str) -> str:
    return brake.group or _RULE + rule
