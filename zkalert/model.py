"""The values that travel down the way, from sample to delivery: frozen, without behaviour beyond their own fields.

Nothing here knows a clock, a thread, a file or ZooKeeper. Moments end in ``_at`` (or are called ``at``) and are
epoch seconds of the ensemble's clock, spans are seconds, and sizes are bytes.

The error tree, drawn once::

    ZkalertError
    ├── UsageError          the call or the configuration cannot work as given        exit code 2
    │   └── DocumentError   a document has findings; it carries them                  exit code 1
    ├── HostNameTaken       another sampler publishes under this host name            exit code 1
    ├── LayoutTooNew        the tree was written by a newer zkalert                   exit code 1
    ├── ServerUnavailable   no local ZooKeeper could be found or started              exit code 1
    └── HistoryError        there is no history that could be used (in journal)       exit code 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

Value: TypeAlias = float | int | str
"""What a metric says: a number, or a text of at most 256 bytes."""

EMPTY: Mapping[str, str] = MappingProxyType({})


class ZkalertError(Exception):
    """An error with a message for the user; never shown with a traceback."""

    exit_code = 1


class UsageError(ZkalertError):
    """The call or the configuration cannot work as given."""

    exit_code = 2


class HostNameTaken(ZkalertError):  # noqa: N818 - says what happened, as ZooKeeper's own exceptions do
    """Another sampler publishes under this host name."""


class LayoutTooNew(ZkalertError):  # noqa: N818
    """The tree was written by a newer zkalert than this one."""


class ServerUnavailable(ZkalertError):  # noqa: N818
    """No local ZooKeeper could be found or started."""


class Severity(str, Enum):
    """How much an alert matters; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _SEVERITY_RANK[self]


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Comparator(str, Enum):
    """How a value is held against its threshold."""

    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    EQ = "=="
    NE = "!="


class State(str, Enum):
    """Where an alert stands.

    INACTIVE: the last good sample said no, or none has been seen. No record exists in ZooKeeper.
    PENDING: good samples have said yes for part of `duration`. Nobody has been told. After a gap the alert goes
    on from what it had held.
    FIRING: the condition held for `duration`; the effect that tells so is in the outbox. It stays firing through
    any quiet (host gone, sampler stuck, metric gone, engine blind): only a good sample ends it.
    RESOLVED: a good sample said no, or the instance was seen to be gone. The last state of an episode: the record
    is deleted by the very write that adds the effect which tells so, and the series is inactive again.
    """

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Phase(str, Enum):
    """What an effect tells of its episode."""

    FIRING = "firing"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Reason(str, Enum):
    """Why a transition happened; logs and messages use these words."""

    CROSSED = "threshold crossed"
    HELD = "held for its duration"
    CLEARED = "back below the threshold"
    GONE = "instance gone"
    HOST_REMOVED = "host removed"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"


class Moment(NamedTuple):
    """One instant on two clocks: `at`, epoch seconds of the ensemble; `mono`, seconds of this process's clock."""

    at: float
    mono: float


class Metric(NamedTuple):
    """A family and one of its fields, `memory_usage.percent`."""

    family: str
    field: str

    def __str__(self) -> str:
        return f"{self.family}.{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a sampler read of one family at one moment.

    `at` is the sampler's own clock, for the history; rules go by the znode's time instead. `interval` is the span
    to the next sample, `max_age` how long this one speaks at most, both in seconds.
    """

    family: str
    at: float
    interval: float
    max_age: float
    values: Mapping[str, Value] = field(default_factory=dict)
    instances: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """What a host says of itself in `hosts/<host>`."""

    name: str
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    platform: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The ephemeral of a sampler: which machine and process speaks for a host."""

    machine: str
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One good sample as the engine saw it: `now` is the znode's mtime and the monotonic time of its arrival."""

    host: str
    sample: Sample
    now: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMatch:
    """Hosts by a glob on the name, or by labels that must all be equal."""

    glob: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell a channel, or one literal URL.

    Exactly one of `channel` and `url` is set.
    """

    channel: str | None = None
    url: str | None = field(default=None, repr=False)
    at: frozenset[Phase] = frozenset({Phase.FIRING, Phase.RESOLVED, Phase.CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a command: an argument vector, or a line for `/bin/sh -c`. `timeout` in seconds."""

    command: tuple[str, ...] | str
    timeout: float = 30.0
    at: frozenset[Phase] = frozenset({Phase.FIRING})


Action: TypeAlias = Notify | Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as the engine runs it.

    `actions` is None where the rule names none: then the default channels hear it. `instances` None means the
    family's whole value if it has one, else each instance; a tuple of globs means each instance that matches.
    `digest` covers what the condition is, so that another wording keeps the state. `source` is `file:line`.
    """

    name: str
    metric: Metric
    comparator: Comparator
    threshold: float
    duration: float = 0.0
    severity: Severity = Severity.WARNING
    actions: tuple[Action, ...] | None = None
    hosts: tuple[HostMatch, ...] = ()
    instances: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    summary: str = ""
    description: str = ""
    enabled: bool = True
    digest: str = ""
    source: str = ""


class Outcome(str, Enum):
    """What one look at a series says."""

    TRUE = "true"
    FALSE = "false"
    ELAPSED = "elapsed"  # a timer says that the duration ended within the cover of the last sample
    MISSING = "missing"  # a good sample of the family came without this instance


class Verdict(NamedTuple):
    """The outcome of a look, the value it saw, and how long the sample speaks (`cover`, seconds)."""

    outcome: Outcome
    value: float | None = None
    cover: float = 0.0


class Hold(NamedTuple):
    """How long a condition has held, up to a moment on both clocks.

    `held` seconds were covered by true samples until `at`/`mono`; the sample there speaks for `cover` seconds more,
    0 within a gap. `gaps` counts the spans that no sample covered.
    """

    held: float
    at: float
    mono: float
    cover: float
    gaps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The state of one series under one rule, from leaving inactive until it is inactive again.

    `since` is when the condition became true, `peak` the worst value seen, `writer` the stamp of the write that
    stored it. `missing` measures how long good samples have come without the alert's instance; a restart forgets it.
    """

    rule: str
    host: str
    instance: str | None = None
    state: State = State.INACTIVE
    episode: str = ""
    digest: str = ""
    severity: Severity = Severity.WARNING
    metric: Metric
    comparator: Comparator
    threshold: float
    value: float | None = None
    peak: float | None = None
    since: float = 0.0
    fired_at: float | None = None
    resolved_at: float | None = None
    hold: Hold | None = None
    missing: Hold | None = None
    writer: str = ""

    @property
    def id(self) -> str:
        """The six hex digits that people see and type."""
        return self.episode[:6]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that has to be told or done: one phase of one episode, with all that its message needs."""

    alert: Alert
    phase: Phase
    reason: Reason
    at: float
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    host_labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    instance_labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    summary: str = ""
    description: str = ""

    @property
    def id(self) -> str:
        """The name of its outbox znode: `<episode>.<phase>`."""
        return f"{self.alert.episode}.{self.phase.value}"

    @property
    def key(self) -> str:
        """What every message carries: `rule/series/episode/phase`."""
        alert = self.alert
        series = alert.host if alert.instance is None else f"{alert.host},{alert.instance}"
        return f"{alert.rule}/{series}/{alert.episode}/{self.phase.value}"


class DeliveryState(str, Enum):
    """How far one effect has got with one target.

    NEW: nothing was tried. CLAIMED: an engine is about to act, or died while it did. DELIVERED: done, and marked.
    FAILED: will not be tried again. UNKNOWN: a command was claimed by an engine that died: it may have run, and is
    never run again.
    """

    NEW = "new"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_done(self) -> bool:
        return self not in (DeliveryState.NEW, DeliveryState.CLAIMED)


class TargetKind(str, Enum):
    NOTIFY = "notify"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place that effects go to: one URL of a channel, or one command.

    `id` stands in the ledger and carries no secret; `name` is what logs and tables show (a channel's name, a
    masked URL, or the command's first word).
    """

    id: str
    kind: TargetKind
    name: str
    url: str | None = field(default=None, repr=False)
    run: Run | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One target's line in the ledger of an effect."""

    target: str
    kind: TargetKind
    name: str
    state: DeliveryState = DeliveryState.NEW
    attempts: int = 0
    at: float | None = None
    detail: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An effect in words: plain text, ready to send. `problem` names a template that failed.

    `fields` is what programs want of it (rule, host, severity, ...), as texts; webhooks get it beside the words.
    """

    key: str
    title: str
    body: str
    kind: MessageKind
    problem: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: EMPTY)


class SendState(str, Enum):
    """DELIVERED, FAILED, or UNKNOWN where nobody can tell (a time-out)."""

    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What came of one try: `detail` is a sentence without secrets, `seconds` how long it took.

    `is_retryable` says whether another try could end better; an UNKNOWN notification is retryable.
    """

    state: SendState
    is_retryable: bool = False
    detail: str = ""
    seconds: float = 0.0


class Level(str, Enum):
    """Whether a finding makes a document unusable (error) or only poorer (advice)."""

    ERROR = "error"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong with one document, at `line` and `column` (from 1; 0 where there is no place).

    `code` is stable and short (`unknown-key`), `message` says what was found, `expected` what was expected, `hint`
    the nearest right name or the cure. `text` is the source line.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    expected: str = ""
    hint: str = ""
    text: str = ""
    level: Level = Level.ERROR


class DocumentError(UsageError):
    """A document cannot be used; `findings` says why, all of it."""

    exit_code = 1

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"{first.file}:{first.line}:{first.column}: {first.message}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something read from ZooKeeper cannot be used: a short code to count by, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Files in PEM for TLS to ZooKeeper; `cert` and `key` where the server asks for a client certificate."""

    ca: str
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperSettings:
    """How to reach the ensemble: `hosts` as `host:port,...[/chroot]`, `digest` as `user:password`."""

    hosts: str
    root: str = "/zkalert"
    session_timeout: float = 10.0
    digest: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
