"""How the server that `zkalert up` runs on this machine is reached, by itself and by whoever asks it something."""

from __future__ import annotations

from pathlib import Path

from zkalert import config
from zkalert.localzk.password import local_password
from zkalert.localzk.server import running_hosts
from zkalert.model import ZookeeperSettings

_SESSION_TIMEOUT = 4.0


def folder(state_dir: Path) -> Path:
    """Where the local server keeps its data."""
    return state_dir / "zookeeper"


def settings(hosts: str, state_dir: Path) -> ZookeeperSettings:
    """How the local server is reached."""
    digest = f"zkalert:{local_password(state_dir)}"
    return ZookeeperSettings(hosts=hosts, digest=digest, session_timeout=_SESSION_TIMEOUT)


def zookeeper_of(given: config.Config) -> ZookeeperSettings:
    """The configured ensemble, or else the one that `zkalert up` runs now. Raises UsageError where there is none."""
    hosts = "" if given.zookeeper is not None else running_hosts(folder(given.state_dir))
    return settings(hosts, given.state_dir) if hosts else config.zookeeper_of(given)
