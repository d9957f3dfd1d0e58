"""Brakes on commands: when one more may run, and that all engines together keep to it."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import Relay, wait_for
from zkalert.model import Brake, BrakeState, Place, Run, Where, ZookeeperSettings
from zkalert.store.brakes import Brakes, may_run, with_place
from zkalert.tree import MAX_STARTS, Tree, decode_brake, encode_brake
from zkalert.zk import Client, make_client

RUN = Run(command="true", timeout=30.0, brake=Brake(at_once=2, per=3600.0, most=3, group="kafka"))


class Now:
    """The ensemble's time, as a test wants it."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize(
    ("state", "is_free", "why"),
    [
        pytest.param(BrakeState(), True, "", id="nothing yet"),
        pytest.param(BrakeState(running={"a": 2000}), True, "", id="one runs"),
        pytest.param(BrakeState(running={"a": 2000, "b": 1001}), False, "2 runs are under way", id="two run"),
        pytest.param(BrakeState(running={"a": 2000, "b": 1000}), True, "", id="one of two has lost its place"),
        pytest.param(BrakeState(starts=(900, 901, 902)), False, "3 runs in the last 10m", id="three of late"),
        pytest.param(BrakeState(starts=(400, 901, 902)), True, "", id="the first is long ago"),
    ],
)
def test_when_one_more_may_run(state: BrakeState, is_free: bool, why: str) -> None:
    assert may_run(state, Brake(at_once=2, per=600.0, most=3), 1000.0)[::2] == (is_free, why)


def test_one_run_is_told_in_the_singular() -> None:
    assert may_run(BrakeState(running={"a": 2000}), Brake(), 1000.0)[2] == "1 run is under way"
    assert may_run(BrakeState(starts=(900,)), Brake(most=1), 1000.0)[2] == "1 run in the last 1h"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 200)), max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.floats(1, 300),
)
def test_no_brake_ever_lets_more_pass_than_it_says(
    arrivals: list[tuple[float, float]], at_once: int, most: int, per: float
) -> None:
    """Whatever comes in whatever order: never more at once, never more in any span."""
    brake = Brake(at_once=at_once, per=per, most=most)
    state, now, runs = BrakeState(), 0.0, list[tuple[float, float]]()
    for number, (pause, length) in enumerate(arrivals):
        now += pause
        is_free, state, why = may_run(state, brake, now)
        assert is_free is not bool(why)
        if is_free:
            state = with_place(state, str(number), now, now + length)
            runs.append((now, now + length))
    for start, _ in runs:
        assert sum(begin <= start < end for begin, end in runs) <= at_once
        assert sum(start - per < begin <= start for begin, _ in runs) <= most


def test_the_state_survives_its_payload_and_stays_small() -> None:
    state = BrakeState(starts=(1.0, 2.5), running={"a": 3.25})
    assert decode_brake(encode_brake(state)) == state
    many = BrakeState()
    for number in range(MAX_STARTS + 10):
        many = with_place(many, "a", float(number), 1e9)
    assert len(many.starts) == MAX_STARTS
    assert many.starts[-1] == MAX_STARTS + 9
    assert len(encode_brake(many)) < 64 * 1024


def test_places_are_counted_over_two_engines(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    """Forty ask at once, through two sessions; two run, and only one more is let pass within the hour."""
    now = Now()
    other = make_client(settings)
    other.start(timeout=15)
    brakes = [Brakes(client, tree, now), Brakes(other, tree, now)]
    places: list[Place] = []

    def ask(number: int) -> None:
        places.append(brakes[number % 2].take(RUN, f"rule-{number}", f"episode-{number}.firing"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    taken = [place.ticket for place in places if place.ticket]
    assert (len(places), len(taken)) == (40, 2)
    assert {place.detail for place in places if not place.ticket} == {
        "held by the brake: 2 runs are under way (group kafka)"
    }
    for ticket in taken:
        brakes[0].release(RUN, "any", ticket)
    third = brakes[1].take(RUN, "a", "x.firing")
    assert third.ticket
    brakes[1].release(RUN, "a", third.ticket)
    assert brakes[0].take(RUN, "a", "x.firing") == Place("", "held by the brake: 3 runs in the last 1h (group kafka)")
    now.at += 3600
    assert brakes[0].take(RUN, "a", "x.firing").ticket
    other.stop()
    other.close()


@pytest.mark.parametrize(("where", "kept"), [(Where.ENGINE, 90), (Where.HOST, 150)])
def test_a_run_that_died_loses_its_place(client: Client, tree: Tree, where: Where, kept: float) -> None:
    """A minute after its time limit; a host has another minute to take it at all."""
    now = Now()
    brakes = Brakes(client, tree, now)
    run = replace(RUN, where=where, brake=Brake(at_once=1, most=10, group="g"))
    assert brakes.take(run, "r", "a.firing").ticket
    now.at += kept - 1
    assert brakes.take(run, "r", "b.firing").detail == "held by the brake: 1 run is under way (group g)"
    now.at += 1
    assert brakes.take(run, "r", "c.firing").ticket


def test_without_a_group_each_rule_counts_for_itself(client: Client, tree: Tree) -> None:
    """Also where a group has the name of a rule."""
    brakes = Brakes(client, tree, Now())
    run = replace(RUN, brake=Brake())
    assert brakes.take(run, "kafka", "a.firing").ticket
    assert brakes.take(run, "nginx", "b.firing").ticket
    assert brakes.take(run, "kafka", "c.firing").detail == "held by the brake: 1 run is under way (rule kafka)"
    assert brakes.take(replace(RUN, brake=Brake(group="kafka")), "x", "d.firing").ticket


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"v":1,"starts":["x"],"running":{}}', b"x" * 100_000])
def test_a_brake_that_cannot_be_read_lets_nothing_pass(client: Client, tree: Tree, data: bytes) -> None:
    client.ensure_path(tree.brakes)
    client.create(tree.brake("kafka"), data)
    place = Brakes(client, tree, Now()).take(RUN, "r", "a.firing")
    assert place.ticket == ""
    assert place.detail.startswith(f"held by the brake, which cannot be asked: {tree.brake('kafka')} holds what cannot")
    assert client.get(tree.brake("kafka"))[0] == data


def test_without_zookeeper_nothing_passes(tree: Tree, settings: ZookeeperSettings) -> None:
    relay = Relay(settings.hosts)
    client = make_client(replace(settings, hosts=relay.hosts))
    client.start(timeout=15)
    brakes = Brakes(client, tree, Now(), patience=0.5)
    relay.cut()
    wait_for(lambda: not client.connected, "the cut to be felt")
    assert brakes.take(RUN, "r", "a.firing").detail == (
        "held by the brake, which cannot be asked: ZooKeeper does not answer (group kafka)"
    )
    brakes.release(RUN, "r", "a.firing-0")  # says nothing, and comes back
    relay.mend()
    assert Brakes(client, tree, Now()).take(RUN, "r", "a.firing").ticket
    client.stop()
    client.close()
    relay.close()
