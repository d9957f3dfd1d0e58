"""What the engine does, for the journal: one record for each thing that people ask for afterwards."""

from __future__ import annotations

from collections.abc import Callable

from zkalert.dispatch import Told
from zkalert.engine.outlet import RELEASED, Spoken
from zkalert.engine.standing import Transition
from zkalert.journal import (
    Journal,
    Kind,
    Stamp,
    is_transition,
    of_ack,
    of_connection,
    of_effect,
    of_ownership,
    of_reload,
    of_silence,
    of_told,
    of_transition,
)
from zkalert.model import Ack, Alert, Effect, Silence, Target
from zkalert.zk import ConnectionState


class Chronicle:
    """Writes into a journal; without one it does nothing. Called from any thread, and never waits.

    `stamp` gives the ensemble's time and the number of its newest transaction that was seen.
    """

    def __init__(self, journal: Journal | None, stamp: Callable[[], Stamp]) -> None:
        self._journal = journal
        self._stamp = stamp

    def transition(self, transition: Transition) -> None:
        old, new, reason = transition
        if self._journal is not None and is_transition(old, new):
            self._journal.append(of_transition(self._stamp(), old, new, reason))

    def spoken(self, spoken: Spoken) -> None:
        """What was withheld, released, given up, or has nobody to hear it; messages speak for themselves."""
        effect, targets, why = spoken
        if self._journal is None or (targets and not why):
            return
        kind = Kind.RELEASED if why == RELEASED else Kind.WITHHELD
        self._journal.append(of_effect(self._stamp(), effect, targets, why, kind=kind))

    def dropped(self, effect: Effect, target: Target, why: str) -> None:
        """A delivery that will not be made."""
        if self._journal is not None:
            self._journal.append(of_effect(self._stamp(), effect, (target,), why, kind=Kind.DROPPED))

    def told(self, told: Told) -> None:
        """A try at a delivery; one record for each effect in the message."""
        if self._journal is None:
            return
        stamp = self._stamp()
        digest = told.message.key if len(told.effects) > 1 else ""
        self._journal.append(
            *(
                of_told(
                    stamp,
                    effect,
                    told.target,
                    told.result,
                    attempt=told.attempt,
                    retry_in=told.retry_in,
                    is_repeat=told.is_repeat,
                    digest=digest,
                )
                for effect in told.effects
            )
        )

    def silence(self, old: Silence | None, new: Silence | None) -> None:
        record = None if self._journal is None else of_silence(self._stamp(), old, new)
        if self._journal is not None and record is not None:
            self._journal.append(record)

    def ack(self, old: Ack | None, new: Ack | None, alert: Alert | None) -> None:
        record = None if self._journal is None else of_ack(self._stamp(), old, new, alert)
        if self._journal is not None and record is not None:
            self._journal.append(record)

    def reload(self, digest: str, rules: int) -> None:
        if self._journal is not None:
            self._journal.append(of_reload(self._stamp(), digest, rules))

    def refused(self, digest: str, rules: int, problem: str) -> None:
        """Other rules were to be had, and are not taken: those of this digest stay."""
        if self._journal is not None:
            self._journal.append(of_reload(self._stamp(), digest, rules, problem=problem))

    def ownership(self, state: str, engine: str = "") -> None:
        if self._journal is not None:
            self._journal.append(of_ownership(self._stamp(), state, engine=engine))

    def connection(self, state: ConnectionState) -> None:
        if self._journal is not None:
            self._journal.append(of_connection(self._stamp(), state.value))

    def close(self, timeout: float) -> None:
        """Write what waits, for `timeout` seconds at most."""
        if self._journal is not None:
            self._journal.close(timeout)
