"""What the commands that stay share: rules and channels as an engine takes them, signals, reload, the way out."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NoReturn

from zkalert import clock, rulefile
from zkalert.cli import findings, rulesource
from zkalert.config import Config, zookeeper_of
from zkalert.documents import RuleSource
from zkalert.engine import Engine, EngineSettings
from zkalert.engine.following import Follower
from zkalert.journal import JOURNAL_NAME
from zkalert.model import DocumentError, PublishedSet, Rule, UsageError, ZkalertError, ZookeeperSettings
from zkalert.store import rulesets

log = logging.getLogger("zkalert.rules")

MOST_FINDINGS = 20
"""How many findings of a set are logged; whoever may publish one may fill no disk."""


def engine_settings(config: Config, zookeeper: ZookeeperSettings, rules: tuple[RuleSource, ...]) -> EngineSettings:
    """Rules read and checked, with the channels they may name.

    Raises DocumentError with every finding, UsageError for a path that does not exist.
    """
    return _settings(
        config,
        zookeeper,
        rulefile.load(rules, channels=config.channels, intervals=config.intervals, ensembles=config.ensembles),
    )


def published_settings(config: Config, published: PublishedSet) -> EngineSettings:
    """The same of a published rule set, which may bring only what the configuration allows.

    Raises DocumentError with every finding.
    """
    rule_set = rulefile.load_texts(
        published.files,
        channels=config.channels,
        intervals=config.intervals,
        ensembles=config.ensembles,
        allowed=rulesource.allowed(config),
    )
    return _settings(config, zookeeper_of(config), rule_set)


def _settings(config: Config, zookeeper: ZookeeperSettings, rule_set: rulefile.RuleSet) -> EngineSettings:
    if not rule_set.is_usable:
        raise DocumentError(rule_set.findings)
    return EngineSettings(
        zookeeper=zookeeper,
        members=config.members,
        ensembles=config.ensembles,
        host=config.host,
        rules=rulefile.with_builtin(rule_set.rules, config.host_down),
        rules_digest=rulefile.digest(rule_set.rules),
        channels=config.channels,
        routes=config.routes,
        may_run=config.may_run,
        on_zookeeper_lost=config.on_zookeeper_lost,
        heartbeat=config.heartbeat,
        journal=config.state_dir / JOURNAL_NAME,
        folder=config.source.parent if config.source else None,
    )


def on_stop_signals(stop: Callable[[], None]) -> None:
    """SIGINT and SIGTERM both end a command in order; asked again a second later, it ends at once.

    Not sooner: some programs send a signal to a process and to its group, and mean it once.
    """
    first: list[float] = []

    def asked(_number: int, _frame: FrameType | None) -> None:
        now = clock.monotonic()
        if not first:
            first.append(now)
            stop()
        elif now - first[0] > 1.0:
            leave(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)


class Files:
    """Gives an engine the rules of files: `prepared` first.

    SIGHUP reads rules and channels again, by `load` and `settings`. A bad set changes nothing: the old one stays, and
    the log says why.
    """

    def __init__(
        self, prepared: EngineSettings, load: Callable[[], Config], settings: Callable[[Config], EngineSettings]
    ) -> None:
        self._prepared = prepared
        self._load = load
        self._settings = settings
        self._reading = threading.Lock()
        self._engine: Engine | None = None
        self._is_stopped = False

    def run(self, make: Callable[[EngineSettings], Engine]) -> None:
        """Run an engine until `stop`. Raises ZkalertError where it cannot be used."""
        self._engine = engine = make(self._prepared)
        _on_hangup(lambda: self._reload(engine))
        if not self._is_stopped:  # a signal that comes from here on stops the engine
            engine.run()

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self._is_stopped = True
        if self._engine is not None:
            self._engine.stop()

    def _reload(self, engine: Engine) -> None:
        with self._reading:
            try:
                fresh = self._settings(self._load())
            except ZkalertError as error:
                _not_reloaded(error, engine)
            else:
                engine.reload(fresh)
                log.info("rules reloaded: %s", _count(fresh.rules))


def _count(rules: Iterable[Rule]) -> str:
    """How many rules people wrote, in words."""
    count = sum(not rulefile.is_builtin(rule) for rule in rules)
    return f"{count} rule{'' if count == 1 else 's'}"


class Published:
    """Gives an engine the published rules, judged by this host's configuration: the first set, then every other.

    SIGHUP reads the configuration again, by `load`, and judges what is published by it.
    """

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._config = config
        self._load = load
        self._lock = threading.Lock()  # of the two below, between the follower's thread and the main one
        self._settings: EngineSettings | None = None
        self._engine: Engine | None = None
        self._first: queue.SimpleQueue[ZkalertError | None] = queue.SimpleQueue()
        self._is_stopped = False
        self._follower = Follower(zookeeper_of(config), self._take, self._first.put)

    def run(self, make: Callable[[EngineSettings], Engine]) -> None:
        """Wait for a set that can be used, and run an engine on it, and on those after it, until `stop`.

        Raises ZkalertError where the tree, or the engine, cannot be used.
        """
        self._follower.start()
        _on_hangup(self._reload)
        try:
            error = self._first.get()
            if error is not None:
                raise error
            self._run(make)
        finally:
            self._follower.stop()

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self._is_stopped = True
        self._first.put(None)
        if self._engine is not None:
            self._engine.stop()

    def _run(self, make: Callable[[EngineSettings], Engine]) -> None:
        with self._lock:
            if self._settings is None:
                return
            self._engine = make(self._settings)
        if not self._is_stopped:  # a signal that comes from here on stops the engine
            self._engine.run()

    def _take(self, published: PublishedSet) -> None:
        name = f"rule set {rulesets.short(published.publication.set_id)}"
        if published.publication.by:
            name += f", published by {published.publication.by},"
        try:
            settings = published_settings(self._config, published)
        except DocumentError as error:
            _log_findings(error)
            if self._engine is not None:
                self._engine.refused(f"{name} is refused: {error}")
            raise ZkalertError(f"{name} is refused: {error}") from error
        with self._lock:
            self._settings = settings
            if self._engine is None:
                self._first.put(None)
            else:
                self._engine.reload(settings)
        log.info("%s is in use: %s", name, _count(settings.rules))

    def _reload(self) -> None:
        try:
            config = self._load()
            if not config.published_rules.is_followed:
                raise UsageError("rules: zookeeper is gone from the configuration, which takes a restart")
        except ZkalertError as error:
            _not_reloaded(error, self._engine)
        else:
            self._config = config
            self._follower.again()


def _on_hangup(act: Callable[[], None]) -> None:
    def asked(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=act, name="zkalert-reload", daemon=True).start()

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, asked)


def _not_reloaded(error: ZkalertError, engine: Engine | None) -> None:
    if engine is not None:
        engine.refused(str(error))
    if isinstance(error, DocumentError):
        _log_findings(error)
        log.error("rules not reloaded; the old rules stay (findings: %d)", len(error.findings))
    else:
        log.error("rules not reloaded: %s; the old rules stay", error)


def _log_findings(error: DocumentError) -> None:
    for finding in error.findings[:MOST_FINDINGS]:
        log.error("%s", findings.one_line(finding))
    if len(error.findings) > MOST_FINDINGS:
        log.error("and %d more findings", len(error.findings) - MOST_FINDINGS)


def leave(code: int) -> NoReturn:
    """End the process now: a send that hangs in another thread would hold the interpreter."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):  # whoever read them may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
