"""What was written, by ZooKeeper's own transaction logs: the one witness that no kill of an engine can reach.

A server that starts purges what it does not need any more, so the logs are kept aside each time one was stopped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_TOOL = "org.apache.zookeeper.server.persistence.TxnLogToolkit"
_ENTRY = re.compile(
    r"(?P<what>create|setData):.{4}/zkalert/outbox/0/(?P<id>[0-9a-f]{16}\.[a-z0-9-]+)[^{;]{1,4}(?={)", re.DOTALL
)
_DECODER = json.JSONDecoder()


class Written(NamedTuple):
    """An effect as its entry was created: of which series, and when (epoch seconds)."""

    host: str
    instance: str
    at: float


class Ledger(NamedTuple):
    """All effects that were ever written, by id; and what was marked as not to be told, as pairs of channel and id."""

    written: dict[str, Written]
    dropped: set[tuple[str, str]]


def keep(data_dir: Path, kept: Path) -> None:
    """Copy the logs of a server that does not run to where no server purges them."""
    kept.mkdir(parents=True, exist_ok=True)
    for log in data_dir.rglob("log.*"):
        shutil.copy2(log, kept)


def read(members: Sequence[Path], class_path: str) -> Ledger:
    """What the kept logs say, a folder for each member of the ensemble.

    An entry counts that stands in the logs of most members: one alone may have logged what was never agreed on.
    """
    written: dict[str, Written] = {}
    dropped: set[tuple[str, str]] = set()
    seen: Counter[str] = Counter()
    for folder in members:
        ids = set()
        for log in sorted(folder.glob("log.*")):
            for what, id_, entry in _entries(_dump(log, class_path)):
                if what == "create":
                    alert = entry["alert"]
                    written[id_] = Written(alert["host"], alert["instance"], entry["at"])
                    ids.add(id_)
                dropped |= {(one["name"], id_) for one in entry["deliveries"] if one["state"] == "dropped"}
        seen.update(ids)
    agreed = len(members) // 2 + 1
    return Ledger({id_: entry for id_, entry in written.items() if seen[id_] >= agreed}, dropped)


def _dump(log: Path, class_path: str) -> str:
    """What a log has in it. The tool fails on one that it cannot read to its end."""
    command = ["java", "-cp", class_path, _TOOL, "-d", str(log)]
    dump = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode("utf-8", "replace")
    if "EOF reached after" not in dump:
        raise AssertionError(f"{log} was not read to its end")
    return dump


def _entries(dump: str) -> Iterator[tuple[str, str, Any]]:
    for found in _ENTRY.finditer(dump):
        yield found["what"], found["id"], _DECODER.raw_decode(dump, found.end())[0]
