"""What the live table draws, also of names that anybody may have chosen, and on small terminals."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from zkalert.cli import logs
from zkalert.cli.live import LiveView, LogHandler
from zkalert.engine import HostStatus, Status, Told
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Message,
    MessageKind,
    Metric,
    Moment,
    Observation,
    Phase,
    Reason,
    Sample,
    SendResult,
    SendState,
    State,
    Target,
    TargetKind,
)

HOSTILE = ["web[/b]", "[red]x[/nothing]", "evil\x1b]0;PWNED\x07", "two\nlines", "c1\x9b31m", "bidi\u202eabc"]


def alert(host: str = "web1", state: State = State.FIRING) -> Alert:
    return Alert(
        rule="memory-high",
        host=host,
        instance=host,
        state=state,
        episode="0123456789abcdef",
        metric=Metric("memory_usage", "percent"),
        unit="percent",
        comparator=Comparator.GT,
        threshold=90.0,
        value=95.0,
        since=990.0,
        fired_at=990.0,
    )


def made(**changes: Any) -> Alert:
    return replace(alert("web1"), **changes)


def host(name: str, percent: float = 42.0) -> HostStatus:
    memory = Sample(family="memory_usage", at=1, interval=5, max_age=15, values={"percent": percent})
    disks = Sample(
        family="disk_usage", at=1, interval=5, max_age=15, instances={"/": {"percent": 10}, "/b": {"percent": 77}}
    )
    seen = {sample.family: Observation(host=name, sample=sample, now=Moment(1, 1)) for sample in (memory, disks)}
    return HostStatus(name=name, is_alive=True, samples=seen)


def status(hosts: int = 1, alerts: int = 1, **changes: Any) -> Status:
    given: dict[str, Any] = {
        "now": 1000.0,
        "mono": 0.0,
        "is_connected": True,
        "is_owner": True,
        "rules": 3,
        "hosts": tuple(host(f"h{number}") for number in range(hosts)),
        "alerts": tuple(alert(f"h{number}") for number in range(alerts)),
    }
    return Status(**given | changes)


class Screen:
    """A view, and what it draws."""

    def __init__(self, width: int = 120, height: int = 40) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=width, height=height, color_system=None)
        self.view = LiveView("web1 on 127.0.0.1:2181", self.console)

    def draw(self, shown: Status) -> str:
        self.view.status(shown)
        self.console.print(self.view._picture())
        return self.file.getvalue()


def test_hosts_alerts_and_counts_are_shown() -> None:
    drawn = Screen().draw(status())
    for text in ("watching", "h0", "alive", "42%", "77%", "firing", "memory-high", "95%", "> 90%", "10s", "012345"):
        assert text in drawn
    assert "notifications: 0 sent" in drawn


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are_and_steer_nothing(name: str) -> None:
    screen = Screen(width=200)
    effect = Effect(alert=alert(name), phase=Phase.FIRING, reason=Reason.HELD, at=990.0)
    screen.view.effect(effect, ())
    target = Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url="json://x")
    message = Message(key="k", title=name, body=name, kind=MessageKind.WARNING)
    result = SendResult(state=SendState.FAILED, detail=name)
    screen.view.told(Told(effects=(effect,), target=target, message=message, result=result, attempt=1))
    drawn = screen.draw(replace(status(), hosts=(host(name),), alerts=(alert(name),)))
    assert not any(char in drawn for char in "\x1b\x07\x9b\u202e")
    assert name.translate(logs.CONTROL) in drawn


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        pytest.param({"state": State.CLEARING, "value": 85.0}, ("clearing", "85%", "> 90%"), id="clearing"),
        pytest.param(
            {"comparator": Comparator.BETWEEN, "threshold": (10.0, 20.0), "value": 15.0},
            ("15%", "between 10% and 20%"),
            id="range",
        ),
        pytest.param(
            {"comparator": Comparator.NE, "threshold": "on", "value": "off", "unit": "text"},
            ("off", '!= "on"'),
            id="text",
        ),
        pytest.param(
            {"comparator": Comparator.ABSENT, "threshold": None, "value": 1, "unit": "number"}, ("absent",), id="absent"
        ),
        pytest.param({"host": "-", "instance": None, "members": (12, 2)}, ("all hosts", "95%"), id="many hosts"),
        pytest.param({"host": "-", "instance": "gru1"}, ("all hosts of gru1",), id="hosts with one label"),
        pytest.param({"value": None, "is_quiet": True}, ("firing", "no data"), id="no data"),
        pytest.param({"unit": "furlongs"}, ("95", "> 90"), id="a unit that only a newer zkalert knows"),
    ],
)
def test_rows_of_alerts(changes: dict[str, Any], shown: tuple[str, ...]) -> None:
    drawn = Screen().draw(replace(status(), alerts=(made(**changes),)))
    for text in shown:
        assert text in drawn


def test_a_long_text_takes_no_more_than_its_cell() -> None:
    long = made(comparator=Comparator.MATCHES, threshold="a" * 900, value="b\x1b" * 120, unit="text")
    drawn = Screen().draw(replace(status(), alerts=(long,)))
    assert "a" * 20 in drawn
    assert "a" * 31 not in drawn
    assert "\x1b" not in drawn


def test_what_fires_comes_first_and_what_clears_after_it() -> None:
    states = (State.PENDING, State.CLEARING, State.RESOLVED, State.FIRING)
    drawn = Screen().draw(replace(status(), alerts=tuple(alert(f"h{state.value}", state) for state in states)))
    places = [drawn.index(f"h{word}") for word in ("firing", "clearing", "pending", "resolved")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("phase", "is_kept"),
    [(Phase.REPEATED, False), (Phase.ESCALATED, False), (Phase.RESOLVED, True), (Phase.CLOSED, True)],
)
def test_only_an_alert_that_has_ended_stays_for_a_while(phase: Phase, is_kept: bool) -> None:
    screen = Screen()
    ended = alert("gone1", State.RESOLVED if is_kept else State.FIRING)
    screen.view.effect(Effect(alert=ended, phase=phase, reason=Reason.STILL, at=990.0), ())
    screen.file.truncate(0)
    assert ("gone1" in screen.draw(replace(status(), alerts=()))) is is_kept


@pytest.mark.parametrize(("hosts", "alerts"), [(12, 12), (500, 3), (1, 500)])
def test_on_a_small_terminal_alerts_and_counts_are_still_seen(hosts: int, alerts: int) -> None:
    drawn = Screen(width=80, height=24).draw(status(hosts, alerts))
    assert len(drawn.splitlines()) <= 24
    assert "memory-high" in drawn
    assert "notifications:" in drawn
    if hosts > 12:
        assert f"and {hosts - 4} more hosts" in drawn


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"is_connected": False}, "waiting for ZooKeeper"),
        ({"is_owner": False, "waits_for": "web9 (pid 7)"}, "the engine at web9 (pid 7) owns this tree"),
        ({"problems": {"not-json": 2}}, "2 unusable samples (not-json)"),
        ({"unusable": 3}, "3 znodes that cannot be read or used"),
        ({"unreached": ("hbase", "kafka")}, "no connection to hbase, kafka"),
    ],
)
def test_the_head_says_how_things_are(changes: dict[str, Any], text: str) -> None:
    assert text in Screen().draw(status(**changes))


def test_how_many_znodes_rules_look_at_is_shown_where_they_do() -> None:
    assert "3 rules, 12,000 znodes" in Screen().draw(status(znodes=12_000))
    assert "znodes" not in Screen().draw(status())


@pytest.mark.parametrize("width", [100, 120, 200])
def test_a_long_path_is_one_line_that_shows_its_ensemble_and_its_end(width: int) -> None:
    path = "/brokers/topics/orders-of-the-whole-company/partitions/17/state"
    shown = Screen(width=width).draw(status(znodes=1, alerts=0))
    before = len(shown.splitlines())
    long = made(host="kafka", instance=path, rule="offline")
    drawn = Screen(width=width).draw(replace(status(znodes=1), alerts=(long,)))
    assert len(drawn.splitlines()) == before
    assert "kafka /" in drawn
    assert "17/state" in drawn


def test_log_lines_go_above_the_table_without_markup() -> None:
    screen = Screen()
    handler = LogHandler(screen.console)
    handler.setFormatter(logs.TextFormatter())
    record = logging.makeLogRecord(
        {"name": "zkalert.x", "levelno": logging.ERROR, "levelname": "ERROR", "msg": "a[/b]\x1b"}
    )
    handler.emit(record)
    assert "a[/b]\\x1b" in screen.file.getvalue()
