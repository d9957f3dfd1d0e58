"""What a run has to be judged by: pure, so that the judge itself is tested.

Comes in: the effects that ZooKeeper's own transaction log says were written, what the receiver got in its order, what
the engines say was not to be told, how long series stood above their threshold. Goes out: everything that is wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.chaos.txnlog import Written

_SLACK = 0.5
"""Seconds between what a test says and what the server does."""


class Got(NamedTuple):
    """One request: the effects in it (`<episode>.<phase>`), whether it says that it may be a repeat, how it ended.

    `answer` is `ok`, `refused` (the receiver answered with an error) or `hung` (read, and never answered).
    """

    channel: str
    effects: tuple[str, ...]
    is_repeat: bool
    answer: str


class Verdict(NamedTuple):
    """What was found; `problems` empty means that every promise held."""

    told: int
    repeats: int
    dropped: int
    problems: tuple[str, ...]


class Stay(NamedTuple):
    """A series that stood above its threshold between two moments (epoch seconds)."""

    host: str
    instance: str
    began: float
    ended: float


def calm(stay: Stay, troubles: Iterable[tuple[float, float]]) -> float:
    """The longest time (seconds) within a stay in which nothing was killed, and nothing was down."""
    longest, free_from = 0.0, stay.began
    for began, ended in sorted(troubles):
        longest = max(longest, min(began, stay.ended) - free_from)
        free_from = max(free_from, ended)
    return max(longest, stay.ended - free_from)


def unseen(written: Mapping[str, Written], stays: Iterable[Stay]) -> list[str]:
    """A problem for each stay during which no alert of its series fired."""
    firing: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for id_, one in written.items():
        episode, _, phase = id_.partition(".")
        if phase == "firing":
            end = next((written[end_id].at for end_id in _ends(episode) if end_id in written), float("inf"))
            firing[one.host, one.instance].append((one.at, end))
    return [
        f"{stay.host},{stay.instance} stood for {stay.ended - stay.began:.1f} s, and no alert fired"
        for stay in stays
        if not any(
            began <= stay.ended + _SLACK and ended >= stay.began - _SLACK
            for began, ended in firing[stay.host, stay.instance]
        )
    ]


def judge(
    written: Collection[str],
    got: Sequence[Got],
    dropped: Collection[tuple[str, str]],
    channels: Iterable[str],
    allowed_repeats: int,
) -> Verdict:
    """`dropped` has pairs of channel and effect; `allowed_repeats` is kills times channels, and sends that hung."""
    problems: list[str] = []
    told = repeats = 0
    for channel in channels:
        mine = [one for one in got if one.channel == channel]
        problems += [f"{channel}: {effect} was told and never written" for effect in _strangers(mine, written)]
        heard = {effect for one in mine if one.answer != "refused" for effect in one.effects}
        silent = {effect for at, effect in dropped if at == channel}
        problems += [f"{channel}: {effect} is lost" for effect in sorted(set(written) - heard - silent)]
        problems += [f"{channel}: {problem}" for problem in _wrongly_silent(written, heard, silent)]
        told += len(heard)
        repeats += _repeats(channel, mine, problems)
        _check_order(channel, mine, problems)
    if repeats > allowed_repeats:
        problems.append(f"{repeats} repeats, at most {allowed_repeats} can be explained")
    return Verdict(told, repeats, len(set(dropped)), tuple(problems))


def _ends(episode: str) -> tuple[str, str]:
    return f"{episode}.resolved", f"{episode}.closed"


def _wrongly_silent(written: Collection[str], heard: set[str], silent: set[str]) -> list[str]:
    """What should have been told: a firing whose alert still stands, the end of one that was told."""
    problems = []
    for effect in sorted(silent - heard):
        episode, _, phase = effect.partition(".")
        if phase == "firing" and not any(end in written for end in _ends(episode)):
            problems.append(f"{effect} was dropped though its alert stands")
        if effect in _ends(episode) and f"{episode}.firing" in heard:
            problems.append(f"{effect} was dropped though its firing was told")
    return problems


def _strangers(got: Iterable[Got], written: Collection[str]) -> list[str]:
    return sorted({effect for one in got for effect in one.effects} - set(written))


def _repeats(channel: str, got: Iterable[Got], problems: list[str]) -> int:
    """Messages with an effect that had come before; each must say so."""
    seen: Counter[str] = Counter()
    count = 0
    for one in got:
        again = [effect for effect in one.effects if seen[effect]]
        if again:
            count += 1
            if not one.is_repeat:
                problems.append(f"{channel}: {again[0]} came twice, and does not say that it may be a repeat")
        if one.answer != "refused":
            seen.update(one.effects)
    return count


def _check_order(channel: str, got: Iterable[Got], problems: list[str]) -> None:
    """An end comes after its firing (or with it, in one digest)."""
    phases: defaultdict[str, list[str]] = defaultdict(list)
    for one in got:
        if one.answer == "refused":
            continue
        for effect in sorted(one.effects, key=lambda effect: not effect.endswith(".firing")):
            episode, _, phase = effect.partition(".")
            phases[episode].append(phase)
    for episode, seen in phases.items():
        first = {phase: seen.index(phase) for phase in seen}
        problems += [
            f"{channel}: {end} of {episode} came before its firing, or without it"
            for end in ("resolved", "closed")
            if end in first and first[end] < first.get("firing", len(seen))
        ]
