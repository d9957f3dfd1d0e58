"""Rules about many znodes at once, on a real ZooKeeper: open parts of a path, children that come and go, storms."""

from __future__ import annotations

import json
import time
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.acceptance.hearing import heard, wait_heard
from tests.acceptance.stage import Stage
from tests.acceptance.watching import all_of, ensembles, folder, series, session, texts, wait_known, watch
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine.matches import Matches
from zkalert.model import Reason
from zkalert.watch import SPACING

MANY = 10_000
CHANGED: dict[str, Any] = {"over": "2s", "comparator": "changed"}


def leader(broker: int) -> bytes:
    return json.dumps({"controller_epoch": 1, "leader": broker, "isr": [broker]}).encode()


# Open parts -----------------------------------------------------------------------------------------------------------


def test_each_match_of_an_open_part_is_a_series_and_its_names_are_in_the_texts(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    for topic, partition, broker in (("orders", 0, 1), ("orders", 1, 2), ("mail", 0, 1)):
        stage.client.create(f"{top}/topics/{topic}/partitions/{partition}/state", leader(broker), makepath=True)
    watch(
        stage,
        http_receiver,
        {
            "name": "offline",
            "metric": f"znode:{top}/topics/{{topic}}/partitions/{{partition}}/state#/leader",
            "comparator": "==",
            "threshold": -1,
            "summary": "{{ instance.topic }} {{ instance.partition }}",
        },
    )
    bad = f"{top}/topics/orders/partitions/1/state"
    stage.client.set(bad, leader(-1))
    wait_heard(http_receiver, f"offline {series(bad)} firing")
    late = f"{top}/topics/new/partitions/7/state"
    stage.client.create(late, leader(-1), makepath=True)
    stage.client.set(bad, leader(2))
    wait_for(lambda: len(heard(http_receiver)) == 3, "the new topic, and the end of the first")
    assert sorted(heard(http_receiver)[1:]) == sorted(
        [f"offline {series(late)} firing", f"offline {series(bad)} resolved"]
    )
    assert sorted(texts(http_receiver)) == ["new 7", "orders 1", "orders 1"]


def test_a_literal_part_that_is_missing_below_an_open_one_does_not_exist_and_what_went_above_it_is_gone(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    stage.client.create(f"{top}/app1/leader", makepath=True)
    stage.client.create(f"{top}/app2")
    running = watch(
        stage,
        http_receiver,
        {"name": "leaderless", "metric": f"znode:{top}/*/leader#exists", "comparator": "==", "threshold": 0},
    )
    wait_heard(http_receiver, f"leaderless {series(f'{top}/app2/leader')} firing")
    stage.client.create(f"{top}/app2/leader")
    stage.client.delete(f"{top}/app1/leader")
    wait_for(lambda: len(heard(http_receiver)) == 3, "both changes")
    stage.client.delete(f"{top}/app1")
    wait_for(lambda: len(heard(http_receiver)) == 4, "the end of what is gone")
    assert heard(http_receiver)[3] == f"leaderless {series(f'{top}/app1/leader')} resolved"
    assert running.witness.effects[-1].reason is Reason.GONE


def test_a_child_that_goes_resolves_and_one_of_its_name_that_comes_back_fires_anew(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    top = folder(stage)
    watch(stage, http_receiver, {"name": "big", "metric": f"znode:{top}/*#length", "comparator": ">", "threshold": 3})
    path = f"{top}/ü €,x%41;'\"$(id)"
    for _ in range(3):
        stage.client.create(path, b"long")
        wait_for(lambda: len(heard(http_receiver)) % 2 == 1, "firing")
        stage.client.delete(path)
        wait_for(lambda: len(heard(http_receiver)) % 2 == 0, "its end")
    told = [f"big {series(path)} {phase}" for phase in ("firing", "resolved")]
    assert heard(http_receiver) == 3 * told


def test_a_child_that_is_made_anew_before_anybody_looked_is_followed_on(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    """Between two readings of the folder it goes and comes: its name was never missed."""
    top = folder(stage)
    running = watch(stage, http_receiver, {"name": "big", "metric": f"znode:{top}/*#value", "threshold": 3})
    path = f"{top}/a"
    stage.client.create(path, b"1")
    for number in range(40):  # at odds with the spacing, so that every order of readings comes about
        stage.client.delete(path)
        if number % 4:
            time.sleep(0.013 * (number % 4))
        stage.client.create(path, b"1")
        time.sleep(0.01 * (number % 7))
    stage.client.set(path, b"4")
    wait_heard(http_receiver, f"big {series(path)} firing")
    wait_known(running)


def test_znodes_that_were_never_written_are_known_too(stage: Stage, http_receiver: HttpReceiver) -> None:
    """`/zookeeper` is there from the start, with a zxid of 0; whoever waits for news of it waits for ever."""
    running = watch(
        stage,
        http_receiver,
        {"name": "top", "metric": "znode:/*#version", "threshold": 1_000_000},
        {"name": "config", "metric": "znode:/zookeeper#children", "threshold": 1_000_000},
        {"name": "made", "metric": "znode:/{name}#exists", "instances": f"{stage.tree.top}-new"},
    )
    assert all(one.is_known for one in ensembles(running)._own.matches.values())
    stage.client.create(f"{stage.tree.top}-new")
    wait_heard(http_receiver, f"made {series(f'{stage.tree.top}-new')} firing")


# Numbers of many ------------------------------------------------------------------------------------------------------


def test_a_number_across_all_matches_is_one_alert_of_the_ensemble(stage: Stage, http_receiver: HttpReceiver) -> None:
    top = folder(stage)
    for number in range(5):
        stage.client.create(f"{top}/{number}/state", leader(1), makepath=True)
    running = watch(
        stage,
        http_receiver,
        {
            "name": "offline",
            "metric": f"znode:{top}/{{partition}}/state#/leader",
            "across": {"of": "instances", "stat": "count", "where": {"comparator": "==", "threshold": -1}},
            "comparator": ">=",
            "threshold": 2,
        },
    )
    for number in (1, 3):
        stage.client.set(f"{top}/{number}/state", leader(-1))
    wait_heard(http_receiver, "offline zookeeper firing")
    assert running.witness.effects[0].alert.value == 2
    stage.client.delete(f"{top}/1", recursive=True)
    wait_heard(http_receiver, "offline zookeeper firing", "offline zookeeper resolved")


def test_children_are_held_against_the_most_there_were(stage: Stage, http_receiver: HttpReceiver) -> None:
    top = folder(stage)
    for broker in range(3):
        stage.client.create(f"{top}/ids/{broker}", makepath=True)
    watch(
        stage,
        http_receiver,
        {
            "name": "short",
            "metric": f"znode:{top}/ids#children",
            "relative_to": {"over": "4s", "stat": "max"},
            "comparator": "<",
            "threshold": "100%",
        },
    )
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 3, "half of the window")
    assert heard(http_receiver) == []
    stage.client.delete(f"{top}/ids/2")
    wait_heard(http_receiver, "short zookeeper firing")
    stage.client.create(f"{top}/ids/2")
    wait_heard(http_receiver, "short zookeeper firing", "short zookeeper resolved")


def has_changed(pattern: Matches, path: str, times: int) -> bool:
    return pattern._leaves[path].changes == times


def test_a_lock_that_changes_hands_too_often_is_told(stage: Stage, http_receiver: HttpReceiver) -> None:
    top = folder(stage)
    path = f"{top}/controller"
    stage.client.create(path, ephemeral=True)
    running = watch(
        stage,
        http_receiver,
        {
            "name": "hands",
            "metric": f"znode:{path}#changes",
            "over": "4s",
            "stat": "delta",
            "comparator": ">=",
            "threshold": 3,
        },
    )
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 2.5, "half of the window")
    (pattern,) = ensembles(running)._own.matches.values()
    with session(stage.zookeeper.hosts) as other:
        for count, client in enumerate((other, stage.client, other), 1):
            assert heard(http_receiver) == []
            stage.client.delete(path)
            client.create(path, ephemeral=True)
            # Two that follow on each other within the spacing of readings would be one.
            wait_for(partial(has_changed, pattern, path, count), "the change to be read")
    wait_heard(http_receiver, "hands zookeeper firing")
    wait_heard(http_receiver, "hands zookeeper firing", "hands zookeeper resolved")


def test_a_value_that_changed_is_told_for_a_while(stage: Stage, http_receiver: HttpReceiver) -> None:
    path = f"{folder(stage)}/mode"
    stage.client.create(path, b"blue")
    watch(stage, http_receiver, {"name": "mode", "metric": f"znode:{path}#value"} | CHANGED)
    stage.client.set(path, b"green")
    began = time.monotonic()
    wait_heard(http_receiver, "mode zookeeper firing")
    wait_heard(http_receiver, "mode zookeeper firing", "mode zookeeper resolved")
    assert time.monotonic() - began >= 1.9


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
def test_a_znode_without_a_value_is_silence(stage: Stage, http_receiver: HttpReceiver, *, is_there: bool) -> None:
    path = f"{folder(stage)}/lag"
    if is_there:
        stage.client.create(path)
    watch(
        stage,
        http_receiver,
        {"name": "lag", "metric": f"znode:{path}#value", "threshold": 9, "no_data": {"after": "1s", "then": "alert"}},
    )
    wait_heard(http_receiver, "lag zookeeper firing")
    if is_there:
        stage.client.set(path, b"1")
    else:
        stage.client.create(path, b"1")
    wait_heard(http_receiver, "lag zookeeper firing", "lag zookeeper resolved")


# Thousands ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_of_ten_thousand_children_one_that_changes_is_told_at_once_and_a_storm_is_read_as_few_lists(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = folder(stage)
    create = stage.client.create_async
    all_of(partial(create, f"{top}/n{number:05}", b"1") for number in range(MANY))
    running = watch(stage, http_receiver, {"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9})
    assert len(ensembles(running)) == MANY + 1
    path = f"{top}/n07777"
    began = time.monotonic()
    stage.client.set(path, b"10")
    wait_heard(http_receiver, f"high {series(path)} firing")
    assert http_receiver.requests[0].at - began < 1
    stage.client.set(path, b"1")
    wait_heard(http_receiver, f"high {series(path)} firing", f"high {series(path)} resolved")

    lists: list[float] = []
    read = running.client.get_children_async

    def counted(path: str, *args: Any, **more: Any) -> Any:
        if path == top:
            lists.append(time.monotonic())
        return read(path, *args, **more)

    monkeypatch.setattr(running.client, "get_children_async", counted)
    began = time.monotonic()
    all_of(partial(create, f"{top}/s{number:04}", b"1") for number in range(1000))
    all_of(partial(stage.client.delete_async, f"{top}/s{number:04}") for number in range(1000))
    took = time.monotonic() - began
    stage.client.create(f"{top}/last", b"11")
    wait_for(lambda: len(heard(http_receiver)) == 3, "what came last", 20)
    assert heard(http_receiver)[2] == f"high {series(f'{top}/last')} firing"
    wait_for(lambda: len(ensembles(running)) == MANY + 2, "those that went to be forgotten")
    spans = [after - before for before, after in pairwise(lists)]
    assert 2 <= len(lists) <= took / SPACING + 5
    assert min(spans) > SPACING - 0.02
    wait_known(running)
    watchers = running.client._data_watchers
    assert sum(map(len, watchers.values())) < MANY + 500, "watches of what is gone are not kept"
