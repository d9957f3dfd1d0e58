"""`zkalert silence`, as people run it, on a tree in a real ZooKeeper."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from tests.cli.saying import command, firing, run, silences, write_alerts, write_host
from zkalert import cli
from zkalert.model import FOR_GOOD, Severity, State, ZookeeperSettings
from zkalert.tree import Tree
from zkalert.zk import Client

COMMENT = ("--comment", "new disks")


def added(settings: ZookeeperSettings, *words: str) -> str:
    """The id of a silence that is added."""
    done = run(settings, "silence", "add", *words, *COMMENT)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[0-9a-f]{6}\n", done.stdout)
    return done.stdout.strip()


def test_a_silence_is_written_and_says_what_it_matches_now(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    write_alerts(
        client,
        tree,
        firing(),
        firing(host="db2", episode="b" * 16),
        firing(host="web1", episode="c" * 16),
        firing("load", "db1", "d" * 16, state=State.PENDING),
    )
    before = time.time()
    done = run(
        settings, "silence", "add", "rule=disk-*", "host=db?", "severity=warning,info", "team=x", "--for", "90m",
        "--author", "Ann", *COMMENT,
    )  # fmt: skip
    assert done.returncode == 0
    ((id_, made),) = silences(client, tree).items()
    assert done.stdout == id_ + "\n"
    assert (made.rule, made.host, made.instance, made.labels) == ("disk-*", "db?", "*", {"team": "x"})
    assert made.severities == {Severity.WARNING, Severity.INFO}
    assert (made.comment, made.author, made.is_hold, made.cron) == ("new disks", "Ann", False, "")
    assert made.ends_at - made.starts_at == pytest.approx(5400)
    assert before - 5 < made.starts_at < time.time() + 5
    assert f"silence {id_} is on until 20" in done.stderr
    assert "it matches no firing alerts now by the labels of hosts" in done.stderr
    assert "it matches 2 firing alerts now\n" in run(
        settings, "silence", "add", "rule=disk-*", "host=db?", "--for", "1h", *COMMENT
    ).stderr  # fmt: skip


def test_labels_of_hosts_count(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    write_host(client, tree, "db1", team="x")
    write_alerts(client, tree, firing(), firing(host="db2", episode="b" * 16))
    done = run(settings, "silence", "add", "team=[xy]", "--for", "1h", *COMMENT)
    assert "it matches 1 firing alert now by" in done.stderr


def test_a_recurring_silence_lasts_until_it_is_expired(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "host=db1", "--cron", "0 2 * * *", "--span", "1h30m", "--timezone", "America/Sao_Paulo")
    made = silences(client, tree)[id_]
    assert (made.cron, made.timezone, made.span, made.ends_at) == ("0 2 * * *", "America/Sao_Paulo", 5400, FOR_GOOD)
    (listed,) = json.loads(run(settings, "silence", "list", "--format", "json").stdout)
    assert listed["ends_at"] is None
    assert listed["next_change"].endswith(("T05:00:00.000Z", "T06:30:00.000Z"))
    assert "again at 0 2 * * * (America/Sao_Paulo) for 1h30m" in run(settings, "silence", "show", id_).stdout


def test_times_may_be_given_as_they_are_on_the_clock(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).strftime("%Y-%m-%d")
    id_ = added(settings, "host=a", "--from", f"{tomorrow}T22:00", "--until", "06:00", "--timezone", "Europe/Berlin")
    made = silences(client, tree)[id_]
    assert made.ends_at - made.starts_at == 8 * 3600
    assert datetime.fromtimestamp(made.starts_at, timezone.utc).strftime("%Y-%m-%dT%H:%M") in (
        f"{tomorrow}T21:00",
        f"{tomorrow}T20:00",
    )
    id_ = added(settings, "host=b", "--until", f"{tomorrow}T01:02:03Z")
    assert silences(client, tree)[id_].ends_at == datetime.fromisoformat(f"{tomorrow}T01:02:03+00:00").timestamp()


def test_list_show_and_expire(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    assert run(settings, "silence", "list").stderr == "there are no silences\n"
    write_alerts(client, tree, firing(instance="/data"))
    first = added(settings, "host=db1", "instance=/d*", "--for", "1h")
    second = added(settings, "rule=load", "--for", "2h")
    listed = run(settings, "silence", "list").stdout.splitlines()
    assert [line.split("  ")[:2] for line in listed] == [
        [first, "host=db1 instance=/d*"],
        [second, "rule=load"],
    ]
    shown = run(settings, "silence", "show", first[:5]).stdout
    assert "  comment: new disks\n" in shown
    assert "@here\n" in shown
    assert shown.endswith("  it matches 1 firing alert now:\n    a1b2c3  warning  disk-full on db1 /data\n")
    assert json.loads(run(settings, "silence", "show", first, "--format", "json").stdout)["alerts"] == ["a1b2c3"]
    done = run(settings, "silence", "expire", first)
    assert (done.returncode, done.stderr) == (0, f"silence {first} is over (host=db1 instance=/d*)\n")
    assert [one["id"] for one in json.loads(run(settings, "silence", "list", "--format", "json").stdout)] == [second]
    every = json.loads(run(settings, "silence", "list", "--all", "--format", "json").stdout)
    assert [(one["id"], one["on"]) for one in every] == [(first, False), (second, True)]
    again = run(settings, "silence", "expire", first)
    assert (again.returncode, again.stderr) == (1, f"zkalert: error: silence {first} has ended already\n")


def test_one_slip_expires_nothing(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "host=db1", "--for", "1h")
    slip = id_[:5] + ("0" if id_[5] != "0" else "1")
    done = run(settings, "silence", "expire", id_, slip)
    assert (done.returncode, done.stderr) == (1, f'zkalert: error: no silence "{slip}"; did you mean {id_}?\n')
    assert silences(client, tree)[id_].ends_at > time.time() + 600


def test_one_that_has_not_begun_is_taken_away(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "host=db1", "--from", "2099-01-01T00:00", "--for", "1h")
    assert "is on from 2099-01-01 00:00:00 UTC" in run(settings, "silence", "list").stdout
    assert run(settings, "silence", "expire", id_).returncode == 0
    assert silences(client, tree) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "1h"], "this matches every alert; name some, such as host=db3 or rule=disk-*, or say --all"),
        (["rule=*", "--for", "1h"], "this matches every alert"),
        (["host=a", "--all", "--for", "1h"], "--all and matchers: give one of them"),
        (["db3", "--for", "1h"], '"db3" is no matcher; expected NAME=GLOB'),
        (["=db3", "--for", "1h"], '"=db3" is no matcher'),
        (["host=", "--for", "1h"], "host= matches nothing"),
        (["hosts=db3", "--for", "1h"], "no matcher hosts=; did you mean host=?"),
        (["host=a", "host=b", "--for", "1h"], "host= is given twice"),
        (["team=a", "label:team=b", "--for", "1h"], "label:team= is given twice"),
        (["severity=crit", "--for", "1h"], 'no severity "crit"; did you mean critical?'),
        (["host=a"], "for how long? say --for 2h or --until 18:30"),
        (["host=a", "--for", "1h", "--until", "18:30"], "--for and --until: give one of them"),
        (["host=a", "--for", "2x"], '"2x" is not a duration'),
        (["host=a", "--for", "0s"], "it would be over before it begins"),
        (["host=a", "--for", "9999999w"], "longer than anybody plans"),
        (["host=a", "--until", "2020-01-01"], "it would be over before it begins"),
        (["host=a", "--until", "25:00"], '--until: found "25:00"; expected a time such as'),
        (["host=a", "--until", "soon"], '--until: found "soon"; expected a time such as'),
        (["host=a", "--cron", "0 2 * * *"], "--cron and --span belong together"),
        (["host=a", "--span", "1h", "--for", "1h"], "--cron and --span belong together"),
        (["host=a", "--cron", "0 2 * *", "--span", "1h"], '--cron: "0 2 * *" has 4 of the 5 fields'),
        (["host=a", "--cron", "0 25 * * *", "--span", "1h"], "is no cron expression: bad hour"),
        (
            ["host=a", "--cron", "0 2 * * *", "--span", "500d"],
            "--span: found 500d; expected more than 0s, at most 366d",
        ),
        (["host=a", "--for", "1h", "--timezone", "berlin"], 'no time zone "berlin"; did you mean Europe/Berlin?'),
        (["host=" + "a" * 300, "--for", "1h"], "expected at most 256 characters"),
    ],
)
def test_wrong_usage_is_said_and_writes_nothing(
    client: Client,
    tree: Tree,
    settings: ZookeeperSettings,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    assert cli.run(command(settings, "silence", "add", *words, *COMMENT)[3:]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert silences(client, tree) == {}


def test_every_alert_takes_a_word_of_its_own(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "--all", "--for", "5m")
    assert f"{id_}  every alert  is on until" in run(settings, "silence", "list").stdout


def test_a_label_may_have_the_name_of_a_matcher(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "label:host=x", "--for", "5m")
    assert silences(client, tree)[id_].labels == {"host": "x"}
    assert f"{id_}  label:host=x  is on" in run(settings, "silence", "list").stdout


def test_a_comment_is_asked_for(settings: ZookeeperSettings) -> None:
    done = run(settings, "silence", "add", "host=a", "--for", "1h")
    assert done.returncode == 2
    assert "Missing option '--comment'" in done.stderr


def test_a_root_where_nothing_of_ours_is_gets_no_silence(client: Client, settings: ZookeeperSettings) -> None:
    done = run(settings, "silence", "add", "host=a", "--for", "1h", *COMMENT)
    assert done.returncode == 1
    assert f"there is no zkalert at {settings.root} of this ZooKeeper" in done.stderr
    assert client.exists(settings.root) is None


def test_what_stands_in_the_tree_drives_no_terminal(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    id_ = added(settings, "host=\x1b[31mred", "--for", "1h", "--author", "\x1b]0;x\x07")
    client.create(tree.silence("zzzzzz"), b"{")
    client.create(f"{tree.silences}/%zz", b"\x1b")
    done = run(settings, "silence", "list")
    assert done.stdout.startswith(f"{id_}  host=\\x1b[31mred")
    assert "\x1b" not in done.stdout + done.stderr
    assert "silence zzzzzz cannot be used: not JSON in UTF-8" in done.stderr


def test_no_zookeeper_is_one_line(settings: ZookeeperSettings) -> None:
    nobody = ZookeeperSettings(hosts="127.0.0.1:1", root=settings.root)
    done = run(nobody, "silence", "list")
    said = "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"
    assert (done.returncode, done.stderr) == (1, said)
