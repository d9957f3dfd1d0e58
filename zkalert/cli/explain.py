"""`zkalert explain`: how a rule stands on a live tree, and why a message went out or did not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase

import click

from zkalert import survey
from zkalert.cli import common, local, logs
from zkalert.cli.formats import format_option
from zkalert.cli.inforce import rule_named, rules_of, unknown
from zkalert.evaluate import families_of, is_of_hosts, looks_at
from zkalert.journal import FILE_NAME
from zkalert.metrics import HOST_FAMILY
from zkalert.model import MEMBERS_HOST, Of, Outcome, Rule, ZkalertError
from zkalert.routing import channel_targets
from zkalert.survey.show import Explanation, as_json, as_text

MOST_WAITING = 10.0
"""Seconds that the next samples of counters are waited for at most."""

_SHOWN_SERIES = 20


@click.command()
@click.argument("rule_name", metavar="RULE")
@click.option("--host", metavar="NAME", help="Only the series of this host.")
@click.option("--instance", metavar="GLOB", help="Only instances whose name matches.")
@click.option("--all", "is_all", is_flag=True, help=f"Show all series, not the first {_SHOWN_SERIES} alone.")
@format_option("text", "Text for people, or one JSON object.")
@common.options(rules=True)
def explain(
    options: common.Options, rule_name: str, host: str | None, instance: str | None, is_all: bool, format_: str
) -> None:
    """Say how RULE stands on each host now, and why a message went out or did not.

    The tree is read and nothing is changed in it. What windows hold is known to the engine alone; on the host itself
    its own history tells as much. Exit code 0: explained, 1: ZooKeeper does not answer or there is no such host, 2:
    wrong usage, or no such rule.
    """
    config = options.load()
    settings = local.zookeeper_of(config)
    rules = rules_of(config)
    rule = rule_named(rule_name, rules, config)
    with survey.connected(settings) as reader:
        names = (rule.name, *sorted(survey.inhibitors_of(rule, rules)))
        seen = reader.read({*families_of(rule), HOST_FAMILY}, names)
        seen = survey.with_ensembles(seen, reader, [rule], local.ensembles_of(config))
        if host is not None and host not in seen.hosts:
            raise ZkalertError(_no_host(host, seen))
        spans = survey.spans(rule)
        if spans:
            seen = survey.with_history(seen, config.state_dir / FILE_NAME, spans)
        chosen = _chosen(survey.series_of(rule, seen), seen, host, instance)
        seen = await_next(reader, seen, chosen)
    found = {one.key: one for one in survey.series_of(rule, seen)}
    channels = {name: channel_targets(channel) for name, channel in config.channels.items()}
    stories = survey.stories([found[one.key] for one in chosen], seen, rules, channels, config.routes)
    kind = [one for one in seen.hosts.values() if one.info.is_ensemble is not is_of_hosts(rule)]
    explanation = Explanation(
        rule=rule,
        at=seen.at,
        engines=seen.engines,
        is_owned=seen.is_owned,
        hosts=len(kind),
        looked_at=sum(looks_at(rule, one.info) for one in kind),
        others=_others(rule, seen, host),
        stories=tuple(stories),
        most=len(stories) if is_all else _SHOWN_SERIES,
    )
    if format_ == "json":
        click.echo(json.dumps(as_json(explanation), indent=2))
        return
    for line in as_text(explanation):
        click.echo(line.translate(logs.CONTROL))


def await_next(reader: survey.Reader, seen: survey.Survey, series: Iterable[survey.Series]) -> survey.Survey:
    """Wait for the next sample where a counter was seen once, and say so; not for long."""
    wanted, due_within = survey.awaited(series, seen)
    if not wanted:
        return seen
    timeout = min(due_within, MOST_WAITING)
    click.echo(f"a rate takes two samples: waiting for the next ones, {timeout:g} s at most", err=True)
    return reader.await_next(seen, wanted, timeout)


def _no_host(host: str, seen: survey.Survey) -> str:
    return unknown(f'no host "{host}"', host, seen.hosts, "nobody publishes here")


def _chosen(
    series: Iterable[survey.Series], seen: survey.Survey, host: str | None, instance: str | None
) -> list[survey.Series]:
    """The series that were asked for: those that fire first, then those on their way, then those that are true.

    Raises ZkalertError where there are instances, and none matches the glob.
    """
    of_host = [one for one in series if host is None or _is_of_host(one, seen, host)]
    chosen = [one for one in of_host if instance is None or one.instance is None or fnmatchcase(one.instance, instance)]
    if of_host and not chosen and instance is not None:
        there = {one.instance for one in of_host if one.instance is not None}
        raise ZkalertError(unknown(f'no instance matches "{instance}"', instance, there, ""))
    return sorted(chosen, key=_rank)


def _is_of_host(one: survey.Series, seen: survey.Survey, host: str) -> bool:
    """Whether a series is of a host, or a number over many that it counts in."""
    across = one.rule.across
    if across is None or across.of is not Of.HOSTS:
        return one.host == host
    info = seen.hosts[host].info
    group = None if across.by is None else info.labels.get(across.by, "")
    return one.host == MEMBERS_HOST and one.instance == group and looks_at(one.rule, info)


def _rank(one: survey.Series) -> int:
    if one.alert is not None:
        return 0 if one.alert.state.is_active else 1
    return 2 if one.outcome is Outcome.TRUE else 3


def _others(rule: Rule, seen: survey.Survey, host: str | None) -> tuple[tuple[str, str], ...]:
    """The hosts that the rule does not look at, and why; only the one that was asked for, where one was."""
    if not is_of_hosts(rule):
        return ()
    infos = (one.info for name, one in seen.hosts.items() if host in (None, name) and not one.info.is_ensemble)
    return tuple((info.name, why) for info in infos if (why := survey.why_not_host(rule, info)))
