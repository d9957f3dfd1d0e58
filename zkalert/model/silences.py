"""What keeps messages quiet for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zkalert.model.base import EMPTY
from zkalert.model.rulewords import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Messages of the alerts that match in everything are withheld from `starts_at` until just before `ends_at`.

    `rule`, `host` and the values of `labels` are globs. A label matches if it is one of the rule, the host or the
    instance.
    """

    id: str
    rule: str = "*"
    host: str = "*"
    severities: frozenset[Severity] = frozenset(Severity)
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    starts_at: float
    ends_at: float
    comment: str = ""
    author: str = ""
