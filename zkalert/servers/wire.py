"""One question to one server: a connection, a request, and what comes until the other side is done.

Whatever goes wrong becomes an Unreachable that says so in a few words. Nothing is believed of what comes: it is bounded
in size and time, and handed on as bytes.
"""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from zkalert import clock

TIMEOUT = 2.0
"""Seconds that one server has for all questions of a round."""


class Unreachable(Exception):  # noqa: N818 - says what happened
    """There was no answer; `is_untrusted` where the certificate of the other side was not accepted."""

    def __init__(self, trouble: str, *, is_untrusted: bool = False) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.is_untrusted = is_untrusted


class Heard(NamedTuple):
    """What came, and the certificate (DER) of who said it, where TLS was spoken."""

    data: bytes
    certificate: bytes | None = None


class Line(NamedTuple):
    """Where a server listens, and until when (monotonic) it may be asked."""

    host: str
    port: int
    deadline: float

    def left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError once it has passed."""
        left = self.deadline - clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def exchange(line: Line, request: bytes, context: ssl.SSLContext | None, most: int) -> Heard:
    """What comes for `request`: all until the other side closes, or `most` bytes. Raises Unreachable."""
    try:
        with socket.create_connection((line.host, line.port), line.left()) as plain:
            if context is None:
                return Heard(_asked(plain, line, request, most))
            with context.wrap_socket(plain, server_hostname=line.host) as secure:
                certificate = secure.getpeercert(binary_form=True)
                return Heard(_asked(secure, line, request, most), certificate)
    except (OSError, UnicodeError) as error:
        is_untrusted = isinstance(error, ssl.SSLCertVerificationError)
        raise Unreachable(_words(error), is_untrusted=is_untrusted) from None


def certificate_of(line: Line) -> bytes | None:
    """The certificate (DER) that a server shows, whoever it is: nothing is asked there. None where it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((line.host, line.port), line.left()) as plain,
            context.wrap_socket(plain) as secure,
        ):
            return secure.getpeercert(binary_form=True)
    except (OSError, UnicodeError):
        return None


def _asked(connection: socket.socket, line: Line, request: bytes, most: int) -> bytes:
    connection.settimeout(line.left())
    connection.sendall(request)
    data = bytearray()
    while len(data) < most:
        connection.settimeout(line.left())  # each read has what is left, so that a drip does not last for ever
        try:
            part = connection.recv(min(16384, most - len(data)))
        except (ConnectionResetError, ssl.SSLEOFError):
            if data:
                break  # some close without a word of farewell
            raise
        if not part:
            break
        data += part
    return bytes(data)


def _words(error: OSError | UnicodeError) -> str:
    if isinstance(error, TimeoutError):
        return f"did not answer within {TIMEOUT:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no TLS could be spoken with it"
    return f"cannot be asked: {error.strerror or type(error).__name__}"
