"""What a configuration document means, with variables and secret files filled in.

Comes in: a document, what the flags and the environment say. Goes out: a Config, and findings that name places and
variables, but never a value that was filled in.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from zkalert.config.values import Config, Flags, HistorySettings
from zkalert.documents import Document
from zkalert.metrics import (
    FAMILIES,
    QuantityError,
    Unit,
    format_duration,
    nearest,
    parse_duration,
    parse_quantity,
)
from zkalert.model import Channel, Finding, TlsSettings, UsageError, ZookeeperSettings

MAX_SECRET = 64 * 1024
DEFAULT_ROOT = "/zkalert"

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_SERVERS = "host:port,... and maybe a chroot, as in zk1:2181,zk2:2181/monitoring"

_Path: TypeAlias = tuple["str | int", ...]


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
        self._document = document
        self._source = path
        self._folder = Path.cwd() if path is None else path.parent.absolute()
        self._flags = flags
        self._environ = environ
        self._check_url = check_url
        self._findings: list[Finding] = []

    @property
    def state_dir(self) -> Path:
        """Where local files go; asked for before anything is known to be right."""
        if self._flags.state_dir is not None:
            return self._flags.state_dir.absolute()
        if self._environ.get("ZKALERT_STATE_DIR"):
            return Path(self._environ["ZKALERT_STATE_DIR"]).absolute()
        data = self._document.data
        written = data.get("state_dir") if isinstance(data, dict) else None
        if isinstance(written, str) and written:
            return self._folder / self._filled(written)[0]
        base = self._environ.get("XDG_STATE_HOME", "")
        if base.startswith("/"):
            return Path(base, "zkalert")
        try:
            return Path.home() / ".local/state/zkalert"
        except RuntimeError:
            raise UsageError("there is no home folder to keep local files in; name one with --state-dir DIR") from None

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, in the order of the text."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.line, finding.column, finding.code)))

    def config(self) -> Config:
        """The configuration; worth something only if no finding is an error."""
        data = self._document.data
        if "state_dir" in data:
            self._text(data["state_dir"], ("state_dir",))
        return Config(
            host=self._host(data.get("host")),
            state_dir=self.state_dir,
            zookeeper=self._zookeeper(data.get("zookeeper", {})),
            labels={name: self._text(text, ("labels", name)) for name, text in data.get("labels", {}).items()},
            intervals=self._intervals(data.get("sampler", {}).get("intervals", {})),
            history=self._history(data.get("history", {})),
            rules=self._flags.rules or self._rules(data.get("rules", [])),
            channels=self._channels(data.get("channels", {})),
            source=self._source,
        )

    def _host(self, written: str | None) -> str:
        given = self._flags.host or self._environ.get("ZKALERT_HOST")
        if given:
            if len(given) > 253 or not given.isprintable():
                raise UsageError("--host or ZKALERT_HOST is no name of 1 to 253 printable characters")
            return given
        return (self._text(written, ("host",)) if written else "") or socket.gethostname()

    def _zookeeper(self, written: Mapping[str, Any]) -> ZookeeperSettings | None:
        hosts = self._given(self._flags.zookeeper, "--zookeeper", "ZKALERT_ZOOKEEPER", _servers_problem, _SERVERS)
        if not hosts and "hosts" in written:
            hosts = self._checked(written["hosts"], ("zookeeper", "hosts"), _servers_problem, _SERVERS)
        root = self._given(self._flags.root, "--root", "ZKALERT_ROOT", _root_problem, "a path such as /zkalert")
        if not root and "root" in written:
            root = self._checked(written["root"], ("zookeeper", "root"), _root_problem, "a path such as /zkalert")
        timeout = written.get("session_timeout", "10s")
        seconds = self._span(timeout, ("zookeeper", "session_timeout"), least=1.0, most=60.0)
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
        secret = self._secret(written["digest"], path)
        if secret is not None and not re.fullmatch(r"[^:\s]+:.+", secret):
            self._add(path, "wrong-digest", "not of the form user:password", expected="user:password")
        return secret

    def _tls(self, written: Mapping[str, str]) -> TlsSettings:
        files = {key: str(self._folder / self._text(text, ("zookeeper", "tls", key))) for key, text in written.items()}
        return TlsSettings(ca=files["ca"], cert=files.get("cert"), key=files.get("key"))

    def _intervals(self, written: Mapping[str, str]) -> dict[str, float]:
        intervals = {}
        for family, text in written.items():
            path = ("sampler", "intervals", family)
            if family not in FAMILIES:
                near = nearest(family, FAMILIES)
                self._add(
                    path,
                    "unknown-family",
                    f'no metric family "{family[:40]}"',
                    expected="one of " + ", ".join(sorted(FAMILIES)),
                    hint=f"did you mean {near}?" if near else "",
                    at_key=True,
                )
            intervals[family] = self._span(text, path, least=0.1, most=86400.0)
        return intervals

    def _history(self, written: Mapping[str, Any]) -> HistorySettings:
        default = HistorySettings()
        max_age, max_size = default.max_age, default.max_size
        if "max_age" in written:
            max_age = self._span(written["max_age"], ("history", "max_age"), least=60.0, most=3660 * 86400.0)
        if "max_size" in written:
            path = ("history", "max_size")
            try:
                max_size = int(parse_quantity(written["max_size"], Unit.BYTES))
            except QuantityError as error:
                self._add(path, "wrong-size", str(error), expected=error.expected)
            if max_size < 2**20:
                self._add(path, "wrong-size", "less than 1MiB", expected="a size of at least 1MiB")
        return HistorySettings(max_age=max_age, max_size=max_size)

    def _rules(self, written: list[str]) -> tuple[Path, ...]:
        return tuple(self._folder / self._text(text, ("rules", index)) for index, text in enumerate(written))

    def _channels(self, written: Mapping[str, Any]) -> dict[str, Channel]:
        channels = {}
        for name, channel in written.items():
            urls = []
            for index, text in enumerate(channel["urls"]):
                path = ("channels", name, "urls", index)
                url = self._secret(text, path)
                if url is None:
                    continue
                if not _URL.fullmatch(url):
                    self._add(path, "wrong-url", "not a URL", expected="a URL of a service: service://...")
                elif problem := self._check_url(url) if self._check_url else "":
                    self._add(path, "wrong-url", problem, expected="a URL that apprise can use")
                urls.append(url)
            channels[name] = Channel(name=name, urls=tuple(urls))
        return channels

    # Values of any key ------------------------------------------------------------------------------------------------

    def _given(self, flag: str | None, name: str, variable: str, problem: Callable[[str], str], expected: str) -> str:
        """What a flag or variable says, empty where neither does. Raises UsageError where it cannot work."""
        given, name = (flag, name) if flag else (self._environ.get(variable, ""), variable)
        if given and problem(given):
            raise UsageError(f"{name}: {problem(given)}; expected {expected}")
        return given

    def _checked(self, written: str, path: _Path, problem: Callable[[str], str], expected: str) -> str:
        count = len(self._findings)
        text = self._text(written, path)
        if len(self._findings) == count and problem(text):
            self._add(path, "wrong-value", f"{path[-1]}: {problem(text)}", expected=expected)
        return text

    def _span(self, written: str, path: _Path, *, least: float, most: float) -> float:
        """A span in seconds; its form has been checked, for the schema says it."""
        seconds = parse_duration(written)
        if not least <= seconds <= most:
            bounds = f"{format_duration(least)} to {format_duration(most)}"
            self._add(path, "wrong-duration", f'{path[-1]}: found "{written[:40]}"', expected=bounds)
        return seconds

    def _text(self, written: str, path: _Path) -> str:
        """A text with `${NAME}` filled in."""
        text, missing = self._filled(written)
        for name in missing:
            if _NAME.fullmatch(name):
                message = f"the environment variable {name} is not set"
            else:
                message = "what stands between ${ and } is no variable's name"
            self._add(path, "no-variable", message, expected="a variable that is set; $${ stands for ${ itself")
        return text

    def _filled(self, written: str) -> tuple[str, list[str]]:
        missing: list[str] = []

        def fill(match: re.Match[str]) -> str:
            if match[1] is None:
                return "$"
            if match[1] not in self._environ:
                missing.append(match[1])
            return self._environ.get(match[1], "")

        return _VARIABLE.sub(fill, written), missing

    def _secret(self, written: str, path: _Path) -> str | None:
        """A text, or where it begins with `file:` what stands in that file; None with a finding where neither is."""
        count = len(self._findings)
        text = self._text(written, path)
        if len(self._findings) > count:
            return None
        if not text.startswith("file:"):
            return text
        try:
            with (self._folder / text.removeprefix("file:")).open(encoding="utf-8") as file:
                secret = file.read(MAX_SECRET).rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            self._add(path, "unreadable", f"the file with this secret cannot be read: {reason}", expected="file:PATH")
            return None
        if not secret:
            self._add(path, "unreadable", "the file with this secret is empty", expected="the secret in the file")
        return secret or None

    def _add(self, path: _Path, code: str, message: str, **rest: Any) -> None:
        self._findings.append(self._document.finding(path, code, message, **rest))


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
