"""`zkalert.yaml`, environment and flags become one frozen Config.

Comes in: what the command line says, and the environment. Goes out: a Config, or all findings of a file that is
wrong. Secrets are filled in here, and never come out in a finding, an error or a repr.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from zkalert import documents
from zkalert.config.meaning import Settings
from zkalert.config.values import (
    NO_FLAGS,
    Config,
    Flags,
    Heartbeat,
    HistorySettings,
    PublishedRules,
    Publishing,
    ZookeeperLost,
)
from zkalert.model import DocumentError, Finding, HostDown, Level, UsageError, ZookeeperSettings

__all__ = [
    "Config",
    "Flags",
    "Heartbeat",
    "HistorySettings",
    "HostDown",
    "PublishedRules",
    "Publishing",
    "ZookeeperLost",
    "find",
    "load",
    "read",
    "read_file",
    "zookeeper_of",
]

DEFAULT_FILES = (Path("zkalert.yaml"), Path("/etc/zkalert/zkalert.yaml"))


def load(flags: Flags = NO_FLAGS, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration: flags over environment (`os.environ` unless given) over file.

    Raises DocumentError with all findings where the file is wrong, UsageError where it cannot be read, or where a
    flag or variable cannot work.
    """
    environ = os.environ if environ is None else environ
    path = find(flags, environ)
    text = b"" if path is None else read_file(path)
    config, findings = read(text, path, flags, environ)
    if config is None:
        raise DocumentError(tuple(finding for finding in findings if finding.level is Level.ERROR))
    return config


def zookeeper_of(config: Config) -> ZookeeperSettings:
    """The configured ensemble. Raises UsageError where there is none."""
    if config.zookeeper is None:
        raise UsageError(
            "no ZooKeeper is configured: name its servers with --zookeeper HOST:PORT,..., ZKALERT_ZOOKEEPER, "
            "or zookeeper.hosts in zkalert.yaml; `zkalert up` starts a local one"
        )
    return config.zookeeper


def find(flags: Flags, environ: Mapping[str, str]) -> Path | None:
    """The configuration file to use: the one that is named, else the first default that exists, else None.

    Raises UsageError where the one in the current folder could have been put there by anybody.
    """
    if flags.config is not None:
        return flags.config
    if environ.get("ZKALERT_CONFIG"):
        return Path(environ["ZKALERT_CONFIG"])
    for path in DEFAULT_FILES:
        if path.is_file():
            if not path.is_absolute():
                _refuse_writable(path)
            return path
    return None


def _refuse_writable(path: Path) -> None:
    for place, what in ((path, "it"), (path.parent.resolve(), "its folder")):
        if place.stat().st_mode & 0o002:
            raise UsageError(
                f"./{path} is not used, since everybody may write to {what}; "
                f"name it with --config ./{path}, or take that right away: chmod o-w {place}"
            )


def read_file(path: Path) -> bytes:
    """What stands in a file, a little more than a document may have at most. Raises UsageError where it cannot."""
    try:
        with path.open("rb") as file:
            return file.read(documents.MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def read(
    text: str | bytes,
    path: Path | None,
    flags: Flags = NO_FLAGS,
    environ: Mapping[str, str] | None = None,
    *,
    name: str = "",
    check_url: Callable[[str], str] | None = None,
) -> tuple[Config | None, tuple[Finding, ...]]:
    """The configuration in a text that came from `path` (None: from nowhere), and all findings, sorted.

    None where a finding is an error. `name` is what people read in place of the path. `check_url` says why a URL is
    refused, in words without its secrets, or gives an empty text (None: URLs are not looked into). Raises UsageError
    where a flag or variable cannot work.
    """
    environ = os.environ if environ is None else environ
    document, findings = documents.parse(text, name or str(path), "config")
    if findings:
        return None, findings
    is_empty = document.data is None
    if is_empty:
        document.data = {}
    settings = Settings(document, path, flags, environ, check_url)
    findings = () if is_empty else documents.check(document)
    if findings:
        return None, findings
    config = settings.config()
    findings = settings.findings()
    return (None if any(finding.level is Level.ERROR for finding in findings) else config), findings
