"""What went wrong with a send, out of what apprise said: a closed set of reasons, and a sentence without secrets.

Comes in: the lines that apprise logged during one send, and the URL that was sent to. Goes out: a SendResult's
state, whether another try could end better, and its detail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from zkalert.model import SendState

MAX_DETAIL = 300
NO_CONNECTION = "Connection error while submitting email"
"""How apprise says that mail got no further than connection and login."""

_SHORTEST_SECRET = 3
_SPLIT = re.compile(r"[/?#&=@:;,<>\s]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

_URL_PATH = re.compile(r"with url: \S+")  # words in a path are no reason

_HTTP_STATUS = re.compile(r"\berror=(\d{3})\b")
_SMTP_REPLY = re.compile(r"\(?([45]\d\d),? b?['\"](.*?)['\"]\)")
_PERMANENT_HTTP = frozenset({400, 405, 410, 411, 413, 414, 415, 422, 431})
_PERMANENT_SMTP = range(550, 556)
_HTTP_WORDS = {
    400: "bad request",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    410: "gone",
    413: "too large",
    422: "not processable",
    429: "too many requests",
    500: "internal error",
    502: "bad gateway",
    503: "unavailable",
    504: "gateway time-out",
}


class Reason(NamedTuple):
    """Why a send did not succeed."""

    state: SendState
    is_retryable: bool
    detail: str


class _Pattern(NamedTuple):
    found: re.Pattern[str]
    state: SendState
    is_retryable: bool
    detail: str


def _pattern(found: str, detail: str, *, state: SendState = SendState.FAILED, is_retryable: bool = True) -> _Pattern:
    return _Pattern(re.compile(found, re.IGNORECASE), state, is_retryable, detail)


# In this order: the first that is found speaks. Once a request was sent, silence does not say whether it was heard.
_PATTERNS = (
    _pattern(r"connection refused|errno 111|errno 61\b", "the connection was refused"),
    _pattern(
        r"name or service not known|nodename nor servname|name resolution|failed to resolve|getaddrinfo|"
        r"no address associated",
        "the host name was not found",
    ),
    _pattern(
        r"certificate|ssl: |sslerror|wrong version number", "TLS failed: the certificate or protocol does not fit"
    ),
    _pattern(r"connect timeout|connecttimeout|connection to \S+ timed out", "no connection in time"),
    _pattern(r"network is unreachable|no route to host|host is down", "the network does not reach the host"),
    _pattern(
        r"timed out|read timeout",
        "no answer in time; it may have arrived all the same",
        state=SendState.UNKNOWN,
    ),
    _pattern(
        r"connection unexpectedly closed|remotedisconnected|connection aborted|connection reset|broken pipe|"
        r"incompleteread|chunkedencodingerror",
        "the connection was closed before an answer came; it may have arrived all the same",
        state=SendState.UNKNOWN,
    ),
    _pattern(r"authentication|login.*fail|not supported by server|STARTTLS extension", "the login was refused"),
    _pattern(r"no email recipients", "the URL has no valid recipient", is_retryable=False),
)


def explain(lines: Sequence[str], url: str, *, is_connecting: bool = False) -> Reason:
    """Why a send failed, by what apprise said; `is_connecting` where it never got as far as sending."""
    text = _URL_PATH.sub("", "\n".join(lines))
    for line in lines:
        status = _HTTP_STATUS.search(line)
        if status:
            return by_http(int(status[1]))
        reply = _SMTP_REPLY.search(line)
        if reply:
            code = int(reply[1])
            words = scrub(reply[2], url)
            return Reason(SendState.FAILED, code not in _PERMANENT_SMTP, f"refused by the mail server: {code} {words}")
    for pattern in _PATTERNS:
        if pattern.found.search(text):
            if pattern.state is SendState.UNKNOWN and is_connecting:
                return Reason(SendState.FAILED, True, "no connection in time, or it was closed at once")
            return Reason(pattern.state, pattern.is_retryable, pattern.detail)
    said = scrub(lines[-1], url) if lines else "apprise gave no reason"
    return Reason(SendState.FAILED, True, said[:MAX_DETAIL])


def by_http(status: int) -> Reason:
    """What an answer with a status other than 2xx means."""
    if 300 <= status < 400:
        # Followed, a POST would become a GET without a body, and its success would mean nothing.
        return Reason(SendState.FAILED, True, f"answered with a redirect (HTTP {status}), which is not followed")
    words = _HTTP_WORDS.get(status)
    detail = f"answered with HTTP {status}" + (f" ({words})" if words else "")
    return Reason(SendState.FAILED, status not in _PERMANENT_HTTP, detail)


def scrub(text: str, url: str) -> str:
    """`text` on one line, without any part of `url` but its scheme and the names of its parameters."""
    scheme, _, rest = url.partition("://")
    before, _, query = rest.partition("?")
    parts = {url, rest, unquote(rest)}
    for whole in (before, *(pair.partition("=")[2] or pair for pair in query.split("&"))):
        for form in (whole, unquote(whole), unquote_plus(whole)):
            parts |= {form, *_SPLIT.split(form)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET and part.lower() != scheme.lower():
            text = re.sub(re.escape(part), "...", text, flags=re.IGNORECASE)
    return _CONTROL.sub(" ", text).strip()[:MAX_DETAIL]
