"""What a configuration document means, with variables and secret files filled in.

Comes in: a document, what the flags and the environment say. Goes out: a Config, and findings that name places and
variables, but never a value that was filled in.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from zkalert.config import channels, commands, ensembles, watched
from zkalert.config.values import Config, Flags, HistorySettings, PublishedRules, Publishing
from zkalert.config.written import Place, Written
from zkalert.documents import Document, Pack, PackError, RuleSource, rule_source
from zkalert.metrics import SAMPLED, QuantityError, Unit, nearest, parse_quantity
from zkalert.model import Finding, UsageError, ZookeeperSettings

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
            members=ensembles.members(self._written, data.get("zookeeper", {}), ("zookeeper",)),
            ensembles=ensembles.others(self._written),
            labels={name: self._written.text(text, ("labels", name)) for name, text in data.get("labels", {}).items()},
            intervals=self._intervals(data.get("sampler", {}).get("intervals", {})),
            publishing=self._publishing(data.get("sampler", {})),
            history=self._history(data.get("history", {})),
            rules=self._flags.rules or self._rules(data.get("rules", [])),
            channels=known,
            routes=channels.routes(self._written, known),
            host_down=channels.host_down(self._written, known),
            on_zookeeper_lost=channels.zookeeper_lost(self._written, known),
            heartbeat=channels.heartbeat(self._written),
            processes=watched.processes(self._written),
            files=watched.files(self._written),
            commands=watched.commands(self._written),
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
        hosts = self._given(
            self._flags.zookeeper, "--zookeeper", "ZKALERT_ZOOKEEPER", ensembles.servers_problem, ensembles.SERVERS
        )
        root = self._given(self._flags.root, "--root", "ZKALERT_ROOT", ensembles.root_problem, ensembles.ROOT)
        return ensembles.own(self._written, written, hosts, root)

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

    def _publishing(self, written: Mapping[str, str]) -> Publishing:
        default = Publishing()
        resting, fast = default.resting, default.fast
        if "resting" in written:
            resting = self._written.span(written["resting"], ("sampler", "resting"), least=1.0, most=3600.0)
        if written.get("publish") == "full":
            resting = None
        if written.get("fast") == "off":
            fast = None
        elif "fast" in written:
            fast = self._written.span(written["fast"], ("sampler", "fast"), least=0.05, most=60.0)
        return Publishing(resting=resting, fast=fast)

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

    def _rules(self, written: list[str] | str) -> tuple[RuleSource, ...]:
        if isinstance(written, str):  # the word for those that come through ZooKeeper
            return ()
        sources: list[RuleSource] = []
        for index, text in enumerate(written):
            place = ("rules", index)
            try:
                source = rule_source(self._written.text(text, place), self._written.folder)
            except PackError as error:
                self._written.add(place, "wrong-pack", str(error), expected=error.expected, hint=error.hint)
                continue
            if isinstance(source, Pack):
                self._check_pack(source, sources, place)
            sources.append(source)
        return tuple(sources)

    def _check_pack(self, pack: Pack, before: Iterable[RuleSource], place: Place) -> None:
        """That its ensemble is known, and that no other entry brings rules of the same names."""
        known = sorted(self._written.data.get("ensembles", {}))
        if pack.ensemble and pack.ensemble not in known:
            near = nearest(pack.ensemble, known)
            self._written.add(
                place,
                "unknown-ensemble",
                f'no ensemble "{pack.ensemble}" in this file',
                expected="one of " + ", ".join(known) if known else "an ensemble under ensembles:",
                hint=f"did you mean {near}?" if near else "",
            )
        if any(isinstance(other, Pack) and other.name == pack.name for other in before):
            self._written.add(
                place,
                "duplicate-pack",
                f"the pack {pack.name} is named twice, and rules have names of their own",
                expected=f"{pack.name} once, or a copy of it with other names",
                hint=f"`zkalert packs {pack.name}` prints it",
            )

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
