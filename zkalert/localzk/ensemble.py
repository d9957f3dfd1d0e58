"""Servers that make one ensemble, all on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from zkalert import clock
from zkalert.localzk.server import LOOPBACK, LocalServer, Member, free_ports
from zkalert.model import ServerUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

_TRIES = 3


class LocalEnsemble:
    """An ensemble of `size` servers below `data_dir`; members are named by their index in `servers`.

    `settings` are lines of zoo.cfg for all of them, in place of ours or beside them.
    """

    def __init__(self, data_dir: Path, size: int = 3, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._settings = settings
        self._size = size
        self.servers = self._plan()

    def _plan(self) -> tuple[LocalServer, ...]:
        """The members with ports of their own: one for clients, one for the quorum, one for elections."""
        ports = free_ports(3 * self._size)
        clients, quorum, election = (ports[first::3] for first in range(3))
        lines = tuple(
            f"server.{number}={LOOPBACK}:{peer}:{vote}"
            for number, (peer, vote) in enumerate(zip(quorum, election, strict=True), 1)
        )
        return tuple(
            LocalServer(
                self.data_dir / str(number),
                heap="96m",
                port=port,
                member=Member(number=number, lines=lines),
                settings=self._settings,
            )
            for number, port in enumerate(clients, 1)
        )

    @property
    def hosts(self) -> str:
        """`127.0.0.1:PORT,...`, as clients want it."""
        return ",".join(server.hosts for server in self.servers)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, index: int | None = None, timeout: float = 60.0) -> None:
        """Start all members that do not run, or the one with this index, and wait until they serve.

        Raises ServerUnavailable with the end of the log of one that did not, after stopping the others.
        """
        if index is not None:
            self.servers[index].start(timeout)
            return
        is_new = not any((self.data_dir / str(number)).exists() for number in range(1, self._size + 1))
        for tries_left in reversed(range(_TRIES)):
            try:
                failed = self._start_all(timeout)
            except ServerUnavailable:
                self.stop()
                raise
            if failed is None:
                return
            error = failed.failure(timeout)
            self.stop()
            if not (is_new and failed.lost_its_port and tries_left):
                raise error
            self.servers = self._plan()

    def _start_all(self, timeout: float) -> LocalServer | None:
        """None, or the first member that did not come to serve."""
        deadline = clock.monotonic() + timeout
        for server in self.servers:
            server.launch()
        return next((server for server in self.servers if not server.wait_until_serving(deadline)), None)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def kill(self, index: int) -> None:
        """End one member at once, as a crash would."""
        self.servers[index].kill()

    def leader(self) -> int | None:
        """The index of the member that leads; None while none does."""
        return next((index for index, server in enumerate(self.servers) if server.mode() == "leader"), None)

    def followers(self) -> tuple[int, ...]:
        """The indexes of the members that follow."""
        return tuple(index for index, server in enumerate(self.servers) if server.mode() == "follower")
