"""How to reach ZooKeeper, and the rule that is built in."""

from __future__ import annotations

from dataclasses import dataclass, field

from zkalert.model.rules import Action
from zkalert.model.rulewords import Severity


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


ADMIN_PORT = 8080
"""Where ZooKeeper's AdminServer listens unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Which servers an ensemble has, and how each is asked about itself.

    `servers` as `host:port`; empty: those of the hosts string. `admin_port` is that of their AdminServer, None where
    it is never asked. It is asked before the four-letter words where `prefers_admin`, else where these are refused.
    """

    servers: tuple[str, ...] = ()
    admin_port: int | None = ADMIN_PORT
    prefers_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSettings:
    """How to reach an ensemble and its single servers; the root of `zookeeper` is not used in those of others."""

    zookeeper: ZookeeperSettings
    members: Members = Members()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDown:
    """The rule that is built in: a host whose sampler is gone for `after` seconds. `actions` is who hears of it.

    `actions` None: whoever hears of rules that name nobody.
    """

    after: float = 30.0
    severity: Severity = Severity.CRITICAL
    actions: tuple[Action, ...] | None = None
