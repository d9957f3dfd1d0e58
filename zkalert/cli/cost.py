"""`zkalert cost`: what rules and a fleet would cost, before there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from zkalert import rulefile
from zkalert.cli import bill, common, saying
from zkalert.cli.formats import format_option
from zkalert.config import Config
from zkalert.costs import Fleet, Published, advise, predict
from zkalert.documents import RuleSource
from zkalert.metrics import FAMILIES, SAMPLED, nearest
from zkalert.model import DocumentError, Rule, UsageError

_USUAL: Mapping[str, int] = {"core": 8, "mount": 4, "device": 4, "interface": 2, "unit": 2}
"""Instances of each kind on a host, where nobody says; of other kinds most hosts have none."""
_MOST = 1_000_000


@click.command()
@click.argument("rules", metavar="[RULES]...", nargs=-1, type=common.RULES)
@click.option("--hosts", type=click.IntRange(1, _MOST), required=True, metavar="N", help="How many hosts publish.")
@click.option(
    "--engines", type=click.IntRange(1, 100), default=2, show_default=True, metavar="N", help="How many engines run."
)
@click.option(
    "--instances", multiple=True, metavar="KIND=N", help="Instances of each host: core=64, mount=12; repeatable."
)
@click.option(
    "--znodes",
    type=click.IntRange(0, _MOST),
    default=100,
    show_default=True,
    metavar="N",
    help="How many znodes each path with * or {name} matches.",
)
@click.option("--interval", "intervals", multiple=True, metavar="FAMILY=SPAN", help="Another cadence; repeatable.")
@format_option("table", "A table for people, or one JSON object.")
@common.options()
def cost(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    rules: tuple[RuleSource, ...],
    hosts: int,
    engines: int,
    instances: tuple[str, ...],
    znodes: int,
    intervals: tuple[str, ...],
    format_: str,
) -> None:
    """Predict what rules cost with so many hosts: writes, reads, watches and bytes of ZooKeeper, and memory.

    \b
      zkalert cost rules/ --hosts 500
      zkalert cost rules/ --hosts 500 --instances mount=12 --interval disk_io=30s

    RULES are files, folders or packs (pack:NAME); without any, those of the configuration. Nothing is asked of
    ZooKeeper. Every rule counts for every host, and all hosts are alike. Numbers are given at rest and at full rate:
    samplers write less often while no value is near a limit. Exit code 0: done, 1: rules that cannot be used, 2: wrong
    usage.
    """  # noqa: D301 - the \b is click's
    config = options.load()
    fleet = Fleet(
        hosts=hosts,
        engines=engines,
        matches=znodes,
        published=tuple(_published(config, _instances(instances, config), _intervals(intervals, config))),
        resting=config.publishing.resting,
        has_channels=bool(config.channels),
        root=config.zookeeper.root if config.zookeeper else "/zkalert",
    )
    found = predict(rulefile.with_builtin(_rules(rules or config.rules, config), config.host_down), fleet)
    advice = list(advise(found))
    if format_ == "json":
        click.echo(json.dumps(bill.document(found, advice), indent=2))
    else:
        bill.show(found, advice)


# What is asked --------------------------------------------------------------------------------------------------------


def _rules(sources: Sequence[RuleSource], config: Config) -> tuple[Rule, ...]:
    """The rules that are named. Raises DocumentError where one is wrong, UsageError where there are none."""
    found = rulefile.load(
        sources, channels=config.channels or None, intervals=config.intervals, ensembles=config.ensembles or None
    )
    if not found.is_usable:
        raise DocumentError(found.findings)
    if not found.rules:
        raise UsageError("no rules: name files or folders, or list them under rules: in zkalert.yaml")
    return found.rules


def _published(config: Config, instances: Mapping[str, int], intervals: Mapping[str, float]) -> Iterator[Published]:
    """The families that a host has: those with a whole value, and those of which it has instances."""
    for name in SAMPLED:
        family = FAMILIES[name]
        count = instances.get(family.instance_kind or "", 0)
        if count or family.has_whole:
            interval = intervals.get(name) or config.intervals.get(name) or family.interval
            yield Published(family=family, interval=interval, instances=count)


def _instances(written: Iterable[str], config: Config) -> dict[str, int]:
    kinds = sorted({FAMILIES[name].instance_kind or "" for name in SAMPLED} - {""})
    configured = {"process": len(config.processes), "file": len(config.files), "command": len(config.commands)}
    counts = {**_USUAL, **configured}
    for word in written:
        kind, text = _pair(word, "--instances", "KIND=N, such as mount=12", kinds, "kind of instance")
        if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 256:
            raise UsageError(f'--instances {kind}: found "{text:.40}"; expected a number from 0 to 256')
        counts[kind] = int(text)
    return counts


def _intervals(written: Iterable[str], config: Config) -> dict[str, float]:
    found = dict(config.intervals)
    for word in written:
        name, text = _pair(word, "--interval", "FAMILY=SPAN, such as disk_io=30s", SAMPLED, "family")
        seconds = saying.span(click.get_current_context(), _INTERVAL, text)
        if not seconds or not 0.2 <= seconds <= 86400:
            raise UsageError(f'--interval {name}: found "{text:.40}"; expected a span from 200ms to 1d')
        found[name] = seconds
    return found


_INTERVAL = click.Option(["--interval"])


def _pair(word: str, option: str, expected: str, names: Iterable[str], what: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals:
        raise UsageError(f'{option}: found "{word:.80}"; expected {expected}')
    known = list(names)
    if name not in known:
        near = nearest(name[:80], known)
        raise UsageError(
            f'{option}: no {what} "{name:.80}"; ' + (f"did you mean {near}?" if near else "known: " + ", ".join(known))
        )
    return name, text
