"""`zkalert hold`: messages of some alerts are quiet while a command runs.

A hold is a silence of a minute that is renewed for as long as the command lives: an ephemeral znode would end when
the command restarts the network. Whatever becomes of ZooKeeper meanwhile, the command goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from zkalert import clock, zk
from zkalert.cli import common, local, logs, saying
from zkalert.metrics import format_duration
from zkalert.model import Silence, UsageError, ZkalertError
from zkalert.store import Changed, Facts, Filed
from zkalert.tree import Tree

log = logging.getLogger("zkalert.hold")

HELD = 60.0
"""Seconds from a renewal to the end of a hold that is not renewed any more."""
RENEW_EVERY = 20.0

_AGAIN = 1.0
_PATIENCE = 5.0  # seconds that the end of a hold may take
_CANNOT_RUN = 126
_NOT_FOUND = 127
_MOST_LINGER = 86400.0

_PASSED_ON = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2})
_HEARD = _PASSED_ON | {signal.SIGCHLD}
# Python ignores these, and what it ignores its children would.
_USUAL = (signal.SIGPIPE, signal.SIGXFSZ)


class CannotRun(ZkalertError):  # noqa: N818 - says what happened
    """The command could not be started; the exit code is that of shells."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _WithCommand(click.Command):
    """Everything behind the first `--` is the command, and none of it is an option of ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:at])
        ctx.params["command"] = tuple(args[at + 1 :])
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "--", "COMMAND..."]


@click.command(cls=_WithCommand)
@click.argument("words", nargs=-1, metavar="[MATCHER]...")
@click.option(
    "--linger", default="0s", show_default=True, callback=saying.span, metavar="SPAN", help="Go on behind its end."
)
@click.option("--all", "is_all", is_flag=True, help="Every alert.")
@click.option("--anyway", is_flag=True, help="Run the command also where ZooKeeper does not answer.")
@saying.signed()
@common.options()
def hold(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    words: tuple[str, ...],
    linger: float,
    is_all: bool,
    anyway: bool,
    comment: str,
    author: str,
    command: tuple[str, ...],
) -> int:
    """Keep alerts quiet while COMMAND runs: those that match in each MATCHER, as for `zkalert silence add`.

    \b
      zkalert hold host=db3 --linger 2m -- ./patch.sh

    What still fires untold at the end is told then, once. Signals are passed on to the command, and its exit code is
    that of the hold: 128 and the signal's number where one ended it, 127 where there is no such command. Where
    ZooKeeper does not answer, nothing is run, and the exit code is 1. If it goes away later, the command goes on; the
    hold ends a minute after it was renewed last, and is renewed again once ZooKeeper is back.
    """  # noqa: D301 - the \b is click's
    if not command:
        raise UsageError("no command; write it behind --, as in: zkalert hold host=db3 -- ./patch.sh")
    matchers = saying.matchers(words, is_all=is_all)
    if linger > _MOST_LINGER:
        raise UsageError(
            f"--linger: found {format_duration(linger)}; expected at most {format_duration(_MOST_LINGER)}: "
            "`zkalert silence add` is for longer ones"
        )
    if shutil.which(command[0]) is None:
        raise CannotRun(f'no command "{command[0]}" is there to be run', _NOT_FOUND)
    config = options.load()
    wanted = Silence(
        id="",
        **matchers._asdict(),
        starts_at=0.0,
        ends_at=0.0,
        comment=comment or f"hold: {command[0]}",
        author=saying.author_of(author, config),
        is_hold=True,
    )
    settings = local.zookeeper_of(config)
    client = zk.make_client(settings)
    try:
        with _deaf():  # the client's threads, for as long as they live
            connecting = client.start_async()
        keeper = Keeper(client, Tree(settings.root), wanted)
        clock.wait(connecting, settings.session_timeout)
        with _deaf() as usual:
            try:
                keeper.begin()
            except ZkalertError as error:
                if not anyway:
                    raise
                _tell(f"{error}; the command is run without a hold for now")
            return _run(command, keeper, linger, usual)
    finally:
        zk.leave(client, 2.0)


def _run(command: Sequence[str], keeper: Keeper, linger: float, mask: set[Any]) -> int:
    """Run a command under a hold that has begun; its exit code."""
    keeper.start()
    try:
        return _wait(_spawn(command, mask))
    finally:
        keeper.end(linger)
        while signal.sigpending() & _HEARD:  # the command is over: there is nobody to tell
            signal.sigwait(_HEARD)


# The command ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _deaf() -> Iterator[set[Any]]:
    """Signals wait until they are asked for, for this thread and those that it starts; the mask that was before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(command: Sequence[str], mask: set[Any]) -> int:
    """Start a command with our files, environment and process group; its process id."""
    # Where whoever started us ignores the ends of children, nobody would tell us of one.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        return os.posix_spawnp(command[0], list(command), os.environ, setsigmask=mask, setsigdef=_USUAL)
    except OSError as error:
        raise CannotRun(f'"{command[0]}" cannot be run: {error.strerror}', _CANNOT_RUN) from error


def _wait(pid: int) -> int:
    """Pass signals on until the process ends; its exit code as shells have it."""
    while True:
        number, is_told = _next_signal()
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif not is_told:
            os.kill(pid, number)


def _next_signal() -> tuple[int, bool]:
    """Wait for a signal; and whether the command heard of it too, as of Ctrl-C, which a terminal tells all."""
    if sys.platform == "darwin":  # which does not say where it comes from
        return signal.sigwait(_HEARD), False
    found = signal.sigwaitinfo(_HEARD)
    return found.si_signo, found.si_code > 0


# The hold -------------------------------------------------------------------------------------------------------------


class Keeper:
    """Keeps one hold alive, on a thread of its own; where nobody answers it tries again."""

    def __init__(self, client: zk.Client, tree: Tree, wanted: Silence) -> None:
        self._client = client
        self._facts = Facts(client, tree)
        self._wanted = wanted
        self._filed: Filed | None = None
        self._is_over = False
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="zkalert-hold", daemon=True)

    def begin(self) -> None:
        """Make the hold, and say so. Raises ZkalertError."""
        if not self._client.connected:
            why = zk.complaint(self._client)
            raise ZkalertError(f"ZooKeeper at {zk.where(self._client)} does not answer ({why})")
        try:
            self._make()
        except (zk.KazooException, *zk.UNCERTAIN) as error:
            raise ZkalertError(f"ZooKeeper at {zk.where(self._client)} went away ({type(error).__name__})") from error

    def start(self) -> None:
        self._thread.start()

    def end(self, linger: float) -> None:
        """Let it end `linger` seconds from now; where that cannot be written, it ends by itself, and that is said."""
        self._stop.set()
        give_up_at = clock.monotonic() + _PATIENCE
        self._thread.join(_PATIENCE)
        pause = threading.Event()
        while self._filed is not None and not self._is_over:
            if not self._thread.is_alive() and self._renew(linger):
                return
            if clock.monotonic() >= give_up_at:
                ends_at = saying.local(self._filed.silence.ends_at)
                _tell(f"hold {self._filed.silence.id} could not be ended; it ends by itself at {ends_at}")
                return
            clock.wait(pause, 0.1)

    def _keep(self) -> None:
        pause = RENEW_EVERY if self._filed is not None else _AGAIN
        while not clock.wait(self._stop, pause) and not self._is_over:
            pause = RENEW_EVERY if self._renew(HELD) else _AGAIN

    def _renew(self, seconds: float) -> bool:
        """Let the hold end in so many seconds; False where that has to be tried again."""
        problem = ""
        try:
            if not self._client.connected:
                problem = "ZooKeeper does not answer"
            elif self._filed is None:
                self._make()
            else:
                self._extend(self._filed, seconds)
        except ZkalertError as error:
            problem = str(error)
        except (zk.KazooException, *zk.UNCERTAIN) as error:
            problem = f"ZooKeeper went away ({type(error).__name__})"
        if problem and not self._is_failing:
            log.warning("the hold is not renewed: %s; the command goes on", problem)
        elif self._is_failing and not problem and not self._is_over:
            log.warning("the hold is renewed again")
        self._is_failing = bool(problem)
        return not problem

    def _make(self) -> None:
        now = self._facts.open()
        self._filed = self._facts.add_silence(replace(self._wanted, starts_at=now, ends_at=now + HELD), now)
        found = self._filed.silence
        _tell(f"hold {found.id} keeps quiet: {saying.words(found)}")

    def _extend(self, filed: Filed, seconds: float) -> None:
        for _ in range(2):
            ends_at = self._facts.clock.now() + seconds
            try:
                self._filed = self._facts.change_silence(filed, replace(filed.silence, ends_at=ends_at))
            except Changed:
                found = self._facts.read_silence(filed.silence.id)
                if found is None:  # it ended long ago, and was cleared away
                    self._make()
                    return
                # A write of ours whose answer was lost made it longer; only people make it shorter.
                if found.silence.ends_at < filed.silence.ends_at:
                    self._is_over = True
                    log.warning("hold %s was ended by somebody; the command goes on", filed.silence.id)
                    return
                filed = found
            else:
                return
        raise Changed(f"hold {filed.silence.id} changes all the time")


def _tell(line: str) -> None:
    click.echo(f"zkalert: {line}".translate(logs.CONTROL), err=True)
