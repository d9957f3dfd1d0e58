"""`zkalert history`: what this host's metrics were, for people (`tail`) and for programs (`export`)."""

from __future__ import annotations

import csv
import json
import sys
import threading
from collections.abc import Iterable, Mapping

import click

from zkalert import clock
from zkalert.cli import common
from zkalert.journal import FILE_NAME, HistoryReader, Row
from zkalert.metrics import FAMILIES, Family, QuantityError, Unit, format_quantity, nearest, parse_duration
from zkalert.model import Value
from zkalert.tree import encode_sample

_POLL = 0.25
_SHOWN_INSTANCES = 4
_SHOWN = {
    "memory_usage": ("percent", "available"),
    "cpu_usage": ("percent", "user", "system", "iowait"),
    "disk_usage": ("percent", "free", "readonly", "error"),
    "process_number": ("count", "running", "zombie"),
    "swap_usage": ("percent", "used"),
    "load_average": ("1m", "5m", "15m"),
    "disk_io": ("read_bytes", "write_bytes", "queue"),
    "network_io": ("rx_bytes", "tx_bytes", "up"),
    "uptime": ("seconds",),
}
_ONLY_IF_SET = ("readonly", "error")


def _known(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Families of the metric table alone; a slip is a usage error that names the nearest one."""
    for name in names:
        if name not in FAMILIES:
            hint = nearest(name, FAMILIES)
            cure = f"did you mean {hint}?" if hint else "expected one of " + ", ".join(FAMILIES)
            raise click.BadParameter(f'no family "{name}"; {cure}', ctx, param)
    return names


def _span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """`90s`, `1h30m`, `7d`, in seconds."""
    try:
        return None if text is None else parse_duration(text)
    except QuantityError as error:
        raise click.BadParameter(f"{error}; expected {error.expected}", ctx, param) from error


@click.group()
def history() -> None:
    """Show what this host's metrics were, from the sampler's own files: no ZooKeeper is needed."""


_families = click.argument("families", nargs=-1, callback=_known, metavar="[FAMILY]...")


@history.command()
@common.options()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="How many to begin with."
)
@_families
def tail(options: common.Options, families: tuple[str, ...], lines: int, follow: bool) -> None:
    """Show the newest samples, one a line; of all families, or of those named."""
    stop = common.stop_on_interrupt() if follow else threading.Event()
    path = options.load().state_dir / FILE_NAME
    reader = HistoryReader(path)
    try:
        last = _print(reader.newest(lines, families) if lines else [])
        if not last and follow:
            last = max((row.id for row in reader.newest(1)), default=0)
        while follow and not clock.wait(stop, _POLL):
            if reader.is_replaced:
                reader.close()
                reader, last = HistoryReader(path), 0
            last = _print(reader.rows(families, after_id=last)) or last
    finally:
        reader.close()


@history.command()
@common.options()
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), required=True, help="How to write.")
@click.option("--since", callback=_span, metavar="SPAN", help="How far back: 30m, 1h, 7d. [default: all there is]")
@_families
def export(options: common.Options, families: tuple[str, ...], format_: str, since: float | None) -> None:
    """Write samples to standard output; of all families, or of those named.

    csv: time,host,family,instance,field,value with a line per value; jsonl: an object per sample.
    """
    reader = HistoryReader(options.load().state_dir / FILE_NAME)
    try:
        rows = reader.rows(families, since=None if since is None else clock.wall() - since)
        if format_ == "csv":
            _write_csv(rows)
        else:
            _write_jsonl(rows)
    finally:
        reader.close()


def _print(rows: Iterable[Row]) -> int:
    """Print rows for people; the id of the last one, 0 where there was none."""
    last = 0
    for row in rows:
        sys.stdout.write(_line(row) + "\n")
        last = row.id
    if last:
        sys.stdout.flush()
    return last


def _line(row: Row) -> str:
    """`2026-11-23T17:03:19.123Z web1 memory_usage percent 91.4%, available 2.1 GiB`."""
    sample, family = row.sample, FAMILIES.get(row.sample.family)
    parts = [_values(family, sample.values)] if sample.values else []
    if family is None or not family.has_whole:
        shown = list(sample.instances.items())[:_SHOWN_INSTANCES]
        parts += [f"{name}: {_values(family, values)}" for name, values in shown]
        if more := len(sample.instances) - len(shown):
            parts.append(f"{more} more")
    parts += [f"({error})" for error in sample.errors]
    return f"{clock.iso(sample.at)} {row.host} {sample.family} " + ("; ".join(parts) or "nothing")


def _values(family: Family | None, values: Mapping[str, Value]) -> str:
    """The fields that matter most, with their units; all of a family that this zkalert does not know."""
    if family is None:
        return ", ".join(f"{name} {value}" for name, value in values.items())
    shown = [name for name in _SHOWN[family.name] if name in values and (values[name] or name not in _ONLY_IF_SET)]
    return ", ".join(f"{name} {_text(values[name], family.fields[name].unit)}" for name in shown)


def _text(value: Value, unit: Unit) -> str:
    return value if isinstance(value, str) else format_quantity(value, unit)


def _write_csv(rows: Iterable[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("time", "host", "family", "instance", "field", "value"))
    for row in rows:
        sample = row.sample
        head = (clock.iso(sample.at), row.host, sample.family)
        for instance, values in (("", sample.values), *sample.instances.items()):
            writer.writerows((*head, instance, field, value) for field, value in values.items())


def _write_jsonl(rows: Iterable[Row]) -> None:
    for row in rows:
        document = {"host": row.host, "family": row.sample.family, **json.loads(encode_sample(row.sample))}
        sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
