"""`zkalert metrics`: the table of all metrics; of one host with the values that it published last."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from zkalert import clock, zk
from zkalert.cli import common, local, logs
from zkalert.cli.formats import format_option
from zkalert.metrics import FAMILIES, HOST_FAMILY, Family, Field, format_duration, format_quantity, nearest
from zkalert.model import Problem, Sample, Value, ZkalertError, ZookeeperSettings
from zkalert.tree import Tree, decode_sample, unescape

_SHOWN_HOSTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """What a host's znode of one family holds; `at` is the znode's own time in epoch seconds."""

    sample: Sample | Problem
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """What is known of a host: whether its sampler holds its session, and what it published last, by family."""

    name: str
    is_alive: bool
    families: Mapping[str, _Published]


@click.command()
@click.option("--host", metavar="NAME", help="Show the newest values of this host, read from ZooKeeper.")
@format_option("table", "A table for people, or one JSON object.")
@common.options()
def metrics(options: common.Options, host: str | None, format_: str) -> None:
    """List all metrics that rules can name: their units, kinds and instances, and what they say.

    A rule names FAMILY.FIELD, or a family alone for its main field. A counter is judged by its rate. Without --host
    no ZooKeeper is needed.
    """
    found = None if host is None else _read(local.zookeeper_of(options.load()), host)
    if format_ == "json":
        click.echo(json.dumps(_document(found), indent=2))
        return
    if found is not None:
        click.echo(f"{_plain(found.name)}  {'alive' if found.is_alive else 'gone'}\n")
    click.echo("\n\n".join("\n".join(_lines(name, found)) for name in _names(found)))


def _names(host: _Host | None) -> list[str]:
    """All families of the table, then those that only the host knows."""
    return [*FAMILIES, *(sorted(set(host.families) - set(FAMILIES)) if host else ())]


# Reading --------------------------------------------------------------------------------------------------------------


def _read(settings: ZookeeperSettings, host: str) -> _Host:
    """What a host published last.

    Raises ZkalertError where ZooKeeper does not answer or refuses, or has no such host.
    """
    tree = Tree(settings.root)
    with zk.connected(settings) as client:
        if client.exists(tree.host(host)) is None:
            raise ZkalertError(_no_host(host, _hosts(client, tree), tree))
        is_alive = client.exists(tree.alive(host)) is not None
        families: dict[str, _Published] = {}
        with contextlib.suppress(zk.NoNodeError):  # nothing was published yet
            for path, data, stat in zk.read_below(client, tree.metrics(host)):
                family = unescape(path.rpartition("/")[2])
                families[family] = _Published(sample=decode_sample(family, data), at=stat.mtime / 1000)
    own = families.get(HOST_FAMILY)
    if own is not None and isinstance(own.sample, Sample):  # who is alive is not for the host itself to say
        values = {**own.sample.values, "alive": int(is_alive)}
        families[HOST_FAMILY] = replace(own, sample=replace(own.sample, values=values))
    return _Host(name=host, is_alive=is_alive, families=families)


def _hosts(client: zk.Client, tree: Tree) -> list[str]:
    try:
        return sorted(unescape(name) for name in client.get_children(tree.hosts))
    except zk.NoNodeError:
        return []


def _no_host(host: str, hosts: list[str], tree: Tree) -> str:
    near = nearest(host, hosts)
    more = f" and {len(hosts) - _SHOWN_HOSTS} more" if len(hosts) > _SHOWN_HOSTS else ""
    known = "known: " + ", ".join(hosts[:_SHOWN_HOSTS]) + more if hosts else "nobody publishes there"
    return _plain(f'no host "{host}" below {tree.top}; ' + (f"did you mean {near}?" if near else known))


# For programs ---------------------------------------------------------------------------------------------------------


def _document(host: _Host | None) -> dict[str, Any]:
    """The table as one object; `host`, `alive` and each family's `sample` only where a host was asked for.

    ::

        {"host": "web1", "alive": true, "families": [
            {"name": "disk_usage", "help": "...", "main": "percent", "instance_kind": "mount", "has_whole": false,
             "interval": 30.0, "fields": [{"name": "percent", "unit": "percent", "kind": "gauge", "help": "..."}],
             "sample": {"at": 1763900000.0, "values": {}, "instances": {"/": {"percent": 41.0}},
                        "labels": {"/": {"fstype": "ext4"}}, "errors": []}}]}

    `at` is in epoch seconds of the ensemble's clock, `interval` in seconds; values are in the field's unit. A sample
    is null where the host does not publish the family, and has the one key `problem` where it cannot be read. Of a
    family that is not in the table only name and sample are given.
    """
    document: dict[str, Any] = {} if host is None else {"host": host.name, "alive": host.is_alive}
    document["families"] = families = []
    for name in _names(host):
        family = FAMILIES.get(name)
        entry: dict[str, Any] = {"name": name} if family is None else _about(family)
        if host is not None:
            entry["sample"] = _sample(host.families.get(name))
        families.append(entry)
    return document


def _about(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "help": family.help,
        "main": family.main,
        "instance_kind": family.instance_kind,
        "has_whole": family.has_whole,
        "interval": family.interval,
        "fields": [
            {"name": field.name, "unit": field.unit.value, "kind": field.kind.value, "help": field.help}
            for field in family.fields.values()
        ],
    }


def _sample(published: _Published | None) -> dict[str, Any] | None:
    if published is None:
        return None
    sample = published.sample
    if isinstance(sample, Problem):
        return {"problem": sample.message}
    return {
        "at": published.at,
        "values": sample.values,
        "instances": sample.instances,
        "labels": sample.labels,
        "errors": sample.errors,
    }


# For people -----------------------------------------------------------------------------------------------------------


def _lines(name: str, host: _Host | None) -> list[str]:
    """One family: a line on itself, then a row for each field; of a host a row for each value."""
    family = FAMILIES.get(name)
    head = f"{_plain(name)}  {_facts(family)}"
    if host is None:
        rows = [(f"{name}.{field.name}", *_columns(field)) for field in family.fields.values()] if family else []
        return [head, *_aligned(rows)]
    found = host.families.get(name)
    if found is None:
        return [head, "  not published"]
    if isinstance(found.sample, Problem):
        return [head, f"  unusable: {_plain(found.sample.message)}"]
    head = f"{_plain(name)}  {_facts(family, found.at)}"
    notes = [f"  ({_plain(error)})" for error in found.sample.errors]
    return [head, *_aligned(_value_rows(name, family, found.sample)), *notes]


def _facts(family: Family | None, at: float | None = None) -> str:
    """`Physical memory. (main field percent; every 5s)`; with the age of what was published `at` some moment."""
    facts = []
    if family is not None:
        facts += [f"main field {family.main}"] if family.main else []
        facts += [f"instances: {family.instance_kind}"] if family.instance_kind else []
        facts += [f"every {format_duration(family.interval)}"]
    if at is not None:
        facts += [f"written {format_duration(max(0.0, clock.wall() - at))} ago"]
    about = "Not in the table of this zkalert." if family is None else family.help
    return f"{about} ({'; '.join(facts)})" if facts else about


def _columns(field: Field | None) -> tuple[str, ...]:
    return ("", "", "") if field is None else (field.unit.value, field.kind.value, field.help)


def _value_rows(name: str, family: Family | None, sample: Sample) -> Iterator[tuple[str, ...]]:
    """Metric, instance, value, unit, kind, help; the last three in the first row of a field alone."""
    known = {} if family is None else family.fields
    parts = [("", sample.values), *sample.instances.items()]
    for field_name in dict.fromkeys([*known, *(field for _, values in parts for field in values)]):
        field = known.get(field_name)
        metric, columns = _plain(f"{name}.{field_name}"), _columns(field)
        found = [(instance, values[field_name]) for instance, values in parts if field_name in values]
        if not found:
            yield (metric, "", "-", *columns)
        for instance, value in found:
            yield (metric, _plain(instance), _text(value, field), *columns)
            columns = ("", "", "")


def _text(value: Value, field: Field | None) -> str:
    if isinstance(value, str) or field is None:
        return _plain(str(value))
    return format_quantity(value, field.unit)


def _plain(text: str) -> str:
    """A text that anybody may have written, without what would steer a terminal."""
    return text.translate(logs.CONTROL)


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines whose columns begin one below the other."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield ("  " + "  ".join(cells)).rstrip()
