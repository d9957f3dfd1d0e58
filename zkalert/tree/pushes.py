"""The payload of a family that applications push: a sample, and since when each part of it stands.

Comes in: a sample, and epoch seconds by the name of an instance (the whole has an empty name). Goes out: bytes, and
from bytes that anybody may have written the same again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from zkalert.model import Problem, Sample
from zkalert.tree.codec import dump, guarded, number, text_of
from zkalert.tree.payloads import decode_sample, encode_sample

WHOLE = ""
"""The name of the whole among the parts of a push."""


class Push(NamedTuple):
    """A sample, and when each part of it was pushed (epoch seconds of whoever pushed it)."""

    sample: Sample
    parts: Mapping[str, float]


def encode_push(push: Push) -> bytes:
    """As `encode_sample`, with `pushed` beside it. Raises ValueError for a number that is not finite."""
    document = json.loads(encode_sample(push.sample))
    document["pushed"] = {name: round(at, 3) for name, at in push.parts.items()}
    return dump(document)


def decode_push(family: str, data: bytes | None) -> Push | Problem:
    """A push as it was written; of a sample without `pushed` every part is as old as the sample."""
    sample = decode_sample(family, data)
    if isinstance(sample, Problem):
        return sample

    def parse(document: dict[str, Any]) -> Push:
        told = document.get("pushed", {})
        parts = {text_of(name, "pushed"): number(at, "pushed") for name, at in told.items()}
        return Push(sample, {name: parts.get(name, sample.at) for name in (WHOLE, *sample.instances)})

    return guarded(parse, data)
