"""What this host is asked to run, one znode a request: claimed before it is begun, so that nobody else begins it too.

Changes name the version that they were made for. An answer that was lost is told as such: read again, a claim shows
by its token whose it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.model import ActionRequest, Claim, Problem, RequestResult
from zkalert.tree import Tree, decode_request, encode_request
from zkalert.zk import BadVersionError, Client, Delete, NoNodeError, Set, TransactionFailed, commit

_REPLY = 5.0


class Found(NamedTuple):
    """A request as it stands: its version, when it was changed last by the ensemble's clock (epoch seconds)."""

    request: ActionRequest
    version: int
    changed_at: float


class Claims:
    """The requests to one host, for any number of threads.

    Every method raises one of zk.UNCERTAIN where nobody knows, KazooException where ZooKeeper refuses.
    """

    def __init__(self, client: Client, tree: Tree, host: str, ensemble: clock.EnsembleClock) -> None:
        self._client = client
        self._tree = tree
        self._host = host
        self._ensemble = ensemble

    def read(self, id_: str) -> Found | Problem | None:
        """The request of this id; None where it is gone."""
        try:
            data, stat = self._client.get_async(self._tree.request(self._host, id_)).get(timeout=_REPLY)
        except NoNodeError:
            return None
        request = decode_request(id_, data)
        return request if isinstance(request, Problem) else Found(request, stat.version, stat.mtime / 1000)

    def claim(self, found: Found, claim: Claim) -> Found | None:
        """Put our claim on a request; None where somebody was quicker, or it was withdrawn."""
        return self._write(found, replace(found.request, claim=claim))

    def finish(self, found: Found, result: RequestResult) -> Found | None:
        """Say what came of a request; None where it was changed or taken away meanwhile."""
        return self._write(found, replace(found.request, result=result))

    def remove(self, found: Found) -> None:
        """Clear up a request that nobody waits for any more."""
        self._commit(Delete(self._tree.request(self._host, found.request.id), found.version))

    def _write(self, found: Found, request: ActionRequest) -> Found | None:
        path = self._tree.request(self._host, request.id)
        stat = self._commit(Set(path, encode_request(request), found.version))
        if stat is None:
            return None
        self._ensemble.saw(stat.mtime / 1000, clock.monotonic())
        return Found(request, stat.version, stat.mtime / 1000)

    def _commit(self, operation: Set | Delete) -> Any:
        """The Stat of a change; None where what it was made for is not there any more."""
        try:
            return commit(self._client, [operation])[0]
        except TransactionFailed as failed:
            if isinstance(failed.error, (BadVersionError, NoNodeError)):
                return None
            raise failed.error from failed
