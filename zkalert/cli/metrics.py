"""`zkalert metrics`: the table of all metrics; of a host, an ensemble or some znodes with what they say now."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import click

from zkalert import clock, survey, zk
from zkalert.cli import common, families, local, peeking
from zkalert.cli.families import Choice, Published, plain
from zkalert.cli.formats import format_option
from zkalert.metrics import FAMILIES, HOST_FAMILY, ZOOKEEPER_FAMILY, MetricError, nearest, parse_metric
from zkalert.model import Sample, UsageError, ZkalertError, ZookeeperSettings
from zkalert.rulebook import with_clock_skew
from zkalert.tree import Tree, decode_sample, unescape

_SHOWN_HOSTS = 10
_ZNODES_TOO = "And any znode, as znode:/path#field: `zkalert metrics znode:/path` shows its fields."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Who said something: its name in a line of its own, what programs are told of it, and what it said by family."""

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    families: Mapping[str, Published]


@click.command()
@click.argument("metric", required=False)
@click.option("--host", metavar="NAME", help="Show the newest values of this host, read from ZooKeeper.")
@click.option("--ensemble", metavar="NAME", help="Ask the servers of this ensemble; zkalert's own is zookeeper.")
@format_option("table", "A table for people, or one JSON object.")
@common.options()
def metrics(options: common.Options, metric: str | None, host: str | None, ensemble: str | None, format_: str) -> None:
    """List all metrics that rules can name: their units, kinds and instances, and what they say.

    A rule names FAMILY.FIELD, or a family alone for its main field. A counter is judged by its rate. METRIC shows one
    of them; without --host and --ensemble no ZooKeeper is needed.

    \b
      zkalert metrics disk_usage --host web1
      zkalert metrics --ensemble zookeeper
      zkalert metrics 'znode:/brokers/topics/{topic}'

    Where METRIC is a path of znodes, as <ensemble>:/path or with a #field, ZooKeeper is looked at once: each match with
    what it says, and with the names that a rule has for it. Exit code 1: there is no such host or znode, or ZooKeeper
    does not answer.
    """  # noqa: D301 - the \b is click's
    if metric is not None and peeking.is_pattern(metric):
        if host is not None or ensemble is not None:
            raise UsageError("a path names its ensemble itself, as kafka:/brokers/ids: no --host or --ensemble with it")
        peeking.show(options.load(), metric, format_)
        return
    source = _source(options, host, ensemble)
    choice = _chosen(metric, source, ensemble)
    found = None if source is None else source.families
    if format_ == "json":
        facts = {} if source is None else source.facts
        click.echo(json.dumps({**facts, "families": families.document(choice, found)}, indent=2))
        return
    if source is not None:
        click.echo(f"{source.line}\n")
    click.echo(families.text(choice, found))
    if metric is None and source is None:
        click.echo(f"\n{_ZNODES_TOO}")


def _source(options: common.Options, host: str | None, ensemble: str | None) -> _Source | None:
    if host is not None and ensemble is not None:
        raise UsageError("--host and --ensemble are two questions; ask one")
    if host is not None:
        return _host(local.zookeeper_of(options.load()), host)
    return None if ensemble is None else _ensemble(options, ensemble)


def _chosen(metric: str | None, source: _Source | None, ensemble: str | None) -> Choice:
    """The families that were asked for. Raises UsageError for a name that nobody knows."""
    published = {} if source is None else source.families
    usual = (ZOOKEEPER_FAMILY,) if ensemble is not None else tuple(FAMILIES)
    names = (*usual, *sorted(set(published) - set(FAMILIES)))
    if metric is None:
        return Choice(names=names)
    family, _, field_name = metric.partition(".")
    if family not in names:
        near = nearest(family, names)
        hint = f"did you mean {near}?" if near else "`zkalert metrics` lists all"
        pushed = "" if source is not None else "; with --host NAME those too that applications push there"
        raise UsageError(f'no family "{family}"; {hint}{pushed}')
    if field_name and family in FAMILIES:
        try:
            parse_metric(metric)
        except MetricError as error:
            told = f"did you mean {error.hint}?" if error.hint else f"expected {error.expected}"
            raise UsageError(f"{error}; {told}") from None
    return Choice(names=(family,), field=field_name)


# A host ---------------------------------------------------------------------------------------------------------------


def _host(settings: ZookeeperSettings, host: str) -> _Source:
    """What a host published last.

    Raises ZkalertError where ZooKeeper does not answer or refuses, or has no such host.
    """
    tree = Tree(settings.root)
    with zk.connected(settings) as client:
        if client.exists(tree.host(host)) is None:
            raise ZkalertError(_no_host(host, _hosts(client, tree), tree))
        is_alive = client.exists(tree.alive(host)) is not None
        found: dict[str, Published] = {}
        with contextlib.suppress(zk.NoNodeError):  # nothing was published yet
            for path, data, stat in zk.read_below(client, tree.metrics(host)):
                family = unescape(path.rpartition("/")[2])
                found[family] = Published(sample=decode_sample(family, data), at=stat.mtime / 1000)
    own = found.get(HOST_FAMILY)
    if own is not None and isinstance(own.sample, Sample):  # who is alive is not for the host itself to say
        told = with_clock_skew(own.sample, own.at)
        found[HOST_FAMILY] = replace(own, sample=replace(told, values={**told.values, "alive": int(is_alive)}))
    line = f"{plain(host)}  {'alive' if is_alive else 'gone'}"
    return _Source(line=line, facts={"host": host, "alive": is_alive}, families=found)


def _hosts(client: zk.Client, tree: Tree) -> list[str]:
    try:
        return sorted(unescape(name) for name in client.get_children(tree.hosts))
    except zk.NoNodeError:
        return []


def _no_host(host: str, hosts: list[str], tree: Tree) -> str:
    near = nearest(host, hosts)
    more = f" and {len(hosts) - _SHOWN_HOSTS} more" if len(hosts) > _SHOWN_HOSTS else ""
    known = "known: " + ", ".join(hosts[:_SHOWN_HOSTS]) + more if hosts else "nobody publishes there"
    return plain(f'no host "{host}" below {tree.top}; ' + (f"did you mean {near}?" if near else known))


# An ensemble ----------------------------------------------------------------------------------------------------------


def _ensemble(options: common.Options, name: str) -> _Source:
    """What the servers of an ensemble say now. Raises UsageError for one that the configuration does not have."""
    sample = survey.servers_now(name, local.ensemble_of(options.load(), name))
    said = {ZOOKEEPER_FAMILY: Published(sample=sample, at=clock.wall())}
    return _Source(line=plain(name), facts={"ensemble": name}, families=said)
