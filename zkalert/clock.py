"""The only reader of time.

Intervals and timeouts run on the monotonic clock. What is stored is epoch seconds: those of the ensemble where a
znode's time is known, of this machine otherwise.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone


def monotonic() -> float:
    """Seconds of this process's steady clock; its zero means nothing."""
    return time.monotonic()


def worked() -> float:
    """Seconds of processor time that the calling thread has used."""
    return time.thread_time()


def wall() -> float:
    """Epoch seconds by this machine's clock."""
    return time.time()


def wait(event: threading.Event, timeout: float | None) -> bool:
    """Wait for `event`, at most `timeout` seconds (None: for ever); whether it was set."""
    return event.wait(None if timeout is None else max(0.0, timeout))


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EnsembleClock:
    """Ensemble time between samples: the monotonic clock plus the last offset that a write of our own showed.

    A single number is replaced whole, so readers in other threads need no lock.
    """

    def __init__(self) -> None:
        self._offset = wall() - monotonic()

    def saw(self, mtime: float, mono: float) -> None:
        """Learn from the reply to a write: `mtime` is its znode's time (epoch seconds), `mono` when it came."""
        self._offset = mtime - mono

    def now(self) -> float:
        """Epoch seconds by the ensemble's clock, as far as known."""
        return monotonic() + self._offset

    def at(self, mono: float) -> float:
        """The ensemble's time (epoch seconds) at a moment of the monotonic clock."""
        return mono + self._offset
