"""What waits for one target: an effect, what was tried of it, and where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from zkalert.model import Effect
from zkalert.routing.pace import Group


class Stage(Enum):
    """LATER: it waits for its time. BEHIND: for an earlier one of its episode. DUE: for its turn. OUT: it is on its
    way.
    """

    LATER = "later"
    BEHIND = "behind"
    DUE = "due"
    OUT = "out"


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One effect that waits for the target, as long as it is not done.

    `ready_at` (monotonic) is the earliest that it may go. `is_repeat`: it may have been heard already, in the message
    `digest`. `is_claimed`: its message was promised (`Batches.promise`). `is_alone`: it goes with no other. The rest
    belongs to `Batches`.
    """

    effect: Effect
    attempts: int = 0
    ready_at: float = -math.inf
    is_repeat: bool = False
    is_claimed: bool = False
    is_alone: bool = False
    digest: str = ""
    order: int = 0
    group: Group = ()
    stage: Stage = Stage.LATER
    wakes_at: float = -math.inf  # no earlier than `ready_at`
    is_ripe: bool = False  # it has waited for its group

    @property
    def is_fresh(self) -> bool:
        """Whether surely nobody has heard of it, nor will by what is under way."""
        return self.attempts == 0 and not self.is_claimed and self.stage is not Stage.OUT

    @property
    def bundle(self) -> str:
        """The message that it belongs to and goes with again; empty where it may go with any."""
        return self.digest or (self.effect.id if self.is_repeat or self.is_alone else "")


T = TypeVar("T", bound=Item)


@dataclass(frozen=True, slots=True)
class Dropped(Generic[T]):
    """One that is not to be told, and why."""

    item: T
    why: str
