"""What the commands that stay share: rules and channels as an engine takes them, signals, reload, the way out."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from zkalert import clock, rulefile
from zkalert.cli import common, findings
from zkalert.config import Config
from zkalert.engine import Engine, EngineSettings
from zkalert.model import DocumentError, ZkalertError, ZookeeperSettings

log = logging.getLogger("zkalert.rules")


def engine_settings(config: Config, zookeeper: ZookeeperSettings, rules: tuple[Path, ...]) -> EngineSettings:
    """Rules read and checked, with the channels they may name.

    Raises DocumentError with every finding, UsageError for a path that does not exist.
    """
    rule_set = rulefile.load(rules, channels=config.channels, intervals=config.intervals)
    if not rule_set.is_usable:
        raise DocumentError(rule_set.findings)
    return EngineSettings(
        zookeeper=zookeeper,
        host=config.host,
        rules=rule_set.rules,
        rules_digest=rulefile.digest(rule_set.rules),
        channels=config.channels,
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


def on_reload_signal(options: common.Options, engine: Engine, settings: Callable[[Config], EngineSettings]) -> None:
    """SIGHUP reads rules and channels again. A bad set changes nothing: the old one stays, and the log says why."""
    reading = threading.Lock()

    def reload() -> None:
        with reading:
            try:
                fresh = settings(options.load())
            except DocumentError as error:
                for finding in error.findings:
                    log.error("%s", findings.one_line(finding))
                log.error("rules not reloaded; the old rules stay (findings: %d)", len(error.findings))
            except ZkalertError as error:
                log.error("rules not reloaded: %s; the old rules stay", error)
            else:
                engine.reload(fresh)
                log.info("rules reloaded: %d rules", len(fresh.rules))

    def asked(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=reload, name="zkalert-reload", daemon=True).start()

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, asked)


def leave(code: int) -> NoReturn:
    """End the process now: a send that hangs in another thread would hold the interpreter."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):  # whoever read them may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
