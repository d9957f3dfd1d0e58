"""What the scripts `tree.py` beside it share: they plant znodes as a real system makes them, and clear them away again.

A `Plot` is one run. Ephemerals need the session of the process that they stand for, so each process of the real system
gets a session of its own; ending one is what ZooKeeper sees when that process dies. On an ensemble where the paths are
already in use, and not by such an example, nothing is touched.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

MARK = "/zkalert-example"
USER = ("digest", "example:example")
CLOSED = [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE]
"""Whoever made it may change it, everybody may read it."""
SESSION_TIMEOUT = 4.0  # seconds
USAGE = """\
usage: tree.py HOSTS healthy|broken
HOSTS is host:port of a ZooKeeper, perhaps with a chroot: 127.0.0.1:2181/example
"""


class Plot:
    """Znodes below some topmost paths (`tops`) of an ensemble, and the sessions that own the ephemerals among them."""

    def __init__(self, hosts: str, tops: Sequence[str]) -> None:
        self._hosts = hosts
        self._tops = tops
        self._sessions: list[KazooClient] = []
        self.client = self.session()

    def session(self, **options: Any) -> KazooClient:
        """One more process; `options` are those of KazooClient. Raises KazooTimeoutError where nobody answers."""
        client = KazooClient(self._hosts, timeout=SESSION_TIMEOUT, auth_data=[USER], **options)
        try:
            client.start(timeout=10)
        except KazooTimeoutError:
            client.close()
            raise
        self._sessions.append(client)
        return client

    def begin(self) -> None:
        """Clear away what an earlier run left. Ends the program where the paths are somebody's own."""
        used = [top for top in self._tops if self.client.exists(top)]
        if used and not self.client.exists(MARK):
            sys.exit(f"{used[0]} is in use here, and not by an example; name another place: {self._hosts}/example")
        self.client.ensure_path(MARK, acl=CLOSED)
        self._clear()

    def put(self, path: str, value: object = b"", *, owner: KazooClient | None = None) -> None:
        """A znode, with what is above it; an ephemeral of `owner` if that is given. What is no bytes becomes JSON."""
        data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
        (owner or self.client).create(path, data, ephemeral=owner is not None, makepath=True)

    def close(self) -> None:
        """Take all of it away."""
        for client in self._sessions[1:]:
            client.stop()
            client.close()
        self._clear()
        self.client.delete(MARK)
        self.client.stop()
        self.client.close()

    def _clear(self) -> None:
        for top in self._tops:
            self.client.delete(top, recursive=True)


def run(tops: Sequence[str], shapes: dict[str, Callable[[Plot], None]]) -> int:
    """Plant the shape that the command line names, keep it until Ctrl-C, and take it away. The exit code."""
    if len(sys.argv) != 3 or sys.argv[2] not in shapes:
        sys.stderr.write(USAGE)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        plot = Plot(sys.argv[1], tops)
    except KazooTimeoutError:
        sys.stderr.write(f"no ZooKeeper answers at {sys.argv[1]}\n")
        return 1
    try:
        plot.begin()
        shapes[sys.argv[2]](plot)
        print(f"{sys.argv[2]}: {', '.join(tops)} at {sys.argv[1]}; Ctrl-C takes it away", flush=True)
        while True:  # a signal that comes just before a pause without end would not end it
            time.sleep(0.2)
    except KeyboardInterrupt:
        plot.close()
    return 0
