"""What people say of alerts while an engine runs: silences, holds, acknowledgements, wishes; and what the log keeps."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

from tests.acceptance.hearing import (
    channels,
    engine,
    expire,
    heard,
    log_lines,
    records,
    silence,
    wait_heard,
    wait_record,
    wait_withheld,
)
from tests.acceptance.stage import RunningEngine, Stage
from tests.acceptance.test_endurance import owner
from tests.cli.saying import command, environ, run
from tests.helpers import Answer, HttpReceiver, expire_session, wait_for
from zkalert.journal import Kind
from zkalert.model import FOR_GOOD, Alert, Severity
from zkalert.store.wishes import wish_closed, wish_resent

HIGH = 'rules: [{name: high, metric: memory_usage, comparator: ">", threshold: 90}]'
REMIND = """
rules:
  - name: high
    metric: memory_usage
    comparator: ">"
    threshold: 90
    action: ops
    repeat: 14s
    escalate: {after: 40s, action: boss}
"""
LADDER = """
rules:
  - name: high
    metric: memory_usage
    comparator: ">"
    repeat: 14s
    levels:
      - {severity: warning, threshold: 80, action: ops}
      - {severity: critical, threshold: 95, action: [ops, boss]}
"""


def alert(stage: Stage) -> Alert:
    """The only alert that there is."""
    (found,) = stage.wait_states("firing")
    return found


def wait_value(running: RunningEngine, value: float) -> None:
    """Wait until the engine has seen this value of an alert."""
    wait_for(lambda: any(one.value == value for one in running.witness.last.alerts), f"{value} to be seen")  # type: ignore[union-attr]


def ack(stage: Stage, *words: str) -> None:
    done = run(stage.zookeeper, "ack", alert(stage).id, "--author", "Ann", *words)
    assert done.returncode == 0, done.stderr
    wait_record(stage, Kind.ACK)


# Silences -------------------------------------------------------------------------------------------------------------


def test_a_silence_that_is_there_before_withholds_the_firing_until_it_is_expired(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    made = silence(stage, rule="hi*", comment="new disks")
    stage.publish(95)
    wait_withheld(stage, "high", why=f"silenced by {made.id}")
    stage.publish(95, host="web2")
    wait_for(lambda: len(records(stage, Kind.WITHHELD)) == 2, "the other host's, too")
    assert http_receiver.requests == []
    expire(stage, made)
    wait_for(lambda: len(heard(http_receiver)) == 2, "both")
    assert sorted(heard(http_receiver)) == ["high web1 firing", "high web2 firing"]
    stage.publish(10)
    wait_for(lambda: len(heard(http_receiver)) == 3, "the end")
    assert heard(http_receiver)[2] == "high web1 resolved", "who heard late hears the end"
    stage.wait_outbox_empty()


def test_a_silence_ends_by_itself_and_what_fires_goes_out_once(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    made = silence(stage, 2.5)
    stage.publish(95)
    wait_withheld(stage, "high")
    wait_heard(http_receiver, "high web1 firing")
    assert stage.ensemble_ms() / 1000 >= made.ends_at
    stage.wait_outbox_empty()


def test_a_silenced_alert_that_resolves_is_never_told(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    made = silence(stage, host="web1")
    stage.publish(95)
    wait_withheld(stage, "high")
    stage.publish(10)
    wait_withheld(stage, "high", "resolved", "never told")
    expire(stage, made)
    stage.publish(95, host="web2")
    wait_heard(http_receiver, "high web2 firing")
    stage.wait_outbox_empty()


def test_a_silence_while_it_fires_withholds_reminders_and_rises_but_not_the_end(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    engine(stage, LADDER, channels(http_receiver, "ops", "boss"))
    stage.publish(85)
    http_receiver.wait(1)
    silence(stage)
    wait_withheld(stage, "high", "repeated-1")
    told = heard(http_receiver)
    stage.publish(99)
    wait_withheld(stage, "high", "escalated-critical")
    stage.publish(10)
    http_receiver.wait(len(told) + 1)
    stage.wait_outbox_empty()
    assert heard(http_receiver) == [*told, "high web1 resolved"]
    assert heard(http_receiver, "boss") == [], "who heard nothing hears of no end"


def test_whoever_is_told_of_a_higher_level_alone_is_told_once_the_silence_over_its_rise_ends(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    rules = LADDER.replace("    repeat: 14s\n", "")
    stage.publish(50)
    running = engine(stage, rules, channels(http_receiver, "ops", "boss"))
    made = silence(stage)
    stage.publish(85)
    wait_withheld(stage, "high")
    stage.publish(99)
    wait_withheld(stage, "high", "escalated-critical")
    running.stop()
    engine(stage, rules, channels(http_receiver, "ops", "boss"))
    expire(stage, made)
    wait_heard(http_receiver, "high web1 escalated-critical", name="boss")
    stage.publish(10)
    wait_heard(http_receiver, "high web1 escalated-critical", "high web1 resolved", name="boss")
    wait_heard(http_receiver, "high web1 escalated-critical", "high web1 resolved")
    stage.wait_outbox_empty()


def test_a_recurring_silence_is_on_from_its_moment_for_its_span(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    now = stage.ensemble_ms() / 1000
    minute = now // 60 * 60
    # From the last midnight of UTC, for so long that it ends in three seconds.
    midnight = now // 86400 * 86400
    made = silence(
        stage, cron="0 0 * * *", timezone="UTC", span=now - midnight + 3, starts_at=minute - 60, ends_at=FOR_GOOD
    )
    stage.publish(95)
    wait_withheld(stage, "high", why=made.id)
    wait_heard(http_receiver, "high web1 firing")
    assert stage.ensemble_ms() / 1000 >= now + 3


def test_a_silence_holds_over_a_restart_of_the_engine(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    first = engine(stage, HIGH, channels(http_receiver, "ops"))
    made = silence(stage)
    stage.publish(95)
    wait_withheld(stage, "high")
    first.stop()
    second = engine(stage, HIGH, channels(http_receiver, "ops"))
    wait_for(lambda: second.witness.last and second.witness.last.alerts, "the alert to be read back")
    stage.publish(96)
    wait_value(second, 96)
    assert http_receiver.requests == []
    expire(stage, made)
    wait_heard(http_receiver, "high web1 firing")
    stage.wait_outbox_empty()


def test_a_hold_keeps_quiet_while_its_command_lives(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    go = stage.folder / "go"
    line = f"while [ ! -e {go} ]; do sleep 0.05; done; exit 7"
    words = ("hold", "host=web1", "--linger", "0s", "--comment", "patch", "--", "sh", "-c", line)
    with subprocess.Popen(command(stage.zookeeper, *words), env=environ(), stderr=subprocess.PIPE) as patching:
        wait_record(stage, Kind.SILENCE, lambda record: record.state == "added" and record.data["hold"])
        stage.publish(95)
        wait_withheld(stage, "high", why="silenced by")
        stage.publish(95, host="web2")
        wait_heard(http_receiver, "high web2 firing")
        go.touch()
        assert patching.wait(20) == 7
    wait_heard(http_receiver, "high web2 firing", "high web1 firing")
    stage.wait_outbox_empty()


# Acknowledgements -----------------------------------------------------------------------------------------------------


def test_an_ack_stops_reminders_and_escalation_until_its_time_runs_out(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    engine(stage, REMIND, channels(http_receiver, "ops", "boss"))
    stage.publish(95)
    http_receiver.wait(1)
    ack(stage, "--for", "4s", "--comment", "on it")
    wait_for(lambda: alert(stage).ack is not None, "the ack in the record")
    said = alert(stage).ack
    assert said is not None
    assert (said.author, said.comment) == ("Ann", "on it")
    before = heard(http_receiver)
    wait_for(lambda: alert(stage).repeats >= len(before) + 2, "reminders that pass silently")
    assert heard(http_receiver) == before
    assert heard(http_receiver, "boss") == []
    wait_heard(http_receiver, "high web1 escalated-1", name="boss")
    assert stage.ensemble_ms() / 1000 >= (said.ends_at or 0)
    wait_for(lambda: len(heard(http_receiver)) > len(before), "reminders that are told again")
    stage.publish(10)
    wait_heard(http_receiver, "high web1 escalated-1", "high web1 resolved", name="boss")
    path = stage.tree.ack(said.episode)
    wait_for(lambda: not stage.client.exists(path), "the ack of what is over to be cleared away")


def test_an_ack_that_is_taken_back_lets_reminders_go_on(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, REMIND, channels(http_receiver, "ops", "boss"))
    stage.publish(95)
    http_receiver.wait(1)
    ack(stage)
    wait_for(lambda: alert(stage).ack is not None, "the ack in the record")
    before = heard(http_receiver)
    wait_for(lambda: alert(stage).repeats >= len(before) + 1, "a reminder that passes silently")
    assert heard(http_receiver) == before
    assert run(stage.zookeeper, "ack", alert(stage).id, "--remove").returncode == 0
    wait_for(lambda: len(heard(http_receiver)) > len(before), "a reminder")
    wait_heard(http_receiver, "high web1 escalated-1", name="boss")
    assert [record.state for record in records(stage, Kind.ACK)] == ["added", "removed"]


def test_a_rise_is_told_and_ends_the_ack(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine(stage, LADDER, channels(http_receiver, "ops", "boss"))
    stage.publish(85)
    http_receiver.wait(1)
    ack(stage)
    wait_for(lambda: alert(stage).ack is not None, "the ack in the record")
    stage.publish(99)
    http_receiver.wait(2, path="/boss")
    first, second = heard(http_receiver, "boss")[:2]
    assert first == "high web1 escalated-critical"
    assert "repeated" in second
    assert alert(stage).ack is None


def test_an_ack_holds_over_a_restart_of_the_engine(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    first = engine(stage, REMIND, channels(http_receiver, "ops", "boss"))
    stage.publish(95)
    http_receiver.wait(1)
    ack(stage)
    wait_for(lambda: alert(stage).ack is not None, "the ack in the record")
    first.stop()
    before = heard(http_receiver)
    engine(stage, REMIND, channels(http_receiver, "ops", "boss"))
    repeats = alert(stage).repeats
    wait_for(lambda: alert(stage).repeats > repeats + 1, "reminders that pass silently")
    assert heard(http_receiver) == before
    assert heard(http_receiver, "boss") == []


# Wishes ---------------------------------------------------------------------------------------------------------------


def test_an_alert_whose_rule_is_not_there_stands_until_somebody_closes_it(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    urls = channels(http_receiver, "ops", "boss")
    first = engine(stage, HIGH + "\n", {"ops": urls["ops"]})
    stage.publish(95)
    http_receiver.wait(1)
    stage.wait_outbox_empty()
    first.stop()
    other = 'rules: [{name: other, metric: cpu_usage, comparator: ">", threshold: 90}]'
    second = engine(stage, other, urls)
    wait_for(lambda: second.witness.last and second.witness.last.orphans, "the orphan")
    stage.publish(10)
    episode = alert(stage).episode
    wish = wish_closed(stage.client, stage.tree, episode)
    wait_heard(http_receiver, "high web1 firing", "high web1 closed")
    stage.wait_states()
    wait_for(lambda: not stage.client.exists(wish), "the wish to be cleared away")
    assert heard(http_receiver, "boss") == []


def test_an_alert_whose_rule_comes_back_goes_on_as_it_was(stage: Stage, http_receiver: HttpReceiver) -> None:
    urls = channels(http_receiver, "ops")
    stage.publish(95)
    first = engine(stage, HIGH, urls)
    wait_heard(http_receiver, "high web1 firing")
    stage.wait_outbox_empty()
    episode = alert(stage).episode
    first.stop()
    second = engine(stage, 'rules: [{name: other, metric: cpu_usage, comparator: ">", threshold: 90}]', urls)
    wait_for(lambda: second.witness.last and second.witness.last.orphans, "the orphan")
    second.engine.reload(stage.settings(HIGH, urls))
    wait_for(lambda: second.witness.last and second.witness.last.alerts, "the alert to be judged again")
    assert alert(stage).episode == episode
    stage.publish(10)
    wait_heard(http_receiver, "high web1 firing", "high web1 resolved")


def test_what_a_silence_withholds_of_an_orphan_is_told_with_its_end_once_that_is_over(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(50)
    urls = channels(http_receiver, "ops")
    first = engine(stage, HIGH, urls)
    made = silence(stage)
    stage.publish(95)
    wait_withheld(stage, "high")
    first.stop()
    second = engine(stage, 'rules: [{name: other, metric: cpu_usage, comparator: ">", threshold: 90}]', urls)
    wait_for(lambda: second.witness.last and second.witness.last.orphans, "the orphan")
    expire(stage, made)
    wait_heard(http_receiver, "high web1 firing")
    wait_for(lambda: alert(stage).heard, "who heard to be noted")
    wish_closed(stage.client, stage.tree, alert(stage).episode)
    wait_heard(http_receiver, "high web1 firing", "high web1 closed")


def test_what_failed_for_good_is_sent_again_on_demand(stage: Stage, http_receiver: HttpReceiver) -> None:
    http_receiver.answer("/ops", Answer(status=410), Answer())
    stage.publish(50)
    engine(stage, HIGH, channels(http_receiver, "ops"))
    stage.publish(95)
    wait_for(lambda: stage.client.exists(stage.tree.dead) and stage.client.get_children(stage.tree.dead), "the dead")
    stage.wait_outbox_empty()
    (effect_id,) = stage.client.get_children(stage.tree.dead)
    wish_resent(stage.client, stage.tree, [effect_id])
    wait_heard(http_receiver, "high web1 firing", "high web1 firing")
    stage.wait_outbox_empty()
    assert stage.client.get_children(stage.tree.dead) == []
    wait_for(lambda: not stage.client.get_children(stage.tree.resend), "the wish to be cleared away")


# The log --------------------------------------------------------------------------------------------------------------


def test_the_log_tells_the_whole_story_in_the_order_of_the_ensemble(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    running = engine(stage, REMIND, channels(http_receiver, "ops", "boss"))
    made = silence(stage, rule="high", comment="new disks", author="Ann", severities=frozenset(Severity))
    stage.publish(95)
    wait_withheld(stage, "high")
    expire(stage, made)
    http_receiver.wait(1)
    ack(stage, "--comment", "on it")
    stage.publish(10)
    wait_for(lambda: "high web1 resolved" in heard(http_receiver), "the end")
    stage.wait_outbox_empty()
    running.stop()
    lines = log_lines(stage)
    zxids = [line["zxid"] for line in lines if "zxid" in line]
    assert zxids == sorted(zxids)
    story = [" ".join(filter(None, (line["kind"], line.get("phase"), line.get("state")))) for line in lines]
    expected = [
        "silence added",
        "transition firing",
        "withheld firing withheld",
        "silence changed",
        "released firing released",
        "message firing delivered",
        "ack added",
        "transition resolved",
        "message resolved delivered",
    ]
    positions = [story.index(one) for one in expected]
    assert positions == sorted(positions), story
    added = lines[story.index("silence added")]
    assert (added["detail"], added["data"]["matchers"]) == ("new disks", {"rule": "high"})
    seen = lines[story.index("ack added")]
    assert (seen["detail"], seen["data"]["author"], seen["rule"]) == ("on it", "Ann", "high")
    assert [line["detail"] for line in lines if line["kind"] == "silence"] == ["new disks"] * 2
    only: list[dict[str, Any]] = log_lines(stage, "--kind", "message", "--rule", "high")
    assert {line["kind"] for line in only} == {"message"}


def test_the_log_says_when_the_tree_was_lost_and_taken_again(stage: Stage) -> None:
    running = engine(stage, HIGH)
    expire_session(running.client)
    wait_for(lambda: len(records(stage, Kind.OWNERSHIP)) == 3, "another session that owns the tree")
    assert [record.state for record in records(stage, Kind.OWNERSHIP)] == ["taken", "lost", "taken"]
    states = [record.state for record in records(stage, Kind.CONNECTION)]
    assert states == ["connected", "suspended", "lost", "connected"]


def test_the_log_says_that_rules_were_reloaded_or_why_not(stage: Stage) -> None:
    process = stage.process(HIGH)
    owner(stage, process)
    (stage.folder / "rules.yaml").write_text(HIGH.replace("threshold", "treshold"))
    process.signal(signal.SIGHUP)
    wait_record(stage, Kind.RELOAD, lambda record: record.state == "refused")
    (stage.folder / "rules.yaml").write_text("rules: []")
    process.signal(signal.SIGHUP)
    wait_for(lambda: len(records(stage, Kind.RELOAD)) == 3, "the reload")
    reloads = [(line["state"], line["data"]["rules"]) for line in log_lines(stage, "--kind", "reload")]
    assert reloads == [("loaded", 1), ("refused", 1), ("loaded", 0)]
    (refused,) = (record for record in records(stage, Kind.RELOAD) if record.state == "refused")
    assert "rules.yaml:1:" in refused.detail
    assert [record.state for record in records(stage, Kind.OWNERSHIP)] == ["taken"]
