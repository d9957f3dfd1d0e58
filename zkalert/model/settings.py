"""How to reach ZooKeeper."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Files in PEM for TLS to ZooKeeper; `cert` and `key` where the server asks for a client certificate."""

    ca: str
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperSettings:
    """How to reach the ensemble: `hosts` as `host:port,...[/chroot]`, `digest` as `user:password`."""

    hosts: str
    root: str = "/zkalert"
    session_timeout: float = 10.0
    digest: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
