"""One command as an action: started in a session of its own, fed the alert, bounded in time and output.

Alert data comes from anybody who can name a host, so it never becomes part of a command line: a command finds it in
variables `ZKALERT_*` and as JSON on its standard input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import Effect, Message, Run, SendResult, SendState
from zkalert.render import fields_of, severity_of, subject

log = logging.getLogger("zkalert.actions")

MAX_OUTPUT = 64 * 1024
"""Bytes of standard output and error together that are kept: the first half and the last."""
MAX_LOGGED = 100
"""Lines of it that are logged."""
MAX_VARIABLE = 8 * 1024
"""Bytes of one variable."""

_PREFIX = "ZKALERT_"
_LAST_LINE = 200
_GRACE = 1.0
_POLL = 0.02
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_NOT_IN_VALUES = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class RunSender:
    """Runs one command for effects. `cwd` is the folder that relative commands start from."""

    def __init__(self, run: Run, cwd: Path | None = None) -> None:
        self._run = run
        self._cwd = cwd

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - the dispatcher calls all senders alike; a command is never repeated
        """Run the command once and wait for it; never raises.

        Done is when it has ended and closed its output, so what it leaves running must not hold on to that. Exit
        code 0 is delivered. Nothing is worth another try: a restart that is done twice can hurt.
        """
        (effect,) = effects
        started = clock.monotonic()
        output = _Output(MAX_OUTPUT)
        try:
            detail, is_done = self._call(effect, message, output, started + self._run.timeout)
        except OSError as error:
            detail, is_done = _not_started(error), False
        except ValueError as error:  # a NUL in the command itself
            detail, is_done = f"cannot be started: {error}", False
        seconds = clock.monotonic() - started
        level = logging.INFO if is_done else logging.WARNING
        log.log(level, "%s: %s in %s", effect.key, detail, format_duration(seconds))
        for line in output.lines(MAX_LOGGED):
            log.log(level, "%s | %s", effect.alert.id, line)
        last = output.last_line()
        return SendResult(
            state=SendState.DELIVERED if is_done else SendState.FAILED,
            detail=f"{detail}; last line: {last}" if last else detail,
            seconds=seconds,
        )

    def _call(self, effect: Effect, message: Message, output: _Output, deadline: float) -> tuple[str, bool]:
        """Start, feed and drain the command; how it ended, and whether that is a success."""
        command = self._run.command
        process = subprocess.Popen(  # noqa: S603 - the user's own command; alert data is no part of it
            ["/bin/sh", "-c", command] if isinstance(command, str) else list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            env=_environment(os.environ, effect, message),
            start_new_session=True,
        )
        try:
            is_closed = _exchange(process, _stdin(effect, message), output, deadline)
            code = _wait(process, deadline) if is_closed else None
            if code is None:
                # Nobody has asked for the exit code up to here: until then the process's id cannot be taken by
                # another, and the signal reaches this group and no other.
                return f"timed out after {format_duration(self._run.timeout)}; {_kill_group(process)}", False
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        return (f"exit code {code}" if code >= 0 else f"ended by signal {-code}"), code == 0


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

    def last_line(self) -> str:
        lines = self.text().rstrip().splitlines()
        return _CONTROL.sub(" ", lines[-1]).strip()[:_LAST_LINE] if lines else ""


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


def _not_started(error: OSError) -> str:
    """Why a command did not start, with the name that the system complained of."""
    name = os.path.basename(os.fsdecode(error.filename)) if error.filename else "the command"  # noqa: PTH119
    name = _CONTROL.sub(" ", name)[:60]
    if isinstance(error, FileNotFoundError):
        return f"not found: {name}"
    if isinstance(error, PermissionError):
        return f"no permission to run {name}; is it executable?"
    return f"{name} cannot be started: {error.strerror}"


def _document(effect: Effect, message: Message) -> dict[str, Any]:
    """What a command reads on standard input. Keys are only ever added.

    `threshold` and `clear` are a number, a list of two, a text or null; `values` has those of all conditions of a rule
    that has several.
    """
    alert = effect.alert
    members, silent = alert.members or (None, None)
    return {
        "version": 1,
        "id": alert.id,
        "key": effect.key,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance,
        "state": effect.phase.value,
        "phase": effect.name or effect.phase.value,
        "reason": effect.reason.value,
        "severity": severity_of(effect).value,
        "metric": str(alert.metric),
        "subject": subject(alert),
        "unit": alert.unit,
        "value": alert.value,
        "values": alert.values,
        "comparator": alert.comparator.value,
        "threshold": alert.threshold,
        "clear": alert.clear,
        "members": members,
        "silent_hosts": silent,
        "peak": alert.peak,
        "since": alert.since,
        "at": effect.at,
        "title": message.title,
        "body": message.body,
        "runbook": message.fields.get("runbook", ""),
        "labels": dict(effect.labels),
        "host_labels": dict(effect.host_labels),
        "instance_labels": dict(effect.instance_labels),
    }


def _stdin(effect: Effect, message: Message) -> bytes:
    return json.dumps(_document(effect, message)).encode() + b"\n"


def _environment(inherited: Mapping[str, str], effect: Effect, message: Message) -> dict[str, str]:
    """The engine's own environment without zkalert's settings (`ZKALERT_*`), and the alert.

    Of labels with one name the rule's counts most, then the instance's, then the host's.
    """
    given = {name.upper(): text for name, text in fields_of(effect).items()}
    given |= {"TITLE": message.title, "BODY": message.body, "RUNBOOK": message.fields.get("runbook", "")}
    for labels in (effect.host_labels, effect.instance_labels, effect.labels):
        given |= {"LABEL_" + _NOT_IN_NAMES.sub("_", name.upper()): text for name, text in labels.items()}
    environment = {name: text for name, text in inherited.items() if not name.startswith(_PREFIX)}
    return environment | {_PREFIX + name: _value(text) for name, text in given.items()}


def _value(text: str) -> str:
    """A value that the system takes: no NUL, no lone surrogates, at most 8 KiB."""
    clean = _NOT_IN_VALUES.sub("\ufffd", text)
    return clean.encode()[:MAX_VARIABLE].decode("utf-8", "ignore")
