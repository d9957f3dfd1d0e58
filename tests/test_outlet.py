"""From effects to the ledger: what is written before something that was kept goes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.test_gate import MEMORY, WARNING
from zkalert.engine.outlet import Chosen, Outlet, Spoken, is_kept
from zkalert.model import (
    Alert,
    Comparator,
    Delivery,
    Effect,
    Metric,
    OutboxEntry,
    Phase,
    Reason,
    Rule,
    Silence,
    State,
    Target,
    TargetKind,
)

OPS = Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url="json://localhost")
ALERT = Alert(
    rule=MEMORY.name,
    host="web1",
    episode="ab" * 8,
    state=State.FIRING,
    severity=WARNING,
    metric=Metric("memory_usage", "percent"),
    comparator=Comparator.GT,
    told=(WARNING,),
)
ENDS_AT = 2000.0


def firing() -> Effect:
    return Effect(alert=ALERT, phase=Phase.FIRING, reason=Reason.CROSSED, at=1000.0)


def chosen(_rule: Rule, effect: Effect) -> Chosen:
    """Ops hear it; of an end whoever heard that it fires."""
    if effect.phase is Phase.RESOLVED:
        return Chosen((OPS,) if OPS.id in effect.alert.heard else ())
    return Chosen((OPS,), (OPS.id,))


class Desk:
    """A desk that only notes what it is told."""

    def __init__(self) -> None:
        self.released: list[Effect] = []
        self.withheld: list[str] = []

    def first_delivery(self, target: Target, effect: Effect) -> Delivery:
        del effect
        return Delivery(target=target.id, kind=target.kind, name=target.name)

    def hold(self, effect_id: str, why: str) -> None:
        """Nothing changes by another reason."""

    def release(self, effect: Effect) -> None:
        self.released.append(effect)

    def withhold(self, effect_id: str, why: str) -> None:
        del why
        self.withheld.append(effect_id)


class Office:
    """An outlet of one rule under a silence, and what it asked for."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.said: list[Spoken] = []
        self.heard: list[Effect] = []
        self.outlet = Outlet(self.desk, self.said.append, self.heard.append)
        self.outlet.set_rules([MEMORY], chosen)
        self.outlet.silence([Silence(id="s", starts_at=0.0, ends_at=ENDS_AT)])

    def keep(self) -> OutboxEntry:
        """Offer a firing, which is silenced."""
        alert, (entry,) = self.outlet.offer(MEMORY, ALERT, [firing()], 1000.0)
        assert is_kept(entry)
        assert alert.heard == ()
        self.outlet.flush()
        return entry


@pytest.fixture
def office() -> Office:
    return Office()


def test_who_hears_of_the_end_is_noted_before_what_was_kept_is_released(office: Office) -> None:
    office.keep()
    office.outlet.settle(ENDS_AT)
    assert [effect.alert.heard for effect in office.heard] == [(OPS.id,)]
    assert office.desk.released == []
    office.outlet.flush()
    assert [effect.phase for effect in office.desk.released] == [Phase.FIRING]


def test_a_release_whose_note_was_not_written_is_decided_again_from_the_ledger(office: Office) -> None:
    entry = office.keep()
    office.outlet.settle(ENDS_AT)
    office.outlet.doubt()
    office.outlet.seed([ALERT], [entry], ENDS_AT)
    office.outlet.settle(ENDS_AT)
    office.outlet.flush()
    assert len(office.desk.released) == 1
    assert len(office.heard) == 2


def test_what_is_due_when_its_alert_ends_goes_out_and_its_end_to_the_same(office: Office) -> None:
    office.keep()
    over = replace(ALERT, state=State.RESOLVED, resolved_at=ENDS_AT)
    resolved = Effect(alert=over, phase=Phase.RESOLVED, reason=Reason.CLEARED, at=ENDS_AT)
    alert, (entry,) = office.outlet.offer(MEMORY, over, [resolved], ENDS_AT)
    office.outlet.flush()
    assert [effect.phase for effect in office.desk.released] == [Phase.FIRING]
    assert entry.effect.phase is Phase.RESOLVED
    assert not is_kept(entry)
    assert alert.heard == (), "what is over is told of no further end"
    assert office.heard == []


def test_what_was_kept_of_an_alert_that_ended_meanwhile_is_given_up_by_the_successor(office: Office) -> None:
    entry = office.keep()
    successor = Office()
    successor.outlet.seed([], [entry], ENDS_AT)
    successor.outlet.flush()
    assert successor.desk.withheld == [entry.effect.id]
    assert successor.desk.released == []
