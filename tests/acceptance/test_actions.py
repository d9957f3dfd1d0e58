"""Commands of alerts, and what an engine tells by itself: that ZooKeeper is gone, and that it makes progress."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.hearing import channels, engine, heard, records, wait_heard, wait_record
from tests.acceptance.stage import Stage
from tests.acceptance.test_endurance import close, own_stage, owner
from tests.helpers import HttpReceiver, Request, wait_for
from zkalert.config import Heartbeat, ZookeeperLost
from zkalert.journal import Kind
from zkalert.localzk import LocalServer
from zkalert.model import ActionResult

HIGH = """
rules:
  - name: high
    metric: memory_usage
    comparator: ">"
    threshold: 90
    action:
"""
EVER = """
rules:
  - name: ever
    metric: memory_usage
    comparator: ">"
    threshold: 0
    hosts: app1
    action:
      - ops
      - {run: restart-app, where: host, timeout: 10s}
"""


@contextmanager
def sampler(stage: Stage, host: str, actions: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real sampler in a process of its own, whose configuration offers these actions."""
    folder = stage.folder / host
    folder.mkdir()
    (folder / "zkalert.yaml").write_text(
        f"zookeeper: {{hosts: {json.dumps(stage.zookeeper.hosts)}, root: {stage.zookeeper.root}}}\n"
        f"host: {host}\nsampler: {{intervals: {{memory_usage: 200ms}}}}\n{actions}",
        encoding="utf-8",
    )
    line = [sys.executable, "-m", "zkalert", "sampler", "--config", "zkalert.yaml", "--state-dir", "state"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, cwd=folder, stdout=log, stderr=log, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def result(stage: Stage, phase: str = "firing") -> ActionResult:
    """What the record of the only alert says of the command that ran in this phase."""

    def find() -> list[ActionResult]:
        return [one for alert in stage.alerts() for one in alert.actions if one.phase == phase]

    return wait_for(find, "the result in the record", 20)[0]


def last(receiver: HttpReceiver, name: str = "ops") -> Request:
    return receiver.at(f"/{name}")[-1]


# Commands -------------------------------------------------------------------------------------------------------------


def test_a_command_says_how_it_went_in_the_record_the_log_and_the_message_that_follows(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    rules = HIGH + '      - ops\n      - {run: "echo one; echo did it >&2; exit 3", timeout: 5s}\n'
    stage.publish(50)
    engine(stage, rules, channels(http_receiver, "ops"))
    stage.publish(95)
    found = result(stage)
    assert (found.name, found.exit_code) == ("echo", 3)
    assert found.tail.splitlines() == ["one", "did it"]
    assert 0 <= found.seconds < 5
    noted = wait_record(stage, Kind.ACTION)
    assert (noted.rule, noted.phase, noted.state, noted.target) == ("high", "firing", "failed", "echo")
    assert (noted.data["exit_code"], noted.data["tail"].splitlines()) == (3, ["one", "did it"])
    assert noted.seconds is not None
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")
    document = last(http_receiver).json
    (action,) = document["alerts"][0]["actions"]
    assert (action["exit_code"], action["phase"]) == (3, "firing")
    assert "exit code 3" in document["text"]
    assert "did it" in document["text"]
    stage.wait_outbox_empty()
    assert len(records(stage, Kind.ACTION)) == 1


def test_no_command_runs_where_they_are_switched_off(stage: Stage) -> None:
    out = stage.folder / "out"
    stage.publish(50)
    running = engine(stage, HIGH + f'      - {{run: "echo ran >> {out}"}}\n', may_run=False)
    stage.publish(95)
    assert "switched off" in result(stage).detail
    stage.publish(10)
    stage.wait_states()
    running.engine.reload(stage.settings(HIGH + f'      - {{run: "echo ran >> {out}"}}\n'))
    stage.publish(95)
    wait_for(out.exists, "the command, once they are allowed")
    stage.wait_outbox_empty()
    assert out.read_text() == "ran\n"


def test_a_host_runs_what_its_own_configuration_says_of_the_action(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "ops")
    action = "actions: {restart-app: [sh, -c, 'echo restarted $ZKALERT_RULE on $ZKALERT_HOST; pwd']}\n"
    with sampler(stage, "app1", action):
        running = engine(stage, EVER, urls)
        found = result(stage)
        assert (found.name, found.exit_code) == ("restart-app", 0)
        assert found.tail.splitlines() == ["restarted ever on app1", str(stage.folder / "app1")]
        assert "on app1" in found.detail
        wait_for(lambda: not stage.client.get_children(stage.tree.requests("app1")), "the request to be taken away")
        running.engine.reload(stage.settings(EVER.replace("threshold: 0", "threshold: 100"), urls))
        wait_heard(http_receiver, "ever app1 firing", "ever app1 resolved")
    assert "restarted ever on app1" in last(http_receiver).json["alerts"][0]["actions"][0]["tail"]
    stage.wait_outbox_empty()


def test_a_host_refuses_what_its_configuration_does_not_name(stage: Stage, http_receiver: HttpReceiver) -> None:
    with sampler(stage, "app1", "actions: {restart-apps: [touch, ran]}\n"):
        engine(stage, EVER, channels(http_receiver, "ops"))
        found = result(stage)
    assert found.exit_code is None
    assert 'no action "restart-app"; did you mean "restart-apps"?' in found.detail
    assert not (stage.folder / "app1" / "ran").exists()
    stage.wait_outbox_empty()


def test_a_host_that_forbids_commands_runs_none(stage: Stage, http_receiver: HttpReceiver) -> None:
    with sampler(stage, "app1", "shell_actions: false\nactions: {restart-app: [touch, ran]}\n"):
        engine(stage, EVER, channels(http_receiver, "ops"))
        assert "switched off there" in result(stage).detail
    assert not (stage.folder / "app1" / "ran").exists()


def test_a_brake_counts_over_all_rules_of_its_group_and_somebody_is_told(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    out = stage.folder / "out"
    brake = "brake: {at_once: 2, per: 1h, most: 1, group: kafka, then: boss}"
    action = f'[ops, {{run: "echo $ZKALERT_RULE >> {out}", at: [firing, escalated], {brake}}}]'
    rules = f"""
rules:
  - {{name: one, metric: memory_usage, comparator: ">", threshold: 90, action: {action}}}
  - {{name: two, metric: swap_usage, comparator: ">", threshold: 90, action: {action}}}
"""
    stage.publish(50)
    engine(stage, rules, channels(http_receiver, "ops", "boss"))
    stage.publish(95)
    wait_for(lambda: out.exists() and out.read_text() == "one\n", "the first command")
    stage.publish(95, family="swap_usage")
    wait_heard(http_receiver, "two web1 braked-firing", name="boss")
    (request,) = http_receiver.at("/boss")
    (told,) = request.json["alerts"]
    assert told["note"].startswith("echo did not run: held by the brake: 1 run in the last 1h (group kafka)")
    assert told["reason"] == "a command was held by its brake"
    assert "command held" in request.json["title"]
    assert "acknowledged" not in request.json["text"]
    wait_for(lambda: all(alert.actions for alert in stage.alerts()), "both results")
    stage.wait_outbox_empty()
    assert out.read_text() == "one\n"
    stage.publish(10, family="swap_usage")
    wait_heard(http_receiver, "one web1 firing", "two web1 firing", "two web1 resolved")
    assert len(http_receiver.at("/boss")) == 1, "who was told of the brake hears of no end"


def test_a_brake_without_another_channel_tells_those_of_the_rule(stage: Stage, http_receiver: HttpReceiver) -> None:
    out = stage.folder / "out"
    run = f'{{run: "echo ran >> {out}", at: [firing, escalated], brake: {{most: 1}}}}'
    stage.publish(50)
    engine(stage, HIGH.replace("action:\n", f"action: [ops, {run}]\n"), channels(http_receiver, "ops"))
    stage.publish(95)
    wait_for(out.exists, "the first command")
    stage.publish(95, host="web2")
    wait_heard(http_receiver, "high web1 firing", "high web2 firing", "high web2 braked-firing")
    stage.wait_outbox_empty()
    wait_for(lambda: len(records(stage, Kind.ACTION)) >= 2, "both in the log")
    told = [(record.host, record.state) for record in records(stage, Kind.ACTION)]
    assert told == [("web1", "delivered"), ("web2", "failed")], "that a brake held it runs nothing"


def test_each_command_that_a_brake_holds_is_told(stage: Stage, http_receiver: HttpReceiver) -> None:
    run = "{{run: [/bin/{}], brake: {{most: 1, at_once: 2, group: all, then: boss}}}}"
    commands = ", ".join(run.format(name) for name in ("true", "false", "echo"))
    stage.publish(50)
    engine(stage, HIGH.replace("action:\n", f"action: [{commands}]\n"), channels(http_receiver, "boss"))
    stage.publish(95)
    wait_for(lambda: len(heard(http_receiver, "boss")) == 2, "both")
    stage.wait_outbox_empty()
    assert len(set(heard(http_receiver, "boss"))) == 2
    (alert,) = stage.alerts()
    assert sorted(one.name for one in alert.actions) == ["/bin/echo", "/bin/false", "/bin/true"]


# What an engine tells by itself ---------------------------------------------------------------------------------------


def test_zookeeper_gone_is_told_once_with_an_all_clear_and_alerts_go_on(
    own_zookeeper: LocalServer, tmp_path: Path, http_receiver: HttpReceiver
) -> None:
    own = own_stage(own_zookeeper.hosts, tmp_path)
    try:
        own.publish(50)
        urls = channels(http_receiver, "ops", "boss")
        engine(
            own,
            HIGH.replace("action:\n", "action: ops\n"),
            urls,
            on_zookeeper_lost=ZookeeperLost(channels=("boss",), after=1.0),
        )
        own.publish(95)
        wait_heard(http_receiver, "high web1 firing")
        own_zookeeper.stop()
        http_receiver.wait(1, path="/boss")
        own_zookeeper.start()
        http_receiver.wait(2, path="/boss", timeout=30)
        lost, back = (request.json for request in http_receiver.at("/boss"))
        assert (lost["state"], back["state"]) == ("firing", "resolved")
        assert "ZooKeeper" in lost["title"]
        assert "answers again" in back["title"]
        own.publish(10)
        wait_heard(http_receiver, "high web1 firing", "high web1 resolved", timeout=30)
        assert len(http_receiver.at("/boss")) == 2
    finally:
        close(own)


def test_a_heartbeat_comes_while_alerting_works_and_not_while_zookeeper_is_away(
    own_zookeeper: LocalServer, tmp_path: Path, http_receiver: HttpReceiver
) -> None:
    own = own_stage(own_zookeeper.hosts, tmp_path)
    try:
        running = engine(own, HIGH + "      ops\n", channels(http_receiver, "ops"),
                         heartbeat=Heartbeat(url=http_receiver.url("/beat"), every=0.2))  # fmt: skip
        http_receiver.wait(3, path="/beat")
        own_zookeeper.stop()
        wait_silence(http_receiver, 1.5)
        own_zookeeper.start()
        count = len(http_receiver.at("/beat"))
        http_receiver.wait(count + 2, path="/beat", timeout=30)
        running.stop()
        count = len(http_receiver.at("/beat"))
        wait_silence(http_receiver, 1.0)
        assert len(http_receiver.at("/beat")) == count
    finally:
        close(own)


def test_a_heartbeat_stops_with_the_process(stage: Stage, http_receiver: HttpReceiver) -> None:
    url = http_receiver.url("/beat")
    process = stage.process("rules: []", f"heartbeat: {{url: {json.dumps(url)}, every: 1s}}\n")
    owner(stage, process)
    http_receiver.wait(2, path="/beat")
    process.signal(signal.SIGSTOP)
    wait_silence(http_receiver, 2.5)
    count = len(http_receiver.at("/beat"))
    process.signal(signal.SIGCONT)
    http_receiver.wait(count + 1, path="/beat", timeout=20)


def wait_silence(receiver: HttpReceiver, seconds: float) -> None:
    """Wait until no heartbeat has come for so long."""
    wait_for(lambda: time.monotonic() - receiver.at("/beat")[-1].at > seconds, "the heartbeat to stop", 20)
