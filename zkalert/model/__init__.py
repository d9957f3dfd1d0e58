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

from zkalert.model.alerts import (
    ActionResult,
    Alert,
    Clock,
    Effect,
    Hold,
    Outcome,
    Phase,
    Reason,
    State,
    Verdict,
)
from zkalert.model.base import (
    EMPTY,
    DocumentError,
    Finding,
    HostNameTaken,
    LayoutTooNew,
    Level,
    Problem,
    ServerUnavailable,
    UsageError,
    Value,
    ZkalertError,
)
from zkalert.model.channels import (
    GROUP_WORDS,
    Channel,
    Format,
    QuietHours,
    Rate,
    Route,
)
from zkalert.model.delivery import (
    Delivery,
    DeliveryState,
    Message,
    MessageKind,
    OutboxEntry,
    SendResult,
    SendState,
    Target,
    TargetKind,
)
from zkalert.model.rules import (
    MEMBERS_HOST,
    Across,
    Action,
    Brake,
    Condition,
    Escalation,
    Flap,
    HostMatch,
    Join,
    NoData,
    Notify,
    Of,
    Override,
    Quiet,
    Rule,
    Run,
    Schedule,
    Stat,
    Step,
    Term,
    Total,
    Where,
    Window,
)
from zkalert.model.rulewords import (
    Comparator,
    Severity,
    Threshold,
)
from zkalert.model.samples import (
    Alive,
    HostInfo,
    Metric,
    Moment,
    Observation,
    Sample,
)
from zkalert.model.settings import (
    TlsSettings,
    ZookeeperSettings,
)
from zkalert.model.silences import Ack, Silence

__all__ = [
    "EMPTY",
    "GROUP_WORDS",
    "MEMBERS_HOST",
    "Ack",
    "Across",
    "Action",
    "ActionResult",
    "Alert",
    "Alive",
    "Brake",
    "Channel",
    "Clock",
    "Comparator",
    "Condition",
    "Delivery",
    "DeliveryState",
    "DocumentError",
    "Effect",
    "Escalation",
    "Finding",
    "Flap",
    "Format",
    "Hold",
    "HostInfo",
    "HostMatch",
    "HostNameTaken",
    "Join",
    "LayoutTooNew",
    "Level",
    "Message",
    "MessageKind",
    "Metric",
    "Moment",
    "NoData",
    "Notify",
    "Observation",
    "Of",
    "OutboxEntry",
    "Outcome",
    "Override",
    "Phase",
    "Problem",
    "Quiet",
    "QuietHours",
    "Rate",
    "Reason",
    "Route",
    "Rule",
    "Run",
    "Sample",
    "Schedule",
    "SendResult",
    "SendState",
    "ServerUnavailable",
    "Severity",
    "Silence",
    "Stat",
    "State",
    "Step",
    "Target",
    "TargetKind",
    "Term",
    "Threshold",
    "TlsSettings",
    "Total",
    "UsageError",
    "Value",
    "Verdict",
    "Where",
    "Window",
    "ZkalertError",
    "ZookeeperSettings",
]
