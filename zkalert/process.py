"""One command, started in a session of its own, fed, bounded in time and output, and ended with its process group.

Comes in: what to run and how, and what it learns of its alert. Alert data comes from anybody who can name a host, so it
never becomes part of a command line: a command finds it in variables `ZKALERT_*` and as JSON on its standard input.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import pwd
import re
import selectors
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import Run, SendResult, SendState

log = logging.getLogger("zkalert.actions")

MAX_OUTPUT = 64 * 1024
"""Bytes of standard output and error together that are kept: the first half and the last."""
MAX_LOGGED = 100
"""Lines of it that are logged."""
MAX_TAIL = 1024
"""Bytes of its end that are handed back."""
MAX_VARIABLE = 8 * 1024
"""Bytes of one variable."""

_PREFIX = "ZKALERT_"
_SETTINGS = frozenset({"CONFIG", "ZOOKEEPER", "ROOT", "STATE_DIR"})  # what our own commands go by
_KEPT = ("PATH", "HOME", "LANG")
_LAST_LINE = 200
_GRACE = 1.0
_POLL = 0.02
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_NOT_IN_VALUES = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Handout(NamedTuple):
    """What a command learns of its alert: `fields` as variables, `document` on its standard input.

    The document's title, body, runbook and labels become variables too.
    """

    fields: Mapping[str, str]
    document: Mapping[str, Any]


def clean(text: str) -> str:
    """A text without what a terminal would take for an order; its lines stay."""
    return _CONTROL_IN_LINES.sub(" ", text).strip()


def clean_line(text: str) -> str:
    """A text in one line."""
    return _CONTROL.sub(" ", text).strip()


class _Ended(NamedTuple):
    """How a command ended, in words."""

    detail: str
    exit_code: int | None = None


class _NotAllowed(Exception):  # noqa: N818 - never leaves this module
    """The command cannot be run as it is asked for; says why."""


def execute(run: Run, handout: Handout, folder: Path | None = None) -> SendResult:
    """Run the command once and wait for it; never raises. `folder` is what relative paths start from.

    Done is when it has ended and closed its output, so what it leaves running must not hold on to that. Exit code 0 is
    delivered. Nothing is worth another try: a restart that is done twice can hurt.
    """
    started = clock.monotonic()
    output = _Output(MAX_OUTPUT)
    try:
        ended = _call(run, handout, folder, output, started + run.timeout)
    except _NotAllowed as error:
        ended = _Ended(str(error))
    except OSError as error:
        ended = _Ended(_not_started(error, run, folder))
    except ValueError as error:  # a NUL in the command itself
        ended = _Ended(f"cannot be started: {error}")
    seconds = clock.monotonic() - started
    is_done = ended.exit_code == 0
    level = logging.INFO if is_done else logging.WARNING
    log.log(level, "%s: %s in %s", handout.fields.get("key", ""), ended.detail, format_duration(seconds))
    for line in output.lines(MAX_LOGGED):
        log.log(level, "%s | %s", handout.fields.get("id", ""), line)
    last = output.last_line()
    return SendResult(
        state=SendState.DELIVERED if is_done else SendState.FAILED,
        detail=f"{ended.detail}; last line: {last}" if last else ended.detail,
        seconds=seconds,
        exit_code=ended.exit_code,
        tail=output.tail(MAX_TAIL),
    )


def _call(run: Run, handout: Handout, folder: Path | None, output: _Output, deadline: float) -> _Ended:
    """Start, feed and drain the command."""
    command = run.command
    account = _account(run.user)
    process = subprocess.Popen(  # noqa: S603 - the user's own command; alert data is no part of it
        ["/bin/sh", "-c", command] if isinstance(command, str) else list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=_working_folder(run, folder),
        env=_environment(run, account, os.environ) | variables(handout),
        start_new_session=True,
        umask=-1 if run.umask is None else run.umask,
        **_identity(account),
    )
    try:
        is_closed = _exchange(process, json.dumps(handout.document).encode() + b"\n", output, deadline)
        code = _wait(process, deadline) if is_closed else None
        if code is None:
            # Nobody has asked for the exit code up to here: until then the process's id cannot be taken by
            # another, and the signal reaches this group and no other.
            return _Ended(f"timed out after {format_duration(run.timeout)}; {_kill_group(process)}")
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return _Ended(f"exit code {code}", code) if code >= 0 else _Ended(f"ended by signal {-code}")


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
    environment = {name: text for name, text in ours.items() if not name.startswith(_PREFIX)}
    if run.is_clean:
        environment = {"PATH": os.defpath, "HOME": "/"} | {
            name: text for name, text in environment.items() if name in _KEPT
        }
    if account is not None:
        environment |= {"HOME": account.pw_dir}
        if not run.is_clean:
            environment |= {"USER": account.pw_name, "LOGNAME": account.pw_name}
    return environment


def variables(handout: Handout) -> dict[str, str]:
    """An alert as variables `ZKALERT_*`.

    Of labels with one name the rule's counts most, then the instance's, then the host's.
    """
    document = handout.document
    given = {_variable(name): text for name, text in handout.fields.items()}
    given |= {name.upper(): str(document.get(name, "")) for name in ("title", "body", "runbook")}
    for labels in ("host_labels", "instance_labels", "labels"):
        for name, text in _texts(document.get(labels)):
            given["LABEL_" + _variable(name)] = text
    return {_PREFIX + name: _value(text) for name, text in given.items() if name not in _SETTINGS}


def _texts(labels: object) -> Iterator[tuple[str, str]]:
    if isinstance(labels, Mapping):
        yield from ((str(name), str(text)) for name, text in labels.items())


def _variable(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name.upper())


def _value(text: str) -> str:
    """A value that the system takes: no NUL, no lone surrogates, at most 8 KiB."""
    clean = _NOT_IN_VALUES.sub("\ufffd", text)
    return clean.encode()[:MAX_VARIABLE].decode("utf-8", "ignore")


class _Output:
    """The first and the last part of what a command writes; what lies between is counted and dropped."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        over = len(self._tail) - self._half
        if over > 0:
            del self._tail[:over]
            self._dropped += over

    def text(self) -> str:
        cut = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        return (bytes(self._head) + cut + bytes(self._tail)).decode("utf-8", "replace")

    def lines(self, most: int) -> list[str]:
        """The lines that were kept: all, or as many of the first as of the last."""
        lines = self.text().rstrip().splitlines()
        if len(lines) <= most:
            return lines
        half = most // 2
        return [*lines[:half], f"[{len(lines) - 2 * half} lines left out]", *lines[-half:]]

    def tail(self, most: int) -> str:
        """Its end, `most` bytes at most, without what a terminal would take for an order."""
        return clean(self.text()).encode()[-most:].decode("utf-8", "ignore").strip()

    def last_line(self) -> str:
        lines = self.text().rstrip().splitlines()
        return clean_line(lines[-1])[:_LAST_LINE] if lines else ""


def _exchange(process: subprocess.Popen[bytes], data: bytes, output: _Output, deadline: float) -> bool:
    """Write `data` and read all output, both at once; whether the output was closed before `deadline`.

    A command may never read its input, or close it early; neither is an error.
    """
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ValueError("the process has no pipes")
    os.set_blocking(stdin.fileno(), False)
    left = memoryview(data)
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        selector.register(stdout, selectors.EVENT_READ)
        while (rest := deadline - clock.monotonic()) > 0:
            for key, _ in selector.select(rest):
                if key.fileobj is stdout:
                    chunk = os.read(stdout.fileno(), 65536)
                    if not chunk:
                        return True
                    output.add(chunk)
                    continue
                try:
                    left = left[os.write(stdin.fileno(), left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    left = left[:0]
                if not left:
                    selector.unregister(stdin)
                    with contextlib.suppress(OSError):
                        stdin.close()
    return False


def _wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """The exit code, None where it does not end before `deadline`."""
    try:
        return process.wait(max(0.0, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _kill_group(process: subprocess.Popen[bytes]) -> str:
    """End the command and all that it started: ask, wait a second, end what is left. Says what was done."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
    asked_at = clock.monotonic()
    never = threading.Event()
    while clock.monotonic() - asked_at < _GRACE and _is_group_alive(process):
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
