"""What happens meanwhile: engines die, servers restart, sessions end, hosts come, samples are rubbish."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.security import make_digest_acl

from tests.acceptance.stage import EngineProcess, Stage
from tests.helpers import Answer, HttpReceiver, expire_session, lose_connection, wait_for
from zkalert.localzk import LocalEnsemble, LocalServer
from zkalert.localzk.server import free_ports
from zkalert.model import State, ZookeeperSettings
from zkalert.zk import make_client


def rule(duration: str = "0s", threshold: float = 90, name: str = "memory-high") -> str:
    return f"""
rules:
  - name: {name}
    metric: memory_usage
    comparator: ">"
    threshold: {threshold}
    duration: {duration}
"""


def channel(receiver: HttpReceiver) -> str:
    return f'channels:\n  ops:\n    urls: ["{receiver.url("/hook", "json")}"]\n'


def titles(receiver: HttpReceiver) -> list[str]:
    return [request.json["title"].split("]")[0].strip("[") for request in receiver.requests]


def owner(stage: Stage, engine: EngineProcess) -> None:
    wait_for(lambda: f'"pid":{engine.process.pid}' in _holder(stage), "the engine to own the tree", 20)


def _holder(stage: Stage) -> str:
    """What the lock's first contender says of itself."""
    path = stage.tree.shard(0)
    nodes = stage.client.get_children(path) if stage.client.exists(path) else []
    nodes.sort(key=lambda name: name.rpartition("__")[2])
    return stage.client.get(f"{path}/{nodes[0]}")[0].decode() if nodes else ""


# An engine that dies -------------------------------------------------------------------------------------------------


def test_an_engine_killed_while_pending_goes_on_from_what_was_held(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    first = stage.process(rule("5s"), channel(http_receiver))
    (pending,) = stage.wait_states("pending", timeout=20)
    began = time.monotonic()
    first.kill()
    stage.process(rule("5s"), channel(http_receiver))
    stage.publish(96)
    (request,) = http_receiver.wait(1, timeout=20)
    assert request.at - began < 8, "the time before the restart counted"
    (firing,) = stage.wait_states("firing")
    assert firing.episode == pending.episode
    stage.publish(10)
    http_receiver.wait(2)
    stage.wait_outbox_empty()
    assert titles(http_receiver) == ["warning", "resolved"]


def test_an_engine_killed_while_firing_repeats_and_forgets_nothing(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    first = stage.process(rule(), channel(http_receiver))
    http_receiver.wait(1, timeout=20)
    stage.wait_outbox_empty()
    first.kill()
    second = stage.process(rule(), channel(http_receiver))
    stage.publish(96)
    second.kill()
    third = stage.process(rule(), channel(http_receiver))
    stage.publish(97)
    owner(stage, third)
    stage.publish(10)
    http_receiver.wait(2, timeout=20)
    stage.wait_outbox_empty()
    stage.wait_states()
    assert titles(http_receiver) == ["warning", "resolved"]


def test_a_message_that_was_written_but_not_sent_goes_out_after_the_restart(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    http_receiver.answer("/hook", Answer(status=503))
    stage.publish(95)
    first = stage.process(rule(), channel(http_receiver))
    first.wait_log("trying again")
    first.kill()
    failed = len(http_receiver.requests)
    http_receiver.answer("/hook", Answer())
    stage.process(rule(), channel(http_receiver))
    http_receiver.wait(failed + 1, timeout=20)
    stage.wait_outbox_empty()
    stage.wait_states("firing")
    assert len(http_receiver.requests) == failed + 1


def test_a_message_whose_engine_died_while_sending_goes_out_again_and_says_so(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    http_receiver.answer("/hook", Answer(hang=True), Answer())
    stage.publish(95)
    first = stage.process(rule(), channel(http_receiver))
    http_receiver.wait(1, timeout=20)
    first.kill()
    stage.process(rule(), channel(http_receiver))
    _, again = http_receiver.wait(2, timeout=20)
    stage.wait_outbox_empty()
    assert "may be a repeat" in again.json["message"]
    http_receiver.release()


def test_a_command_whose_engine_died_while_it_ran_is_not_run_again(stage: Stage) -> None:
    marks = stage.folder / "runs"
    rules = rule() + f"    action: {{run: 'echo x >> {marks}; exec sleep 30'}}\n"
    stage.publish(95)
    first = stage.process(rules)
    wait_for(marks.exists, "the command to run", 20)
    first.kill()
    second = stage.process(rules)
    stage.wait_outbox_empty(20)
    assert "not run again" in second.log
    assert marks.read_text() == "x\n"


def test_a_second_engine_waits_says_so_and_takes_over(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    first = stage.process(rule(), channel(http_receiver))
    owner(stage, first)
    second = stage.process(rule(), channel(http_receiver))
    second.wait_log("waiting to take over")
    stage.publish(95)
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    killed = time.monotonic()
    first.kill()
    stage.publish(10)
    _, resolved = http_receiver.wait(2, timeout=20)
    assert resolved.at - killed < 2 + 0.5 + 1.5, "session timeout, one server tick, and a second"
    assert titles(http_receiver) == ["warning", "resolved"]


def test_sigterm_ends_an_engine_in_order_and_its_successor_need_not_wait(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(95)
    first = stage.process(rule(), channel(http_receiver))
    http_receiver.wait(1, timeout=20)
    asked = time.monotonic()
    first.signal(signal.SIGTERM)
    assert first.process.wait(5) == 0
    assert time.monotonic() - asked < 5
    assert "Traceback" not in first.log
    assert stage.client.get_children(stage.tree.engines) == []
    assert [name for name in stage.client.get_children(stage.tree.shard(0)) if "lock" in name] == []


# ZooKeeper that goes and comes ---------------------------------------------------------------------------------------


def own_stage(hosts: str, folder: Path) -> Stage:
    settings = ZookeeperSettings(hosts=hosts, root="/zkalert", session_timeout=4.0)
    client = make_client(settings)
    client.start(timeout=15)
    return Stage(settings, client, folder)


def close(stage: Stage) -> None:
    stage.close()
    stage.client.stop()
    stage.client.close()


@pytest.mark.parametrize("kill", [False, True], ids=["stopped in order", "killed"])
def test_zookeeper_restarts_meanwhile_and_nothing_is_lost_or_told_twice(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, tmp_path: Path, kill: bool
) -> None:
    stage = own_stage(own_zookeeper.hosts, tmp_path)
    try:
        stage.publish(95)
        running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
        http_receiver.wait(1)
        stage.wait_outbox_empty()
        (own_zookeeper.kill if kill else own_zookeeper.stop)()
        wait_for(lambda: running.witness.last and not running.witness.last.is_connected, "the engine to notice")
        own_zookeeper.start()
        wait_for(lambda: stage.client.connected, "a connection", 20)
        stage.publish(96)
        stage.publish(10)
        http_receiver.wait(2, timeout=20)
        stage.wait_outbox_empty()
        assert titles(http_receiver) == ["warning", "resolved"]
    finally:
        close(stage)


def test_an_engine_that_waits_for_zookeeper_can_be_ended(stage: Stage) -> None:
    nowhere = Stage(replace(stage.zookeeper, hosts=f"127.0.0.1:{free_ports(1)[0]}"), stage.client, stage.folder)
    engine = nowhere.process(rule())
    engine.wait_log("waiting for it")
    asked = time.monotonic()
    engine.signal(signal.SIGTERM)
    assert engine.process.wait(10) == 0
    assert time.monotonic() - asked < 5
    assert "Traceback" not in engine.log


def test_an_engine_waits_for_a_zookeeper_that_is_not_there_and_says_so_once(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, tmp_path: Path
) -> None:
    stage = own_stage(own_zookeeper.hosts, tmp_path)
    try:
        stage.publish(95)
        own_zookeeper.stop()
        engine = stage.process(rule(), channel(http_receiver))
        engine.wait_log("does not answer; waiting for it")
        own_zookeeper.start()
        engine.wait_log("going on")
        wait_for(lambda: stage.client.connected, "a connection", 20)
        stage.publish(96)
        http_receiver.wait(1, timeout=20)
        assert engine.log.count("waiting for it") == 1
        own_zookeeper.stop()
        engine.wait_log("the connection to ZooKeeper is gone")
        own_zookeeper.start()
        engine.wait_log("ZooKeeper is back")
        wait_for(lambda: stage.client.connected, "a connection", 20)
        stage.publish(10)
        http_receiver.wait(2, timeout=20)
        assert engine.log.count("connection to ZooKeeper is gone") == 1
        assert "Traceback" not in engine.log
    finally:
        close(stage)


@pytest.mark.parametrize("loss", [lose_connection, expire_session], ids=["suspended", "session expired"])
def test_an_engine_that_loses_its_connection_goes_on_where_it_was(
    stage: Stage, http_receiver: HttpReceiver, loss: object
) -> None:
    stage.publish(95)
    running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    loss(running.client)  # type: ignore[operator]
    running.wait_owner()
    stage.publish(97)
    stage.publish(10)
    http_receiver.wait(2, timeout=20)
    stage.publish(95)
    http_receiver.wait(3)
    stage.wait_outbox_empty()
    assert titles(http_receiver) == ["warning", "resolved", "warning"]


def test_the_leader_of_an_ensemble_dies_and_the_alert_arrives_once(
    ensemble: LocalEnsemble, http_receiver: HttpReceiver, tmp_path: Path
) -> None:
    stage = own_stage(ensemble.hosts, tmp_path)
    try:
        stage.publish(50)
        stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
        leader = ensemble.leader()
        assert leader is not None
        ensemble.kill(leader)
        try:
            wait_for(lambda: _try_publish(stage, 95), "a write after the election", 30)
            http_receiver.wait(1, timeout=30)
            wait_for(lambda: _try_publish(stage, 10), "another write", 30)
            http_receiver.wait(2, timeout=30)
        finally:
            ensemble.start(leader)
        stage.wait_outbox_empty()
        assert titles(http_receiver) == ["warning", "resolved"]
    finally:
        close(stage)


def _try_publish(stage: Stage, value: float) -> bool:
    if not stage.client.connected:
        return False
    try:
        stage.publish(value)
    except Exception:  # noqa: BLE001 - whatever the election did to this write
        return False
    return True


# Hosts, rules and samples that change --------------------------------------------------------------------------------


def test_hosts_families_and_instances_that_come_late_are_picked_up(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = (
        rule()
        + """
  - {name: disk-full, metric: disk_usage, comparator: ">", threshold: 80}
"""
    )
    stage.engine(rules, {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    stage.host("late")
    stage.publish(95, host="late")
    http_receiver.wait(1)
    stage.publish(family="disk_usage", host="late", instances={"/": {"percent": 50}})
    stage.publish(family="disk_usage", host="late", instances={"/": {"percent": 50}, "/new": {"percent": 99}})
    http_receiver.wait(2)
    assert {(alert.rule, alert.instance) for alert in stage.alerts()} == {("memory-high", None), ("disk-full", "/new")}


def test_a_host_that_vanishes_and_comes_back_is_followed_again(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    wait_for(lambda: running.witness.last and running.witness.last.samples, "the first sample")
    stage.client.delete(stage.tree.host("web1"), recursive=True)
    wait_for(lambda: running.witness.last and not running.witness.last.hosts, "the host to be forgotten")
    stage.publish(95)
    http_receiver.wait(1)


def test_a_reload_takes_new_rules_and_refuses_bad_ones(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(85)
    engine = stage.process(rule(), channel(http_receiver))
    owner(stage, engine)
    rules = stage.folder / "rules.yaml"
    rules.write_text(rule(threshold=80).replace("threshold", "treshold"))
    engine.signal(signal.SIGHUP)
    engine.wait_log("the old rules stay")
    assert "rules.yaml:6:5: error: " in engine.log
    rules.write_text(rule(threshold=80))
    engine.signal(signal.SIGHUP)
    engine.wait_log("rules reloaded")
    http_receiver.wait(1)
    rules.write_text(rule(threshold=84))
    engine.signal(signal.SIGHUP)
    engine.wait_log("rules reloaded", 2)
    stage.publish(86)
    wait_for(lambda: [a.threshold for a in stage.alerts()] == [84], "the alert to carry the new condition")
    assert titles(http_receiver) == ["warning"], "still true: it goes on firing, silently"
    rules.write_text(rule(name="another"))
    engine.signal(signal.SIGHUP)
    http_receiver.wait(2)
    stage.wait_states()
    assert "removed" in http_receiver.requests[1].json["message"]


def test_an_alert_whose_condition_changed_and_is_false_resolves_with_its_reason(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(95)
    channels = {"ops": (http_receiver.url("/hook", "json"),)}
    running = stage.engine(rule(), channels).wait_owner()
    http_receiver.wait(1)
    running.engine.reload(stage.settings(rule(threshold=99), channels))
    http_receiver.wait(2)
    assert "the rule was changed" in http_receiver.requests[1].json["message"]


RUBBISH = [
    pytest.param(b"\xff\xfe\x00 garbage", id="garbage"),
    pytest.param(b"x" * 1_000_000, id="1 MB"),
    pytest.param(b'{"v":1,"time":1,"interval":5,"max_age":15,"values":{"percent":NaN}}', id="NaN"),
    pytest.param(b'{"v":1,"time":1,"interval":5,"max_age":15,"values":{"percent":' + b"[" * 20_000, id="nested"),
    pytest.param(b'{"v":1,"time":1,"interval":5,"max_age":15,"values":{"percent":{"a":{"b":[1]}}}}', id="an object"),
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_in_a_znode_is_counted_and_changes_no_alert(
    stage: Stage, http_receiver: HttpReceiver, rubbish: bytes
) -> None:
    stage.publish(95)
    running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.publish_raw(rubbish)
    wait_for(lambda: running.witness.last and running.witness.last.problems, "the problem to be counted")
    assert [alert.state for alert in stage.alerts()] == [State.FIRING]
    stage.publish(10)
    http_receiver.wait(2)
    wait_for(lambda: running.witness.last and not running.witness.last.problems, "the problem to be over")
    assert titles(http_receiver) == ["warning", "resolved"]


def test_a_sample_that_is_long_stale_when_the_engine_starts_says_nothing(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(95, max_age=0.2)
    written = stage.client.get(stage.tree.family("web1", "memory_usage"))[1].mtime
    wait_for(lambda: stage.client.set(stage.tree.host("web1"), b"").mtime > written + 400, "the sample to be stale")
    running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    wait_for(lambda: running.witness.last and running.witness.last.samples, "the engine to read it")
    assert stage.alerts() == []
    stage.publish(96)
    http_receiver.wait(1)


def test_a_duration_ends_on_time_between_two_samples(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    stage.engine(rule("700ms"), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    crossed = time.monotonic()
    stage.publish(95)
    (request,) = http_receiver.wait(1)
    assert 0.7 <= request.at - crossed < 1.2


def test_a_record_that_somebody_broke_is_written_over_and_the_rest_works(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    for path in (stage.tree.alert("memory-high", "web1", None), f"{stage.tree.outbox(0)}/0123.firing"):
        stage.client.create(path, b"{", makepath=True)
    stage.publish(95, host="web2")
    stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.publish(95, host="web1")
    http_receiver.wait(2)
    stage.wait_states("firing", "firing")


def test_a_tree_of_a_newer_zkalert_is_refused_with_one_message(stage: Stage) -> None:
    stage.client.create(stage.tree.layout, b'{"version": 2}', makepath=True)
    engine = stage.process(rule())
    assert engine.process.wait(20) == 1
    assert "upgrade zkalert" in engine.log
    assert "Traceback" not in engine.log


def test_a_tree_that_may_not_be_written_is_told_with_what_to_check(stage: Stage) -> None:
    stage.client.add_auth("digest", "other:secret")
    stage.client.create(stage.tree.root, makepath=True, acl=[make_digest_acl("other", "secret", all=True)])
    engine = stage.process(rule())
    assert engine.process.wait(20) == 1
    assert "NoAuthError" in engine.log
    assert "zookeeper.auth" in engine.log
    assert "Traceback" not in engine.log


def test_an_error_within_one_event_does_not_end_the_alerting(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that fails stands for a bug of ours, which cannot be had on demand."""
    stage.publish(50)
    running = stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    wait_for(lambda: running.witness.last and running.witness.last.samples, "the first sample")
    with monkeypatch.context() as patch:
        patch.setattr("zkalert.engine.evaluator.step", None)
        stage.publish(95)
        wait_for(lambda: "could not be taken in" in caplog.text, "the error to be logged")
    http_receiver.wait(1)
    stage.wait_states("firing")
