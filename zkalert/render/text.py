"""Text that can be sent: cleaned of what steers, and cut.

Comes in: a text that anybody may have written. Goes out: one line, or a text of bounded length, in valid UTF-8.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

# Control characters, lone surrogates, line separators, and the marks that turn the direction of writing: a name that
# holds them could break a mail's subject, a terminal, or the reading of what follows it.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_NOT_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_NOT_IN_LINE = re.compile(f"[\t\n{_UNSAFE}]+")


def clean(text: str) -> str:
    """The text with marks in place of what steers; its lines stay."""
    return _NOT_IN_TEXT.sub("\ufffd", text)


def line(text: str, most: int) -> str:
    """One line of at most `most` characters."""
    one = _NOT_IN_LINE.sub(" ", text).strip()
    return one if len(one) <= most else one[: most - 1] + "…"


def clip(text: str, most: int) -> str:
    """At most `most` bytes of UTF-8, cut between characters."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 3].decode("utf-8", "ignore") + "…"


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, whole seconds; the bare number where no calendar has it."""
    return _written(at, "%Y-%m-%dT%H:%M:%SZ")


def clock_time(at: float) -> str:
    """Epoch seconds as people write them, in UTC: `2026-11-23 19:39 UTC`."""
    return _written(at, "%Y-%m-%d %H:%M UTC")


def _written(at: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(at, tz=timezone.utc).strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f}"
