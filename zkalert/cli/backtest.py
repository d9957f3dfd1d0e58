"""`zkalert backtest`: what rules would have said of the recorded past."""

from __future__ import annotations

import contextlib
import heapq
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import click

from zkalert import clock, documents, rulefile
from zkalert.backtest import (
    Backtest,
    Choice,
    Past,
    Source,
    compare,
    from_rows,
    from_text,
    memory_of,
    needs_of,
    stand_ins,
    tolerances,
)
from zkalert.backtest.show import Result, as_json, as_text, damage
from zkalert.cli import EXIT_OK, common
from zkalert.cli.formats import format_option
from zkalert.config import Config
from zkalert.documents import RuleSource
from zkalert.journal import FILE_NAME, HistoryReader
from zkalert.metrics import QuantityError, parse_duration
from zkalert.model import DocumentError, Rule, UsageError, ZkalertError
from zkalert.routing import channel_targets

_SQLITE = b"SQLite format 3\0"
_STDIN = Path("-")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOST_IN_LINE = 2**20  # characters
_OFTEN = 512  # samples between looks at the clock
_SOON = 1.0
_BETWEEN = 0.1


def _moment(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Epoch seconds: `7d` counts back from now, `2026-11-23` and `2026-11-23T17:00Z` stand for themselves (in UTC)."""
    if text is None:
        return None
    try:
        if not _DATE.match(text):
            return clock.wall() - parse_duration(text)
        moment = datetime.fromisoformat(text.removesuffix("Z"))
    except (QuantityError, ValueError) as error:
        expected = "expected a span before now such as 30m, 1h, 7d, or a time such as 2026-11-23T17:00Z"
        raise click.BadParameter(f'"{text}" is neither a span nor a time; {expected}', ctx, param) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


_PATH: click.Path = click.Path(path_type=Path)


@click.command()
@click.argument("rules", metavar="[RULES]...", nargs=-1, type=common.RULES)
@click.option(
    "--history",
    "histories",
    metavar="FILE",
    multiple=True,
    type=_PATH,
    help="A sampler's history, or what `zkalert history export` wrote; may be repeated, - is standard input. "
    "[default: this host's own]",
)
@click.option("--since", metavar="WHEN", callback=_moment, help="From when: 7d (before now), 2026-11-23T17:00Z.")
@click.option("--until", metavar="WHEN", callback=_moment, help="Until when, in the same form.")
@click.option(
    "--compare",
    "old_rules",
    metavar="OLD_RULES",
    multiple=True,
    type=common.RULES,
    help="Rules to compare with; repeatable.",
)
@click.option("--host", "hosts", metavar="NAME", multiple=True, help="Only samples of this host; may be repeated.")
@click.option("-v", "--verbose", is_flag=True, help="Show every episode and every message.")
@format_option("text", "How to show it.")
@common.options()
def backtest(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    rules: tuple[RuleSource, ...],
    histories: tuple[Path, ...],
    since: float | None,
    until: float | None,
    old_rules: tuple[RuleSource, ...],
    hosts: tuple[str, ...],
    verbose: bool,
    format_: str,
) -> int:
    """Play the recorded past to rules, and show what they would have said.

    RULES are files, folders or packs (pack:NAME); without any, those of the configuration. The engine's own code
    decides, on the clock of the samples; nothing is sent. Windows are full by --since: what lies before it is played,
    and not reported. Exit code 0: done, 1: a history or rules that cannot be used, 2: wrong usage.
    """
    if since is not None and until is not None and since >= until:
        raise UsageError("--since has to lie before --until")
    config = options.load()
    new = _rules(rules or config.rules, config)
    old = _rules(old_rules, config)
    if not new:
        raise UsageError("no rules: name files or folders, or list them under rules: in zkalert.yaml")
    choice = Choice(
        needs=needs_of((*new, *old)),
        hosts=frozenset(hosts),
        since=-math.inf if since is None else since - memory_of((*new, *old)),
        until=math.inf if until is None else until,
    )
    tests = [_backtest(some, config, since) for some in ((new, old) if old_rules else (new,))]
    sources = _play(tests, histories or (config.state_dir / FILE_NAME,), choice)
    reports = [test.report() for test in tests]
    result = Result(report=reports[0], sources=sources)
    if old_rules:
        difference = compare(reports[1], reports[0], tolerances(old, new))
        result = replace(result, against=", ".join(map(str, old_rules)), old=reports[1], difference=difference)
    _show(result, format_, is_long=verbose)
    return EXIT_OK


def _rules(sources: Sequence[RuleSource], config: Config) -> tuple[Rule, ...]:
    """The rules in files, folders and packs. Raises DocumentError where one is wrong."""
    found = rulefile.load(
        sources, channels=config.channels or None, intervals=config.intervals, ensembles=config.ensembles
    )
    if not found.is_usable:
        raise DocumentError(found.findings)
    return found.rules


def _backtest(rules: Sequence[Rule], config: Config, since: float | None) -> Backtest:
    channels = {name: channel_targets(channel) for name, channel in config.channels.items()}
    return Backtest(
        rules,
        channels=channels or stand_ins(rules),
        routes=config.routes,
        labels={config.host: config.labels},
        since=since,
    )


# Reading --------------------------------------------------------------------------------------------------------------


class _Open(NamedTuple):
    """A source, its samples, and which part of it was read (0 to 1)."""

    source: Source
    samples: Iterator[Past]
    done: Callable[[], float]


def _play(tests: Sequence[Backtest], files: Sequence[Path], choice: Choice) -> tuple[Source, ...]:
    """Read the files, merged by time, and let each of `tests` see every sample.

    Raises ZkalertError where there is nothing to read, OSError where a file cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(documents.paused_gc())
        opened = [_open(file, choice, stack) for file in files]
        bar = _Bar(lambda: sum(one.done() for one in opened) / len(opened))
        stack.callback(bar.close)
        streams = [one.samples for one in opened]
        for number, sample in enumerate(streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))):
            for test in tests:
                test.play(sample)
            if not number % _OFTEN:
                bar.look()
    if not tests[0].has_played:
        raise ZkalertError(_nothing(choice, files))
    return tuple(one.source for one in opened)


def _open(path: Path, choice: Choice, stack: contextlib.ExitStack) -> _Open:
    """A file of any of the three kinds, told apart by how it begins; it is closed with `stack`."""
    if path == _STDIN:
        return _text(sys.stdin.buffer, "<stdin>", 0, choice)
    if not path.exists():
        return _history(path, choice, stack)  # it says best what is wrong
    file = stack.enter_context(path.open("rb"))
    if file.peek(len(_SQLITE)).startswith(_SQLITE):  # what a pipe has given once it does not give again
        return _history(path, choice, stack)
    return _text(file, str(path), path.stat().st_size, choice)


def _history(path: Path, choice: Choice, stack: contextlib.ExitStack) -> _Open:
    reader = HistoryReader(path)
    stack.callback(reader.close)
    span = reader.span()
    source = Source(name=str(path), noun="row")
    if span is None:
        return _Open(source, iter(()), lambda: 1.0)
    first, last = max(span[0], choice.since), min(span[1], choice.until)
    texts = reader.texts(list(choice.needs), first, last)
    width = max(last - first, 1.0)
    return _Open(source, from_rows(texts, choice, source), lambda: max(0.0, source.last - first) / width)


def _text(file: BinaryIO, name: str, size: int, choice: Choice) -> _Open:
    """An export; how much of it was read is known only where it has a `size`, which a pipe has not."""
    source = Source(name=name)
    lines = _lines(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline=""))
    return _Open(source, from_text(lines, choice, source), lambda: file.tell() / size if size else 0.0)


def _lines(file: TextIO) -> Iterator[str]:
    """Lines, cut where one is longer than any that could be used: memory must not grow with what is read."""
    is_rest = False
    while part := file.readline(_MOST_IN_LINE):
        if not is_rest:
            yield part
        is_rest = part[-1] not in "\r\n"


def _nothing(choice: Choice, files: Sequence[Path]) -> str:
    what = f"of {', '.join(choice.needs)}" + (f" of {', '.join(sorted(choice.hosts))}" if choice.hosts else "")
    return f"nothing to play: no sample {what} in that time in {', '.join(map(str, files))}"


class _Bar:
    """A progress bar on standard error: on a terminal alone, and once the run has taken a while."""

    def __init__(self, done: Callable[[], float]) -> None:
        self._done = done
        self._due = clock.monotonic() + _SOON if sys.stderr.isatty() else math.inf
        self._progress: Any = None

    def look(self) -> None:
        """Show how far it has come, where that is due."""
        now = clock.monotonic()
        if now < self._due:
            return
        self._due = now + _BETWEEN
        if self._progress is None:
            from rich.console import Console  # noqa: PLC0415 - short runs and pipes need none
            from rich.progress import Progress  # noqa: PLC0415

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._progress.start()
            self._progress.add_task("playing", total=1.0)
        self._progress.update(self._progress.task_ids[0], completed=self._done())

    def close(self) -> None:
        """Take it away."""
        if self._progress is not None:
            self._progress.stop()


# Showing --------------------------------------------------------------------------------------------------------------


def _show(result: Result, format_: str, *, is_long: bool) -> None:
    if format_ == "json":
        sys.stdout.write(json.dumps(as_json(result), indent=2) + "\n")
        return
    for line in as_text(result, is_long=is_long):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    for line in filter(None, map(damage, result.sources)):
        click.echo(line, err=True)
