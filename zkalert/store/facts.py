"""What people say of alerts, as commands write it: silences and acknowledgements, one znode each.

Comes in: a client and the tree. Goes out: what is there, and changes of it by compare-and-set. Several people may
write at once, and none overwrites what he has not seen. Times are the ensemble's, taken from a write of our own. All
methods raise ZkalertError with words for people where something is not as asked; one of zk.UNCERTAIN or another
KazooException where ZooKeeper does not answer or refuses.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from zkalert import clock
from zkalert.metrics import nearest
from zkalert.model import Ack, Alert, HostInfo, Problem, Silence, ZkalertError
from zkalert.tree import (
    Tree,
    decode_ack,
    decode_alert,
    decode_host,
    decode_silence,
    encode_ack,
    encode_silence,
    escape,
    unescape,
)
from zkalert.zk import (
    BadVersionError,
    Check,
    Client,
    Create,
    Delete,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    Operation,
    Set,
    TransactionFailed,
    commit,
    open_tree,
    read_below,
)

log = logging.getLogger("zkalert.store")

MOST_SILENCES = 1000
"""Silences that may stand at once: an engine holds each message against each of them."""

KEPT = 86400.0
"""Seconds that a silence can still be looked at after its end."""

_TRIES = 10
_SHOWN = 5


class Changed(ZkalertError):  # noqa: N818 - says what happened
    """Somebody else changed what was to be written."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A silence, and the version that its znode had when it was read or written."""

    silence: Silence
    version: int


class Facts:
    """The silences and acknowledgements of one tree, and the alerts that they are about."""

    def __init__(self, client: Client, tree: Tree) -> None:
        self._client = client
        self._tree = tree
        self.clock = clock.EnsembleClock()

    def open(self) -> float:
        """Look that this is a tree of ours, and what time it is by the ensemble (epoch seconds)."""
        if self._client.exists(self._tree.layout) is None:
            raise ZkalertError(
                f"there is no zkalert at {self._tree.top} of this ZooKeeper: no engine or sampler has ever run there"
            )
        open_tree(self._client, self._tree)
        for folder in (self._tree.silences, self._tree.acks):
            self._client.ensure_path(folder)
        return self.now()

    def now(self) -> float:
        """The ensemble's time: a read carries none, a write does."""
        return self._write(Set(self._tree.silences, b""))

    # Silences.

    def silences(self) -> list[Silence]:
        """All that can be used, those that have ended within a day too, in the order of their starts."""
        return sorted((filed.silence for filed in self._filed()), key=lambda one: (one.starts_at, one.id))

    def find_silence(self, prefix: str) -> Filed:
        """The silence whose id begins so."""
        filed = {one.silence.id: one for one in self._filed()}
        return filed[the_one(prefix, filed, "silence")]

    def read_silence(self, id_: str) -> Filed | None:
        """The silence of this id; None where it is gone, or cannot be used."""
        try:
            data, stat = self._client.get(self._tree.silence(id_))
        except NoNodeError:
            return None
        silence = decode_silence(id_, data)
        return None if isinstance(silence, Problem) else Filed(silence, stat.version)

    def add_silence(self, silence: Silence, now: float) -> Filed:
        """Create a silence under a new id; those that ended long ago are cleared away.

        Raises ZkalertError where there are too many.
        """
        standing = 0
        for filed in self._filed():
            if filed.silence.ends_at + KEPT < now:
                self._clear_away(filed)
            else:
                standing += filed.silence.ends_at > now
        if standing >= MOST_SILENCES:
            raise ZkalertError(
                f"there are {standing} silences already, and there may be {MOST_SILENCES} at most; "
                "one with globs can stand for many: see `zkalert silence list`"
            )
        for _ in range(_TRIES):
            named = replace(silence, id=secrets.token_hex(3))
            try:
                commit(self._client, [Create(self._tree.silence(named.id), encode_silence(named))])
            except TransactionFailed as failed:
                if isinstance(failed.error, NodeExistsError):
                    continue
                raise failed.error from failed
            return Filed(named, 0)
        raise ZkalertError("no id for the silence was free; try again")

    def change_silence(self, filed: Filed, changed: Silence) -> Filed:
        """Write a silence that was read before. Raises Changed where it is not as it was."""
        try:
            self._write(Set(self._tree.silence(changed.id), encode_silence(changed), filed.version))
        except (BadVersionError, NoNodeError) as error:
            raise Changed(f"silence {changed.id} was changed by somebody else meanwhile") from error
        return Filed(changed, filed.version + 1)

    def expire_silence(self, prefix: str, now: float) -> Silence:
        """End the silence whose id begins so; one that has not begun is taken away. It, as it was before."""
        for _ in range(_TRIES):
            filed = self.find_silence(prefix)
            silence = filed.silence
            if silence.ends_at <= now:
                raise ZkalertError(f"silence {silence.id} has ended already")
            try:
                if silence.starts_at >= now:
                    self._delete(self._tree.silence(silence.id), filed.version)
                else:
                    self.change_silence(filed, replace(silence, ends_at=now))
            except Changed:
                continue
            return silence
        raise ZkalertError(f"silence {prefix} changes all the time; try again")

    def _filed(self) -> Iterator[Filed]:
        for name, data, stat in self._below(self._tree.silences):
            silence = decode_silence(name, data)
            if isinstance(silence, Problem):
                log.warning("silence %s cannot be used: %s", name, silence.message)
            else:
                yield Filed(silence, stat.version)

    def _clear_away(self, filed: Filed) -> None:
        try:
            self._delete(self._tree.silence(filed.silence.id), filed.version)
        except Changed:
            log.debug("silence %s was changed meanwhile, and stays", filed.silence.id)

    # Acknowledgements.

    def acks(self) -> list[Ack]:
        """All that can be used."""
        found = (decode_ack(data) for _, data, _ in self._below(self._tree.acks))
        return [ack for ack in found if not isinstance(ack, Problem)]

    def acknowledge(self, prefix: str, *, seconds: float | None, author: str, comment: str) -> tuple[Alert, Ack]:
        """Say that somebody has seen the alert whose episode begins so, for some seconds or (None) until it ends.

        It is written only if the alert is still as it was read.
        """
        for _ in range(_TRIES):
            found = {alert.episode: (alert, path, version) for alert, path, version in self._alerts()}
            alert, path, version = found[the_one(prefix, found, "alert", "nothing is pending or firing")]
            now = self.now()
            ack = Ack(
                episode=alert.episode,
                at=now,
                ends_at=None if seconds is None else now + seconds,
                rises=alert.rises,
                author=author,
                comment=comment,
            )
            try:
                commit(self._client, [Check(path, version), self._put(ack)])
            except TransactionFailed as failed:
                if isinstance(failed.error, (BadVersionError, NoNodeError, NodeExistsError)):
                    continue
                raise failed.error from failed
            return alert, ack
        raise ZkalertError(f"alert {prefix} changes all the time; try again")

    def withdraw(self, prefix: str) -> Ack:
        """Take back the acknowledgement of the alert whose episode begins so."""
        acks = {ack.episode: ack for ack in self.acks()}
        alerts = {alert.episode for alert in self.alerts()}
        if not any(episode.startswith(prefix) for episode in acks):
            episode = the_one(prefix, alerts, "alert", "nothing is pending or firing")
            raise ZkalertError(f"alert {episode[:6]} is not acknowledged")
        ack = acks[the_one(prefix, acks, "acknowledged alert")]
        try:
            self._delete(self._tree.ack(ack.episode), -1)
        except Changed:
            log.debug("somebody else has taken it back")
        return ack

    def alerts(self) -> list[Alert]:
        """Those that are not inactive, as they were written last."""
        return [alert for alert, _, _ in self._alerts()]

    def hosts(self) -> dict[str, HostInfo]:
        """What hosts say of themselves, by name."""
        try:
            found = {name: decode_host(data) for name, data, _ in self._below(self._tree.hosts)}
        except NoNodeError:
            return {}
        return {name: info for name, info in found.items() if not isinstance(info, Problem)}

    def _put(self, ack: Ack) -> Operation:
        """The operation that puts an acknowledgement in place of the one that there is."""
        path = self._tree.ack(ack.episode)
        stat = self._client.exists(path)
        return Create(path, encode_ack(ack)) if stat is None else Set(path, encode_ack(ack), stat.version)

    def _alerts(self) -> Iterator[tuple[Alert, str, int]]:
        """Each alert, the path of its record and the record's version."""
        try:
            rules = self._client.get_children(self._tree.alerts)
        except NoNodeError:
            return
        for rule in rules:
            try:
                records = list(read_below(self._client, f"{self._tree.alerts}/{rule}"))
            except (NoNodeError, NoAuthError):
                continue
            for path, data, stat in records:
                alert = decode_alert(data)
                if not isinstance(alert, Problem):
                    yield alert, path, stat.version

    # Reading and writing.

    def _below(self, folder: str) -> Iterator[tuple[str, bytes | None, Any]]:
        """Name, data and Stat of each child; those that no name of ours can have made are somebody else's."""
        for path, data, stat in read_below(self._client, folder):
            part = path.rpartition("/")[2]
            if escape(name := unescape(part)) == part:
                yield name, data, stat

    def _write(self, operation: Set) -> float:
        """Set one znode; the ensemble's time at that."""
        try:
            (stat,) = commit(self._client, [operation])
        except TransactionFailed as failed:
            raise failed.error from failed
        at = float(stat.mtime / 1000)
        self.clock.saw(at, clock.monotonic())
        return at

    def _delete(self, path: str, version: int) -> None:
        try:
            commit(self._client, [Delete(path, version)])
        except TransactionFailed as failed:
            if isinstance(failed.error, (BadVersionError, NoNodeError)):
                raise Changed(f"{path} was changed by somebody else meanwhile") from failed
            raise failed.error from failed


def the_one(prefix: str, ids: Iterable[str], what: str, none: str = "") -> str:
    """The only id that begins so. Raises ZkalertError where there is none, or several."""
    known = sorted(ids)
    found = [one for one in known if one.startswith(prefix)] if prefix else []
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(_distinct(found)[:_SHOWN])
        raise ZkalertError(f'"{prefix}" could be {len(found)} of them: {shown}; write more of it')
    if not known:
        raise ZkalertError(f'no {what} "{prefix}"; {none or f"there is no {what}"}')
    near = nearest(prefix, {one[: max(len(prefix), 6)] for one in known})
    hint = f"did you mean {near}?" if near else "known: " + ", ".join(one[:6] for one in known[:_SHOWN])
    if not near and len(known) > _SHOWN:
        hint += f" and {len(known) - _SHOWN} more"
    raise ZkalertError(f'no {what} "{prefix}"; {hint}')


def _distinct(ids: list[str]) -> list[str]:
    """Ids cut where they are still told apart, at six digits or more."""
    length = next((n for n in range(6, 65) if len({one[:n] for one in ids}) == len(ids)), 64)
    return [one[:length] for one in ids]
