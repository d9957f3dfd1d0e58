"""One process that consumes, and one that floods it: what the consumer does in how many seconds of processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from zkalert.engine import Listener, Status

SECONDS = 4.0


class Owner(Listener):
    """Keeps what an engine last said of itself."""

    wants_status = True

    def __init__(self) -> None:
        self.last: Status | None = None

    def status(self, status: Status) -> None:
        self.last = status


def consume(pipe: Any, events: Callable[[], int]) -> None:
    """The consumer's part: from the first word that comes by `pipe` to the second, send what was consumed meanwhile."""
    pipe.recv()
    before, cpu, wall = events(), time.process_time(), time.perf_counter()
    pipe.recv()
    pipe.send((events() - before, time.process_time() - cpu, time.perf_counter() - wall))


def under(flood: Callable[[str, Any], None], context: Any, hosts: str, pipe: Any) -> tuple[float, float]:
    """Events a second, and CPU microseconds an event, of the consumer at the other end of `pipe`."""
    stop = context.Event()
    writer = context.Process(target=flood, args=(hosts, stop))
    writer.start()
    time.sleep(1.5)  # the writer's start is not measured
    pipe.send("go")
    time.sleep(SECONDS)
    pipe.send("stop")
    events, cpu, wall = pipe.recv()
    stop.set()
    writer.join()
    return events / wall, cpu / events * 1e6
