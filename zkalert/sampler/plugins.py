"""What a check command says under the monitoring-plugins contract: a status, a line for people, performance data.

Comes in: its output, which may be anything. Goes out: fields of the family `command`. Nothing here runs a command.

The contract: https://www.monitoring-plugins.org/doc/guidelines.html. Performance data follow a `|` on the first line,
and another `|` on a later one begins more of them, to the end:
`'label'=value[UOM];[warn];[crit];[min];[max]`, several between spaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from zkalert.model import Value
from zkalert.process import clean_line
from zkalert.tree import MAX_TEXT

MAX_FIELDS = 64
"""Fields of performance data that are kept of one command."""
MAX_LABEL = 64
MAX_ITEMS = 256
"""Texts between spaces that are looked at for an item: output may be made to take long."""

OWN_FIELDS = frozenset({"status", "unknown", "seconds", "output"})

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_ITEM = re.compile(
    rf"(?:'((?:[^']|''){{1,256}})'|([^\s='|]+))=(?:({_NUMBER})([^\s;\d]{{0,8}})|U)((?:;[^\s;]*){{0,4}})(?=\s|$)"
)
_WORD = re.compile(r"\S+")
_LONE = re.compile(_NUMBER)
_RANGE = re.compile(rf"@?(?:(~|{_NUMBER})?:)?({_NUMBER})?")
_SPANS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9}
_SIZES = {"B": 1.0} | {
    f"{prefix}{infix}B": float(base**power)
    for power, letters in enumerate(("kK", "M", "G", "T", "P"), start=1)
    for prefix in letters
    for infix, base in (("", 1000), ("i", 1024))
}
_FACTORS = _SPANS | _SIZES


def first_line(output: str) -> str:
    """The line for people, without performance data; empty where there is none."""
    return clean_line(output.lstrip().partition("\n")[0].partition("|")[0])[:MAX_TEXT]


def performance(output: str) -> dict[str, Value]:
    """The performance data in an output as fields, at most `MAX_FIELDS`; what is no such item is passed over.

    Spans are in seconds and sizes in bytes, whatever they were written in. Limits are fields of their own: `.warn`
    and `.crit` where they are plain numbers, of ranges the ends as `.warn_low` and `.warn_high`; `.min` and `.max`.
    """
    fields: dict[str, Value] = {}
    for match in _items(_data_of(output)):
        label = _label(match[1].replace("''", "'") if match[1] is not None else match[2])
        if not label or label in fields or match[3] is None:  # U stands for a value that is not known
            continue
        factor = _FACTORS.get(match[4], 1.0)
        found = [(label, match[3]), *_limits(label, match[5])]
        for name, text in found:
            number = _scaled(text, factor)
            if number is not None and len(fields) < MAX_FIELDS:
                fields.setdefault(name, number)
    return fields


def _items(data: str) -> Iterator[re.Match[str]]:
    """Each item, from the left; a text that begins none is left out up to the next space."""
    position = 0
    for _ in range(MAX_ITEMS):
        begin = _WORD.search(data, position)
        if begin is None:
            return
        match = _ITEM.match(data, begin.start())
        if match is None:
            position = begin.end()
        else:
            position = match.end()
            yield match


def _data_of(output: str) -> str:
    first, _, rest = output.lstrip().partition("\n")
    return f"{first.partition('|')[2]} {rest.partition('|')[2]}"


def _label(written: str) -> str:
    """As a field of a metric: without spaces, and never one of our own."""
    clean = "".join(letter if letter.isprintable() else " " for letter in written)
    label = "_".join(clean.split())[:MAX_LABEL]
    return f"perf_{label}" if label in OWN_FIELDS else label


def _limits(label: str, written: str) -> Iterator[tuple[str, str]]:
    """The limits after a value, each a text for a number."""
    parts = [*written.split(";")[1:], "", "", "", ""]
    for name, text in zip(("warn", "crit"), parts[:2], strict=True):
        if _LONE.fullmatch(text):
            yield f"{label}.{name}", text
        elif match := _RANGE.fullmatch(text):
            low, high = match[1], match[2]
            if low is None and text.startswith("@") and ":" not in text:
                low = "0"  # @10 stands for @0:10
            if low not in (None, "~"):
                yield f"{label}.{name}_low", low or ""
            if high is not None:
                yield f"{label}.{name}_high", high
    for name, text in zip(("min", "max"), parts[2:4], strict=True):
        if _LONE.fullmatch(text):
            yield f"{label}.{name}", text


def _scaled(text: str, factor: float) -> float | int | None:
    """A number as written, whole where it is; None where it is beyond what is published."""
    written = text.replace(",", ".")
    number = float(written)
    # Dividing keeps 10 ms at 0.01, where 10 * 0.001 does not always.
    scaled = number / round(1 / factor) if factor < 1 else number * factor
    if not math.isfinite(scaled) or abs(scaled) > 2**63:
        return None
    return int(scaled) if scaled.is_integer() and abs(scaled) < 2**53 else scaled
