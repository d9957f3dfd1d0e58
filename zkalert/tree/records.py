"""Payloads of alerts and of the ledger of what is told: each encoder beside its decoder."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from zkalert.model import (
    ActionResult,
    Alert,
    Clock,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    Hold,
    Metric,
    OutboxEntry,
    Phase,
    Problem,
    Reason,
    Severity,
    State,
    TargetKind,
    Threshold,
    Value,
)
from zkalert.tree.codec import (
    MAX_RECORD,
    BadPayload,
    dump,
    guarded,
    number,
    optional,
    text_of,
    texts_of,
    values_of,
    whole,
)
from zkalert.tree.facts import ack_document, parse_ack

MAX_INSTANCE = 1024
"""Characters in the name of an instance, as of a znode's path."""
MAX_METRIC = 2 * MAX_INSTANCE


def encode_alert(alert: Alert) -> bytes:
    return dump(_alert_document(alert) | {"v": 1})


def decode_alert(data: bytes | None) -> Alert | Problem:
    return guarded(_parse_alert, data, MAX_RECORD)


def encode_entry(entry: OutboxEntry) -> bytes:
    effect = entry.effect
    return dump(
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
            "note": effect.note,
            "drill": effect.is_drill,
            "deliveries": [
                {
                    "target": delivery.target,
                    "kind": delivery.kind.value,
                    "name": delivery.name,
                    "state": delivery.state.value,
                    "attempts": delivery.attempts,
                    "at": delivery.at,
                    "detail": delivery.detail,
                    "digest": delivery.digest,
                    "since": delivery.since,
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
                at=number(document["at"], "at"),
                name=text_of(document["name"], "name"),
                escalation=None if document["escalation"] is None else whole(document["escalation"], "escalation"),
                labels=texts_of(document["labels"], "labels"),
                host_labels=texts_of(document["host_labels"], "host_labels"),
                instance_labels=texts_of(document["instance_labels"], "instance_labels"),
                readings=values_of(document["readings"], "readings"),
                summary=text_of(document["summary"], "summary", 4096),
                description=text_of(document["description"], "description", 4096),
                runbook=text_of(document["runbook"], "runbook", 4096),
                note=text_of(document.get("note", ""), "note", 1024),
                is_drill=document.get("drill") is True,
            ),
            deliveries=tuple(_parse_delivery(delivery) for delivery in document["deliveries"]),
            writer=text_of(document["writer"], "writer"),
        )

    return guarded(parse, data, MAX_RECORD)


def _parse_delivery(document: dict[str, Any]) -> Delivery:
    return Delivery(
        target=text_of(document["target"], "target"),
        kind=TargetKind(document["kind"]),
        name=text_of(document["name"], "name"),
        state=DeliveryState(document["state"]),
        attempts=whole(document["attempts"], "attempts"),
        at=optional(document["at"], "at"),
        detail=text_of(document["detail"], "detail", 1024),
        digest=text_of(document.get("digest", ""), "digest"),
        since=optional(document.get("since"), "since"),
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
        "ack": None if alert.ack is None else ack_document(alert.ack),
        "heard": alert.heard,
        "actions": [_result_document(result) for result in alert.actions],
        "writer": alert.writer,
    }


def _result_document(result: ActionResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "phase": result.phase,
        "at": result.at,
        "seconds": result.seconds,
        "exit_code": result.exit_code,
        "detail": result.detail,
        "tail": result.tail,
    }


def _hold_document(hold: Hold | None) -> list[float] | None:
    return None if hold is None else [hold.held, hold.at, hold.cover, hold.gaps]


def _parse_alert(document: dict[str, Any]) -> Alert:
    metric = Metric.of(text_of(document["metric"], "metric", MAX_METRIC))
    if not metric.field:
        raise BadPayload("wrong-shape", "metric is no family with a field")
    instance, members = document["instance"], document["members"]
    return Alert(
        rule=text_of(document["rule"], "rule"),
        host=text_of(document["host"], "host"),
        instance=None if instance is None else text_of(instance, "instance", MAX_INSTANCE),
        state=State(document["state"]),
        episode=text_of(document["episode"], "episode", 64),
        digest=text_of(document["digest"], "digest"),
        severity=Severity(document["severity"]),
        metric=metric,
        subject=text_of(document["subject"], "subject", 1024),
        unit=text_of(document["unit"], "unit"),
        comparator=Comparator(document["comparator"]),
        threshold=_threshold(document["threshold"], "threshold"),
        clear=_threshold(document["clear"], "clear"),
        value=_value(document["value"], "value"),
        values=tuple(_value(value, "values") for value in document["values"]),
        members=None if members is None else (whole(members[0], "members"), whole(members[1], "members")),
        peak=_value(document["peak"], "peak"),
        since=number(document["since"], "since"),
        fired_at=optional(document["fired_at"], "fired_at"),
        resolved_at=optional(document["resolved_at"], "resolved_at"),
        clocks=tuple(_parse_clock(clock) for clock in document["clocks"]),
        told=tuple(Severity(severity) for severity in document["told"]),
        rises=whole(document["rises"], "rises"),
        repeats=whole(document["repeats"], "repeats"),
        repeat_at=optional(document["repeat_at"], "repeat_at"),
        escalations=whole(document["escalations"], "escalations"),
        escalate_at=optional(document["escalate_at"], "escalate_at"),
        is_quiet=document["is_quiet"] is True,
        ack=None if document.get("ack") is None else parse_ack(document["ack"]),
        heard=tuple(text_of(target, "heard") for target in document.get("heard", ())),
        actions=tuple(_parse_result(result) for result in document.get("actions", ())),
        writer=text_of(document["writer"], "writer"),
    )


def _parse_result(document: dict[str, Any]) -> ActionResult:
    code = document["exit_code"]
    return ActionResult(
        name=text_of(document["name"], "name"),
        phase=text_of(document["phase"], "phase"),
        at=number(document["at"], "at"),
        seconds=number(document["seconds"], "seconds"),
        exit_code=None if code is None else whole(code, "exit_code"),
        detail=text_of(document["detail"], "detail", 1024),
        tail=text_of(document["tail"], "tail", 4096),
    )


def _value(value: object, what: str) -> Value | None:
    if value is None or type(value) is str:
        return None if value is None else text_of(value, what)
    return number(value, what)


def _threshold(value: object, what: str) -> Threshold:
    if type(value) is list:
        low, high = (number(end, what) for end in value)
        return (low, high)
    return text_of(value, what, 1024) if type(value) is str else optional(value, what)


def _parse_clock(parts: Iterable[Any]) -> Clock:
    state, hold, clearing, spans = parts
    return Clock(
        state=State(state),
        hold=_parse_hold(hold),
        clearing=_parse_hold(clearing),
        spans=tuple((number(begin, "spans"), number(end, "spans")) for begin, end in spans),
    )


def _parse_hold(parts: Iterable[object] | None) -> Hold | None:
    if parts is None:
        return None
    held, at, cover, gaps = (number(part, "hold") for part in parts)
    return Hold(held=held, at=at, mono=-math.inf, cover=cover, gaps=whole(gaps, "gaps"))
