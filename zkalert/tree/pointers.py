"""What of a znode's data rules can name: JSON pointers.

Comes in: bytes that nobody of us wrote. Goes out: names; nothing raises.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from zkalert.tree.codec import MAX_PAYLOAD

MOST_POINTERS = 40

_MOST_LENGTH = 128  # characters; longer ones cannot be named


def pointers_in(data: bytes | None) -> tuple[str, ...]:
    """JSON pointers (RFC 6901) to what the top two levels of some data hold, in their order; at most MOST_POINTERS.

    A list in it is one thing, which gives its length; where the data itself is a list, its elements are the top level.
    None where it is no JSON, or too long to be read.
    """
    if not data or len(data) > MAX_PAYLOAD:
        return ()
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    return tuple(islice(_pointers(document), MOST_POINTERS))


def _pointers(document: Any) -> Iterator[str]:
    items = enumerate(document) if isinstance(document, list) else _items(document)
    for step, value in items:
        top = f"/{_escaped(step)}"
        for pointer in (top, *(f"{top}/{_escaped(below)}" for below, _ in _items(value))):
            if len(pointer) <= _MOST_LENGTH and pointer.isprintable():
                yield pointer


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
