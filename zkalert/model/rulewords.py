"""The few words that rules and alerts share."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

Threshold: TypeAlias = "float | str | tuple[float, float] | None"
"""What a value is held against; see `Condition`."""


class Severity(str, Enum):
    """How much an alert matters; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _SEVERITY_RANK[self]


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Comparator(str, Enum):
    """How a value is held against its threshold."""

    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    EQ = "=="
    NE = "!="
    BETWEEN = "between"
    OUTSIDE = "outside"
    MATCHES = "matches"
    NOT_MATCHES = "not_matches"
    ABSENT = "absent"
    CHANGED = "changed"
