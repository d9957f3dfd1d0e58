"""What a configuration document means, with variables and secret files filled in.

Comes in: a document, what the flags and the environment say. Goes out: a Config, and findings that name places and
variables, but never a value that was filled in.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zkalert.config import channels, commands
from zkalert.config.values import Config, Flags, HistorySettings, PublishedRules
from zkalert.config.written import Written
from zkalert.documents import Document
from zkalert.metrics import SAMPLED, QuantityError, Unit, nearest, parse_quantity
from zkalert.model import Finding, TlsSettings, UsageError, ZookeeperSettings

DEFAULT_ROOT = "/zkalert"

_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_SERVERS = "host:port,... and maybe a chroot, as in zk1:2181,zk2:2181/monitoring"
_PUBLISHED = "zookeeper"


class Settings:
    """One pass over one document."""

    def __init__(
        self,
        document: Document,
        path: Path | None,
        flags: Flags,
        environ: Mapping[str, str],
        check_url: Callable[[str], str] | None = None,
    ) -> None:
        self._written = Written(document, Path.cwd() if path is None else path.parent.absolute(), environ)
        self._source = path
        self._flags = flags
        self._environ = environ
        self._check_url = check_url

    @property
    def state_dir(self) -> Path:
        """Where local files go; asked for before anything is known to be right."""
        if self._flags.state_dir is not None:
            return self._flags.state_dir.absolute()
        if self._environ.get("ZKALERT_STATE_DIR"):
            return Path(self._environ["ZKALERT_STATE_DIR"]).absolute()
        data = self._written.data
        written = data.get("state_dir") if isinstance(data, dict) else None
        if isinstance(written, str) and written:
            return self._written.folder / self._written.filled(written)[0]
        base = self._environ.get("XDG_STATE_HOME", "")
        if base.startswith("/"):
            return Path(base, "zkalert")
        try:
            return Path.home() / ".local/state/zkalert"
        except RuntimeError:
            raise UsageError("there is no home folder to keep local files in; name one with --state-dir DIR") from None

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, in the order of the text."""
        return self._written.findings()

    def config(self) -> Config:
        """The configuration; worth something only if no finding is an error."""
        data = self._written.data
        if "state_dir" in data:
            self._written.text(data["state_dir"], ("state_dir",))
        known = channels.channels(self._written, self._check_url)
        return Config(
            host=self._host(data.get("host")),
            state_dir=self.state_dir,
            zookeeper=self._zookeeper(data.get("zookeeper", {})),
            labels={name: self._written.text(text, ("labels", name)) for name, text in data.get("labels", {}).items()},
            intervals=self._intervals(data.get("sampler", {}).get("intervals", {})),
            history=self._history(data.get("history", {})),
            rules=self._flags.rules or self._rules(data.get("rules", [])),
            channels=known,
            routes=channels.routes(self._written, known),
            host_down=channels.host_down(self._written, known),
            on_zookeeper_lost=channels.zookeeper_lost(self._written, known),
            heartbeat=channels.heartbeat(self._written),
            actions=commands.actions(self._written),
            may_run=data.get("shell_actions", True),
            published_rules=self._published(data),
            source=self._source,
        )

    def _host(self, written: str | None) -> str:
        given = self._flags.host or self._environ.get("ZKALERT_HOST")
        if given:
            if len(given) > 253 or not given.isprintable():
                raise UsageError("--host or ZKALERT_HOST is no name of 1 to 253 printable characters")
            return given
        return (self._written.text(written, ("host",)) if written else "") or socket.gethostname()

    def _zookeeper(self, written: Mapping[str, Any]) -> ZookeeperSettings | None:
        hosts = self._given(self._flags.zookeeper, "--zookeeper", "ZKALERT_ZOOKEEPER", _servers_problem, _SERVERS)
        if not hosts and "hosts" in written:
            hosts = self._written.checked(written["hosts"], ("zookeeper", "hosts"), _servers_problem, _SERVERS)
        root = self._given(self._flags.root, "--root", "ZKALERT_ROOT", _root_problem, "a path such as /zkalert")
        if not root and "root" in written:
            root = self._written.checked(
                written["root"], ("zookeeper", "root"), _root_problem, "a path such as /zkalert"
            )
        timeout = written.get("session_timeout", "10s")
        seconds = self._written.span(timeout, ("zookeeper", "session_timeout"), least=1.0, most=60.0)
        digest = self._digest(written.get("auth", {}))
        tls = self._tls(written["tls"]) if "tls" in written else None
        if not hosts:
            return None
        return ZookeeperSettings(
            hosts=hosts,
            # A chroot is a root already.
            root=root or ("/" if hosts.partition("/")[2] else DEFAULT_ROOT),
            session_timeout=seconds,
            digest=digest,
            tls=tls,
        )

    def _digest(self, written: Mapping[str, str]) -> str | None:
        if "digest" not in written:
            return None
        path = ("zookeeper", "auth", "digest")
        secret = self._written.secret(written["digest"], path)
        if secret is not None and not re.fullmatch(r"[^:\s]+:.+", secret):
            self._written.add(path, "wrong-digest", "not of the form user:password", expected="user:password")
        return secret

    def _tls(self, written: Mapping[str, str]) -> TlsSettings:
        files = {
            key: str(self._written.folder / self._written.text(text, ("zookeeper", "tls", key)))
            for key, text in written.items()
        }
        return TlsSettings(ca=files["ca"], cert=files.get("cert"), key=files.get("key"))

    def _intervals(self, written: Mapping[str, str]) -> dict[str, float]:
        intervals = {}
        for family, text in written.items():
            path = ("sampler", "intervals", family)
            if family not in SAMPLED:
                near = nearest(family, SAMPLED)
                self._written.add(
                    path,
                    "unknown-family",
                    f'no metric family "{family[:40]}"',
                    expected="one of " + ", ".join(sorted(SAMPLED)),
                    hint=f"did you mean {near}?" if near else "",
                    at_key=True,
                )
            intervals[family] = self._written.span(text, path, least=0.1, most=86400.0)
        return intervals

    def _history(self, written: Mapping[str, Any]) -> HistorySettings:
        default = HistorySettings()
        max_age, max_size = default.max_age, default.max_size
        if "max_age" in written:
            max_age = self._written.span(written["max_age"], ("history", "max_age"), least=60.0, most=3660 * 86400.0)
        if "max_size" in written:
            path = ("history", "max_size")
            try:
                max_size = int(parse_quantity(written["max_size"], Unit.BYTES))
            except QuantityError as error:
                self._written.add(path, "wrong-size", str(error), expected=error.expected)
            if max_size < 2**20:
                self._written.add(path, "wrong-size", "less than 1MiB", expected="a size of at least 1MiB")
        return HistorySettings(max_age=max_age, max_size=max_size)

    def _rules(self, written: list[str] | str) -> tuple[Path, ...]:
        if isinstance(written, str):  # the word for those that come through ZooKeeper
            return ()
        folder = self._written.folder
        return tuple(folder / self._written.text(text, ("rules", index)) for index, text in enumerate(written))

    def _published(self, data: Mapping[str, Any]) -> PublishedRules:
        """What may come through ZooKeeper. Files that a flag names are evaluated in its place."""
        written = data.get("published_rules", {})
        return PublishedRules(
            is_followed=data.get("rules") == _PUBLISHED and not self._flags.rules,
            may_run=written.get("shell", False),
            may_have_urls=written.get("urls", False),
        )

    def _given(self, flag: str | None, name: str, variable: str, problem: Callable[[str], str], expected: str) -> str:
        """What a flag or variable says, empty where neither does. Raises UsageError where it cannot work."""
        given, name = (flag, name) if flag else (self._environ.get(variable, ""), variable)
        if given and problem(given):
            raise UsageError(f"{name}: {problem(given)}; expected {expected}")
        return given


def _servers_problem(text: str) -> str:
    """What is wrong with a list of servers, empty where nothing is."""
    servers, slash, chroot = text.partition("/")
    for server in servers.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None:
            return "not a list of servers"
        if match[1] and not 1 <= int(match[1]) <= 65535:
            return "a port beyond 65535"
    return _root_problem(slash + chroot) if slash else ""


def _root_problem(text: str) -> str:
    """What is wrong with a znode's path, empty where nothing is."""
    if not text.startswith("/"):
        return "does not start with /"
    if text != "/" and any(part in ("", ".", "..") for part in text[1:].split("/")):
        return "a path with an empty part, . or .."
    return "" if text.isprintable() else "a path with control characters"
