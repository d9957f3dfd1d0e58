"""The live table of `zkalert up`: hosts, alerts and what was told of them, below a scroll of messages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zkalert.cli import logs
from zkalert.engine import HostStatus, Listener, Status, Told
from zkalert.metrics import Unit, family_of, field_of, format_duration, format_quantity, format_value
from zkalert.model import (
    Alert,
    Effect,
    MessageKind,
    Metric,
    Observation,
    Phase,
    SendState,
    Severity,
    State,
    Target,
    TargetKind,
)
from zkalert.render import condition, has_value, render, unit_of, where, worst

COLUMNS: tuple[tuple[str, Metric], ...] = (
    ("memory", Metric("memory_usage", "percent")),
    ("cpu", Metric("cpu_usage", "percent")),
    ("load 1m", Metric("load_average", "1m")),
    ("swap", Metric("swap_usage", "percent")),
    ("fullest disk", Metric("disk_usage", "percent")),
    ("procs", Metric("process_number", "count")),
    ("up", Metric("uptime", "seconds")),
)
SHOWN = frozenset(metric.family for _, metric in COLUMNS)

# In the order in which they are shown.
_STATE_STYLES = {
    State.FIRING: "bold red",
    State.CLEARING: "red",
    State.PENDING: "yellow",
    State.RESOLVED: "green",
    State.INACTIVE: "dim",
}
_ORDER = tuple(_STATE_STYLES)
_SEVERITY_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_KIND_STYLES = {
    MessageKind.FAILURE: "bold red",
    MessageKind.WARNING: "bold yellow",
    MessageKind.INFO: "bold cyan",
    MessageKind.SUCCESS: "bold green",
}
_FIXED_ROWS = 16  # of titles, heads, rules and the lines below
_LEAST_ROWS = 3
_MOST_VALUE = 30  # characters of a text, or of what it is held against
_LEAST_WHERE = 24  # characters
_RECENT = 30.0  # seconds that a resolved alert stays in the table


class LiveView(Listener):
    """Shows an engine on a terminal, between `start` and `stop`; messages and log lines scroll above the table."""

    wants_status = True

    def __init__(self, title: str, console: Console) -> None:
        self._title = title
        self._console = console
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._resolved: dict[str, tuple[Alert, float]] = {}
        self._sent = 0
        self._run = 0
        self._failed = 0
        self._shown = 0
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=4, redirect_stderr=False)

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        """Draw once more, and give the terminal back."""
        self._live.stop()

    # What the engine tells, on its threads.

    def status(self, status: Status) -> None:
        self._status = status

    def effect(self, effect: Effect, targets: tuple[Target, ...], why: str = "") -> None:
        if effect.phase in (Phase.RESOLVED, Phase.CLOSED):
            with self._lock:
                self._resolved[effect.alert.episode] = (effect.alert, effect.at)
        if not targets and not why:
            self._shown += 1
        self._print_message(effect, why)

    def told(self, told: Told) -> None:
        effect = told.effect
        took = format_duration(told.result.seconds)
        is_command = told.target.kind is TargetKind.RUN
        if told.result.state is SendState.DELIVERED:
            with self._lock:
                self._run += is_command
                self._sent += not is_command
            line = Text(f"  -> {told.target.name}: {'ran for' if is_command else 'delivered in'} {took}", style="green")
        else:
            with self._lock:
                self._failed += 1
            again = f", again in {format_duration(told.retry_in)}" if told.retry_in is not None else ""
            detail = told.result.detail.translate(logs.CONTROL)
            line = Text(f"  -> {told.target.name}: {detail}{again}", style="red")
        line.append(f"  ({effect.alert.rule} {effect.name or effect.phase.value}, {effect.alert.id})", style="dim")
        self._console.print(line)

    def _print_message(self, effect: Effect, why: str) -> None:
        message = render(effect)
        text = Text(datetime.fromtimestamp(effect.at).astimezone().strftime("%H:%M:%S "), style="dim")
        text.append(message.title.translate(logs.CONTROL), style=_KIND_STYLES[message.kind])
        if why:
            text.append(f"  ({why})".translate(logs.CONTROL), style="dim")
        self._console.print(text)

    # What is drawn, on the view's own thread.

    def _picture(self) -> RenderableType:
        status = self._status
        if status is None:
            return Text("starting ...", style="dim")
        rows = max(_LEAST_ROWS, (self._console.height - _FIXED_ROWS) // 2)
        return Group(
            self._head(status),
            *_host_table(status, rows),
            *self._alert_table(status, rows),
            Text(
                f"notifications: {self._sent} sent, {self._failed} failed, {self._shown} shown here only"
                f"   |   commands: {self._run} run",
                style="dim",
            ),
            Text(f"{_counts(status)}   |   Ctrl-C ends", style="dim"),
        )

    def _head(self, status: Status) -> Text:
        text = Text()
        text.append("zkalert", style="bold")
        text.append(f"  {self._title}  ", style="dim")
        if not status.is_connected:
            text.append("waiting for ZooKeeper", style="bold red")
        elif not status.is_owner:
            who = f"the engine at {status.waits_for} owns this tree" if status.waits_for else "starting"
            text.append(who, style="yellow")
        else:
            text.append("watching", style="green")
        for code, count in status.problems.items():
            text.append(f"   {count} unusable samples ({code})", style="red")
        if status.unusable:
            text.append(f"   {status.unusable} znodes that cannot be read or used", style="red")
        if status.unreached:
            text.append(f"   no connection to {', '.join(status.unreached)}", style="bold red")
        return text

    def _alert_table(self, status: Status, rows: int) -> Iterator[RenderableType]:
        with self._lock:
            recent = {
                episode: (alert, at) for episode, (alert, at) in self._resolved.items() if status.now - at < _RECENT
            }
            self._resolved = recent
        alerts = [*status.alerts, *(alert for alert, _ in recent.values())]
        table = _table("alerts")
        for column in ("state", "severity", "rule", "where", "value", "threshold", "for", "id"):
            table.add_column(column, justify="right" if column in ("value", "threshold", "for") else "left")
        alerts.sort(
            key=lambda alert: (_ORDER.index(alert.state), -alert.severity.rank, alert.since, alert.rule, alert.host)
        )
        for alert in alerts[:rows]:
            table.add_row(*_alert_row(alert, status.now, max(_LEAST_WHERE, self._console.width // 3)))
        if not alerts:
            table.add_row(Text("none", style="dim"))
        yield table
        if len(alerts) > rows:
            yield Text(f"and {len(alerts) - rows} more alerts", style="dim")


class LogHandler(logging.Handler):
    """Log lines go above the table instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "zkalert.alerts":
            return  # shown as a message
        style = "red" if record.levelno >= logging.ERROR else "yellow"
        self._console.print(Text(self.format(record), style=style))


def _counts(status: Status) -> str:
    counts = f"{status.samples} samples, {status.watches} watches, {status.rules} rules"
    if not status.znodes:
        return counts
    return f"{counts}, {status.znodes:,} znode{'s' if status.znodes != 1 else ''}"


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, expand=False, pad_edge=False
    )


def _host_table(status: Status, rows: int) -> Iterator[RenderableType]:
    table = _table("hosts")
    table.add_column("host")
    table.add_column("sampler")
    for name, _ in COLUMNS:
        table.add_column(name, justify="right")
    for host in status.hosts[:rows]:
        alive = Text("alive", style="green") if host.is_alive else Text("gone", style="bold red")
        table.add_row(_plain(host.name), alive, *(_cell(host, metric) for _, metric in COLUMNS))
    if not status.hosts:
        table.add_row(Text("none yet", style="dim"))
    yield table
    if len(status.hosts) > rows:
        yield Text(f"and {len(status.hosts) - rows} more hosts", style="dim")


def _plain(name: str) -> Text:
    """A name that anybody may have chosen: no markup, nothing that steers a terminal."""
    return Text(name.translate(logs.CONTROL))


def _cell(host: HostStatus, metric: Metric) -> Text:
    observation = host.samples.get(metric.family)
    value = None if observation is None else _shown_value(observation, metric)
    if value is None:
        return Text("-", style="dim")
    unit = field_of(metric).unit
    text = Text(format_quantity(round(value, 1), unit))
    if unit is Unit.PERCENT:
        text.stylize("bold red" if value >= 90 else "yellow" if value >= 75 else "")
    return text


def _shown_value(observation: Observation, metric: Metric) -> float | None:
    """The family's own value, or the largest of its instances where it has none."""
    sample = observation.sample
    if family_of(metric.family).has_whole:
        return _number(sample.values, metric.field)
    numbers = (_number(values, metric.field) for values in sample.instances.values())
    return max((number for number in numbers if number is not None), default=None)


def _number(values: Mapping[str, Any], field: str) -> float | None:
    value = values.get(field)
    return float(value) if isinstance(value, (int, float)) else None


def _alert_row(alert: Alert, now: float, most_where: int) -> Iterable[Text]:
    since = alert.resolved_at if alert.state is State.RESOLVED else alert.since
    severity = worst(alert) if alert.state is State.RESOLVED else alert.severity
    return (
        Text(alert.state.value, style=_STATE_STYLES[alert.state]),
        Text(severity.value, style=_SEVERITY_STYLES[severity]),
        Text(alert.rule),
        _place(where(alert, between=" "), most_where),
        _value_cell(alert),
        _short(condition(alert)),
        Text(format_duration(max(0.0, round(now - (since or now))))),
        Text(alert.id, style="dim"),
    )


def _place(text: str, most: int) -> Text:
    """Where an alert is; of a long path the end tells more than the middle."""
    place = text.translate(logs.CONTROL)
    if len(place) > most:
        head = most // 3
        place = f"{place[:head]}…{place[head + 1 - most :]}"
    return Text(place)


def _value_cell(alert: Alert) -> Text:
    if alert.value is None:
        return Text("no data" if alert.is_quiet else "-")
    return _short(format_value(alert.value, unit_of(alert)) if has_value(alert) else "")


def _short(text: str) -> Text:
    short = _plain(text)
    short.truncate(_MOST_VALUE, overflow="ellipsis")
    return short
