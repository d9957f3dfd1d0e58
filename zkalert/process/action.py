"""A command that is run for an alert.

Comes in: what to run, and what it learns of its alert. Alert data comes from anybody who can name a host, so it never
becomes part of a command line: a command finds it in variables `ZKALERT_*` and as JSON on its standard input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import selectors
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.metrics import format_duration
from zkalert.model import Run, SendResult, SendState
from zkalert.process.child import (
    MAX_OUTPUT,
    PREFIX,
    Ended,
    clean,
    clean_line,
    exited,
    guarded,
    kill_group,
    start,
    timed_out,
    wait,
)

log = logging.getLogger("zkalert.actions")

MAX_LOGGED = 100
"""Lines of its output that are logged."""
MAX_TAIL = 1024
"""Bytes of its end that are handed back."""
MAX_VARIABLE = 8 * 1024
"""Bytes of one variable."""

_SETTINGS = frozenset({"CONFIG", "ZOOKEEPER", "ROOT", "STATE_DIR"})  # what our own commands go by
_LAST_LINE = 200
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_NOT_IN_VALUES = re.compile("[\x00\ud800-\udfff]")


class Handout(NamedTuple):
    """What a command learns of its alert: `fields` as variables, `document` on its standard input.

    The document's title, body, runbook and labels become variables too.
    """

    fields: Mapping[str, str]
    document: Mapping[str, Any]


def execute(run: Run, handout: Handout, folder: Path | None = None) -> SendResult:
    """Run the command once and wait for it; never raises. `folder` is what relative paths start from.

    Done is when it has ended and closed its output, so what it leaves running must not hold on to that. Exit code 0 is
    delivered. Nothing is worth another try: a restart that is done twice can hurt.
    """
    started = clock.monotonic()
    output = _Output(MAX_OUTPUT)
    ended = guarded(run, folder, lambda: _call(run, handout, folder, output, started + run.timeout))
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


def _call(run: Run, handout: Handout, folder: Path | None, output: _Output, deadline: float) -> Ended:
    """Start, feed and drain the command."""
    process = start(run, folder, variables(handout), stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        is_closed = _exchange(process, json.dumps(handout.document).encode() + b"\n", output, deadline)
        code = wait(process, deadline) if is_closed else None
        if code is None:
            # Nobody has asked for the exit code up to here: until then the process's id cannot be taken by
            # another, and the signal reaches this group and no other.
            return Ended(f"{timed_out(run)}; {kill_group(process)}")
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return exited(code)


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
    return {PREFIX + name: _value(text) for name, text in given.items() if name not in _SETTINGS}


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
