"""What a host is asked to run, and the state of a brake on commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class RequestEnd(str, Enum):
    """How a request ended.

    DONE: the command ran; its exit code says how that went. REFUSED: the host may not or cannot run it. EXPIRED: nobody
    took it in time, so that it never runs. UNKNOWN: somebody took it and never said what came of it.
    """

    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who runs a request, and since when by that host's idea of the ensemble's clock; `token` is its alone."""

    machine: str
    token: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """What came of a request: `detail` is a sentence, `exit_code` None where there is none, `tail` its last output."""

    end: RequestEnd
    detail: str
    seconds: float = 0.0
    exit_code: int | None = None
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """A host is asked to run one of its own actions, for `timeout` seconds at most, and not after `not_after`.

    `fields` and `document` are what the command learns of the alert, as variables and on its standard input; no part of
    it names a command. `asker` tells one asking from another of the same name.
    """

    id: str
    action: str
    rule: str
    series: str
    timeout: float
    not_after: float = 0.0
    asker: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    claim: Claim | None = None
    result: RequestResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeState:
    """When commands of one group were started, oldest first, and until when each that runs may keep its place."""

    starts: tuple[float, ...] = ()
    running: Mapping[str, float] = field(default_factory=dict)


class Place(NamedTuple):
    """A command's place under a brake: `ticket` gives it back; without one it may not run, and `detail` says why."""

    ticket: str
    detail: str = ""
