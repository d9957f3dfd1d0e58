"""What a journal is made of: one record for everything that was decided, sent, answered or said.

Comes in: alerts, effects, results, facts, with the moment they were seen at. Goes out: records. Builders only pick
what is there, since the evaluator's thread calls them; texts are cut and cleaned where they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from zkalert.model import (
    EMPTY,
    Ack,
    Alert,
    Effect,
    Reason,
    SendResult,
    Severity,
    Silence,
    State,
    Target,
    TargetKind,
    Value,
)

NOBODY = "no channel hears it"
_MOST_TAIL = 2000  # characters of what a command wrote last


class Kind(str, Enum):
    """What a record tells of.

    TRANSITION: an alert's state or severity changed. WITHHELD: a message does not go out, for now or at all. RELEASED:
    one goes out. MESSAGE: one try to send it. DROPPED: it will not be told to these targets any more. ACTION: a
    command ran, or did not. SILENCE, ACK: somebody said something. RELOAD: other rules, or why the old ones stay.
    OWNERSHIP: this engine owns the tree, or does not any more. CONNECTION: that to ZooKeeper. DRILL: a message of
    something that has not happened. LOST: records that could not be kept.
    """

    TRANSITION = "transition"
    WITHHELD = "withheld"
    RELEASED = "released"
    MESSAGE = "message"
    DROPPED = "dropped"
    ACTION = "action"
    SILENCE = "silence"
    ACK = "ack"
    RELOAD = "reload"
    OWNERSHIP = "ownership"
    CONNECTION = "connection"
    DRILL = "drill"
    LOST = "lost"


class Stamp(NamedTuple):
    """When something was seen: epoch seconds of the ensemble's clock, and the newest transaction known (0: none)."""

    at: float
    zxid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the journal.

    `state` is where that which it tells of stands now (of an alert, a try, a connection); `reason` is one of a few
    words, `detail` a sentence. `target` is the name of who hears, without secrets. `seconds` is how long it took; of
    a transition, how long the condition had been true. `attempt` counts tries from 1, 0 for what is none. `data`
    holds what only some kinds have: numbers, texts, lists of them.
    """

    at: float
    kind: Kind
    zxid: int = 0
    rule: str = ""
    host: str = ""
    instance: str | None = None
    episode: str = ""
    severity: str = ""
    phase: str = ""
    target: str = ""
    state: str = ""
    reason: str = ""
    detail: str = ""
    value: Value | None = None
    seconds: float | None = None
    attempt: int = 0
    data: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    @property
    def alert(self) -> str:
        """The six hex digits that people see and type."""
        return self.episode[:6]


def is_transition(old: Alert, new: Alert) -> bool:
    """Whether a change is one that people want to see, and not only a step of a clock."""
    return old.state is not new.state or old.severity is not new.severity or old.episode != new.episode


def of_transition(stamp: Stamp, old: Alert, new: Alert, reason: Reason | None = None) -> Record:
    """An alert that changed, once that is written. Without `reason`, that of a change that tells nobody."""
    alert = new if new.episode else old  # what is inactive again has forgotten its episode
    if reason is None and (old.state, new.state) == (State.INACTIVE, State.PENDING):
        reason = Reason.CROSSED
    return Record(
        at=stamp.at,
        zxid=stamp.zxid,
        kind=Kind.TRANSITION,
        rule=alert.rule,
        host=alert.host,
        instance=alert.instance,
        episode=alert.episode,
        severity=alert.severity.value,
        state=new.state.value,
        reason="" if reason is None else reason.value,
        value=alert.value,
        seconds=max(0.0, stamp.at - alert.since) if alert.since else None,
        data={
            "from": old.state.value,
            "of": alert.subject or str(alert.metric),
            "unit": alert.unit,
            "comparator": alert.comparator.value,
            "threshold": alert.threshold,
        },
    )


def of_effect(
    stamp: Stamp, effect: Effect, targets: Iterable[Target] = (), why: str = "", *, kind: Kind | None = None
) -> Record:
    """What became of an effect before it was sent: `targets` will hear it, or they do not for the reason in `why`.

    `kind` is WITHHELD, RELEASED or DROPPED; None: RELEASED where there are targets and no reason, else WITHHELD.
    """
    names = [target.name for target in targets]
    if kind is None:
        kind = Kind.RELEASED if names and not why else Kind.WITHHELD
        why = why or ("" if names else NOBODY)
    return _of(
        stamp,
        effect,
        kind=Kind.DRILL if effect.is_drill else kind,
        target=", ".join(names),
        state=kind.value,
        reason=why,
        detail=effect.note,
    )


def of_told(  # noqa: PLR0913 - the parts of a try
    stamp: Stamp,
    effect: Effect,
    target: Target,
    result: SendResult,
    *,
    attempt: int,
    retry_in: float | None = None,
    is_repeat: bool = False,
    digest: str = "",
) -> Record:
    """One try at one target, a message or a command. Of a digest: one record for each effect in it.

    `retry_in` (seconds) is None where nothing more is tried; `is_repeat` says that it may have been told before.
    """
    data = {
        "retry_in": retry_in,
        "repeat": is_repeat or None,
        "digest": digest or None,
        "exit_code": result.exit_code,
        "tail": result.tail[-_MOST_TAIL:] or None,
    }
    kind = Kind.ACTION if target.kind is TargetKind.RUN else Kind.MESSAGE
    return _of(
        stamp,
        effect,
        kind=Kind.DRILL if effect.is_drill else kind,
        target=target.name,
        state=result.state.value,
        detail=result.detail,
        seconds=result.seconds,
        attempt=attempt,
        data={name: value for name, value in data.items() if value is not None},
    )


def of_silence(stamp: Stamp, old: Silence | None, new: Silence | None) -> Record | None:
    """A silence that came, changed or went (None: there is none). None for the renewal of a hold: many a minute."""
    silence = new or old
    if silence is None or (old is not None and new is not None and old.is_hold and new.is_hold):
        return None
    matchers = {"rule": silence.rule, "host": silence.host, "instance": silence.instance}
    severities = [severity.value for severity in Severity if severity in silence.severities]
    data = {
        "id": silence.id,
        "matchers": {name: glob for name, glob in matchers.items() if glob != "*"},
        "labels": dict(silence.labels) or None,
        "severities": severities if len(severities) < len(Severity) else None,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "cron": silence.cron or None,
        "timezone": silence.timezone if silence.cron else None,
        "span": silence.span or None,
        "author": silence.author or None,
        "hold": silence.is_hold or None,
    }
    return Record(
        at=stamp.at,
        zxid=stamp.zxid,
        kind=Kind.SILENCE,
        state=_came_or_went(old, new),
        detail=silence.comment,
        data={name: value for name, value in data.items() if value is not None},
    )


def of_ack(stamp: Stamp, old: Ack | None, new: Ack | None, alert: Alert | None = None) -> Record | None:
    """An acknowledgement that came, changed or went; `alert` is the one it is of, where that is known."""
    ack = new or old
    if ack is None:
        return None
    data = {"author": ack.author or None, "ends_at": ack.ends_at}
    return Record(
        at=stamp.at,
        zxid=stamp.zxid,
        kind=Kind.ACK,
        rule="" if alert is None else alert.rule,
        host="" if alert is None else alert.host,
        instance=None if alert is None else alert.instance,
        episode=ack.episode,
        severity="" if alert is None else alert.severity.value,
        state=_came_or_went(old, new),
        detail=ack.comment,
        data={name: value for name, value in data.items() if value is not None},
    )


def of_reload(stamp: Stamp, digest: str, rules: int, by: str = "", *, problem: str = "") -> Record:
    """A set of `rules` rules is in force from now on; with `problem` it is not, and the old one stays.

    `by` says who asked: a signal, a file that changed, who pushed the set.
    """
    return Record(
        at=stamp.at,
        zxid=stamp.zxid,
        kind=Kind.RELOAD,
        state="refused" if problem else "loaded",
        reason=by,
        detail=problem,
        data={"digest": digest, "rules": rules},
    )


def of_ownership(stamp: Stamp, state: str, *, engine: str = "", shard: int = 0, detail: str = "") -> Record:
    """What this engine is to a shard changed: `state` is a word such as taken, lost, waiting."""
    data: dict[str, Any] = {"shard": shard}
    if engine:
        data["engine"] = engine
    return Record(at=stamp.at, zxid=stamp.zxid, kind=Kind.OWNERSHIP, state=state, detail=detail, data=data)


def of_connection(stamp: Stamp, state: str, detail: str = "") -> Record:
    """The connection to ZooKeeper changed: `state` is connected, suspended or lost."""
    return Record(at=stamp.at, zxid=stamp.zxid, kind=Kind.CONNECTION, state=state, detail=detail)


def _of(stamp: Stamp, effect: Effect, *, kind: Kind, **more: Any) -> Record:
    alert = effect.alert
    return Record(
        at=stamp.at,
        zxid=stamp.zxid,
        kind=kind,
        rule=alert.rule,
        host=alert.host,
        instance=alert.instance,
        episode=alert.episode,
        severity=alert.severity.value,
        phase=effect.name or effect.phase.value,
        **more,
    )


def _came_or_went(old: object, new: object) -> str:
    return "removed" if new is None else "added" if old is None else "changed"
