"""What this host's configuration has the sampler look at beside what every host has: processes, files, commands.

Comes in: a Config. Goes out: readers of the families that it asks for. What it does not ask for is not even loaded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from zkalert import clock
from zkalert.config import Config

if TYPE_CHECKING:
    from zkalert.sampler import Reader
    from zkalert.sampler.checks import Checks


class Configured:
    """`readers` by family; check commands run from `start` until `stop`, or until `stopping` is set."""

    def __init__(self, config: Config, machine: str, stopping: threading.Event | None = None) -> None:
        self.readers: dict[str, Reader] = {}
        self._checks: Checks | None = None
        now = clock.monotonic()
        if config.processes:
            from zkalert.sampler.processes import Processes  # noqa: PLC0415 - loaded where it is asked for

            self.readers["process"] = Processes(config.processes, now)
        if config.files:
            from zkalert.sampler.files import Files  # noqa: PLC0415

            self.readers["file"] = Files(config.files)
        if config.commands and config.may_run:
            from zkalert.sampler.checks import Checks  # noqa: PLC0415

            folder = config.source.parent if config.source else None
            self.readers["command"] = self._checks = Checks(config.commands, folder, machine, now, stopping)

    def start(self) -> None:
        if self._checks is not None:
            self._checks.start()

    def stop(self) -> None:
        """End what runs, within a third of a second."""
        if self._checks is not None:
            self._checks.stop()
