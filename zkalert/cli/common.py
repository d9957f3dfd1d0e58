"""What all commands share: their options as one frozen value, and how they print for people."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from zkalert import config
from zkalert.cli import logs
from zkalert.documents import PackError, RuleSource, rule_source

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the shared flags say; logging is set up already when a command gets this."""

    flags: config.Flags

    def load(self) -> config.Config:
        """The configuration: flags over environment over file.

        Raises DocumentError with all findings of a file that is wrong, UsageError where it cannot be read.
        """
        return config.load(self.flags)


def options(*, rules: bool = False, host: bool = False) -> Callable[[_Command], _Command]:
    """Give a command the shared options; it is called with `options`, an Options, besides its own parameters.

    `rules` adds `--rules PATH` (repeatable), `host` adds `--host NAME`. Stands below `@click.command()`::

        @click.command()
        @common.options(rules=True, host=True)
        @click.option("--once", is_flag=True, help="Stop after one round.")
        def up(options: common.Options, once: bool) -> int: ...
    """

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def call(**given: Any) -> Any:
            taken = {name: given.pop(f"{name}_flag", None) for name in _FLAGS}
            level, format_ = given.pop("log_level"), given.pop("log_format")
            logs.setup(level, format_)
            flags = config.Flags(**taken | {"rules": taken["rules"] or ()})
            return command(options=Options(flags=flags), **given)

        # click lists options in reverse order of decoration.
        chosen = [*_SHARED, *([_HOST] if host else []), *([_RULES] if rules else [])]
        decorated: Any = call
        for option in reversed(chosen):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


_FLAGS = ("config", "zookeeper", "root", "state_dir", "host", "rules")
_PATH: click.Path = click.Path(path_type=Path)


class _Rules(click.ParamType):  # type: ignore[type-arg] # it is not generic in every click
    """A rule file, a folder of them, or a pack."""

    name = "path"

    def convert(self, value: str | RuleSource, param: click.Parameter | None, ctx: click.Context | None) -> RuleSource:
        if not isinstance(value, str):
            return value
        try:
            return rule_source(value, Path())
        except PackError as error:
            self.fail(f"{error}; {error.cure}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _PATH.shell_complete(ctx, param, incomplete)


RULES = _Rules()
"""The type of arguments and options that name rules."""

_SHARED = (
    click.option(
        "--config",
        "config_flag",
        metavar="FILE",
        type=_PATH,
        help="The configuration. [ZKALERT_CONFIG; default: ./zkalert.yaml, then /etc/zkalert/zkalert.yaml]",
    ),
    click.option(
        "--zookeeper", "zookeeper_flag", metavar="HOSTS", help="ZooKeeper, as host:port,... [ZKALERT_ZOOKEEPER]"
    ),
    click.option(
        "--root", "root_flag", metavar="PATH", help="The top of zkalert's tree. [ZKALERT_ROOT; default: /zkalert]"
    ),
    click.option(
        "--state-dir",
        "state_dir_flag",
        metavar="DIR",
        type=_PATH,
        help="Local files. [ZKALERT_STATE_DIR; default: zkalert in the user's state folder]",
    ),
    click.option(
        "--log-level",
        type=click.Choice(list(logs.LEVELS)),
        default="info",
        show_default=True,
        help="The least that is logged, on standard error.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(logs.FORMATS),
        default="text",
        show_default=True,
        help="Text for people, or one JSON object a line.",
    ),
)
_HOST = click.option(
    "--host", "host_flag", metavar="NAME", help="This host's name. [ZKALERT_HOST; default: the system's name]"
)
_RULES = click.option(
    "--rules",
    "rules_flag",
    metavar="PATH",
    type=RULES,
    multiple=True,
    help="A rule file, a folder of them or pack:NAME, in place of the configuration's; may be repeated.",
)


def refuse_before(ctx: click.Context) -> None:
    """Refuse options of a group that stand before its subcommand: they would be lost without a word."""
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} goes behind {ctx.invoked_subcommand}", ctx)


def wants_colour(stream: TextIO) -> bool:
    """Whether to write colour codes to `stream`: a terminal, and NO_COLOR (https://no-color.org) is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def stop_on_interrupt() -> threading.Event:
    """An event that Ctrl-C sets: as an exception it can come where Python can only ignore it. A second one ends."""
    stop = threading.Event()

    def asked(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGINT, asked)
    return stop
