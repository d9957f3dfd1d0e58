"""The payload of `thresholds/<family>`: what the rules in force ask of a family."""

from __future__ import annotations

from typing import Any

from zkalert.model import Comparator, FamilyLimits, Limit, Problem
from zkalert.tree.codec import MAX_PAYLOAD, BadPayload, dump, guarded, number, optional, text_of

MAX_LIMITS = 256

_OF_PAIRS = frozenset({Comparator.BETWEEN, Comparator.OUTSIDE})
_OF_NUMBERS = frozenset(
    {Comparator.GT, Comparator.GE, Comparator.LT, Comparator.LE, Comparator.EQ, Comparator.NE}
)  # no patterns: what a sampler is to run for every reading comes from rule files alone


def encode_limits(limits: FamilyLimits) -> bytes:
    """Raises ValueError for a number that is not finite. What would be too long to be read asks for every sample."""
    document: dict[str, Any] = {
        "v": 1,
        "limits": [_encode_limit(limit) for limit in limits.limits],
        "texts": list(limits.texts),
        "full": limits.is_full,
        "quiet_after": limits.quiet_after,
        "settles": limits.settles,
    }
    payload = dump(document)
    if len(payload) <= MAX_PAYLOAD and len(limits.limits) <= MAX_LIMITS and len(limits.texts) <= MAX_LIMITS:
        return payload
    return dump(document | {"limits": [], "texts": [], "full": True})


def _encode_limit(limit: Limit) -> dict[str, Any]:
    threshold = limit.threshold
    document: dict[str, Any] = {
        "field": limit.field,
        "comparator": limit.comparator.value,
        "threshold": list(threshold) if isinstance(threshold, tuple) else threshold,
    }
    if limit.is_rate:
        document["rate"] = True
    if limit.by_instance:
        document["by_instance"] = True
    return document


def decode_limits(data: bytes | None) -> FamilyLimits | Problem:
    """What the rules in force ask of a family, or why nobody knows."""

    def parse(document: dict[str, Any]) -> FamilyLimits:
        if document.get("v") != 1:
            raise BadPayload("version", f"version {str(document.get('v'))[:20]} is not known here")
        limits, texts = document["limits"], document["texts"]
        if type(limits) is not list or type(texts) is not list or max(len(limits), len(texts)) > MAX_LIMITS:
            raise BadPayload("wrong-shape", f"limits and texts are no lists of at most {MAX_LIMITS}")
        settles, quiet_after = number(document["settles"], "settles"), optional(document["quiet_after"], "quiet_after")
        if settles < 0 or (quiet_after is not None and quiet_after <= 0):
            raise BadPayload("wrong-shape", "settles and quiet_after are spans")
        return FamilyLimits(
            limits=tuple(_limit_of(limit) for limit in limits),
            texts=tuple(text_of(name, "texts") for name in texts),
            is_full=document["full"] is not False,
            quiet_after=quiet_after,
            settles=settles,
        )

    return guarded(parse, data)


def _limit_of(document: dict[str, Any]) -> Limit:
    comparator = Comparator(document["comparator"])
    threshold = document["threshold"]
    found: float | tuple[float, float]
    if comparator in _OF_PAIRS:
        low, high = threshold
        found = (number(low, "threshold"), number(high, "threshold"))
    elif comparator in _OF_NUMBERS:
        found = number(threshold, "threshold")
    else:
        raise BadPayload("wrong-shape", f"no number is held against {comparator.value}")
    return Limit(
        field=text_of(document["field"], "field"),
        comparator=comparator,
        threshold=found,
        is_rate=document.get("rate") is True,
        by_instance=document.get("by_instance") is True,
    )
