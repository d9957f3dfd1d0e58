"""What becomes of effects: targets, the ledger, messages and what came of sending them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from zkalert.model.alerts import Effect
from zkalert.model.base import EMPTY
from zkalert.model.channels import Channel, Format
from zkalert.model.rules import Run


class DeliveryState(str, Enum):
    """How far one effect has got with one target.

    NEW: nothing was tried. HELD: withheld for now; `detail` says why. CLAIMED: an engine is about to act, or died while
    it did. DELIVERED: done, and marked. FAILED: will not be tried again. UNKNOWN: a command was claimed by an engine
    that died: it may have run, and is never run again. DROPPED: not to be told any more; `detail` says why.
    """

    NEW = "new"
    HELD = "held"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DROPPED = "dropped"

    @property
    def is_done(self) -> bool:
        return self not in (DeliveryState.NEW, DeliveryState.HELD, DeliveryState.CLAIMED)


class TargetKind(str, Enum):
    NOTIFY = "notify"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place that effects go to: one URL of a channel, or one command.

    `id` stands in the ledger and carries no secret; `name` is what logs and tables show (a channel's name, a
    masked URL, or the command's first word). `channel` is the one that the URL belongs to, None for a URL that stands
    in a rule.
    """

    id: str
    kind: TargetKind
    name: str
    url: str | None = field(default=None, repr=False)
    run: Run | None = None
    channel: Channel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One target's line in the ledger of an effect.

    `digest` is the id of the message of several effects that it was claimed for, empty where it goes alone. `since` is
    when it began to be tried, None where that was with the effect itself.
    """

    target: str
    kind: TargetKind
    name: str
    state: DeliveryState = DeliveryState.NEW
    attempts: int = 0
    at: float | None = None
    detail: str = ""
    digest: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """An effect and the ledger of its targets, as it stands in `outbox/<shard>/<episode>.<phase>`."""

    effect: Effect
    deliveries: tuple[Delivery, ...]
    writer: str = ""

    @property
    def is_done(self) -> bool:
        return all(delivery.state.is_done for delivery in self.deliveries)


class MessageKind(str, Enum):
    """What a message is at a glance: its colour in chat, its urgency on a desktop."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"
    SUCCESS = "success"


class Parts(NamedTuple):
    """What a body is made of, in plain text: each kind of channel sets it in its own way.

    `notice` comes before all else; `description` is the rule's own text, of several lines; `lead` are sentences,
    `facts` names and what they are, `lines` the alerts of a digest, `problems` templates that failed. `footer` is for
    whoever searches.
    """

    lead: tuple[str, ...]
    notice: str = ""
    description: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    footer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One effect, or several in a digest, in words, ready to send. `problem` names a template that failed.

    `body` is written in `format`; `text` is the same in plain text, for those who read no other; `parts` is what both
    were made of, None where a template of the channel made the body. `thread` is the same for all messages of one
    episode (empty for a digest). `fields` is what programs want of it (rule, host, severity, ...), as texts;
    `document` is the whole as the documented JSON, for webhooks.
    """

    key: str
    title: str
    body: str
    kind: MessageKind
    problem: str = ""
    format: Format = Format.TEXT
    text: str = ""
    parts: Parts | None = None
    thread: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    document: Mapping[str, Any] = field(default_factory=dict)


class SendState(str, Enum):
    """DELIVERED, FAILED, or UNKNOWN where nobody can tell (a time-out)."""

    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What came of one try: `detail` is a sentence without secrets, `seconds` how long it took.

    `is_retryable` says whether another try could end better; an UNKNOWN notification is retryable. Of a command,
    `exit_code` is its own (None where it has none) and `tail` the end of what it wrote; `is_braked`: a brake held it.
    """

    state: SendState
    is_retryable: bool = False
    detail: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    tail: str = ""
    is_braked: bool = False
