"""How failures of tests are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zkalert.model import Alert, Finding

_T = TypeVar("_T")

MOST_ROWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is not as expected, at the place of the expectation; `details` are lines on what happened around it."""

    finding: Finding
    details: tuple[str, ...] = ()


def is_series(host: str | None, instance: str | None, alert: Alert) -> bool:
    """Whether an alert is of this host and instance; None stands for any."""
    return host in (None, alert.host) and instance in (None, alert.instance)


def around(items: Sequence[_T], at: float, when: Callable[[_T], float]) -> list[_T]:
    """The items next to a moment, in the order they came."""
    if len(items) <= MOST_ROWS:
        return list(items)
    nearest = sorted(range(len(items)), key=lambda index: abs(when(items[index]) - at))[:MOST_ROWS]
    return [items[index] for index in sorted(nearest)]


def table(rows: Sequence[tuple[str, ...]], of: int) -> Iterator[str]:
    """Rows in columns; `of` is how many there are in all."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        yield (
            "  " + "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]])
        ).rstrip()
    if of > len(rows):
        yield f"  and {of - len(rows)} more"
