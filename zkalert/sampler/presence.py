"""Which machine and process this is, and whether another one speaks for the host already.

Comes in: an ephemeral's content. Goes out: leftover or taken, with both sides named. It writes nothing to ZooKeeper.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import psutil

from zkalert import clock
from zkalert.model import Alive, HostNameTaken, Problem, ZkalertError
from zkalert.sampler.devices import read_text

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_SLACK = 10.0
"""Seconds by which a process's start may seem to move: it is counted from boot, which moves as the clock is set."""


def machine_id(state_dir: Path) -> str:
    """16 hex digits that are the same for every process of this machine.

    Hashed, since systemd asks that its id is not shown to others. Where the system has none, a random one is kept in
    the state folder. Raises ZkalertError where that cannot be written.
    """
    known = next((text for path in _MACHINE_FILES if (text := read_text(path))), "") or _own_id(state_dir)
    return hashlib.sha256(f"zkalert:{known}".encode()).hexdigest()[:16]


def _own_id(state_dir: Path) -> str:
    path = state_dir / "machine-id"
    if known := read_text(str(path)):
        return known
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(known := secrets.token_hex(16))
    except OSError as error:
        raise ZkalertError(
            f"this machine has no id of its own, and none can be kept in {path} ({error.strerror}); "
            "make that folder writable, or choose another with --state-dir DIR"
        ) from error
    return known


def myself(machine: str) -> Alive:
    """What the ephemeral of this process says."""
    return Alive(machine=machine, pid=os.getpid(), started_at=psutil.Process().create_time())


def is_leftover(found: Alive, mine: Alive) -> bool:
    """Whether an ephemeral was left by a process of this machine that no longer runs, or by this very one."""
    if found.machine != mine.machine:
        return False
    if found.pid == mine.pid:  # process ids are unique, so a sampler that had ours has gone
        return True
    try:
        process = psutil.Process(found.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(process.create_time() - found.started_at) > _SLACK
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:  # it runs, and nobody may look at it
        return False


def taken(host: str, found: Alive | Problem, mine: Alive) -> HostNameTaken:
    """The error that names both sides, and what to do."""
    cure = "stop that one, or give this one another name with --host NAME"
    me = f"this is pid {mine.pid} on machine {mine.machine}"
    if isinstance(found, Problem):
        return HostNameTaken(f'another sampler publishes as host "{host}" (its mark cannot be read); {me}; {cure}')
    where = "this machine" if found.machine == mine.machine else f"machine {found.machine}"
    return HostNameTaken(
        f'another sampler publishes as host "{host}": pid {found.pid} on {where}, '
        f"since {clock.iso(found.started_at)}; {me}; {cure}"
    )
