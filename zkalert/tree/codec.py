"""What all payloads share: bounded JSON, and checks of each part. Decoding never raises beyond this folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from zkalert.model import Problem, Value

MAX_PAYLOAD = 64 * 1024
MAX_RECORD = 192 * 1024  # what we write ourselves, with texts and labels of the user's own; it fits into a transaction
MAX_TEXT = 256

_T = TypeVar("_T")


class BadPayload(Exception):  # noqa: N818 - never leaves this folder
    def __init__(self, code: str, message: str) -> None:
        self.problem = Problem(code=code, message=message)


def _refuse_constant(text: str) -> NoReturn:
    raise BadPayload("not-finite", f"{text} is no finite number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def guarded(parse: Callable[[dict[str, Any]], _T], data: bytes | None, limit: int = MAX_PAYLOAD) -> _T | Problem:
    """Run one parser on a JSON object of at most `limit` bytes; whatever is wrong becomes a Problem."""
    if not data:
        return Problem(code="empty", message="no data")
    if len(data) > limit:
        return Problem(code="too-large", message=f"{len(data)} bytes, at most {limit} are read")
    try:
        document = _DECODER.decode(data.decode("utf-8"))
        if type(document) is not dict:
            return Problem(code="wrong-shape", message="not a JSON object")
        return parse(document)
    except BadPayload as bad:
        return bad.problem
    except (UnicodeDecodeError, json.JSONDecodeError):
        return Problem(code="not-json", message="not JSON in UTF-8")
    except RecursionError:
        return Problem(code="too-deep", message="nested too deeply")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = "it has no" if type(error) is KeyError else f"{type(error).__name__}:"
        return Problem(code="wrong-shape", message=f"{what} {str(error)[:80]}")


def dump(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as of a file name that is no UTF-8
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def number(value: object, what: str) -> float:
    """A finite JSON number. (A literal such as 1e999 becomes infinite without passing parse_constant.)"""
    kind = type(value)
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return value  # type: ignore[return-value]
    if kind is int and -(2**63) <= value <= 2**64:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    raise BadPayload("not-finite" if kind in (int, float) else "wrong-shape", f"{what} is no finite number")


def whole(value: object, what: str) -> int:
    """A whole number; a fraction is cut off."""
    integer = int(number(value, what))
    return int(number(integer, what))  # a float may hold one that is beyond what is written


def optional(value: object, what: str) -> float | None:
    return None if value is None else number(value, what)


def text_of(value: object, what: str, limit: int = MAX_TEXT) -> str:
    if type(value) is not str or len(value) > limit:
        raise BadPayload("wrong-shape", f"{what} is no text of at most {limit} characters")
    return value


def texts_of(value: object, what: str, limit: int = MAX_TEXT) -> dict[str, str]:
    if type(value) is not dict:
        raise BadPayload("wrong-shape", f"{what} is no object")
    return {text_of(key, what): text_of(text, what, limit) for key, text in value.items()}


def values_of(values: object, what: str) -> dict[str, Value]:
    """Check in place and hand back what was decoded: this runs for every sample."""
    if type(values) is not dict:
        raise BadPayload("wrong-shape", f"{what} is no object")
    for name, value in values.items():
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                raise BadPayload("not-finite", f"{what}.{name[:40]} is no finite number")
        elif kind is int:
            number(value, name[:40])
        elif kind is not str or len(value) > MAX_TEXT:
            raise BadPayload("wrong-shape", f"{what}.{name[:40]} is neither a number nor a short text")
    return values
