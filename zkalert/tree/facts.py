"""Payloads of what people say of alerts, one znode a fact: silences and acknowledgements."""

from __future__ import annotations

from typing import Any

from zkalert.model import FOR_GOOD, MAX_SPAN, Ack, Problem, Severity, Silence
from zkalert.tree.codec import BadPayload, dump, guarded, number, text_of, texts_of, whole

MAX_COMMENT = 1024


def encode_silence(silence: Silence) -> bytes:
    return dump(
        {
            "v": 1,
            "rule": silence.rule,
            "host": silence.host,
            "instance": silence.instance,
            "severities": sorted(severity.value for severity in silence.severities),
            "labels": dict(silence.labels),
            "starts_at": silence.starts_at,
            "ends_at": silence.ends_at,
            "cron": silence.cron,
            "timezone": silence.timezone,
            "span": silence.span,
            "comment": silence.comment,
            "author": silence.author,
            "hold": silence.is_hold,
        }
    )


def decode_silence(id_: str, data: bytes | None) -> Silence | Problem:
    """The silence in the znode of this id."""

    def parse(document: dict[str, Any]) -> Silence:
        return Silence(
            id=id_,
            rule=text_of(document["rule"], "rule"),
            host=text_of(document["host"], "host"),
            instance=text_of(document["instance"], "instance", 1024),
            severities=frozenset(Severity(severity) for severity in document["severities"]),
            labels=texts_of(document["labels"], "labels"),
            starts_at=_moment(document["starts_at"], "starts_at"),
            ends_at=_moment(document["ends_at"], "ends_at"),
            cron=text_of(document.get("cron", ""), "cron"),
            timezone=text_of(document.get("timezone", "UTC"), "timezone"),
            span=_within(document.get("span", 0), "span", MAX_SPAN),
            comment=text_of(document.get("comment", ""), "comment", MAX_COMMENT),
            author=text_of(document.get("author", ""), "author"),
            is_hold=document.get("hold") is True,
        )

    return guarded(parse, data)


def encode_ack(ack: Ack) -> bytes:
    return dump(ack_document(ack) | {"v": 1})


def decode_ack(data: bytes | None) -> Ack | Problem:
    return guarded(parse_ack, data)


def ack_document(ack: Ack) -> dict[str, Any]:
    return {
        "episode": ack.episode,
        "at": ack.at,
        "ends_at": ack.ends_at,
        "rises": ack.rises,
        "author": ack.author,
        "comment": ack.comment,
    }


def parse_ack(document: dict[str, Any]) -> Ack:
    """The parser of an acknowledgement, for those that are part of another document too."""
    return Ack(
        episode=text_of(document["episode"], "episode", 64),
        at=_moment(document["at"], "at"),
        ends_at=None if document["ends_at"] is None else _moment(document["ends_at"], "ends_at"),
        rises=whole(document.get("rises", 0), "rises"),
        author=text_of(document.get("author", ""), "author"),
        comment=text_of(document.get("comment", ""), "comment", MAX_COMMENT),
    )


def _moment(value: object, what: str) -> float:
    """Epoch seconds that have a date."""
    return _within(value, what, FOR_GOOD)


def _within(value: object, what: str, most: float) -> float:
    found = number(value, what)
    if not 0 <= found <= most:
        raise BadPayload("wrong-shape", f"{what} is not from 0 to {most:.0f}")
    return found
