"""Who publishes into a tree and who evaluates it: hosts with the age of what they say, engines with their role.

Comes in: a reader. Goes out: a fleet, read once. The samples themselves are not read, but for one of each host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from zkalert.model import Alert, EngineInfo, HostInfo, Problem
from zkalert.survey.reading import Reader, Shard
from zkalert.tree import decode_engine, decode_sample, unescape


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """One host: when it published last (epoch seconds of the ensemble), what, and how many alerts of it fire.

    `skew` is how far its own clock was ahead by then, in seconds; a little less, since reading takes time.
    """

    info: HostInfo
    is_alive: bool
    families: tuple[str, ...] = ()
    sampled_at: float | None = None
    skew: float | None = None
    firing: int = 0
    pending: int = 0


class Role(str, Enum):
    """OWNER: it evaluates. STANDBY: it waits to take over. STARTING: it is there, and does neither yet."""

    OWNER = "owner"
    STANDBY = "standby"
    STARTING = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLine:
    """One engine that holds its session; `shown_at` is when it last said something of itself."""

    id: str
    info: EngineInfo
    role: Role
    since: float
    shown_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A tree's hosts and engines, `at` a moment of the ensemble's clock."""

    at: float
    hosts: tuple[HostLine, ...] = ()
    engines: tuple[EngineLine, ...] = ()


class _Newest(NamedTuple):
    path: str
    at: float


def read_fleet(reader: Reader, *, engines_alone: bool = False) -> Fleet:
    """Who is there; `engines_alone` leaves the hosts out. Raises as a reader does."""
    shard = reader.shard()
    engines = _engines(reader, shard)
    hosts = () if engines_alone else _hosts(reader)
    newest = max((host.sampled_at or 0.0 for host in hosts), default=0.0)
    return Fleet(at=shard.now(newest), hosts=hosts, engines=engines)


def _engines(reader: Reader, shard: Shard) -> tuple[EngineLine, ...]:
    """The owner first, then those who wait, in their order."""
    lines = []
    for path, (data, stat) in reader.below(reader.tree.engines).items():
        info = decode_engine(data)
        if isinstance(info, Problem):
            continue
        line = EngineLine(
            id=unescape(path.rpartition("/")[2]),
            info=info,
            role=_role(shard, stat.ephemeralOwner),
            since=stat.ctime / 1000,
            shown_at=stat.mtime / 1000,
        )
        place = shard.sessions.index(stat.ephemeralOwner) if line.role is not Role.STARTING else len(shard.sessions)
        lines.append((place, line.id, line))
    return tuple(line for _, _, line in sorted(lines, key=lambda found: found[:2]))


def _role(shard: Shard, session: int) -> Role:
    if session not in shard.sessions:
        return Role.STARTING
    return Role.OWNER if session == shard.sessions[0] else Role.STANDBY


def _hosts(reader: Reader) -> tuple[HostLine, ...]:
    tree, client = reader.tree, reader.client
    infos = reader.infos(reader.names())
    alive = reader.answers(client.exists_async, map(tree.alive, infos))
    folders = reader.answers(client.get_children_async, map(tree.metrics, infos))
    paths = [f"{folder}/{name}" for folder, names in folders.items() for name in names]
    newest = _newest(reader.answers(client.exists_async, paths))
    samples = reader.answers(client.get_async, [one.path for one in newest.values()])
    counts = _counts(reader.alerts())
    lines = []
    for name, info in infos.items():
        folder = tree.metrics(name)
        last = newest.get(folder)
        lines.append(
            HostLine(
                info=info,
                is_alive=tree.alive(name) in alive,
                families=tuple(sorted(map(unescape, folders.get(folder, ())))),
                sampled_at=None if last is None else last.at,
                skew=_skew(last, samples),
                firing=counts[name, True],
                pending=counts[name, False],
            )
        )
    return tuple(lines)


def _newest(stats: Mapping[str, Any]) -> dict[str, _Newest]:
    """The family that was published last, by the folder that it is in."""
    found: dict[str, _Newest] = {}
    for path, stat in stats.items():
        folder, at = path.rpartition("/")[0], stat.mtime / 1000
        if folder not in found or at > found[folder].at:
            found[folder] = _Newest(path, at)
    return found


def _skew(last: _Newest | None, samples: Mapping[str, Any]) -> float | None:
    if last is None or last.path not in samples:
        return None
    data, stat = samples[last.path]
    sample = decode_sample(unescape(last.path.rpartition("/")[2]), data)
    return None if isinstance(sample, Problem) else sample.at - stat.mtime / 1000


def _counts(alerts: Collection[Alert]) -> Counter[tuple[str, bool]]:
    """How many alerts each host has, by whether they fire."""
    named: Iterable[tuple[str, bool]] = ((alert.host, alert.state.is_active) for alert in alerts)
    return Counter(named)
