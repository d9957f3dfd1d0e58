"""All alerts of a tree as they stand, with what people said of them and what became of their messages.

Comes in: a reader. Goes out: a board, read once; from it, how each alert stands, the worst first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from zkalert.model import (
    EMPTY,
    Ack,
    Alert,
    Delivery,
    DeliveryState,
    Effect,
    HostInfo,
    OutboxEntry,
    Phase,
    Problem,
    Reason,
    Silence,
)
from zkalert.routing.silencing import active_until, matches
from zkalert.survey.reading import Reader
from zkalert.tree import decode_ack, decode_silence, unescape

_ON_ITS_WAY = (DeliveryState.NEW, DeliveryState.HELD, DeliveryState.CLAIMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A tree's alerts `at` a moment of the ensemble's clock; `dead` are the entries that could not be delivered."""

    at: float
    alerts: tuple[Alert, ...] = ()
    entries: tuple[OutboxEntry, ...] = ()
    dead: tuple[OutboxEntry, ...] = ()
    silences: tuple[Silence, ...] = ()
    acks: Mapping[str, Ack]
    hosts: Mapping[str, HostInfo]
    is_owned: bool = False


class Silenced(NamedTuple):
    """A silence that matches an alert; `until` is None where it is not on now."""

    silence: Silence
    until: float | None


class Letter(NamedTuple):
    """One line of the ledger: an effect and one target of it; `is_dead` says that it was given up."""

    effect: Effect
    delivery: Delivery
    is_dead: bool

    @property
    def phase(self) -> str:
        """What it tells: `firing`, `repeated-2`."""
        return self.effect.name or self.effect.phase.value

    @property
    def is_undelivered(self) -> bool:
        """Whether somebody should have heard it, and has not."""
        return self.delivery.state in _ON_ITS_WAY or (self.is_dead and self.delivery.state is DeliveryState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one alert stands: `ack` counts now, `silences` are all that match, `letters` what stands of its messages."""

    alert: Alert
    ack: Ack | None
    silences: tuple[Silenced, ...]
    letters: tuple[Letter, ...]

    @property
    def silenced_until(self) -> float | None:
        """Until when it is silenced by the silence that lasts longest, None where none is on."""
        return max((one.until for one in self.silences if one.until is not None), default=None)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Why messages are withheld now, each reason once."""
        held = (one.delivery.detail for one in self.letters if one.delivery.state is DeliveryState.HELD)
        return tuple(dict.fromkeys(why or "withheld" for why in held))

    @property
    def undelivered(self) -> int:
        return sum(one.is_undelivered for one in self.letters)


def read_board(reader: Reader, *, only_told: bool = False) -> Board:
    """All alerts of a tree; with `only_told` the ledger alone. Raises as a reader does."""
    tree, shard = reader.tree, reader.shard()
    entries, dead = reader.entries(), reader.dead()
    if only_told:
        return Board(at=shard.now(), entries=entries, dead=dead, acks={}, hosts={}, is_owned=shard.is_owned)
    silences = ((unescape(path.rpartition("/")[2]), data) for path, (data, _) in reader.below(tree.silences).items())
    decoded = (decode_silence(id_, data) for id_, data in silences)
    acks = (decode_ack(data) for data, _ in reader.below(tree.acks).values())
    alerts = reader.alerts()
    return Board(
        at=shard.now(),
        alerts=alerts,
        entries=entries,
        dead=dead,
        silences=tuple(one for one in decoded if not isinstance(one, Problem)),
        acks={ack.episode: ack for ack in acks if not isinstance(ack, Problem)},
        hosts=reader.infos({alert.host for alert in alerts}),
        is_owned=shard.is_owned,
    )


def letters(board: Board) -> tuple[Letter, ...]:
    """All lines of the ledger, oldest first."""
    found = [
        Letter(entry.effect, delivery, is_dead)
        for entries, is_dead in ((board.entries, False), (board.dead, True))
        for entry in entries
        for delivery in entry.deliveries
    ]
    return tuple(sorted(found, key=lambda one: (one.effect.at, one.effect.id, one.delivery.target)))


def standings(board: Board) -> tuple[Standing, ...]:
    """How each alert stands: those that fire before those on their way, of these the most severe, then the oldest."""
    ledger: dict[str, list[Letter]] = defaultdict(list)
    for letter in letters(board):
        ledger[letter.effect.alert.episode].append(letter)
    found = (_standing(board, alert, ledger.get(alert.episode, ())) for alert in board.alerts)
    return tuple(sorted(found, key=lambda one: _rank(one.alert)))


def _rank(alert: Alert) -> tuple[bool, int, float, str, str, str]:
    return not alert.state.is_active, -alert.severity.rank, alert.since, alert.rule, alert.host, alert.instance or ""


def _standing(board: Board, alert: Alert, letters: Sequence[Letter]) -> Standing:
    ack = board.acks.get(alert.episode)
    is_ack = ack is not None and ack.holds(board.at) and ack.rises >= alert.rises
    return Standing(
        alert=alert,
        ack=ack if is_ack else None,
        silences=tuple(_silenced(board, _effect(board, alert, letters))),
        letters=tuple(letters),
    )


def _silenced(board: Board, effect: Effect) -> Iterator[Silenced]:
    about: Iterable[Silence] = (one for one in board.silences if one.ends_at > board.at and matches(one, effect))
    for silence in sorted(about, key=lambda one: (one.starts_at, one.id)):
        yield Silenced(silence, active_until(silence, board.at))


def _effect(board: Board, alert: Alert, letters: Sequence[Letter]) -> Effect:
    """What silences are held against: the labels of rules and instances are known from messages alone."""
    if letters:
        return replace(letters[-1].effect, alert=alert)
    info = board.hosts.get(alert.host)
    labels = EMPTY if info is None else info.labels
    return Effect(alert=alert, phase=Phase.FIRING, reason=Reason.STILL, at=board.at, host_labels=labels)
