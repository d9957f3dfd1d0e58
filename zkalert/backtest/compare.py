"""Which messages another wording of rules brings, and which it spares.

Two messages are the same if they are of the same rule, series and phase, and near in time: each is paired with the
nearest one that is no further away than the rule's tolerance. That is 60 s, or the longest duration that either
wording has where that is more: who changes `duration: 2m` to `5m` moves messages rather than losing them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from zkalert.backtest.report import Message, Report, Series
from zkalert.model import Override, Rule, Step

MIN_TOLERANCE = 60.0
_SAME = 0.001

_Key: TypeAlias = "tuple[Series, str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What became of messages: those that are `new` or `gone`, pairs (old, new) at another time, the number of equals.

    `severities` are those pairs whose severity is another one.
    """

    new: tuple[Message, ...]
    gone: tuple[Message, ...]
    moved: tuple[tuple[Message, Message], ...]
    severities: tuple[tuple[Message, Message], ...]
    same: int


def tolerances(old: Iterable[Rule], new: Iterable[Rule]) -> dict[str, float]:
    """How far apart (seconds) two messages may be and still be the same, by rule."""
    found: dict[str, float] = {}
    for rule in (*old, *new):
        limits: tuple[Step | Override, ...] = (*rule.steps, *rule.overrides)
        spans = [span for one in limits for span in (one.duration, one.clear_duration) if span is not None]
        found[rule.name] = max(MIN_TOLERANCE, found.get(rule.name, 0.0), rule.within or 0.0, *spans)
    return found


def compare(old: Report, new: Report, tolerance: Mapping[str, float]) -> Difference:
    """What is different in the messages that would have gone out; of withheld ones nothing is said."""
    was, is_ = _by_key(old.sent), _by_key(new.sent)
    pairs: list[tuple[Message, Message]] = []
    gone: list[Message] = []
    fresh: list[Message] = []
    for key in was.keys() | is_.keys():
        most = tolerance.get(key[0].rule, MIN_TOLERANCE)
        some, left, right = _paired(was.get(key, []), is_.get(key, []), most)
        pairs += some
        gone += left
        fresh += right
    pairs.sort(key=lambda pair: pair[0].at)
    moved = tuple(pair for pair in pairs if abs(pair[1].at - pair[0].at) >= _SAME)
    severities = tuple(pair for pair in pairs if pair[0].severity is not pair[1].severity)
    return Difference(
        new=_in_time(fresh),
        gone=_in_time(gone),
        moved=moved,
        severities=severities,
        same=sum(pair[0].severity is pair[1].severity and abs(pair[1].at - pair[0].at) < _SAME for pair in pairs),
    )


def _by_key(messages: Iterable[Message]) -> dict[_Key, list[Message]]:
    found: dict[_Key, list[Message]] = defaultdict(list)
    for message in messages:
        found[message.series, message.phase].append(message)
    return found


def _in_time(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(sorted(messages, key=lambda message: (message.at, message.series.rule)))


def _paired(
    old: list[Message], new: list[Message], most: float
) -> tuple[list[tuple[Message, Message]], list[Message], list[Message]]:
    """Pairs of two lists that are in the order of time, and what is left of each.

    The pair that goes next is the one of the two heads, unless the next of either side is nearer to the other's head.
    """
    pairs, left, right = [], [], []
    first = second = 0
    while first < len(old) and second < len(new):
        apart = abs(old[first].at - new[second].at)
        if apart > most:
            is_old = old[first].at < new[second].at
        elif first + 1 < len(old) and abs(old[first + 1].at - new[second].at) < apart:
            is_old = True
        elif second + 1 < len(new) and abs(old[first].at - new[second + 1].at) < apart:
            is_old = False
        else:
            pairs.append((old[first], new[second]))
            first += 1
            second += 1
            continue
        if is_old:
            left.append(old[first])
            first += 1
        else:
            right.append(new[second])
            second += 1
    return pairs, left + old[first:], right + new[second:]
