"""`zkalert alerts`, as people run it, on a tree in a real ZooKeeper."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.saying import command, environ, firing, run, write_alerts, write_host
from tests.helpers import wait_for
from zkalert import cli
from zkalert.model import (
    Ack,
    ActionResult,
    Alert,
    Delivery,
    DeliveryState,
    Effect,
    OutboxEntry,
    Phase,
    Reason,
    Severity,
    Silence,
    State,
    TargetKind,
    ZookeeperSettings,
)
from zkalert.tree import Tree, encode_ack, encode_alert, encode_entry, encode_silence
from zkalert.zk import Client

EPISODE = "a1b2c3d4e5f60718"
HOSTILE = 'evil\x1b[31m"$(reboot)\n\ud800'


def entry(alert: Alert, *states: DeliveryState, detail: str = "", **more: Any) -> OutboxEntry:
    effect = Effect(alert=alert, phase=Phase.FIRING, reason=Reason.HELD, at=time.time() - 60, **more)
    deliveries = tuple(
        Delivery(target=f"ops/{number:08x}", kind=TargetKind.NOTIFY, name="ops", state=state, attempts=3, detail=detail)
        for number, state in enumerate(states)
    )
    return OutboxEntry(effect=effect, deliveries=deliveries)


def put(client: Client, path: str, data: bytes = b"") -> None:
    client.create(path, data, makepath=True)


def ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split()[0] for line in done.stdout.splitlines()[1:]]


def own(client: Client, tree: Tree) -> None:
    """An engine owns the tree."""
    client.create(f"{tree.shard(0)}/lock-0000000000", ephemeral=True, makepath=True)


def test_the_worst_comes_first(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    own(client, tree)
    now = time.time()
    write_alerts(
        client,
        tree,
        firing(name="pending", episode="1" * 16, state=State.PENDING, severity=Severity.CRITICAL, since=now),
        firing(name="young", episode="2" * 16, since=now - 10),
        firing(name="old", episode="3" * 16, since=now - 7200, value=93.4, instance="/data"),
        firing(name="worst", episode="4" * 16, severity=Severity.CRITICAL, since=now),
    )
    done = run(settings, "alerts")
    assert (done.returncode, done.stderr) == (0, "")
    assert ids(done) == ["444444", "333333", "222222", "111111"]
    old = next(line for line in done.stdout.splitlines() if line.startswith("333333"))
    assert "warning" in old
    assert "firing" in old
    assert "db1 /data" in old
    assert "93.4%" in old
    assert "> 90%" in old
    assert "2h" in old


def test_an_empty_tree_says_so(settings: ZookeeperSettings, tree: Tree, client: Client) -> None:
    own(client, tree)
    done = run(settings, "alerts")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing is pending or firing\n")
    assert json.loads(run(settings, "alerts", "--format", "json").stdout)["alerts"] == []


def test_without_an_engine_it_is_said_that_alerts_may_be_old(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    put(client, tree.alert("disk-full", "db1", None))
    done = run(settings, "alerts")
    assert "no engine evaluates this tree now" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rule", "disk-*"], {"aaaaaa"}),
        (["--host", "web*"], {"bbbbbb"}),
        (["--severity", "critical"], {"bbbbbb"}),
        (["--severity", "critical", "--severity", "warning"], {"aaaaaa", "bbbbbb"}),
        (["--state", "pending"], {"bbbbbb"}),
        (["--rule", "nothing"], set()),
    ],
)
def test_filters(client: Client, tree: Tree, settings: ZookeeperSettings, words: list[str], expected: set[str]) -> None:
    write_alerts(
        client,
        tree,
        firing(episode="a" * 16),
        firing(name="down", host="web1", episode="b" * 16, state=State.PENDING, severity=Severity.CRITICAL),
    )
    done = run(settings, "alerts", *words)
    assert set(ids(done)) == expected
    assert ("none of the alerts fits" in done.stderr) is not bool(expected)


def test_marks_say_who_cares_and_why_it_is_quiet(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    now = time.time()
    ran = ActionResult(name="restart.sh", phase="firing", at=now, seconds=2.1, exit_code=1, tail="no such unit\n")
    alert = firing(since=now - 60, actions=(ran,))
    write_alerts(client, tree, alert)
    write_host(client, tree, "db1", role="db")
    put(client, tree.ack(EPISODE), encode_ack(Ack(episode=EPISODE, at=now, author="Ann")))
    silence = Silence(id="s1", labels={"role": "d*"}, starts_at=now - 60, ends_at=now + 7230, comment="move")
    put(client, tree.silence("s1"), encode_silence(silence))
    held = entry(alert, DeliveryState.HELD, detail="silenced by s1", host_labels={"role": "db"})
    put(client, tree.outbox_entry(0, held.effect.id), encode_entry(held))
    line = run(settings, "alerts").stdout.splitlines()[1]
    assert "acked by Ann, silenced for 2h, withheld: silenced by s1, restart.sh: exit code 1, 1 undelivered" in line

    (one,) = json.loads(run(settings, "alerts", "--format", "json").stdout)["alerts"]
    assert (one["id"], one["state"], one["silences"], one["undelivered"]) == ("a1b2c3", "firing", ["s1"], 1)
    assert one["ack"]["author"] == "Ann"
    assert one["action"]["exit_code"] == 1
    assert 60 <= one["seconds"] < 90


def test_an_acknowledgement_of_less_or_of_before_does_not_count(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    now = time.time()
    write_alerts(client, tree, firing(rises=1), firing(host="db2", episode="b" * 16))
    put(client, tree.ack(EPISODE), encode_ack(Ack(episode=EPISODE, at=now, rises=0)))
    put(client, tree.ack("b" * 16), encode_ack(Ack(episode="b" * 16, at=now - 60, ends_at=now - 1)))
    found = json.loads(run(settings, "alerts", "--format", "json").stdout)["alerts"]
    assert [one["ack"] for one in found] == [None, None]


def test_what_is_not_delivered_is_shown_with_its_reason(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    waits = entry(firing(), DeliveryState.DELIVERED, DeliveryState.CLAIMED, detail="HTTP 503")
    dead = entry(firing(host="db2", episode="d" * 16), DeliveryState.FAILED, detail="no such mailbox")
    put(client, tree.outbox_entry(0, waits.effect.id), encode_entry(waits))
    put(client, tree.dead_entry(dead.effect.id), encode_entry(dead))
    done = run(settings, "alerts", "--undelivered")
    first, second = done.stdout.splitlines()[1:]
    assert first.split()[0] == "a1b2c3"
    assert first.endswith("HTTP 503")
    assert "claimed" in first
    assert "given up" in second
    assert second.endswith("no such mailbox")
    assert "`zkalert alerts resend`" in done.stderr

    found = json.loads(run(settings, "alerts", "--undelivered", "--format", "json").stdout)["messages"]
    assert [(one["effect"], one["state"], one["given_up"], one["attempts"]) for one in found] == [
        (f"{EPISODE}.firing", "claimed", False, 3),
        (f"{'d' * 16}.firing", "failed", True, 3),
    ]


def test_one_alert_is_shown_whole(client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path) -> None:
    now = time.time()
    ran = ActionResult(name="restart.sh", phase="firing", at=now, seconds=2.1, exit_code=1, tail="no unit\nsorry\n")
    alert = firing(name="disk*full", since=now - 60, actions=(ran,), told=(Severity.WARNING,), value=93.4, peak=97.1)
    write_alerts(client, tree, alert)
    put(client, tree.silence("s1"), encode_silence(Silence(id="s1", host="db*", starts_at=1, ends_at=now + 7200)))
    dead = entry(alert, DeliveryState.FAILED, detail="no such mailbox")
    put(client, tree.dead_entry(dead.effect.id), encode_entry(dead))
    done = run(settings, "alerts", "show", "a1b2", "--state-dir", str(tmp_path))
    text = done.stdout
    assert done.returncode == 0
    assert text.startswith("a1b2c3  warning  firing  disk*full on db1\n")
    assert "memory_usage.percent is 93.4% (> 90%), worst 97.1%" in text
    assert "s1 host=db* is on until" in text
    assert "message   firing to ops: given up" in text
    assert "command   restart.sh (firing): exit code 1 after 2.1s" in text
    assert "            | sorry\n" in text
    assert "zkalert ack a1b2c3" in text
    assert "zkalert silence add 'rule=disk[*]full' host=db1 --for 2h" in text
    assert "zkalert alerts resend a1b2c3" in text
    one = json.loads(run(settings, "alerts", "show", "a1b2c3", "--format", "json").stdout)
    assert (one["id"], one["told"], one["messages"][0]["state"]) == ("a1b2c3", ["warning"], "failed")
    assert one["matching"][0]["id"] == "s1"


def test_the_commands_that_it_tells_to_type_mean_that_alert(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    alert = firing(name="r[1]", host="$(touch x);'")
    write_alerts(client, tree, alert)
    text = run(settings, "alerts", "show", "a1b2c3").stdout
    (line,) = [one for one in text.splitlines() if "silence add" in one]
    words = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + line.partition("zkalert silence add ")[2]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout.splitlines()[:2] == ["rule=r[[]1]", "host=$(touch x);'"]


def test_an_alert_that_is_over_is_shown_while_messages_of_it_are_left(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    over = replace(firing(), state=State.RESOLVED, resolved_at=time.time())
    dead = entry(over, DeliveryState.FAILED)
    put(client, tree.dead_entry(dead.effect.id), encode_entry(dead))
    text = run(settings, "alerts", "show", "a1b2c3").stdout
    assert "a1b2c3  warning  resolved  disk-full on db1" in text
    assert "zkalert alerts resend a1b2c3" in text
    assert "zkalert ack" not in text


def test_an_alert_that_is_not_there_is_told_with_what_is_near(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    write_alerts(client, tree, firing())
    done = run(settings, "alerts", "show", "a1b2c4")
    assert (done.returncode, done.stderr) == (1, 'zkalert: error: no alert "a1b2c4"; did you mean a1b2c3?\n')


def test_nothing_in_a_name_steers_the_terminal(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    alert = firing(host=HOSTILE, value=HOSTILE)
    put(client, tree.alert(alert.rule, alert.host, None), encode_alert(alert))
    dead = entry(alert, DeliveryState.FAILED, detail=HOSTILE)
    put(client, tree.dead_entry(dead.effect.id), encode_entry(dead))
    for words in (["alerts"], ["alerts", "--undelivered"], ["alerts", "show", "a1b2c3"], ["alerts", "resend", "a1b2"]):
        done = run(settings, *words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "evil\\x1b[31m" in done.stdout + done.stderr


def test_what_was_given_up_is_sent_again_on_demand(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    own(client, tree)
    one = entry(firing(), DeliveryState.FAILED)
    other = entry(firing(episode="d" * 16), DeliveryState.FAILED)
    for dead in (one, other):
        put(client, tree.dead_entry(dead.effect.id), encode_entry(dead))
    done = run(settings, "alerts", "resend", "a1b2c3")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"disk-full/db1/{EPISODE}/firing is to be sent again to ops\n"
    assert client.get_children(tree.resend) == [one.effect.id]
    assert run(settings, "alerts", "resend", "--all").returncode == 0
    assert set(client.get_children(tree.resend)) == {one.effect.id, other.effect.id}


def test_nothing_to_send_again(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    own(client, tree)
    done = run(settings, "alerts", "resend", "--all")
    assert (done.returncode, done.stderr) == (0, "nothing was given up\n")
    done = run(settings, "alerts", "resend", "a1b2c3")
    assert (done.returncode, done.stderr) == (
        1,
        'zkalert: error: no undelivered alert "a1b2c3"; nothing was given up\n',
    )


def test_an_orphan_is_closed_once_an_engine_has_done_it(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    own(client, tree)
    write_alerts(client, tree, firing())
    engine = threading.Thread(target=grant, args=(client, tree), kwargs={"closes": True})
    engine.start()
    done = run(settings, "alerts", "close", "a1b2c3")
    engine.join()
    assert (done.returncode, done.stderr) == (0, "alert a1b2c3 is closed: disk-full on db1\n")


def test_an_alert_with_a_rule_is_not_closed(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    own(client, tree)
    write_alerts(client, tree, firing())
    engine = threading.Thread(target=grant, args=(client, tree), kwargs={"closes": False})
    engine.start()
    done = run(settings, "alerts", "close", "a1b2c3")
    engine.join()
    assert done.returncode == 1
    assert done.stderr == "alert a1b2c3 is left alone: its rule disk-full is there, and judges it\n"


def grant(client: Client, tree: Tree, *, closes: bool) -> None:
    """See to one wish as an engine does."""
    wait_for(lambda: client.exists(tree.close(EPISODE)), "the wish", 30)
    client.delete(tree.close(EPISODE))
    if closes:
        client.delete(tree.alert("disk-full", "db1", None))


def test_without_an_engine_the_next_one_is_asked(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    put(client, tree.alert("disk-full", "db1", None), encode_alert(firing()))
    done = run(settings, "alerts", "close", "a1b2c3")
    assert (done.returncode, client.exists(tree.close(EPISODE)) is not None) == (1, True)
    assert "the next one is asked" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--watch"], "--watch needs a terminal"),
        (["--watch", "--format", "json"], "--watch shows the table of alerts alone"),
        (["--severity", "bad"], "'bad' is not one of"),
        (["show"], "Missing argument 'ID'"),
        (["show", "web1"], '"web1" is no ID of an alert'),
        (["resend"], "name an alert by its ID, or say --all"),
        (["resend", "a1b2c3", "--all"], "name an alert by its ID, or say --all"),
    ],
)
def test_wrong_usage(
    settings: ZookeeperSettings, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.run(command(settings, "alerts", *words)[3:]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err


def test_options_before_a_subcommand_are_not_lost_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["alerts", "--zookeeper", "localhost:1", "show", "a1b2c3"]) == 2
    assert "--zookeeper goes behind show" in capsys.readouterr().err


def test_it_is_watched_on_a_terminal_until_ctrl_c(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    own(client, tree)
    write_alerts(client, tree, firing())
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        command(settings, "alerts", "--watch"),
        env=environ(TERM="xterm", COLUMNS="160", LINES="40"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, seen), daemon=True)
    reader.start()
    try:
        wait_for(lambda: b"a1b2c3" in b"".join(seen), "the alert", 20)
        put(client, tree.alert("disk-full", "db2", None), encode_alert(firing(host="db2", episode="b" * 16)))
        wait_for(lambda: b"bbbbbb" in b"".join(seen), "the second alert", 20)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
    assert b"Traceback" not in b"".join(seen)


def _read(terminal: int, seen: list[bytes]) -> None:
    try:
        while data := os.read(terminal, 65536):
            seen.append(data)
    except OSError:
        return
