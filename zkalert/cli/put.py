"""`zkalert put`: publish metrics of an application, from a shell or a cron job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

import click

from zkalert import clock
from zkalert.cli import common, local, logs, saying
from zkalert.metrics import format_duration
from zkalert.model import UsageError, Value
from zkalert.pushing import LONGEST_AGE, MAX_AGE, Pusher, sample_of

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


def _age(ctx: click.Context, param: click.Parameter, text: str | None) -> float:
    seconds = saying.span(ctx, param, text)
    if seconds is None:
        return MAX_AGE
    if not 0 < seconds <= LONGEST_AGE:
        raise click.BadParameter(f'found "{text}"; expected more than 0s, at most 366d', ctx, param)
    return seconds


@click.command()
@click.argument("family")
@click.argument("words", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.option("--instance", metavar="NAME", help="What the values are of, such as a queue. [default: the whole]")
@click.option("--label", "labels", metavar="KEY=TEXT", multiple=True, help="A label of the instance; may be repeated.")
@click.option(
    "--max-age", callback=_age, metavar="SPAN", help="How long it speaks; then there is no data. [default: 5m]"
)
@click.option("--replace", is_flag=True, help="Drop all other instances (and the whole), which stay otherwise.")
@common.options(host=True)
def put(  # noqa: PLR0913 - one for each option
    options: common.Options,
    *,
    family: str,
    words: tuple[str, ...],
    instance: str | None,
    labels: tuple[str, ...],
    max_age: float,
    replace: bool,
) -> None:
    """Publish metrics of your own as FAMILY of this host, for rules to judge.

    \b
      zkalert put orders depth=42 state=open
      zkalert put orders depth=3 --instance eu --label region=europe --max-age 10m

    A VALUE that reads as a number is one; in double quotes it is a text. The values replace all that the whole, or
    this instance, had. Other instances stay until they are as old as --max-age says. A sampler has to have published
    as this host before. Exit code 0: it is written, 1: it is not, 2: wrong usage.
    """  # noqa: D301 - the \b is click's
    values = _values(words)
    texts = dict(_pair(word, "--label", "KEY=TEXT") for word in labels)
    if texts and instance is None:
        raise UsageError("--label says something of an instance: name that with --instance NAME")
    whole = values if instance is None else {}
    instances = {} if instance is None else {instance: values}
    told = {instance: texts} if instance is not None and texts else {}
    # Wrong usage is wrong whether ZooKeeper answers or not.
    sample_of(family, whole, instances=instances, labels=told, max_age=max_age, at=clock.wall())
    config = options.load()
    with Pusher(host=config.host, zookeeper=local.zookeeper_of(config)) as pusher:
        pusher.push(family, whole, instances=instances, labels=told, max_age=max_age, merge=not replace)
    shown = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    whose = pusher.host if instance is None else f"{pusher.host} {instance}"
    click.echo(f"{family} of {whose}: {shown}; for {format_duration(max_age)}".translate(logs.CONTROL), err=True)


def _values(words: Iterable[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for word in words:
        name, text = _pair(word, "FIELD=VALUE", "FIELD=VALUE, such as depth=42")
        if name in found:
            raise UsageError(f"{name}= is given twice")
        found[name] = _value(name, text)
    return found


def _pair(word: str, what: str, expected: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not name or not equals:
        raise UsageError(f'{what}: found "{word:.80}"; expected {expected}')
    return name, text


def _value(name: str, text: str) -> Value:
    """A number, or a text: whatever reads as no number, or stands in double quotes as in JSON."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise UsageError(f"{name}={text:.40} is no finite number")
        return int(text) if re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII) else number
    if _NOT_FINITE.fullmatch(text):
        raise UsageError(f"""{name}={text} is no finite number; for a text write '{name}="{text}"'""")
    if not text.startswith('"'):
        return text
    try:
        quoted = json.loads(text)
    except (ValueError, RecursionError):
        quoted = None
    if not isinstance(quoted, str):
        raise UsageError(f"{name}={text:.80} begins with a quote and is no text in JSON")
    return quoted
