"""The notation of values: `50x10 95x100 _x5 98+0.5x10 'text'`, as numbers in a metric's own unit or as texts.

95  2GiB  1h30m     a value, with a unit of the metric or without
95x20               twenty times the same
0+10x5  100-5x3     0 10 20 30 40, and 100 95 90: so many values, not so many steps
'text'  'text'x5    of a metric that is a text; a quote within is written twice
_  _x5              no value
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from zkalert.metrics import Field, QuantityError, Unit, parse_quantity
from zkalert.model import Value

_WORD = re.compile(r"(?:'(?:[^']|'')*'|[^\s'])+|'")
_COUNT = re.compile(r"x(\d+)\Z", re.ASCII)
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"[+-]?{_NUMBER}[A-Za-z%/]*", re.ASCII)
_RISING = re.compile(rf"([+-]?{_NUMBER}[^+-]*)([+-])({_NUMBER}[^+-]*)", re.ASCII)
_MAX_TEXT = 256


class NotationError(ValueError):
    """What cannot be read, from the index `at` of the text on."""

    def __init__(self, message: str, *, at: int, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.expected = expected
        self.hint = hint


def parse_values(text: str, field: Field, *, most: int) -> tuple[Value | None, ...]:
    """The values in `text`, None for none; they are `most` at most.

    Raises NotationError for what cannot be read, or where there are more.
    """
    values: list[Value | None] = []
    for match in _WORD.finditer(text):
        word, at = match[0], match.start()
        base, count = _counted(word, at)
        if len(values) + (count or 1) > most:
            raise NotationError(
                f"{_short(word)} makes more values than a test file may have",
                at=at,
                expected=f"{most - len(values):,} more at most",
            )
        try:
            values.extend(_values(base, count, field, at))
        except QuantityError as error:
            raise NotationError(str(error), at=at, expected=error.expected) from None
    if not values:
        raise NotationError("no values", at=0, expected='values such as "50x10 95x100 40x10"')
    return tuple(values)


def _counted(word: str, at: int) -> tuple[str, int | None]:
    match = _COUNT.search(word)
    if match is None:
        return word, None
    # Digits beyond these are beyond any bound, and Python takes its time with thousands of them.
    count = int(match[1][:12])
    if count < 1:
        raise NotationError(f"{_short(word)} is no value at all", at=at, expected="x and how often, 1 at least")
    return word[: match.start()], count


def _values(base: str, count: int | None, field: Field, at: int) -> Iterator[Value | None]:
    if base == "_":
        return iter([None] * (count or 1))
    quoted = _QUOTED.fullmatch(base)
    if field.unit is Unit.TEXT or (field.unit is Unit.ANY and quoted is not None):
        if quoted is None:
            expected = "a text in single quotes: 'text'"
            raise NotationError(f"{_short(base)} is no text", at=at, expected=expected, hint=_quoted(base))
        return iter([_text(quoted[1].replace("''", "'"), at)] * (count or 1))
    rising = None if _PLAIN.fullmatch(base) else _RISING.fullmatch(base)
    if rising is None:
        return iter([_number(base, field)] * (count or 1))
    if count is None:
        raise NotationError(f"{_short(base)} does not say how many values", at=at, expected=f"{_short(base)}x10, say")
    first, step = _number(rising[1], field), _number(rising[3], field)
    signed = step if rising[2] == "+" else -step
    # To the digits that a written number has: 12 times 58.2 has to be 698.4 again, or a counter would seem to restart.
    return (float(f"{first + index * signed:.15g}") for index in range(count))


def _text(text: str, at: int) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > _MAX_TEXT:
        raise NotationError("a text too long for a metric", at=at, expected=f"{_MAX_TEXT} bytes at most")
    return text


def _number(text: str, field: Field) -> float:
    try:
        number = parse_quantity(text, field.unit)
    except QuantityError as error:
        raise QuantityError(f"{_short(text)} is no value of {field.name}", expected=error.expected) from None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _quoted(text: str) -> str:
    quoted = text.replace("'", "")
    return f"did you mean '{_short(quoted)}'?" if quoted else ""


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:37] + "..."
