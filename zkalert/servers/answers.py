"""What ZooKeeper servers say of themselves, from text and JSON to fields of the family `zookeeper`.

Comes in: answers to four-letter words or of the AdminServer, by servers of 3.4 and later; nobody vouches for them.
Goes out: an Answer with what could be understood, or a Reply where there was no answer. Unknown lines, negative numbers
(servers say -1 for what they do not know) and texts that are no numbers are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from zkalert.model import Value

READ_ONLY = "read-only"
ROLES = frozenset({"leader", "follower", "observer", "standalone", READ_ONLY})
WHITELIST = "4lw.commands.whitelist=mntr,ruok,isro,srvr"

_MILLISECONDS = 0.001
_MONITORED: Mapping[str, tuple[str, float]] = {
    # a key of mntr without its prefix; the field, and what its unit is in the field's
    "avg_latency": ("latency_avg", _MILLISECONDS),
    "min_latency": ("latency_min", _MILLISECONDS),
    "max_latency": ("latency_max", _MILLISECONDS),
    "p99_readlatency": ("read_p99", _MILLISECONDS),
    "p99_updatelatency": ("update_p99", _MILLISECONDS),
    "p99_propagation_latency": ("commit_p99", _MILLISECONDS),
    "sum_fsynctime": ("fsync_time", _MILLISECONDS),
    "cnt_fsynctime": ("fsyncs", 1),
    "max_fsynctime": ("fsync_max", _MILLISECONDS),
    "uptime": ("uptime", _MILLISECONDS),
    "packets_received": ("received", 1),
    "packets_sent": ("sent", 1),
    "num_alive_connections": ("connections", 1),
    "outstanding_requests": ("outstanding", 1),
    "znode_count": ("znodes", 1),
    "watch_count": ("watches", 1),
    "ephemerals_count": ("ephemerals", 1),
    "approximate_data_size": ("data_size", 1),
    "open_file_descriptor_count": ("open_fds", 1),
    "max_file_descriptor_count": ("max_fds", 1),
    "synced_followers": ("synced_followers", 1),
    "pending_syncs": ("pending_syncs", 1),
}
_SERVED: Mapping[str, tuple[str, float]] = {
    # a line of srvr, or a key of the AdminServer's server_stats
    "Received": ("received", 1),
    "Sent": ("sent", 1),
    "Connections": ("connections", 1),
    "Outstanding": ("outstanding", 1),
    "Node count": ("znodes", 1),
    "packets_received": ("received", 1),
    "packets_sent": ("sent", 1),
    "num_alive_client_connections": ("connections", 1),
    "outstanding_requests": ("outstanding", 1),
    "avg_latency": ("latency_avg", _MILLISECONDS),
    "min_latency": ("latency_min", _MILLISECONDS),
    "max_latency": ("latency_max", _MILLISECONDS),
    "uptime": ("uptime", _MILLISECONDS),
}
_LATENCY = "Latency min/avg/max"

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,2})?")
_VERSION = re.compile(r"v?(\d{1,4}(?:\.\d{1,5}){1,3}(?:-(?:alpha|beta|rc)[0-9.]{0,8})?)")
_SRVR = re.compile(r"(?:Zookeeper|ClickHouse Keeper) version: ")
_REFUSED = re.compile(r"\s*\w{4} is not executed because it is not in the whitelist\.")
_NOT_SERVING = "This ZooKeeper instance is not currently serving requests"
_LARGEST = 2**64


class Reply(Enum):
    """What came in place of an answer.

    REFUSED: the word is not in the server's whitelist. NOT_SERVING: it is a ZooKeeper, but has no quorum or still
    starts. STRANGE: no ZooKeeper would say that. SILENT: nothing came, as from a server that does not know the word.
    """

    REFUSED = "refused"
    NOT_SERVING = "not serving"
    STRANGE = "strange"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server that serves said: fields of the family, and what only all servers together make sense of.

    `zxid` is the last transaction that it applied, `voters` how many servers of its ensemble vote.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    role: str = ""
    zxid: int | None = None
    voters: int | None = None


Parsed: TypeAlias = "Answer | Reply"


def monitored(text: str) -> Parsed:
    """The answer to `mntr`: lines of a key, a tab and a value. Of one that was cut, all but the last line."""
    if (other := _other(text)) is not None:
        return other
    whole = text[: text.rfind("\n") + 1]
    lines = (line.partition("\t") for line in whole.splitlines())
    found = {key.removeprefix("zk_"): value.strip() for key, tab, value in lines if tab and key.startswith("zk_")}
    return _monitored(found) if "version" in found else Reply.STRANGE


def served(text: str) -> Parsed:
    """The answer to `srvr`: a line with the version, and lines `Name: value`."""
    if (other := _other(text)) is not None:
        return other
    if not _SRVR.match(text):
        return Reply.STRANGE
    found = {key: value.strip() for key, colon, value in (line.partition(":") for line in text.splitlines()) if colon}
    values = _taken(found, _SERVED) | _version(next(iter(found.values())))
    for name, part in zip(("min", "avg", "max"), found.get(_LATENCY, "").split("/"), strict=False):
        if (number := _number(part)) is not None:
            values[f"latency_{name}"] = number * _MILLISECONDS
    zxid = re.fullmatch(r"0x([0-9a-fA-F]{1,16})", found.get("Zxid", ""))
    return Answer(values=values, role=_role(found.get("Mode")), zxid=int(zxid[1], 16) if zxid else None)


def monitored_by_admin(body: bytes) -> Parsed:
    """What the AdminServer says to `/commands/monitor`: as `mntr`, in JSON and without prefixes."""
    found = _json(body)
    if isinstance(found, Reply):
        return found
    return _monitored(found) if "version" in found and "server_state" in found else Reply.STRANGE


def served_by_admin(body: bytes) -> Parsed:
    """What the AdminServer says to `/commands/server_stats`."""
    found = _json(body)
    if isinstance(found, Reply):
        return found
    stats = found.get("server_stats")
    if not isinstance(stats, dict):
        return Reply.STRANGE
    values = _taken(stats, _SERVED) | _taken({"Node count": found.get("node_count")}, _SERVED)
    values |= _version(found.get("version"))
    zxid = stats.get("last_processed_zxid")
    is_known = isinstance(zxid, int) and not isinstance(zxid, bool) and 0 <= zxid < _LARGEST
    return Answer(values=values, role=_role(stats.get("server_state")), zxid=zxid if is_known else None)


def read_only(text: str) -> Parsed:
    """The answer to `isro`: all that is known then of a server which refuses the other words."""
    if text == "ro":
        return Answer(role=READ_ONLY)
    if text == "rw":
        return Answer()
    return Reply.NOT_SERVING if text == "null" else _other(text) or Reply.STRANGE


def fine(text: str) -> Reply:
    """The answer to `ruok`, which a ZooKeeper gives whether it serves or not."""
    return Reply.NOT_SERVING if text.strip() == "imok" else _other(text) or Reply.STRANGE


def merged(answers: Iterable[Answer]) -> Answer:
    """What several answers of one server say together; what was said first stands."""
    whole = Answer()
    for one in answers:
        whole = Answer(
            values={**one.values, **whole.values},
            role=whole.role or one.role,
            zxid=one.zxid if whole.zxid is None else whole.zxid,
            voters=one.voters if whole.voters is None else whole.voters,
        )
    return whole


def _other(text: str) -> Reply | None:
    """What a text is that is no answer, None where it may be one."""
    if not text.strip():
        return Reply.SILENT
    if _REFUSED.match(text):
        return Reply.REFUSED
    return Reply.NOT_SERVING if text.startswith(_NOT_SERVING) else None


def _json(body: bytes) -> Mapping[str, Any] | Reply:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return Reply.STRANGE
    if not isinstance(found, dict):
        return Reply.STRANGE
    error = found.get("error")
    if not error:
        return found
    return Reply.NOT_SERVING if isinstance(error, str) and error.startswith(_NOT_SERVING) else Reply.STRANGE


def _monitored(found: Mapping[str, Any]) -> Answer:
    values = _taken(found, _MONITORED) | _version(found["version"])
    is_open, most = values.get("open_fds"), values.get("max_fds")
    if isinstance(is_open, (int, float)) and isinstance(most, (int, float)) and most > 0:
        values["open_fds_percent"] = 100.0 * is_open / most
    # Up to 3.5 it is called followers, and observers are among both.
    learners = _number(found.get("learners", found.get("followers")))
    if learners is not None:
        values["followers"] = max(0, learners - (_number(found.get("synced_observers")) or 0))
    voters = _number(found.get("quorum_size"))
    return Answer(
        values=values, role=_role(found.get("server_state")), voters=int(voters) if voters and voters < 1000 else None
    )


def _taken(found: Mapping[str, Any], table: Mapping[str, tuple[str, float]]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, (name, scale) in table.items():
        number = _number(found.get(key))
        if number is not None:
            values[name] = number if scale == 1 else number * scale
    return values


def _number(raw: Any) -> float | None:
    """A number that is not negative, in JSON or as a text; an int where it is one."""
    if isinstance(raw, str) and _NUMBER.fullmatch(raw):
        raw = int(raw) if raw.isdigit() else float(raw)
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    return raw if 0 <= raw < _LARGEST else None


def _version(raw: Any) -> dict[str, Value]:
    match = _VERSION.match(raw.strip()) if isinstance(raw, str) else None
    return {"version": match[1]} if match else {}


def _role(raw: Any) -> str:
    return raw if isinstance(raw, str) and raw in ROLES else ""
