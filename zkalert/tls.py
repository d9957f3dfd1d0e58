"""What TLS to ZooKeeper takes: a context, or which of the files cannot be used, and why."""

from __future__ import annotations

import ssl
from pathlib import Path

from zkalert.model import TlsSettings, ZkalertError

MOST_KEY = 256 * 1024


class TlsError(ZkalertError):
    """A file of PEM cannot be used."""


def context_of(tls: TlsSettings) -> ssl.SSLContext:
    """A context that trusts `ca` alone, and shows `cert` where there is one. Raises TlsError."""
    _read(tls.ca)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except OSError:  # of which SSLError is one
        raise TlsError(f"{tls.ca} under tls holds no certificate in PEM") from None
    if tls.cert is not None:
        _read(tls.cert)
        is_locked = tls.key is not None and b"ENCRYPTED" in _read(tls.key)
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")  # or OpenSSL would ask for one at the terminal
        except OSError:
            if is_locked:
                raise TlsError(f"{tls.key} under tls is locked with a pass phrase, which nobody is asked for") from None
            raise TlsError(f"{tls.cert} and {tls.key} under tls are no certificate and its key in PEM") from None
    return context


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_KEY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise TlsError(f"{path} under tls cannot be read: {reason}") from None
