"""What an engine tells by itself: ZooKeeper gone and back, over real connections; and the dead man's switch."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.helpers import Answer, HttpReceiver, Relay, Request, wait_for
from zkalert.engine import heartbeat
from zkalert.engine.heartbeat import Heartbeat
from zkalert.engine.lifeline import Lifeline
from zkalert.localzk import LocalServer
from zkalert.model import Channel, Effect, Message, SendResult, SendState, Target, ZookeeperSettings
from zkalert.routing import channel_targets
from zkalert.senders import make_sender
from zkalert.zk import ConnectionState, leave, listen, make_client

AFTER = 0.4


@pytest.fixture
def lifeline(http_receiver: HttpReceiver) -> Iterator[Lifeline]:
    made = Lifeline(zookeeper="zk1:2181", host="mon1", make_sender=make_sender)
    made.configure(channel(http_receiver, "/ops"), AFTER)
    yield made
    made.stop()
    http_receiver.release()


def channel(receiver: HttpReceiver, *paths: str) -> tuple[Target, ...]:
    return channel_targets(Channel(name="ops", urls=tuple(receiver.url(path, scheme="json") for path in paths)))


def told(requests: Sequence[Request]) -> list[str]:
    return [request.json["state"] for request in requests]


def test_a_real_server_that_stops_and_starts_is_told_of_once_each(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, lifeline: Lifeline
) -> None:
    client = make_client(ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=2.0))
    listen(client, lifeline.hear)
    lifeline.start()
    client.start(timeout=15)
    try:
        own_zookeeper.stop()
        [gone] = http_receiver.wait(1)
        assert gone.json["title"].startswith("[critical] zookeeper-lost on mon1: ZooKeeper at zk1:2181 does not answer")
        assert "nothing is evaluated" in gone.json["title"]
        own_zookeeper.start()
        _, back = http_receiver.wait(2, timeout=30)
        assert back.json["title"].startswith(
            "[resolved] zookeeper-lost on mon1: ZooKeeper at zk1:2181 answers again, after"
        )
        assert back.json["type"] == "success"
        assert back.json["id"] == gone.json["id"]
    finally:
        leave(client, 2.0)


def test_an_engine_that_starts_without_zookeeper_tells_so(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, lifeline: Lifeline
) -> None:
    own_zookeeper.stop()
    client = make_client(ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=2.0))
    listen(client, lifeline.hear)
    lifeline.start()
    client.start_async()
    try:
        assert told(http_receiver.wait(1)) == ["firing"]
        own_zookeeper.start()
        assert told(http_receiver.wait(2, timeout=30)) == ["firing", "resolved"]
    finally:
        leave(client, 2.0)


def test_a_short_cut_is_nobody_s_business(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, lifeline: Lifeline
) -> None:
    relay = Relay(own_zookeeper.hosts)
    lifeline.configure(channel(http_receiver, "/ops"), 20.0)
    states: list[ConnectionState] = []

    def hear(state: ConnectionState) -> None:
        lifeline.hear(state)
        states.append(state)

    client = make_client(ZookeeperSettings(hosts=relay.hosts, session_timeout=4.0))
    listen(client, hear)
    lifeline.start()
    client.start(timeout=15)
    try:
        relay.cut()
        wait_for(lambda: ConnectionState.SUSPENDED in states, "the cut to be seen")
        assert lifeline.outage is not None
        relay.mend()
        wait_for(lambda: states[-1] is ConnectionState.CONNECTED, "the connection")
        assert lifeline.outage is None
        lifeline.configure(channel(http_receiver, "/ops"), 0.0)  # whatever was due would go out now
        relay.cut()
        assert told(http_receiver.wait(1)) == ["firing"]
    finally:
        leave(client, 2.0)
        relay.close()


def test_suspended_and_lost_are_one_outage(http_receiver: HttpReceiver, lifeline: Lifeline) -> None:
    lifeline.start()
    lifeline.hear(ConnectionState.SUSPENDED)
    lifeline.hear(ConnectionState.LOST)
    http_receiver.wait(1)
    lifeline.hear(ConnectionState.LOST)
    lifeline.hear(ConnectionState.CONNECTED)
    assert told(http_receiver.wait(2)) == ["firing", "resolved"]


def test_a_target_that_fails_is_told_as_long_as_it_lasts_and_delays_no_other(
    http_receiver: HttpReceiver, lifeline: Lifeline
) -> None:
    http_receiver.answer("/ops", Answer(status=503), Answer())
    http_receiver.answer("/slow", Answer(hang=True))
    lifeline.configure(channel(http_receiver, "/ops", "/slow", "/well"), 0.0)
    lifeline.start()
    assert told(http_receiver.wait(1, path="/well")) == ["firing"]
    assert told(http_receiver.wait(2, path="/ops")) == ["firing", "firing"]
    lifeline.hear(ConnectionState.CONNECTED)
    assert told(http_receiver.wait(2, path="/well")) == ["firing", "resolved"]
    assert told(http_receiver.wait(3, path="/ops")) == ["firing", "firing", "resolved"]


def test_who_did_not_hear_that_it_is_gone_does_not_hear_that_it_is_back(
    http_receiver: HttpReceiver, lifeline: Lifeline
) -> None:
    http_receiver.answer("/ops", Answer(status=503))
    http_receiver.answer("/never", Answer(status=410))
    lifeline.configure(channel(http_receiver, "/ops", "/never", "/well"), 0.0)
    lifeline.start()
    for path in ("/ops", "/never", "/well"):
        http_receiver.wait(1, path=path)
    lifeline.hear(ConnectionState.CONNECTED)
    http_receiver.answer("/ops", Answer())
    http_receiver.wait(2, path="/well")
    lifeline.hear(ConnectionState.LOST)  # to the two it is the first time, to the third another one
    assert told(http_receiver.wait(3, path="/well")) == ["firing", "resolved", "firing"]
    wait_for(lambda: told(http_receiver.at("/ops"))[-1:] == ["firing"], "the first to be told")
    assert "resolved" not in told(http_receiver.at("/ops"))
    http_receiver.wait(2, path="/never")
    assert set(told(http_receiver.at("/never"))) == {"firing"}


def test_it_goes_again_before_the_all_clear_was_heard(http_receiver: HttpReceiver, lifeline: Lifeline) -> None:
    http_receiver.answer("/ops", Answer(), Answer(status=503), Answer())
    lifeline.start()
    http_receiver.wait(1)
    lifeline.hear(ConnectionState.CONNECTED)
    first, _ = http_receiver.wait(2)
    lifeline.hear(ConnectionState.LOST)
    wait_for(lambda: lifeline.outage is not None, "another outage")
    lifeline.hear(ConnectionState.CONNECTED)
    last = http_receiver.wait(3)[-1]
    assert told(http_receiver.requests) == ["firing", "resolved", "resolved"]
    assert last.json["id"] == first.json["id"]


def test_what_may_have_come_is_sent_again_and_says_so(
    http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, lifeline: Lifeline
) -> None:
    seen: list[tuple[str, bool]] = []

    class Unsure:
        def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult:
            assert message.title
            seen.append((effects[0].phase.value, is_repeat))
            return SendResult(state=SendState.UNKNOWN if len(seen) == 1 else SendState.DELIVERED, is_retryable=True)

    monkeypatch.setattr(lifeline, "make_sender", lambda _: Unsure())
    lifeline.start()
    wait_for(lambda: len(seen) == 2, "the repeat")
    lifeline.hear(ConnectionState.CONNECTED)
    wait_for(lambda: len(seen) == 3, "the all-clear")
    assert seen == [("firing", False), ("firing", True), ("resolved", False)]


def test_targets_come_and_go_with_the_configuration(http_receiver: HttpReceiver, lifeline: Lifeline) -> None:
    lifeline.start()
    http_receiver.wait(1, path="/ops")
    lifeline.configure(channel(http_receiver, "/new"), 0.0)
    assert told(http_receiver.wait(1, path="/new")) == ["firing"]
    lifeline.hear(ConnectionState.CONNECTED)
    assert told(http_receiver.wait(2, path="/new")) == ["firing", "resolved"]
    assert told(http_receiver.at("/ops")) == ["firing"]


def test_an_engine_that_stops_says_nothing(http_receiver: HttpReceiver, lifeline: Lifeline) -> None:
    lifeline.start()
    lifeline.stop()
    wait_for(lambda: not _threads("zkalert-lifeline"), "the threads to end")
    lifeline.hear(ConnectionState.LOST)
    assert http_receiver.requests == []


def _threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


# The heartbeat ------------------------------------------------------------------------------------------------------


@pytest.fixture
def beat(http_receiver: HttpReceiver) -> Iterator[Callable[..., Heartbeat]]:
    made: list[Heartbeat] = []

    def start(is_progressing: Callable[[], bool] = lambda: True, every: float = 0.05) -> Heartbeat:
        made.append(Heartbeat(http_receiver.url("/ping/hunter2"), every, is_progressing))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()
    http_receiver.release()


def test_the_heart_beats_at_once_and_then_in_its_time(
    http_receiver: HttpReceiver, beat: Callable[..., Heartbeat]
) -> None:
    beat(every=0.2)
    requests = http_receiver.wait(4)
    assert {(request.method, request.path) for request in requests} == {("GET", "/ping/hunter2")}
    gaps = [after.at - before.at for before, after in itertools.pairwise(requests)]
    assert min(gaps) > 0.1


def test_without_progress_there_is_no_beat_until_it_is_back(
    http_receiver: HttpReceiver,
    beat: Callable[..., Heartbeat],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "LOOK", 0.01)
    monkeypatch.setattr(heartbeat, "SOON", 0.01)
    progress = threading.Event()
    looks: list[None] = []

    def is_progressing() -> bool:
        looks.append(None)
        return progress.is_set()

    def look_on() -> None:
        seen = len(looks)
        wait_for(lambda: len(looks) > seen + 5, "several looks")

    beat(is_progressing, every=0.05)
    look_on()
    assert http_receiver.requests == []
    assert caplog.messages == [], "who never beat is missed by nobody"
    progress.set()
    http_receiver.wait(1)
    progress.clear()
    wait_for(lambda: caplog.messages, "the bad news")
    came = len(http_receiver.requests)
    look_on()
    assert len(http_receiver.requests) == came
    progress.set()
    wait_for(lambda: "the heartbeat is back" in caplog.messages, "the good news")
    assert caplog.messages == ["no heartbeat: evaluation or delivery makes no progress", "the heartbeat is back"]


def test_a_failure_is_said_once_without_the_url_and_tried_again(
    http_receiver: HttpReceiver, beat: Callable[..., Heartbeat], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    http_receiver.answer("/ping/hunter2", *[Answer(status=500)] * 3, Answer())
    beat()
    http_receiver.wait(6)
    wait_for(lambda: len(caplog.messages) == 2, "both lines")
    assert caplog.messages == ["no heartbeat: the URL answered with HTTP 500", "the heartbeat is back"]


def test_a_url_that_hangs_costs_no_more_than_its_time(
    http_receiver: HttpReceiver,
    beat: Callable[..., Heartbeat],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT", 0.1)
    http_receiver.answer("/ping/hunter2", Answer(hang=True))
    beat()
    wait_for(lambda: caplog.messages == ["no heartbeat: the URL did not answer in 0.1 s"], "the time limit")
    http_receiver.wait(2)


def test_a_url_that_nobody_serves_is_told_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    one = Heartbeat("http://127.0.0.1:1/hunter2", 60.0, lambda: True)
    one.start()
    wait_for(lambda: caplog.messages, "the failure")
    one.stop()
    assert "could not be asked for" in caplog.text
    assert "hunter2" not in caplog.text
