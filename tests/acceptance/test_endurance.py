"""What happens meanwhile: engines die, servers restart, sessions end, hosts come, samples are rubbish."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.exceptions import ConnectionLoss, NoNodeError
from kazoo.security import make_digest_acl

from tests.acceptance.stage import EngineProcess, Stage
from tests.helpers import Answer, HttpReceiver, Relay, end_session, expire_session, lose_connection, wait_for
from zkalert.lifecycle import inactive
from zkalert.localzk import LocalEnsemble, LocalServer
from zkalert.localzk.server import free_ports
from zkalert.model import (
    Alert,
    Channel,
    Delivery,
    DeliveryState,
    Effect,
    OutboxEntry,
    Phase,
    Reason,
    Sample,
    State,
    TargetKind,
    ZookeeperSettings,
)
from zkalert.routing import channel_targets
from zkalert.rulefile import parse
from zkalert.shards import Owner
from zkalert.tree import encode_entry, encode_sample
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
    return f'channels:\n  ops:\n    group_interval: 0s\n    urls: ["{receiver.url("/hook", "json")}"]\n'


def titles(receiver: HttpReceiver) -> list[str]:
    return [request.json["title"].split("]")[0].strip("[") for request in receiver.requests]


def owner(stage: Stage, engine: EngineProcess) -> None:
    wait_for(lambda: f'"pid":{engine.process.pid}' in _holder(stage), "the engine to own the tree", 20)


def _holder(stage: Stage) -> str:
    """What the lock's first contender says of itself."""
    path = stage.tree.shard(0)
    nodes = stage.client.get_children(path) if stage.client.exists(path) else []
    nodes.sort(key=lambda name: name.rpartition("__")[2])
    with contextlib.suppress(NoNodeError):  # its session ended since it was listed
        return stage.client.get(f"{path}/{nodes[0]}")[0].decode() if nodes else ""
    return ""


# An engine that dies -------------------------------------------------------------------------------------------------


def test_an_engine_killed_while_pending_goes_on_from_what_was_held(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    first = stage.process(rule("9s"), channel(http_receiver))
    (pending,) = stage.wait_states("pending", timeout=20)
    began = time.monotonic()
    # The first sign of life after the record: until then it held, and somebody watched.
    seen = stage.client.get(stage.tree.shard(0))[1].version
    wait_for(lambda: stage.client.get(stage.tree.shard(0))[1].version > seen, "a sign of life")
    first.kill()
    stage.process(rule("9s"), channel(http_receiver))
    stage.publish(96)
    (request,) = http_receiver.wait(1, timeout=20)
    (firing,) = stage.wait_states("firing")
    assert firing.episode == pending.episode
    assert request.at - began < 13, "anew it would have been 5 s to the sign, 2 s to take over, and 9"
    assert firing.fired_at is not None
    assert firing.fired_at - pending.since >= 9, "and not a moment too soon"
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
    owner(stage, second)
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
    engine.wait_log("rules not reloaded; the old rules stay")
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
        patch.setattr("zkalert.lifecycle.step", None)
        stage.publish(95)
        wait_for(lambda: "could not be taken in" in caplog.text, "the error to be logged")
    http_receiver.wait(1)
    stage.wait_states("firing")


# Names, coverage, secrets, order --------------------------------------------------------------------------------------


def test_a_child_that_no_sampler_made_hides_no_host(stage: Stage, http_receiver: HttpReceiver) -> None:
    for name in ("%ff", "字" * 60, "%", "x" * 300):
        stage.client.create(f"{stage.tree.hosts}/{name}", b"", makepath=True)
    stage.publish(95, host="字" * 60)
    stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)


def entry(
    stage: Stage,
    target: str,
    *,
    at: float,
    phase: Phase = Phase.FIRING,
    episode: str = "ab" * 8,
    attempts: int = 0,
) -> None:
    """An entry that an engine left in the outbox."""
    (parsed,), _ = parse(rule(), "rules.yaml")
    alert = replace(inactive(parsed, "web9", None), episode=episode, state=State.FIRING, fired_at=at, since=at)
    effect = Effect(alert=alert, phase=phase, reason=Reason.CROSSED, at=at)
    delivery = Delivery(target=target, kind=TargetKind.NOTIFY, name=target.partition("/")[0], attempts=attempts)
    left = OutboxEntry(effect=effect, deliveries=(delivery,))
    stage.client.create(stage.tree.outbox_entry(0, effect.id), encode_entry(left), makepath=True)


def test_a_day_old_message_for_a_channel_that_is_gone_is_given_up_and_holds_up_nothing(
    stage: Stage, http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    entry(stage, "gone/12345678", at=time.time() - 25 * 3600)
    stage.publish(95)
    stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    assert "no rule and no channel names it any more" in caplog.text


def test_after_a_restart_no_resolved_overtakes_its_firing(stage: Stage, http_receiver: HttpReceiver) -> None:
    url = http_receiver.url("/hook", "webhook")
    (target,) = channel_targets(Channel(name="ops", urls=(url,)))
    for number in range(12):
        for phase, ago, attempts in ((Phase.RESOLVED, 10, 0), (Phase.FIRING, 20, 1)):
            episode = f"{number * 7919:016x}"
            entry(stage, target.id, at=time.time() - ago, phase=phase, episode=episode, attempts=attempts)
    stage.engine(rule(), {"ops": (url,)})
    stage.wait_outbox_empty(20)
    came: dict[str, dict[str, int]] = {}
    for index, request in enumerate(http_receiver.requests):
        for alert in request.json["alerts"]:
            came.setdefault(alert["key"].split("/")[2], {})[alert["state"]] = index
    assert len(came) == 12
    assert all(states["firing"] <= states["resolved"] for states in came.values())


def test_a_family_that_cannot_be_read_resolves_nothing(stage: Stage, http_receiver: HttpReceiver) -> None:
    rules = 'rules: [{name: disk-full, metric: disk_usage, comparator: ">", threshold: 80, no_data: {after: 500ms}}]'
    stage.publish(family="disk_usage", instances={"/": {"percent": 95}}, max_age=0.5)
    running = stage.engine(rules, {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    stage.publish(family="disk_usage", instances={"/": {"percent": 95}}, max_age=0.5)
    http_receiver.wait(1)

    def publish(errors: tuple[str, ...]) -> bool:
        """A sample without the instance; whether enough of them were seen."""
        sample = Sample(family="disk_usage", at=0.0, interval=0.5, max_age=0.5, errors=errors)
        stage.publish_raw(encode_sample(sample), family="disk_usage")
        return bool(running.witness.last and running.witness.last.samples > seen + 60)

    seen = running.witness.last.samples if running.witness.last else 0
    wait_for(lambda: publish(("cannot be read: Permission denied",)), "two seconds of samples with errors", 30)
    assert [alert.state for alert in stage.alerts()] == [State.FIRING]
    wait_for(lambda: publish(()) and not stage.alerts(), "good samples without it to resolve it", 30)
    assert "it is gone" in http_receiver.wait(2)[1].json["message"]


@pytest.mark.parametrize("narrower", ["hosts: db*", 'instances: "/other"'])
def test_an_alert_that_its_rule_does_not_look_at_any_more_is_resolved(
    stage: Stage, http_receiver: HttpReceiver, narrower: str
) -> None:
    rules = 'rules:\n  - name: disk-full\n    metric: disk_usage\n    comparator: ">"\n    threshold: 80\n'
    channels = {"ops": (http_receiver.url("/hook", "json"),)}
    stage.publish(family="disk_usage", instances={"/": {"percent": 95}})
    running = stage.engine(rules, channels).wait_owner()
    http_receiver.wait(1)
    running.engine.reload(stage.settings(f"{rules}    {narrower}\n", channels))
    assert "the rule was changed" in http_receiver.wait(2)[1].json["message"]
    stage.wait_states()


def test_a_host_whose_labels_change_leaves_the_rules_that_do_not_fit(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.host("web1", role="db")
    stage.publish(95)
    stage.engine(rule() + "    hosts: {role: db}\n", {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.host("web1", role="web")
    http_receiver.wait(2)
    stage.wait_states()
    stage.host("web1", role="db")
    http_receiver.wait(3)


def test_a_host_that_somebody_removes_takes_its_alerts_along(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    stage.client.delete(stage.tree.host("web1"), recursive=True)
    assert "its host was removed" in http_receiver.wait(2)[1].json["message"]
    stage.wait_states()


def test_a_reload_takes_a_new_password_of_the_same_channel(stage: Stage, http_receiver: HttpReceiver) -> None:
    url = http_receiver.url("/hook", "json").replace("://", "://user:{}@")
    stage.publish(95)
    running = stage.engine(rule(), {"ops": (url.format("old"),)}).wait_owner()
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    running.engine.reload(stage.settings(rule(), {"ops": (url.format("new"),)}))
    stage.publish(10)
    sent = [b64decode(request.headers["Authorization"].split()[1]) for request in http_receiver.wait(2)]
    assert sent == [b"user:old", b"user:new"]


def test_a_mark_that_lands_while_the_records_are_read_back_is_not_undone(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One URL fails on, so that the entry stays. The healthy one's mark is held until the entries were read."""
    http_receiver.answer("/bad", Answer(status=503))
    stage.publish(50)
    channels = {"ops": (http_receiver.url("/ok", "json"), http_receiver.url("/bad", "json"))}
    running = stage.engine(rule(), channels).wait_owner()
    evaluator = running.engine._evaluator
    read, marked = threading.Event(), threading.Event()
    load, update = evaluator._ledger._store.load, evaluator._ledger._outbox.update_all

    def late_update(changes: Mapping[str, Callable[[OutboxEntry], OutboxEntry]]) -> Mapping[str, OutboxEntry]:
        filed = [(change, evaluator._ledger._outbox._filed.get(effect_id)) for effect_id, change in changes.items()]
        states = {d.state for change, one in filed if one is not None for d in change(one.entry).deliveries}
        if DeliveryState.DELIVERED not in states or marked.is_set():
            return update(changes)
        read.wait(10)
        try:
            return update(changes)
        finally:
            marked.set()

    def slow_load() -> list[Alert]:
        read.set()
        marked.wait(10)
        return load()

    monkeypatch.setattr(evaluator._ledger._outbox, "update_all", late_update)
    stage.publish(95)
    http_receiver.wait(1, path="/ok")
    monkeypatch.setattr(evaluator._ledger._store, "load", slow_load)
    lose_connection(running.client)
    assert marked.wait(10)
    http_receiver.answer("/bad", Answer())
    stage.wait_outbox_empty(20)
    assert len(http_receiver.at("/ok")) == 1


def test_a_connection_that_goes_while_the_lock_is_taken_leaves_no_engine_waiting_for_itself(
    stage: Stage, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Owner._live
    broken: list[str] = []

    def first_breaks(owner: Owner, fence: str) -> None:
        if not broken:
            broken.append(fence)
            lose_connection(owner._client)
            raise ConnectionLoss
        live(owner, fence)

    monkeypatch.setattr(Owner, "_live", first_breaks)
    stage.publish(95)
    stage.engine(rule(), {"ops": (http_receiver.url("/hook", "json"),)}).wait_owner()
    http_receiver.wait(1)
    assert broken


def test_a_process_that_stood_still_does_not_fire_on_what_it_did_not_watch(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    engine = stage.process(rule("1s"), channel(http_receiver))
    owner(stage, engine)
    for _ in range(4):
        stage.publish(95)
        stage.wait_states("pending")
        engine.signal(signal.SIGSTOP)
        stage.publish(10)
        after = stage.ensemble_ms() + 1300
        wait_for(functools.partial(lambda end: stage.ensemble_ms() > end, after), "the duration to pass")
        engine.signal(signal.SIGCONT)
        stage.wait_states()
    assert http_receiver.requests == []


@pytest.mark.parametrize("is_session_over", [False, True], ids=["session lives", "session ends meanwhile"])
def test_a_rule_that_is_removed_while_the_engine_is_cut_off_closes_its_alerts_when_it_is_back(
    zookeeper: LocalServer,
    settings: ZookeeperSettings,
    stage: Stage,
    http_receiver: HttpReceiver,
    *,
    is_session_over: bool,
) -> None:
    relay = Relay(zookeeper.hosts)
    try:
        stage.publish(95)
        channels = {"ops": (http_receiver.url("/hook", "json"),)}
        running = stage.engine(rule(), channels, replace(settings, hosts=relay.hosts)).wait_owner()
        http_receiver.wait(1)
        stage.wait_outbox_empty()
        relay.cut()
        wait_for(lambda: running.witness.last and not running.witness.last.is_connected, "the engine to notice")
        running.engine.reload(stage.settings(rule(name="another", threshold=99), channels))
        wait_for(lambda: running.witness.last and not running.witness.last.alerts, "the reload")
        if is_session_over:
            end_session(running.client, zookeeper.hosts)
        relay.mend()
        assert "the rule was removed" in http_receiver.wait(2, timeout=20)[1].json["message"]
        stage.wait_states()
    finally:
        relay.close()


def test_a_rule_that_is_removed_while_zookeeper_is_away_closes_its_alerts_when_it_is_back(
    own_zookeeper: LocalServer, http_receiver: HttpReceiver, tmp_path: Path
) -> None:
    stage = own_stage(own_zookeeper.hosts, tmp_path)
    try:
        stage.publish(95)
        channels = {"ops": (http_receiver.url("/hook", "json"),)}
        running = stage.engine(rule(), channels).wait_owner()
        http_receiver.wait(1)
        stage.wait_outbox_empty()
        own_zookeeper.stop()
        wait_for(lambda: running.witness.last and not running.witness.last.is_connected, "the engine to notice")
        running.engine.reload(stage.settings(rule(name="another", threshold=99), channels))
        wait_for(lambda: running.witness.last and not running.witness.last.alerts, "the reload")
        own_zookeeper.start()
        assert "the rule was removed" in http_receiver.wait(2, timeout=40)[1].json["message"]
        wait_for(lambda: stage.client.connected, "a connection", 20)
        stage.wait_states()
    finally:
        close(stage)
