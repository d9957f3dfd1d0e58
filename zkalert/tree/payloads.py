"""Every payload: each encoder beside its decoder.

Comes in: values, or bytes that anybody may have written. Goes out: bytes, or a value, or a `Problem` that says why
there is none. Decoding never raises: what comes from ZooKeeper is input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from zkalert.model import (
    Alert,
    Alive,
    Clock,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    Hold,
    HostInfo,
    Metric,
    OutboxEntry,
    Phase,
    Problem,
    Reason,
    Sample,
    Severity,
    State,
    TargetKind,
    Threshold,
    Value,
)

LAYOUT_VERSION = 1
MAX_PAYLOAD = 64 * 1024
MAX_RECORD = 192 * 1024  # what we write ourselves, with texts and labels of the user's own; it fits into a transaction
MAX_INSTANCES = 256
MAX_TEXT = 256

_T = TypeVar("_T")


class _BadPayload(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, message: str) -> None:
        self.problem = Problem(code=code, message=message)


def _refuse_constant(text: str) -> NoReturn:
    raise _BadPayload("not-finite", f"{text} is no finite number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _guarded(parse: Callable[[dict[str, Any]], _T], data: bytes | None, limit: int = MAX_PAYLOAD) -> _T | Problem:
    """Run one parser on a JSON object of at most `limit` bytes; whatever is wrong becomes a Problem."""
    if not data:
        return Problem(code="empty", message="no data")
    if len(data) > limit:
        return Problem(code="too-large", message=f"{len(data)} bytes, at most {limit} are read")
    try:
        document = _DECODER.decode(data.decode("utf-8"))
        if type(document) is not dict:
            return Problem(code="wrong-shape", message="not a JSON object")
        return parse(document)
    except _BadPayload as bad:
        return bad.problem
    except (UnicodeDecodeError, json.JSONDecodeError):
        return Problem(code="not-json", message="not JSON in UTF-8")
    except RecursionError:
        return Problem(code="too-deep", message="nested too deeply")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return Problem(code="wrong-shape", message=f"{type(error).__name__}: {str(error)[:80]}")


def _dump(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as of a file name that is no UTF-8
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _number(value: object, what: str) -> float:
    """A finite JSON number. (A literal such as 1e999 becomes infinite without passing parse_constant.)"""
    kind = type(value)
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return value  # type: ignore[return-value]
    if kind is int and -(2**63) <= value <= 2**64:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    raise _BadPayload("not-finite" if kind in (int, float) else "wrong-shape", f"{what} is no finite number")


def _whole(value: object, what: str) -> int:
    """A whole number; a fraction is cut off."""
    number = int(_number(value, what))
    return int(_number(number, what))  # a float may hold one that is beyond what is written


def _optional(value: object, what: str) -> float | None:
    return None if value is None else _number(value, what)


def _text(value: object, what: str, limit: int = MAX_TEXT) -> str:
    if type(value) is not str or len(value) > limit:
        raise _BadPayload("wrong-shape", f"{what} is no text of at most {limit} characters")
    return value


def _texts(value: object, what: str, limit: int = MAX_TEXT) -> dict[str, str]:
    if type(value) is not dict:
        raise _BadPayload("wrong-shape", f"{what} is no object")
    return {_text(key, what): _text(text, what, limit) for key, text in value.items()}


def _values(values: object, what: str) -> dict[str, Value]:
    """Check in place and hand back what was decoded: this runs for every sample."""
    if type(values) is not dict:
        raise _BadPayload("wrong-shape", f"{what} is no object")
    for name, value in values.items():
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                raise _BadPayload("not-finite", f"{what}.{name[:40]} is no finite number")
        elif kind is int:
            _number(value, name[:40])
        elif kind is not str or len(value) > MAX_TEXT:
            raise _BadPayload("wrong-shape", f"{what}.{name[:40]} is neither a number nor a short text")
    return values


def encode_sample(sample: Sample) -> bytes:
    """The payload of a family's znode. Raises ValueError for a number that is not finite."""
    document: dict[str, Any] = {
        "v": 1,
        "time": round(sample.at, 3),
        "interval": sample.interval,
        "max_age": sample.max_age,
        "values": dict(sample.values),
    }
    if sample.instances:
        document["instances"] = {name: dict(values) for name, values in sample.instances.items()}
    if sample.labels:
        document["labels"] = {name: dict(labels) for name, labels in sample.labels.items()}
    if sample.errors:
        document["errors"] = list(sample.errors)
    return _dump(document)


def decode_sample(family: str, data: bytes | None) -> Sample | Problem:
    """The sample in a family's znode, or why there is none."""

    def parse(document: dict[str, Any]) -> Sample:
        if document.get("v") != 1:
            raise _BadPayload("version", f"version {str(document.get('v'))[:20]} is not known here")
        instances = document.get("instances")
        if instances:
            if type(instances) is not dict or len(instances) > MAX_INSTANCES:
                raise _BadPayload("wrong-shape", f"instances is no object of at most {MAX_INSTANCES}")
            for name, values in instances.items():
                _values(values, _text(name, "the name of an instance")[:40])
        labels = document.get("labels")
        max_age = _number(document["max_age"], "max_age")
        interval = _number(document["interval"], "interval")
        if max_age <= 0 or interval <= 0:
            raise _BadPayload("wrong-shape", "interval and max_age are spans above 0")
        return Sample(
            family=family,
            at=_number(document["time"], "time"),
            interval=interval,
            max_age=max_age,
            values=_values(document.get("values", {}), "values"),
            instances=instances or {},
            labels={_text(name, "labels"): _texts(texts, "labels") for name, texts in labels.items()} if labels else {},
            errors=tuple(_text(error, "errors", 1024) for error in document.get("errors", ())),
        )

    return _guarded(parse, data)


def encode_layout() -> bytes:
    return _dump({"version": LAYOUT_VERSION})


def decode_layout(data: bytes | None) -> int | Problem:
    """The version of the tree's layout."""
    return _guarded(lambda document: _whole(document["version"], "version"), data)


def encode_host(host: HostInfo) -> bytes:
    return _dump(
        {"v": 1, "name": host.name, "labels": dict(host.labels), "platform": host.platform, "version": host.version}
    )


def decode_host(data: bytes | None) -> HostInfo | Problem:
    def parse(document: dict[str, Any]) -> HostInfo:
        return HostInfo(
            name=_text(document["name"], "name"),
            labels=_texts(document.get("labels", {}), "labels"),
            platform=_text(document.get("platform", ""), "platform"),
            version=_text(document.get("version", ""), "version"),
        )

    return _guarded(parse, data, MAX_RECORD)


def encode_alive(alive: Alive) -> bytes:
    return _dump({"v": 1, "machine": alive.machine, "pid": alive.pid, "started": round(alive.started_at, 3)})


def decode_alive(data: bytes | None) -> Alive | Problem:
    def parse(document: dict[str, Any]) -> Alive:
        return Alive(
            machine=_text(document["machine"], "machine"),
            pid=_whole(document["pid"], "pid"),
            started_at=_number(document["started"], "started"),
        )

    return _guarded(parse, data)


def encode_engine(*, version: str, digest: str, host: str, pid: int) -> bytes:
    return _dump({"v": 1, "version": version, "rules": digest, "host": host, "pid": pid})


def decode_engine(data: bytes | None) -> str | Problem:
    """How to name an engine to people: `web1 (pid 4711)`."""
    return _guarded(lambda document: f"{_text(document['host'], 'host')} (pid {_whole(document['pid'], 'pid')})", data)


def encode_seen(at: float) -> bytes:
    return _dump({"v": 1, "seen": round(at, 3)})


def decode_seen(data: bytes | None) -> float | Problem:
    """Until when (epoch seconds) the owner of a shard watched it."""
    return _guarded(lambda document: _number(document["seen"], "seen"), data)


def encode_alert(alert: Alert) -> bytes:
    return _dump(_alert_document(alert) | {"v": 1})


def decode_alert(data: bytes | None) -> Alert | Problem:
    return _guarded(_parse_alert, data, MAX_RECORD)


def encode_entry(entry: OutboxEntry) -> bytes:
    effect = entry.effect
    return _dump(
        {
            "v": 1,
            "writer": entry.writer,
            "phase": effect.phase.value,
            "reason": effect.reason.value,
            "at": effect.at,
            "name": effect.name,
            "escalation": effect.escalation,
            "alert": _alert_document(effect.alert),
            "labels": dict(effect.labels),
            "host_labels": dict(effect.host_labels),
            "instance_labels": dict(effect.instance_labels),
            "readings": dict(effect.readings),
            "summary": effect.summary,
            "description": effect.description,
            "runbook": effect.runbook,
            "deliveries": [
                {
                    "target": delivery.target,
                    "kind": delivery.kind.value,
                    "name": delivery.name,
                    "state": delivery.state.value,
                    "attempts": delivery.attempts,
                    "at": delivery.at,
                    "detail": delivery.detail,
                }
                for delivery in entry.deliveries
            ],
        }
    )


def decode_entry(data: bytes | None) -> OutboxEntry | Problem:
    def parse(document: dict[str, Any]) -> OutboxEntry:
        return OutboxEntry(
            effect=Effect(
                alert=_parse_alert(document["alert"]),
                phase=Phase(document["phase"]),
                reason=Reason(document["reason"]),
                at=_number(document["at"], "at"),
                name=_text(document["name"], "name"),
                escalation=None if document["escalation"] is None else _whole(document["escalation"], "escalation"),
                labels=_texts(document["labels"], "labels"),
                host_labels=_texts(document["host_labels"], "host_labels"),
                instance_labels=_texts(document["instance_labels"], "instance_labels"),
                readings=_values(document["readings"], "readings"),
                summary=_text(document["summary"], "summary", 4096),
                description=_text(document["description"], "description", 4096),
                runbook=_text(document["runbook"], "runbook", 4096),
            ),
            deliveries=tuple(_parse_delivery(delivery) for delivery in document["deliveries"]),
            writer=_text(document["writer"], "writer"),
        )

    return _guarded(parse, data, MAX_RECORD)


def _parse_delivery(document: dict[str, Any]) -> Delivery:
    return Delivery(
        target=_text(document["target"], "target"),
        kind=TargetKind(document["kind"]),
        name=_text(document["name"], "name"),
        state=DeliveryState(document["state"]),
        attempts=_whole(document["attempts"], "attempts"),
        at=_optional(document["at"], "at"),
        detail=_text(document["detail"], "detail", 1024),
    )


def _alert_document(alert: Alert) -> dict[str, Any]:
    return {
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance,
        "state": alert.state.value,
        "episode": alert.episode,
        "digest": alert.digest,
        "severity": alert.severity.value,
        "metric": str(alert.metric),
        "subject": alert.subject,
        "unit": alert.unit,
        "comparator": alert.comparator.value,
        "threshold": alert.threshold,
        "clear": alert.clear,
        "value": alert.value,
        "values": alert.values,
        "members": alert.members,
        "peak": alert.peak,
        "since": alert.since,
        "fired_at": alert.fired_at,
        "resolved_at": alert.resolved_at,
        "clocks": [
            [clock.state.value, _hold_document(clock.hold), _hold_document(clock.clearing), clock.spans]
            for clock in alert.clocks
        ],
        "told": [severity.value for severity in alert.told],
        "rises": alert.rises,
        "repeats": alert.repeats,
        "repeat_at": alert.repeat_at,
        "escalations": alert.escalations,
        "escalate_at": alert.escalate_at,
        "is_quiet": alert.is_quiet,
        "writer": alert.writer,
    }


def _hold_document(hold: Hold | None) -> list[float] | None:
    return None if hold is None else [hold.held, hold.at, hold.cover, hold.gaps]


def _parse_alert(document: dict[str, Any]) -> Alert:
    family, _, field = _text(document["metric"], "metric").partition(".")
    if not field:
        raise _BadPayload("wrong-shape", "metric is no family with a field")
    instance, members = document["instance"], document["members"]
    return Alert(
        rule=_text(document["rule"], "rule"),
        host=_text(document["host"], "host"),
        instance=None if instance is None else _text(instance, "instance"),
        state=State(document["state"]),
        episode=_text(document["episode"], "episode", 64),
        digest=_text(document["digest"], "digest"),
        severity=Severity(document["severity"]),
        metric=Metric(family, field),
        subject=_text(document["subject"], "subject", 1024),
        unit=_text(document["unit"], "unit"),
        comparator=Comparator(document["comparator"]),
        threshold=_threshold(document["threshold"], "threshold"),
        clear=_threshold(document["clear"], "clear"),
        value=_value(document["value"], "value"),
        values=tuple(_value(value, "values") for value in document["values"]),
        members=None if members is None else (_whole(members[0], "members"), _whole(members[1], "members")),
        peak=_value(document["peak"], "peak"),
        since=_number(document["since"], "since"),
        fired_at=_optional(document["fired_at"], "fired_at"),
        resolved_at=_optional(document["resolved_at"], "resolved_at"),
        clocks=tuple(_parse_clock(clock) for clock in document["clocks"]),
        told=tuple(Severity(severity) for severity in document["told"]),
        rises=_whole(document["rises"], "rises"),
        repeats=_whole(document["repeats"], "repeats"),
        repeat_at=_optional(document["repeat_at"], "repeat_at"),
        escalations=_whole(document["escalations"], "escalations"),
        escalate_at=_optional(document["escalate_at"], "escalate_at"),
        is_quiet=document["is_quiet"] is True,
        writer=_text(document["writer"], "writer"),
    )


def _value(value: object, what: str) -> Value | None:
    if value is None or type(value) is str:
        return None if value is None else _text(value, what)
    return _number(value, what)


def _threshold(value: object, what: str) -> Threshold:
    if type(value) is list:
        low, high = (_number(end, what) for end in value)
        return (low, high)
    return _text(value, what, 1024) if type(value) is str else _optional(value, what)


def _parse_clock(parts: Iterable[Any]) -> Clock:
    state, hold, clearing, spans = parts
    return Clock(
        state=State(state),
        hold=_parse_hold(hold),
        clearing=_parse_hold(clearing),
        spans=tuple((_number(begin, "spans"), _number(end, "spans")) for begin, end in spans),
    )


def _parse_hold(parts: Iterable[object] | None) -> Hold | None:
    if parts is None:
        return None
    held, at, cover, gaps = (_number(part, "hold") for part in parts)
    return Hold(held=held, at=at, mono=-math.inf, cover=cover, gaps=_whole(gaps, "gaps"))
