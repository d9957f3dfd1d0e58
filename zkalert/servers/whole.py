"""From what each server said to a sample of the ensemble.

Comes in: the servers of one round, and what earlier rounds showed. Goes out: values of the ensemble and an instance per
server. It is told apart who votes and who observes, since a quorum is one of voters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zkalert.model import EnsembleSettings, Value
from zkalert.servers.answers import READ_ONLY, Answer

MOST_SERVERS = 64
COUNTERS = 2**32
"""Transactions of an epoch: past them the leader steps down, for the lower half of a zxid is full."""

_PORT = 2181


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One server, `host:port`, after it was asked.

    `answer` is None unless it serves, be it reads alone. `is_there` says whether a ZooKeeper answered, `is_refusing`
    whether it refuses words, `is_mute` whether it refuses all that would tell if it serves. `trouble` is why something
    could not be asked, for people, or empty. `expires_in` are the seconds until its certificate expires, where it has
    one.
    """

    name: str
    answer: Answer | None = None
    is_there: bool = False
    is_mute: bool = False
    is_refusing: bool = False
    seconds: float | None = None
    expires_in: float | None = None
    trouble: str = ""

    @property
    def is_serving(self) -> bool:
        return self.answer is not None and self.answer.role != READ_ONLY

    @property
    def role(self) -> str:
        return self.answer.role if self.answer is not None else ""

    @property
    def is_leader(self) -> bool:
        """A server without an ensemble leads itself."""
        return self.role in ("leader", "standalone")


class Memory(NamedTuple):
    """What a server says only while it serves: how many vote (0: not known yet), and who only observes."""

    voters: int = 0
    observers: frozenset[str] = frozenset()


class Summary(NamedTuple):
    values: Mapping[str, Value]
    instances: Mapping[str, Mapping[str, Value]]
    errors: tuple[str, ...]
    memory: Memory


def servers_of(settings: EnsembleSettings) -> tuple[str, ...]:
    """The servers to ask, `host:port`: those that are named as such, else those of the hosts string."""
    if settings.members.servers:
        return settings.members.servers
    hosts = (host.strip() for host in settings.zookeeper.hosts.partition("/")[0].split(","))
    return tuple(dict.fromkeys(host if _has_port(host) else f"{host}:{_PORT}" for host in hosts if host))


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def summed(asked: Sequence[Asked], memory: Memory = Memory()) -> Summary:  # noqa: B008 - it is frozen
    """What the servers say together, and what to remember of it."""
    leading = [one for one in asked if one.is_leader]
    leader = max(leading, key=lambda one: _zxid(one) or 0, default=None)
    memory = _remembered(asked, leader, memory)
    values: dict[str, Value] = {"servers": max(len(asked), memory.voters + len(memory.observers))}
    errors = [f"{one.name}: {one.trouble}" for one in asked if one.trouble]
    voting = [one for one in asked if one.name not in memory.observers]
    serving = _serving(voting, leader, memory.voters)
    if serving is not None:
        values["serving"] = serving + sum(one.is_serving for one in asked if one.name in memory.observers)
        values["quorum"] = 100.0 * serving / max(len(voting), memory.voters, 1)
    elif len(voting) < memory.voters:
        errors.append(
            f"{memory.voters} servers vote, and {len(voting)} of them are known here: "
            "name all under servers, or the quorum is known only while their leader is one of these"
        )
    if leading or (serving is not None and all(one.role for one in asked if one.is_serving)):
        values["leaders"], values["has_leader"] = len(leading), int(bool(leading))
    elif any(one.is_serving for one in asked):
        values["has_leader"] = 1  # nobody serves without one, be it a server that is not known here
    if leader is not None and leader.answer is not None:
        following = sum(one.role == "follower" for one in asked)
        values["followers"] = leader.answer.values.get("followers", following)
        if "synced_followers" in leader.answer.values or leader.role == "standalone":
            values["synced"] = leader.answer.values.get("synced_followers", 0)
    instances = {one.name: _instance(one, leader) for one in asked}
    for name, choose in (("lag", max), ("zxid_percent", max), ("certificate_expires", min)):
        found = [value for one in instances.values() if isinstance(value := one.get(name), (int, float))]
        if found:
            values[name] = choose(found)
    versions = {one["version"] for one in instances.values() if "version" in one}
    if versions:
        values["versions"] = len(versions)
    return Summary(values, instances, tuple(errors), memory)


def _remembered(asked: Sequence[Asked], leader: Asked | None, memory: Memory) -> Memory:
    tellers = ([] if leader is None else [leader]) + [one for one in asked if one.is_serving]
    voters = next((one.answer.voters for one in tellers if one.answer is not None and one.answer.voters), None)
    names = {one.name for one in asked}
    settled = {one.name for one in asked if one.role}  # who says what he is may have become something else
    observers = {one.name for one in asked if one.role == "observer"} | ((memory.observers & names) - settled)
    return Memory(voters or memory.voters, frozenset(observers))


def _serving(voting: Sequence[Asked], leader: Asked | None, voters: int) -> int | None:
    """How many voters serve; None where that cannot be known.

    The leader knows of all who follow it, of those too that are not known here or refuse to tell.
    """
    serving = sum(one.is_serving for one in voting)
    is_any_mute = any(one.is_mute for one in voting)
    if len(voting) >= voters and not is_any_mute:
        return serving
    synced = leader.answer.values.get("synced_followers") if leader is not None and leader.answer is not None else None
    if isinstance(synced, (int, float)):
        return min(max(voters, len(voting)), max(serving, 1 + int(synced)))
    # Where none of those that are known serves, nobody can be served here.
    return None if serving or is_any_mute else 0


def _instance(one: Asked, leader: Asked | None) -> dict[str, Value]:
    values: dict[str, Value] = {"ok": int(one.is_there), "refused": int(one.is_refusing)}
    if not one.is_mute:
        values["serving"] = int(one.is_serving)
    if one.role or not (one.is_mute or one.is_serving):
        values["is_leader"] = int(one.is_leader)
    if one.seconds is not None:
        values["seconds"] = one.seconds
    if one.expires_in is not None:
        values["certificate_expires"] = one.expires_in
    if one.answer is None:
        return values
    values.update(one.answer.values)
    values["read_only"] = int(one.role == READ_ONLY)
    if one.role:
        values["role"] = one.role
    zxid, newest = _zxid(one), None if leader is None else _zxid(leader)
    if zxid is not None:
        values["zxid_percent"] = 100.0 * (zxid % COUNTERS) / COUNTERS
        if newest is not None and one.is_serving:
            values["lag"] = _behind(zxid, newest)
    return values


def _behind(zxid: int, newest: int) -> int:
    """Transactions from one zxid to another; of one of an earlier epoch, only those of the new epoch are known."""
    if zxid // COUNTERS == newest // COUNTERS:
        return max(0, newest - zxid)  # whoever was asked a moment later may be ahead
    return newest % COUNTERS if zxid < newest else 0


def _zxid(one: Asked) -> int | None:
    return None if one.answer is None else one.answer.zxid
