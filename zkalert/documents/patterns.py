"""Regular expressions that a rule or a configuration may bring: none that could keep an engine or a sampler busy.

Python's `re` tries one reading of a text after another. Where an expression has two of them for the same characters
inside a repeat, their number doubles with each round. Here the readings are counted before the expression is ever
used: wherever it may go on in two ways, the next character has to tell which one, or the ways multiply.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

from zkalert.metrics import MOST_SEARCHED

if sys.version_info >= (3, 11):
    from re import _constants as codes  # type: ignore[attr-defined] # the stubs leave both out
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as codes
    import sre_parse as parser

MAX_PATTERN = 512
MAX_READINGS = 2 * 257**2
"""Some tenths of a second at most: two times `.*`, each before something that it could be itself."""

_TEXT = 256  # characters of a value, at most
_MANY = 16  # a repeat that may go round more often than this counts as one without end

# A set of characters is a number: a bit for each of the first 256, and one for all others.
_OTHER = 1 << 256
_ALL = (1 << 257) - 1


def pattern_problem(pattern: str, *, is_searched: bool = False) -> str | None:
    """What is wrong with a regular expression, in one sentence; None where nothing is.

    It has to fit a value as a whole, or (`is_searched`) is looked for in a text of `MOST_SEARCHED` characters: there it
    may begin anywhere unless it begins with `^`, and one `.*` before something that it could be itself is as much as
    there is time for.
    """
    room = _Room(MOST_SEARCHED, 2 * MOST_SEARCHED**2) if is_searched else _Room(_TEXT, MAX_READINGS)
    if len(pattern) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
            items: Any = parser.parse(pattern)
        readings = _sequence(items, 0, room) * (room.text if is_searched and not _is_anchored(items) else 1)
    except _Unsupported as error:
        return str(error)
    except RecursionError:
        return "nested too deep"
    except (re.error, ValueError, OverflowError, Warning) as error:
        return f"no regular expression: {str(error)[:100]}"
    if readings <= room.most:
        return None
    return "it could take for ever: it can read the same text in too many ways, as with a repeat within a repeat"


def _is_anchored(items: Any) -> bool:
    """Whether an expression fits at the beginning of a text alone, and so gives up at once anywhere else."""
    is_multiline = bool(items.state.flags & re.MULTILINE)
    return bool(items) and not is_multiline and items[0] == (codes.AT, codes.AT_BEGINNING)


class _Unsupported(Exception):  # noqa: N818 - never leaves this module
    pass


class _Room(NamedTuple):
    """How long a text is, and how many readings of it there is time for."""

    text: int
    most: int


class _Start(NamedTuple):
    """With which characters something may begin, and whether it may be empty."""

    first: int
    is_optional: bool


def _sequence(items: Iterable[tuple[Any, Any]], after: int, room: _Room) -> int:
    """How many readings a text can have; `after` are the characters that may follow it."""
    readings = 1
    for code, argument in reversed(list(items)):
        readings *= _item(code, argument, after, room)
        start = _start_of(code, argument)
        after = start.first | (after if start.is_optional else 0)
        if readings > room.most:
            break
    return readings


def _item(code: Any, argument: Any, after: int, room: _Room) -> int:
    if str(code) in _REPEATS:
        return _repeat(argument, after, room)
    if code is codes.SUBPATTERN:
        return _sequence(argument[3], after, room)
    if str(code) == "ATOMIC_GROUP":
        return _sequence(argument, after, room)
    if code is codes.BRANCH:
        return _branch(argument[1], after, room)
    if code in (codes.ASSERT, codes.ASSERT_NOT):
        return _sequence(argument[1], _ALL, room)
    if code in (codes.GROUPREF, codes.GROUPREF_EXISTS):
        raise _Unsupported("references back to a group are not supported")
    return 1


_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


def _repeat(argument: Any, after: int, room: _Room) -> int:
    least, most, body = argument
    first, is_optional = _start(body)
    rounds = min(int(most), room.text)
    inner = _sequence(body, after | first if rounds > 1 else after, room)
    if inner > 1 and rounds > _MANY:
        return room.most + 1
    readings: int = inner ** max(rounds, 1)
    is_loose = first & after or is_optional  # a round that takes nothing may as well not be
    return readings * (rounds - least + 1) if is_loose and rounds > least else readings


def _branch(alternatives: Any, after: int, room: _Room) -> int:
    counts = [_sequence(alternative, after, room) for alternative in alternatives]
    seen = 0
    for start in map(_start, alternatives):
        first = start.first | (after if start.is_optional else 0)
        if first & seen:
            return sum(counts)
        seen |= first
    return max(counts)


def _start(items: Iterable[tuple[Any, Any]]) -> _Start:
    first = 0
    for code, argument in items:
        start = _start_of(code, argument)
        first |= start.first
        if not start.is_optional:
            return _Start(first, is_optional=False)
    return _Start(first, is_optional=True)


def _start_of(code: Any, argument: Any) -> _Start:
    if str(code) in _REPEATS:
        start = _start(argument[2])
        return _Start(start.first, start.is_optional or argument[0] == 0)
    if code is codes.SUBPATTERN:
        return _start(argument[3])
    if str(code) == "ATOMIC_GROUP":
        return _start(argument)
    if code is codes.BRANCH:
        starts = [_start(alternative) for alternative in argument[1]]
        first = 0
        for start in starts:
            first |= start.first
        return _Start(first, any(start.is_optional for start in starts))
    if code in (codes.ASSERT, codes.ASSERT_NOT, codes.AT):
        return _Start(0, is_optional=True)
    if code is codes.IN:
        return _Start(_set(argument), is_optional=False)
    if code is codes.LITERAL:
        return _Start(_folded(_span(argument, argument)), is_optional=False)
    return _Start(_ALL, is_optional=False)  # any character, or all but one


def _set(items: Any) -> int:
    """The characters in brackets; rather too many than too few."""
    is_negated, found = False, 0
    for code, argument in items:
        if code is codes.NEGATE:
            is_negated = True
        elif code is codes.LITERAL:
            found |= _span(argument, argument)
        elif code is codes.RANGE:
            found |= _span(*argument)
        else:
            found |= _category(argument)
    return (_ALL & ~found) | _OTHER if is_negated else _folded(found)


def _span(low: int, high: int) -> int:
    bits = sum(1 << point for point in range(low, min(high, 255) + 1))
    return bits | _OTHER if high > 255 else bits


def _category(code: Any) -> int:
    name = str(code).removeprefix("CATEGORY_")
    kind = re.compile({"DIGIT": r"\d", "WORD": r"\w", "SPACE": r"\s"}[name.removeprefix("NOT_")])
    is_negated = name.startswith("NOT_")
    bits = sum(1 << point for point in range(256) if (kind.fullmatch(chr(point)) is None) is is_negated)
    return bits | _OTHER


def _folded(bits: int) -> int:
    """With the other case of each letter, whether the expression ignores case or not."""
    found = bits
    for point in range(256):
        if bits >> point & 1:
            for other in (chr(point).lower(), chr(point).upper()):
                found |= 1 << ord(other) if len(other) == 1 and ord(other) < 256 else _OTHER
            if chr(point) in "kKsSiI":  # these have relatives beyond the first 256
                found |= _OTHER
    return found
