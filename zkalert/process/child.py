"""A command as a process: how it is started, as whom and with which variables, and how it is ended.

Comes in: a Run. Goes out: a process, or in words why there is none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import Run

MAX_OUTPUT = 64 * 1024
"""Bytes that are kept of what a command writes."""
PREFIX = "ZKALERT_"
"""Of our own variables."""

_KEPT = ("PATH", "HOME", "LANG")
_GRACE = 1.0
_POLL = 0.02
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean(text: str) -> str:
    """A text without what a terminal would take for an order; its lines stay."""
    return _CONTROL_IN_LINES.sub(" ", text).strip()


def clean_line(text: str) -> str:
    """A text in one line."""
    return _CONTROL.sub(" ", text).strip()


class Ended(NamedTuple):
    """How a command ended, in words."""

    detail: str
    exit_code: int | None = None


class _NotAllowed(Exception):  # noqa: N818 - never leaves this module
    """The command cannot be run as it is asked for; says why."""


def guarded(run: Run, folder: Path | None, call: Callable[[], Ended]) -> Ended:
    """How a command ended that `call` runs; where it could not be started, that in words."""
    try:
        return call()
    except _NotAllowed as error:
        return Ended(str(error))
    except OSError as error:
        return Ended(_not_started(error, run, folder))
    except ValueError as error:  # a NUL in the command itself
        return Ended(f"cannot be started: {error}")


def exited(code: int) -> Ended:
    return Ended(f"exit code {code}", code) if code >= 0 else Ended(f"ended by signal {-code}")


def timed_out(run: Run) -> str:
    return f"timed out after {format_duration(run.timeout)}"


def start(
    run: Run, folder: Path | None, variables: Mapping[str, str], *, stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start the command, with `variables` beside those of its environment. Raises what `guarded` puts into words."""
    command = run.command
    account = _account(run.user)
    return subprocess.Popen(  # noqa: S603 - the user's own command; alert data is no part of it
        ["/bin/sh", "-c", command] if isinstance(command, str) else list(command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=_working_folder(run, folder),
        env={**_environment(run, account, os.environ), **variables},
        start_new_session=True,
        umask=-1 if run.umask is None else run.umask,
        **_identity(account),
    )


def _account(user: str | None) -> pwd.struct_passwd | None:
    """Who runs the command, None for whoever we are."""
    if user is None:
        return None
    try:
        account = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise _NotAllowed(f'there is no user "{clean_line(user)[:60]}" here') from None
    return None if account.pw_uid == os.geteuid() else account


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """What makes a process somebody else's: all three, or it would keep the groups of root."""
    if account is None:
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _working_folder(run: Run, folder: Path | None) -> Path | None:
    if run.cwd is None:
        return folder
    return Path(run.cwd) if folder is None else folder / run.cwd


def _environment(run: Run, account: pwd.struct_passwd | None, ours: Mapping[str, str]) -> dict[str, str]:
    """The environment that a command starts with: our own without zkalert's settings (`ZKALERT_*`), or a clean one."""
    environment = {name: text for name, text in ours.items() if not name.startswith(PREFIX)}
    if run.is_clean:
        environment = {"PATH": os.defpath, "HOME": "/"} | {
            name: text for name, text in environment.items() if name in _KEPT
        }
    if account is not None:
        environment |= {"HOME": account.pw_dir}
        if not run.is_clean:
            environment |= {"USER": account.pw_name, "LOGNAME": account.pw_name}
    return environment


def wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """The exit code, None where it does not end before `deadline`."""
    try:
        return process.wait(max(0.0, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def kill_group(process: subprocess.Popen[bytes], is_hurried: Callable[[], bool] = lambda: False) -> str:
    """End the command and all that it started: ask, wait, end what is left. Says what was done.

    Once `is_hurried`, nothing is waited for.
    """
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
    asked_at = clock.monotonic()
    never = threading.Event()
    while not is_hurried() and clock.monotonic() - asked_at < _GRACE and _is_group_alive(process):
        clock.wait(never, _POLL)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in the kernel does not end even so
        process.wait(_GRACE)
    if process.returncode is None or process.returncode < 0:
        return "killed"
    return f"killed what it had left running with its output open (its own exit code was {process.returncode})"


def _is_group_alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the group is left; the command itself is collected once it has ended."""
    if process.poll() is None:
        return True
    try:
        os.killpg(process.pid, 0)
    except OSError:
        return False
    return True


def _not_started(error: OSError, run: Run, folder: Path | None) -> str:
    """Why a command did not start, with the name that the system complained of."""
    path = os.fsdecode(error.filename) if error.filename else ""
    if run.user is not None and error.errno == errno.EPERM:
        return f"not permitted to run as {run.user}: only root can, and this is {_our_name()}"
    if path and path == str(_working_folder(run, folder)):
        return f"the folder {clean_line(path)[:200]} cannot be entered: {error.strerror}"
    name = clean_line(os.path.basename(path) or "the command")[:60]  # noqa: PTH119
    if isinstance(error, FileNotFoundError):
        return f"not found: {name}"
    if isinstance(error, PermissionError):
        return f"no permission to run {name}; is it executable?"
    return f"{name} cannot be started: {error.strerror}"


def _our_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user id {os.geteuid()}"
