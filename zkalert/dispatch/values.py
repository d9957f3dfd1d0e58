"""What the dispatcher shares with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from zkalert.model import Effect, Message, OutboxEntry, SendResult, Target


class Sender(Protocol):
    """Sends one message, of one effect or of many, to one target. It never raises: whatever happens is a result."""

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult: ...


class DeliveryLog(Protocol):
    """The ledger: applies absolute changes to the entries of effects."""

    def update_all(self, changes: Mapping[str, Callable[[OutboxEntry], OutboxEntry]]) -> Mapping[str, OutboxEntry]:
        """The entries that were changed, by effect id; one that is gone or left alone is not among them."""

    def resend(self, effect_id: str, now: float) -> OutboxEntry | None:
        """Bring a dead entry back; None where there is none."""

    def purge_dead(self, before: float) -> int:
        """Delete the dead entries from before a moment (epoch seconds); how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One try at one target, for logs and tables: one message, of one effect or of many.

    `attempt` counts the tries of the effect that was tried most often. `retry_in` (seconds) is None where nothing more
    is tried. `is_repeat`: it may have been heard before, and says so.
    """

    effects: tuple[Effect, ...]
    target: Target
    message: Message
    result: SendResult
    attempt: int
    retry_in: float | None = None
    is_repeat: bool = False

    @property
    def effect(self) -> Effect:
        """The first, and most often the only one."""
        return self.effects[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target, how many deliveries wait for it, since when (epoch seconds) it fails, and why it failed last."""

    id: str
    name: str
    waiting: int
    failing_since: float | None = None
    last_error: str = ""
