"""How ZooKeeper is reached: the ensemble of zkalert's own tree, and others that rules may read.

Comes in: the keys `zookeeper` and `ensembles` of a document that its schema has passed. Goes out: settings, and
findings that name places, but never a value that was filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zkalert.config.written import Place, Written
from zkalert.model import ADMIN_PORT, EnsembleSettings, Members, TlsSettings, ZookeeperSettings

SERVERS = "host:port,... and maybe a chroot, as in zk1:2181,zk2:2181/monitoring"
ROOT = "a path such as /zkalert"

_DEFAULT_ROOT = "/zkalert"
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_TAKEN = {"znode": "paths of zkalert's own ensemble", "zookeeper": "zkalert's own ensemble"}
"""Names of ensembles that metrics and alerts have for something else."""


def own(written: Written, raw: Mapping[str, Any], hosts: str, root: str) -> ZookeeperSettings | None:
    """The ensemble of zkalert's own tree; `hosts` and `root` are what was given beside the file, or empty."""
    place = ("zookeeper",)
    if not hosts and "hosts" in raw:
        hosts = written.checked(raw["hosts"], (*place, "hosts"), servers_problem, SERVERS)
    if not root and "root" in raw:
        root = written.checked(raw["root"], (*place, "root"), root_problem, ROOT)
    # A chroot is a root already.
    settings = _reached(written, raw, place, hosts, root or ("/" if hosts.partition("/")[2] else _DEFAULT_ROOT))
    return settings if hosts else None


def others(written: Written) -> dict[str, EnsembleSettings]:
    """The ensembles that rules may read beside zkalert's own, by name."""
    found = {}
    for name, raw in written.data.get("ensembles", {}).items():
        place = ("ensembles", name)
        if name in _TAKEN:
            written.add(place, "wrong-key", f'"{name}" stands for {_TAKEN[name]}', expected="another name", at_key=True)
        hosts = written.checked(raw["hosts"], (*place, "hosts"), servers_problem, SERVERS)
        found[name] = EnsembleSettings(
            zookeeper=_reached(written, raw, place, hosts, "/"), members=members(written, raw, place)
        )
    return found


def members(written: Written, raw: Mapping[str, Any], place: Place) -> Members:
    """Which servers an ensemble has, each once and with its port, and whether their AdminServers are asked."""
    servers = tuple(
        _with_port(written.checked(text, (*place, "servers", index), _server_problem, "host:port"))
        for index, text in enumerate(raw.get("servers", ()))
    )
    admin = raw.get("admin")
    if admin is None:
        return Members(servers=tuple(dict.fromkeys(servers)))
    port = (ADMIN_PORT if admin else None) if isinstance(admin, bool) else int(admin)
    return Members(servers=tuple(dict.fromkeys(servers)), admin_port=port, prefers_admin=port is not None)


def _reached(written: Written, raw: Mapping[str, Any], place: Place, hosts: str, root: str) -> ZookeeperSettings:
    timeout = (*place, "session_timeout")
    return ZookeeperSettings(
        hosts=hosts,
        root=root,
        session_timeout=written.span(raw.get("session_timeout", "10s"), timeout, least=1.0, most=60.0),
        digest=_digest(written, raw.get("auth", {}), (*place, "auth", "digest")),
        tls=_tls(written, raw["tls"], (*place, "tls")) if "tls" in raw else None,
    )


def _digest(written: Written, raw: Mapping[str, str], place: Place) -> str | None:
    if "digest" not in raw:
        return None
    secret = written.secret(raw["digest"], place)
    if secret is not None and not re.fullmatch(r"[^:\s]+:.+", secret):
        written.add(place, "wrong-digest", "not of the form user:password", expected="user:password")
    return secret


def _tls(written: Written, raw: Mapping[str, str], place: Place) -> TlsSettings:
    files = {key: str(written.folder / written.text(text, (*place, key))) for key, text in raw.items()}
    return TlsSettings(ca=files["ca"], cert=files.get("cert"), key=files.get("key"))


def servers_problem(text: str) -> str:
    """What is wrong with a list of servers, empty where nothing is."""
    servers, slash, chroot = text.partition("/")
    for server in servers.split(","):
        if problem := _server_problem(server.strip()):
            return "not a list of servers" if problem == _NO_SERVER else problem
    return root_problem(slash + chroot) if slash else ""


_NO_SERVER = "not a server"


def _server_problem(text: str) -> str:
    match = _SERVER.fullmatch(text)
    if match is None:
        return _NO_SERVER
    return "a port beyond 65535" if match[1] and not 1 <= int(match[1]) <= 65535 else ""


def _with_port(server: str) -> str:
    match = _SERVER.fullmatch(server)
    return server if match is None or match[1] else f"{server}:2181"


def root_problem(text: str) -> str:
    """What is wrong with a znode's path, empty where nothing is."""
    if not text.startswith("/"):
        return "does not start with /"
    if text != "/" and any(part in ("", ".", "..") for part in text[1:].split("/")):
        return "a path with an empty part, . or .."
    return "" if text.isprintable() else "a path with control characters"
