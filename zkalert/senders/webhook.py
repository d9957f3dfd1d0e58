"""A message as its JSON document to a program of one's own: the targets `webhook://` and `webhooks://`.

The body is what `schemas/webhook.schema.json` describes. With a secret it is signed: `X-Zkalert-Signature` is `v1=`
and the hexadecimal HMAC-SHA256 of `<X-Zkalert-Timestamp>.<body>`. Time is bounded: 5 s to connect, 4 s for each read,
15 s in all. Certificates are verified, redirects are not followed, proxies not asked.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from zkalert import clock
from zkalert.model import Effect, Message, SendResult, SendState, Target
from zkalert.senders.reasons import Reason, by_http, explain

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 4.0
_TIMEOUT = 15.0


class _Place(NamedTuple):
    """Where a URL leads. `login` is `user:password`, empty without one."""

    host: str
    port: int
    path: str
    login: str
    is_tls: bool


def url_problem(url: str) -> str | None:
    """Why a webhook's URL is wrong, without a part of it; None where it is not."""
    place = _place(url)
    return place if isinstance(place, str) else None


def _place(url: str) -> _Place | str:
    try:
        split = urlsplit(url.strip())
        port = split.port
    except ValueError:
        return "not a valid URL: its port is none of 1 to 65535, or its host has the wrong form"
    if not split.hostname:
        return f"not a valid {split.scheme}:// URL: the host is missing"
    if port == 0:
        return "0 is no port; expected 1 to 65535"
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    if not (path.isascii() and path.isprintable()) or " " in path:
        return "not a valid URL: a character in its path or query must be percent-encoded"
    is_tls = split.scheme.lower() == "webhooks"
    login = f"{unquote(split.username or '')}:{unquote(split.password or '')}" if "@" in split.netloc else ""
    return _Place(split.hostname, port or (443 if is_tls else 80), path, login, is_tls)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body sent at `timestamp` (epoch seconds), as it stands in the header."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode("utf-8", "surrogateescape"), signed, hashlib.sha256).hexdigest()


class WebhookSender:
    """Posts documents to one URL. Not for more than one thread."""

    def __init__(self, target: Target) -> None:
        if target.url is None:
            raise ValueError(f"{target.id} has no URL")
        self._url = target.url
        self._secret = target.channel.secret if target.channel is not None else None

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - all senders are called alike; the document has what there is to tell
        """Post `message.document` once; never raises. `is_repeat` stands in it as `repeat`."""
        started = clock.monotonic()
        place = _place(self._url)
        if isinstance(place, str):
            reason = Reason(SendState.FAILED, False, place)
        else:
            body = json.dumps({**message.document, "repeat": is_repeat}, allow_nan=False).encode()
            reason = self._post(place, body, self._headers(place, message, body))
        return SendResult(
            state=reason.state,
            is_retryable=reason.is_retryable,
            detail=reason.detail,
            seconds=clock.monotonic() - started,
        )

    def _headers(self, place: _Place, message: Message, body: bytes) -> Mapping[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "zkalert",
            "X-Zkalert-Key": message.key.encode("ascii", "backslashreplace").decode(),
            "Connection": "close",
        }
        if place.login:
            headers["Authorization"] = "Basic " + b64encode(place.login.encode()).decode()
        if self._secret:
            timestamp = str(int(clock.wall()))
            headers["X-Zkalert-Timestamp"] = timestamp
            headers["X-Zkalert-Signature"] = sign(self._secret, timestamp, body)
        return headers

    def _post(self, place: _Place, body: bytes, headers: Mapping[str, str]) -> Reason:
        is_connecting = True
        try:
            with _connected(place) as connection:
                is_connecting = False
                connection.request("POST", place.path, body, dict(headers))
                status = connection.getresponse().status
        except Exception as error:  # noqa: BLE001 - whatever a server sends, the worker must live on
            return explain([f"{type(error).__name__}: {error}"], self._url, is_connecting=is_connecting)
        if 200 <= status < 300:
            return Reason(SendState.DELIVERED, False, "delivered")
        return by_http(status)


@contextmanager
def _connected(place: _Place) -> Iterator[http.client.HTTPConnection]:
    """A connection that is cut off once its time is over, however the other end spends it."""
    connection = http.client.HTTPConnection(place.host, place.port)
    connection.sock = plain = socket.create_connection((place.host, place.port), _CONNECT_TIMEOUT)
    if place.is_tls:
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(plain, server_hostname=place.host, do_handshake_on_connect=False)
    guarded = connection.sock
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        with suppress(OSError):
            # Not the method of a TLS socket: that one first forgets the session which another thread is using.
            socket.socket.shutdown(guarded, socket.SHUT_RDWR)

    # Each wait on the socket is bounded by its own time-out; many short ones by this.
    guard = threading.Timer(_TIMEOUT, cut)
    guard.daemon = True
    guard.start()
    try:
        if isinstance(guarded, ssl.SSLSocket):
            guarded.do_handshake()
        guarded.settimeout(_READ_TIMEOUT)
        yield connection
    except Exception:
        if is_over.is_set():
            raise TimeoutError("timed out") from None
        raise
    finally:
        guard.cancel()
        connection.close()
