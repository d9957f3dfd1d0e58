"""What keeps messages quiet while an engine runs, and who hears of an end: inhibition, flapping, hours, routes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.hearing import channels, engine, hastened, heard, wait_heard, wait_record, wait_withheld
from tests.acceptance.stage import EngineProcess, RunningEngine, Stage
from tests.acceptance.test_endurance import owner
from tests.helpers import HttpReceiver, wait_for
from zkalert.journal import Kind
from zkalert.model import Alive, Channel, Delivery, OutboxEntry, QuietHours, Rate, Route, Schedule, Severity
from zkalert.tree import decode_entry, encode_alive
from zkalert.zk import NoNodeError

APP = """
rules:
  - {name: disk, metric: swap_usage, comparator: ">", threshold: 90}
  - {name: app, metric: memory_usage, comparator: ">", threshold: 90, inhibited_by: disk}
"""
DOWN = """
rules:
  - {name: host-down, metric: host.alive, comparator: "==", threshold: 0, severity: critical}
  - {name: high, metric: memory_usage, comparator: ">", threshold: 90}
"""
HIGH = 'rules: [{name: high, metric: memory_usage, comparator: ">", threshold: 90}]'


def swap(stage: Stage, percent: float) -> None:
    stage.publish(percent, family="swap_usage")


def web(receiver: HttpReceiver, name: str, **more: Any) -> Channel:
    fields: dict[str, Any] = {"group_interval": 0.0, "rate": Rate(1000, 1.0)} | more
    return Channel(name=name, urls=(receiver.url(f"/{name}", "webhook"),), **fields)


def named(*found: Channel) -> Mapping[str, Channel]:
    return {channel.name: channel for channel in found}


def process(stage: Stage, rules: str, receiver: HttpReceiver, *names: str, more: str = "") -> EngineProcess:
    """An engine of its own process, with its channels, and more of a configuration."""
    lines = "".join(
        f"  {name}: {{group_interval: 0s, urls: [{json.dumps(receiver.url(f'/{name}', 'webhook'))}]}}\n"
        for name in names
    )
    return stage.process(rules, f"channels:\n{lines}{more}")


def outbox(stage: Stage) -> list[Delivery]:
    """What is not done, or not marked yet."""
    found: list[Delivery] = []
    for name in stage.client.get_children(stage.tree.outbox(0)):
        with contextlib.suppress(NoNodeError):  # done since it was listed
            entry = decode_entry(stage.client.get(f"{stage.tree.outbox(0)}/{name}")[0])
            assert isinstance(entry, OutboxEntry)
            found += entry.deliveries
    return found


# Inhibition -----------------------------------------------------------------------------------------------------------


def test_an_inhibitor_keeps_quiet_what_follows_it_until_it_ends(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    swap(stage, 95)
    engine(stage, APP, channels(http_receiver, "ops"))
    wait_heard(http_receiver, "disk web1 firing")
    stage.publish(95)
    wait_withheld(stage, "app", why="inhibited by disk on web1")
    wait_for(lambda: [one.detail for one in outbox(stage)] == ["inhibited by disk on web1"], "the reason in the ledger")
    swap(stage, 10)
    wait_heard(http_receiver, "disk web1 firing", "disk web1 resolved", "app web1 firing")
    stage.publish(10)
    wait_heard(http_receiver, "disk web1 firing", "disk web1 resolved", "app web1 firing", "app web1 resolved")
    stage.wait_outbox_empty()


def test_an_inhibitor_that_is_seen_right_after_keeps_quiet_too(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    swap(stage, 50)
    engine(stage, APP, channels(http_receiver, "ops"))
    stage.publish(95)
    stage.wait_states("firing")
    swap(stage, 95)
    wait_withheld(stage, "app", why="inhibited by disk on web1")
    swap(stage, 10)
    stage.publish(10)
    wait_withheld(stage, "app", "resolved", "never told")
    wait_heard(http_receiver, "disk web1 firing", "disk web1 resolved")
    stage.wait_outbox_empty()


def test_what_was_told_before_its_inhibitor_has_its_end_told(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    swap(stage, 50)
    engine(stage, APP, channels(http_receiver, "ops"))
    wait_heard(http_receiver, "app web1 firing")
    swap(stage, 95)
    wait_heard(http_receiver, "app web1 firing", "disk web1 firing")
    stage.publish(10)
    wait_heard(http_receiver, "app web1 firing", "disk web1 firing", "app web1 resolved")


def test_what_was_inhibited_stays_so_over_a_restart(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    swap(stage, 95)
    first = process(stage, APP, http_receiver, "ops")
    owner(stage, first)
    wait_heard(http_receiver, "disk web1 firing")
    stage.publish(95)
    wait_withheld(stage, "app", why="inhibited by disk on web1")
    first.kill()
    second = process(stage, APP, http_receiver, "ops")
    owner(stage, second)
    stage.publish(99, host="web2")
    wait_heard(http_receiver, "disk web1 firing", "app web2 firing")
    swap(stage, 10)
    wait_heard(http_receiver, "disk web1 firing", "app web2 firing", "disk web1 resolved", "app web1 firing")
    stage.wait_outbox_empty()


def test_an_inhibitor_counts_though_both_crossed_while_no_engine_ran(stage: Stage, http_receiver: HttpReceiver) -> None:
    for host in ("web1", "web2"):
        stage.publish(95, host=host)
        stage.publish(95, host=host, family="swap_usage")
    engine(stage, APP, channels(http_receiver, "ops"))
    stage.wait_states("firing", "firing", "firing", "firing")
    swap(stage, 10)
    wait_for(lambda: "app web1 firing" in heard(http_receiver), "what fires on")
    assert sorted(heard(http_receiver)) == [
        "app web1 firing", "disk web1 firing", "disk web1 resolved", "disk web2 firing"
    ]  # fmt: skip


def test_that_a_dead_host_is_silent_is_told_by_one_alert(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = DOWN.replace("90}", "90, no_data: {after: 1s, then: alert}}")
    alive = stage.tree.alive("web1")
    stage.publish(50)
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=1, started_at=0.0)), ephemeral=True)
    engine(stage, rules, channels(http_receiver, "ops"))
    stage.client.delete(alive)
    wait_withheld(stage, "high", why="inhibited by host-down on web1")
    assert heard(http_receiver) == ["host-down web1 firing"]
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=2, started_at=0.0)), ephemeral=True)
    stage.publish(50)
    wait_withheld(stage, "high", "resolved", "never told")
    wait_heard(http_receiver, "host-down web1 firing", "host-down web1 resolved")
    stage.wait_outbox_empty()


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_dead_host_keeps_its_other_alerts_quiet_over_a_restart(
    stage: Stage, http_receiver: HttpReceiver, *, is_killed: bool
) -> None:
    alive = stage.tree.alive("web1")
    stage.publish(50)
    stage.publish(50, host="web2")
    for path in (alive, stage.tree.alive("web2")):
        stage.client.create(path, encode_alive(Alive(machine="m", pid=1, started_at=0.0)), ephemeral=True)
    first = process(stage, DOWN, http_receiver, "ops")
    owner(stage, first)
    stage.client.delete(alive)
    wait_heard(http_receiver, "host-down web1 firing")
    stage.publish(95)  # the last that it said, seen late
    wait_withheld(stage, "high", why="inhibited by host-down on web1")
    if is_killed:
        first.kill()
    else:
        first.process.terminate()
        assert first.process.wait(10) == 0
    second = process(stage, DOWN, http_receiver, "ops")
    owner(stage, second)
    stage.publish(95, host="web2")
    wait_for(lambda: "high web2 firing" in heard(http_receiver), "the other host's alert")
    assert heard(http_receiver) == ["host-down web1 firing", "high web2 firing"]
    stage.client.create(alive, encode_alive(Alive(machine="m", pid=2, started_at=0.0)), ephemeral=True)
    before = ["host-down web1 firing", "high web2 firing", "host-down web1 resolved"]
    wait_heard(http_receiver, *before, "high web1 firing")
    stage.publish(10)
    wait_heard(http_receiver, *before, "high web1 firing", "high web1 resolved")
    stage.wait_outbox_empty()


# Flapping -------------------------------------------------------------------------------------------------------------


def test_what_flaps_says_so_once_and_settles(stage: Stage, http_receiver: HttpReceiver) -> None:
    settings = stage.settings(HIGH.replace("}", ", flap: {changes: 3, within: 1m}}"), channels(http_receiver, "ops"))
    rules = tuple(
        replace(rule, flap=None if rule.flap is None else replace(rule.flap, within=4.0)) for rule in settings.rules
    )
    stage.publish(50)
    running = engine(stage, HIGH, channels(http_receiver, "ops"))
    running.engine.reload(replace(running.settings, rules=rules))
    for value, count in ((95, 1), (10, 2), (95, 3)):
        stage.publish(value)
        http_receiver.wait(count)
    notes = [request.json["alerts"][0]["note"] for request in http_receiver.requests]
    assert notes[:2] == ["", ""]
    assert "flapping: 3 changes in 4s" in notes[2]
    stage.publish(10)
    wait_withheld(stage, "high", "resolved", "flapping")
    stage.publish(95)
    wait_record(stage, Kind.WITHHELD, lambda record: record.phase == "firing" and record.reason == "flapping")
    stage.publish(10)
    stage.wait_states()
    assert len(heard(http_receiver)) == 3
    wait_heard(http_receiver, *["high web1 firing", "high web1 resolved"] * 2)
    stage.wait_outbox_empty()


def test_an_end_that_flapping_held_is_told_by_the_next_engine(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = HIGH.replace("}", ", flap: {changes: 3, within: 1h}}")
    urls = channels(http_receiver, "ops")
    stage.publish(50)
    running = engine(stage, rules, urls)
    for value, count in ((95, 1), (10, 2), (95, 3)):
        stage.publish(value)
        http_receiver.wait(count)
    stage.publish(10)
    wait_withheld(stage, "high", "resolved", "flapping")
    running.stop()
    engine(stage, rules, urls)
    wait_heard(http_receiver, *["high web1 firing", "high web1 resolved"] * 2)
    stage.wait_outbox_empty()


# Hours ----------------------------------------------------------------------------------------------------------------


def elsewhen() -> str:
    """Hours of today, in UTC, that do not hold this moment nor one of the next minutes."""
    hour = (time.gmtime().tm_hour + 6) % 24
    return f'{{hours: "{hour:02}:00-{(hour + 1) % 24:02}:00", timezone: UTC}}'


def test_outside_its_schedule_a_rule_reminds_nobody_and_ends_what_fires(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    rules = HIGH.replace("}", ", repeat: 14s}")
    urls = channels(http_receiver, "ops")
    stage.publish(95)
    running = engine(stage, rules, urls)
    wait_for(lambda: "high web1 repeated-1" in heard(http_receiver), "a reminder")
    closed = stage.settings(rules.replace("repeat", f"schedule: {elsewhen()}, repeat"), urls)
    running.engine.reload(hastened(closed))
    wait_record(stage, Kind.RELOAD, lambda record: record.zxid > 0)
    (before,) = stage.wait_states("firing")
    wait_for(lambda: stage.alerts()[0].repeats > before.repeats + 1, "reminders that pass silently")
    told = heard(http_receiver)
    wait_for(lambda: stage.alerts()[0].repeats > before.repeats + 3, "more of them")
    assert heard(http_receiver) == told
    stage.publish(95, host="web2")
    stage.publish(10)
    wait_heard(http_receiver, *told, "high web1 resolved")
    stage.wait_states()


def test_quiet_hours_let_through_what_is_bad_enough_and_keep_the_rest(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    rules = """
rules:
  - {name: mild, metric: memory_usage, comparator: ">", threshold: 90}
  - {name: bad, metric: swap_usage, comparator: ">", threshold: 90, severity: critical}
"""
    always = QuietHours(schedule=Schedule(days=frozenset(range(7)), timezone="UTC"), but=frozenset({Severity.CRITICAL}))
    settings = stage.settings(rules)
    running = engine(stage, rules, channels=named(web(http_receiver, "ops", quiet_hours=always)))
    stage.publish(95)
    stage.wait_states("firing")
    swap(stage, 95)
    wait_heard(http_receiver, "bad web1 firing")
    swap(stage, 10)
    wait_heard(http_receiver, "bad web1 firing", "bad web1 resolved")
    running.engine.reload(replace(settings, channels=named(web(http_receiver, "ops"))))
    wait_heard(http_receiver, "bad web1 firing", "bad web1 resolved", "mild web1 firing")
    stage.wait_outbox_empty()


# Who hears ------------------------------------------------------------------------------------------------------------


def test_routes_and_least_severities_say_who_hears(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = """
rules:
  - {name: mild, metric: memory_usage, comparator: ">", threshold: 90, labels: {team: core}}
  - {name: bad, metric: swap_usage, comparator: ">", threshold: 90, severity: critical, labels: {team: core}}
  - {name: info, metric: load_average.1m, comparator: ">", threshold: 9, severity: info}
"""
    night = json.dumps(http_receiver.url("/night", "webhook"))
    more = (
        f"  night: {{group_interval: 0s, min_severity: critical, urls: [{night}]}}\n"
        """
routes:
  - {match: {labels: {team: core}}, channels: [ops, night]}
  - {match: {host: "db*"}, channels: [dba]}
"""
    )
    for host in ("web1", "db1"):
        stage.publish(50, host=host)
    owner(stage, process(stage, rules, http_receiver, "ops", "dba", "default", more=more))
    stage.publish(95)
    wait_heard(http_receiver, "mild web1 firing")
    swap(stage, 95)
    wait_heard(http_receiver, "bad web1 firing", name="night")
    stage.publish(12, host="db1", family="load_average", field="1m")
    wait_heard(http_receiver, "info db1 firing", name="dba")
    stage.publish(12, host="web1", family="load_average", field="1m")
    wait_heard(http_receiver, "info web1 firing", name="default")
    swap(stage, 10)
    wait_heard(http_receiver, "bad web1 firing", "bad web1 resolved", name="night")
    stage.publish(10)
    wait_heard(http_receiver, "mild web1 firing", "bad web1 firing", "bad web1 resolved", "mild web1 resolved")
    assert heard(http_receiver, "dba") == ["info db1 firing"]


@pytest.mark.parametrize(
    ("by", "sizes"), [(("host",), [1, 1, 2, 2]), (("severity",), [1, 5]), (("label:team",), [1, 1, 1, 3])]
)
def test_what_is_of_one_group_goes_as_one(
    stage: Stage, http_receiver: HttpReceiver, by: tuple[str, ...], sizes: list[int]
) -> None:
    rules = """
rules:
  - {name: one, metric: memory_usage, comparator: ">", threshold: 90, labels: {team: a}}
  - {name: two, metric: swap_usage, comparator: ">", threshold: 90, labels: {team: b}}
  - {name: three, metric: load_average.1m, comparator: ">", threshold: 9, labels: {team: b}}
"""
    ops = web(http_receiver, "ops", group_by=by, group_interval=2.0)
    for host in ("web1", "web2"):
        stage.publish(50, host=host)
    engine(stage, rules, channels=named(ops))
    stage.publish(95)
    http_receiver.wait(1)
    stage.publish(95, host="web2")
    for host in ("web1", "web2"):
        stage.publish(95, host=host, family="swap_usage")
        stage.publish(12, host=host, family="load_average", field="1m")
    wait_for(lambda: len(heard(http_receiver)) == 6, "all six")
    assert sorted(len(request.json["alerts"]) for request in http_receiver.requests) == sorted(sizes)


def edit(running: RunningEngine, stage: Stage, rules: str, urls: Mapping[str, tuple[str, ...]], **more: Any) -> None:
    running.engine.reload(replace(stage.settings(rules, urls), **more))


def test_an_end_is_told_to_who_heard_whatever_the_rule_says_by_then(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "ops", "dba")
    stage.publish(95)
    running = engine(stage, HIGH.replace("}", ", action: ops}"), urls)
    wait_heard(http_receiver, "high web1 firing")
    edit(running, stage, HIGH.replace("}", ", action: dba}"), urls)
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    stage.publish(95)
    wait_heard(http_receiver, "high web1 firing", name="dba")
    assert len(heard(http_receiver)) == 2


def test_what_was_withheld_goes_to_whom_it_was_for_and_so_does_its_end(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    urls = channels(http_receiver, "ops", "dba")
    rules = APP.replace("inhibited_by: disk", "inhibited_by: disk, action: ops")
    swap(stage, 95)
    running = engine(stage, rules, urls)
    http_receiver.wait(2)
    stage.publish(95)
    wait_withheld(stage, "app", why="inhibited")
    edit(running, stage, rules.replace("action: ops", "action: dba"), urls)
    swap(stage, 10)
    wait_for(lambda: "app web1 firing" in heard(http_receiver), "the firing")
    stage.publish(10)
    wait_for(lambda: "app web1 resolved" in heard(http_receiver), "its end")
    stage.wait_outbox_empty()
    assert not any("app" in line for line in heard(http_receiver, "dba"))


def test_a_channel_that_is_renamed_while_it_fires_hears_the_end(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "ops", "dba")
    stage.publish(95)
    running = engine(stage, HIGH.replace("}", ", action: ops}"), urls)
    wait_heard(http_receiver, "high web1 firing")
    stage.wait_outbox_empty()
    edit(running, stage, HIGH.replace("}", ", action: chat}"), {"chat": urls["ops"], "dba": urls["dba"]})
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    assert heard(http_receiver, "dba") == []


def test_an_end_is_told_to_who_heard_whatever_the_routes_say_by_then(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "ops", "dba")
    stage.publish(95)
    running = engine(stage, HIGH, urls, routes=(Route(channels=("ops",)),))
    wait_heard(http_receiver, "high web1 firing")
    edit(running, stage, HIGH, urls, routes=(Route(channels=("dba",)),))
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    assert heard(http_receiver, "dba") == []


def test_an_end_is_told_at_a_url_that_stood_in_the_rule_that_is_gone(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "dba")
    action = f"action: {{notify: {json.dumps(http_receiver.url('/ops', 'webhook'))}}}"
    stage.publish(95)
    running = engine(stage, HIGH.replace("}", f", {action}}}"), urls)
    wait_heard(http_receiver, "high web1 firing")
    stage.wait_outbox_empty()
    edit(running, stage, HIGH.replace("high", "other").replace("90", "99"), urls)
    (waits,) = wait_for(lambda: outbox(stage), "the end, which waits for its group")
    assert waits.target == running.witness.tries[0].target.id
    running.engine.reload(replace(stage.settings(HIGH, urls), rules=()))
    wait_record(stage, Kind.RELOAD, lambda record: record.data["rules"] == 0)
    assert [one.target for one in outbox(stage)] == [waits.target], "another reload leaves it"


# Edits ----------------------------------------------------------------------------------------------------------------


def test_a_condition_that_is_edited_and_still_true_is_silent_and_one_that_is_false_ends_it(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    urls = channels(http_receiver, "ops")
    stage.publish(95)
    running = engine(stage, HIGH, urls)
    wait_heard(http_receiver, "high web1 firing")
    (before,) = stage.wait_states("firing")
    edit(running, stage, HIGH.replace("90", "80"), urls)
    wait_for(lambda: [one.digest for one in stage.alerts()] != [before.digest], "the new condition in the record")
    (after,) = stage.alerts()
    assert after.episode == before.episode
    assert heard(http_receiver) == ["high web1 firing"]
    edit(running, stage, HIGH.replace("90", "99"), urls)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    assert http_receiver.requests[-1].json["alerts"][0]["reason"] == "rule changed"
    stage.wait_states()
