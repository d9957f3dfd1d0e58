"""When a certificate expires, read from its DER.

The ssl module tells that of certificates which it accepts; of one that has expired, it matters most.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


class _Element(NamedTuple):
    tag: int
    content: bytes
    rest: bytes


def expires_at(der: bytes) -> float | None:
    """The moment (epoch seconds) after which the certificate is not valid; None where it cannot be read."""
    try:
        # Certificate, in it what is signed: maybe a version, serial number, algorithm, issuer, validity, ...
        left = _element(_element(der, _SEQUENCE).content, _SEQUENCE).content
        if left[0] == _VERSION:
            left = _element(left).rest
        for _ in range(3):
            left = _element(left).rest
        return _moment(_element(_element(left, _SEQUENCE).content).rest)
    except (IndexError, ValueError, OverflowError):
        return None


def _element(data: bytes, tag: int | None = None) -> _Element:
    """The first element of `data`. Raises ValueError or IndexError where there is none, or not of this `tag`."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    content = data[start : start + length]
    if (tag is not None and data[0] != tag) or len(content) != length:
        raise ValueError
    return _Element(data[0], content, data[start + length :])


def _moment(data: bytes) -> float:
    tag, content, _ = _element(data)
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text  # so says RFC 5280
    elif tag != _GENERALIZED_TIME:
        raise ValueError
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
