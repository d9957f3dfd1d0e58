"""What the rules in force care about, family by family: samplers go by it when they choose what to publish."""

from __future__ import annotations

from dataclasses import dataclass

from zkalert.model.rulewords import Comparator


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One comparison that some rule makes of a field: a threshold, or the value that clears one.

    `threshold` is a number, or a pair for between and outside. With `is_rate` it is held against the rate of a counter
    (per second). With `by_instance` it is held against each instance of the family, else against its whole value.
    """

    field: str
    comparator: Comparator
    threshold: float | tuple[float, float]
    is_rate: bool = False
    by_instance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyLimits:
    """All that the rules in force ask of one family.

    `texts` are fields whose text is judged. With `is_full` some rule needs every sample, as a window does. Some rule
    acts on a silence of `quiet_after` seconds (None: none does). For `settles` seconds after a text or the set of
    instances changed, some rule counts the time.
    """

    limits: tuple[Limit, ...] = ()
    texts: tuple[str, ...] = ()
    is_full: bool = False
    quiet_after: float | None = None
    settles: float = 0.0

    @property
    def is_judged(self) -> bool:
        """Whether any rule judges the family."""
        return bool(self.limits or self.texts or self.is_full)
