"""One server process: it lives no longer than we do, and what it prints is kept in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from zkalert import clock

LOG_LIMIT = 1 << 20
"""Bytes; a log above is set aside as `<name>.1`, and the one set aside before is gone."""

# The shell becomes the server, so that our child's id is the server's. What it leaves behind waits on a pipe whose
# other end is ours: it closes when we end, be it by SIGKILL, and then the server goes too.
_GUARD = """
exec 3<&0 </dev/null
{ read -r _; kill -KILL $$; } <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"""


class ServerProcess:
    """A running command, in a session of its own so that a terminal's Ctrl-C passes it by.

    `ended` is set once it is gone and its last line is in the log.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, log_path: Path) -> None:
        self.ended = threading.Event()
        self._lock = threading.Lock()  # an id may be signalled only until it was waited for
        self._log_path = log_path
        self._recent: deque[str] = deque(maxlen=20)
        # Not `with`: its life is that of the thread below, which waits for it and closes its pipes.
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            ["/bin/sh", "-c", _GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            umask=0o077,
        )
        self.pid = self._process.pid
        threading.Thread(target=self._attend, name=f"zookeeper-{self.pid}", daemon=True).start()

    def stop(self, grace: float = 5.0) -> None:
        """End it: SIGTERM, and SIGKILL once `grace` seconds have passed."""
        self._signal(signal.SIGTERM)
        if not clock.wait(self.ended, grace):
            self.kill()

    def kill(self) -> None:
        """End it by SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        clock.wait(self.ended, None)

    def recent_output(self) -> str:
        """The last lines that this process printed."""
        return "".join(list(self._recent))

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self.ended.is_set():
                os.kill(self.pid, number)

    def _attend(self) -> None:
        """Keep the log until the process has ended, then collect it."""
        stdin, stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._keep_log(stdout)
        with self._lock:
            # The guard first: its group is ours only until we wait.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            stdin.close()
            stdout.close()
            self.ended.set()

    def _keep_log(self, output: IO[bytes]) -> None:
        for line in iter(lambda: output.readline(8192), b""):
            self._recent.append(line.decode("utf-8", "replace"))
            with contextlib.suppress(OSError):  # a full disk must not stop us from reading, or the server hangs
                self._write(line)

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            log.write(line)
            is_full = log.tell() > LOG_LIMIT
        if is_full:
            self._log_path.replace(self._log_path.with_name(self._log_path.name + ".1"))
