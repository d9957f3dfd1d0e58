"""`zkalert metrics` of paths and ensembles: what znodes and servers say now, and how rules name that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from tests.cli.test_metrics import cells, metrics
from zkalert.localzk import LocalServer
from zkalert.model import ZookeeperSettings
from zkalert.tree import Tree
from zkalert.zk import Client

STATE = {"leader": 1, "isr": [1, 2], "sizes": {"a/b": 5, "c~d": "x"}, "on": True, "none": None}


@pytest.fixture
def top(client: Client, settings: ZookeeperSettings) -> str:
    """A folder of the test's own beside zkalert's tree, with two topics, a broker and a number."""
    top = f"{settings.root}-app"
    for topic in ("orders", "users"):
        client.create(f"{top}/topics/{topic}/state", json.dumps(STATE).encode(), makepath=True)
    client.create(f"{top}/ids/1", b"k1", ephemeral=True, makepath=True)
    client.create(f"{top}/seqid", b"42")
    return top


def document(*args: str, cwd: Path, zookeeper: ZookeeperSettings) -> Any:
    done = metrics(*args, "--format", "json", cwd=cwd, zookeeper=zookeeper)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


# Matches --------------------------------------------------------------------------------------------------------------


def test_each_match_is_shown_with_what_rules_can_name(
    top: str, client: Client, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    done = metrics(f"znode:{top}/topics/{{topic}}/state", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"znode:{top}/topics/{{topic}}/state  2 znodes in zookeeper\n\n")
    assert f"\n{top}/topics/orders/state  topic=orders\n" in done.stdout
    assert f"\n{top}/topics/users/state  topic=users\n" in done.stdout
    shown = {row[0]: row[1] for row in re.findall(r"^  (#\S+) +(\S+)", done.stdout, re.MULTILINE)}
    assert shown.pop("#length") == str(len(json.dumps(STATE)))
    assert shown.pop("#value").startswith('{"leader":')
    assert re.fullmatch(r"[\d.]+m?s", shown.pop("#age"))
    assert re.fullmatch(r"[\d.]+m?s", shown.pop("#created"))
    assert shown == {
        "#exists": "1",
        "#children": "0",
        "#version": "0",
        "#owner": '""',
        "#acl_open": "1",
        "#/leader": "1",
        "#/isr": "2",
        "#/sizes": "2",
        "#/sizes/a~1b": "5",
        "#/sizes/c~0d": "x",
        "#/on": "true",
        "#changes": "-",
        "#~REGEX": "-",
    }


def test_each_shown_name_of_a_field_gives_the_shown_value(
    top: str, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    """What is offered can be written behind the path, as rules do."""
    path = f"znode:{top}/topics/orders/state"
    (whole,) = document(path, cwd=tmp_path, zookeeper=settings)["znodes"]
    for name in ("children", "/isr", "/sizes/a~1b", "/on"):
        (one,) = document(f"{path}#{name}", cwd=tmp_path, zookeeper=settings)["znodes"]
        assert one["values"] == {"exists": 1, name: whole["values"][name]}


def test_one_field_is_a_line_for_each_match(top: str, settings: ZookeeperSettings, tmp_path: Path) -> None:
    done = metrics(f"znode:{top}/topics/*/state#/isr", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2:] == [f"  {top}/topics/orders/state  2", f"  {top}/topics/users/state   2"]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("/isrs", "none has #/isrs; `zkalert metrics 'znode:{top}/topics/*/state'` shows what they have"),
        ("changes", "#changes is counted by the engine, from when it began to look"),
    ],
)
def test_a_field_that_no_match_has_is_said_to_be_missing(
    top: str, settings: ZookeeperSettings, tmp_path: Path, field: str, said: str
) -> None:
    done = metrics(f"znode:{top}/topics/*/state#{field}", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, said.format(top=top) + "\n")


def test_a_regular_expression_can_be_tried(top: str, settings: ZookeeperSettings, tmp_path: Path) -> None:
    done = metrics(rf"znode:{top}/seqid#~(\d)$", cwd=tmp_path, zookeeper=settings)
    assert done.stdout.splitlines()[-1].split() == [f"{top}/seqid", "2"]


def test_matches_as_json_have_labels_and_an_owner(
    top: str, client: Client, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    found = document(f"znode:{top}/ids/{{broker}}", cwd=tmp_path, zookeeper=settings)
    assert (found["ensemble"], found["field"], found["matches"], found["is_cut"]) == ("zookeeper", None, 1, False)
    (one,) = found["znodes"]
    assert (one["path"], one["labels"], one["problem"]) == (f"{top}/ids/1", {"broker": "1"}, "")
    assert one["values"]["owner"] == f"{client.client_id[0]:x}"
    assert one["values"]["value"] == "k1"


def test_of_many_matches_the_first_are_shown_and_all_are_counted(
    client: Client, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    folder = f"{settings.root}-many"
    client.ensure_path(folder)
    for number in range(30):
        client.create(f"{folder}/n{number:02d}")
    done = metrics(f"znode:{folder}/*#version", cwd=tmp_path, zookeeper=settings)
    lines = done.stdout.splitlines()
    assert lines[0].endswith("30 znodes in zookeeper")
    assert len([line for line in lines if line.startswith(f"  {folder}/n")]) == 20
    assert lines[-1].startswith("and 10 more; ")
    assert len(document(f"znode:{folder}/*", cwd=tmp_path, zookeeper=settings)["znodes"]) == 30


def test_what_anybody_named_or_wrote_steers_nothing(
    client: Client, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    folder = f"{settings.root}-evil"
    client.create(f"{folder}/\u202ename", b'{"\x1b[2J": 1, "ok\xe2\x80\xae": 2, "text": "\\u001b[2J"}', makepath=True)
    client.create(f"{folder}/raw", b"\x1b[2J\xff\n\n")
    client.create(f"{folder}/large", b"x" * 100_000)
    done = metrics(f"znode:{folder}/{{which}}", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)
    assert "  (100,000 bytes, of which at most 65,536 are read)\n" in done.stdout
    assert rf"{folder}/\u202ename  which=\u202ename" in done.stdout
    missing = metrics(f"znode:{folder}/nothing", cwd=tmp_path, zookeeper=settings)
    assert "\u202e" not in missing.stderr
    assert r"it has large, raw, \u202ename" in missing.stderr


def test_what_may_not_be_read_is_there_and_that_is_said(
    client: Client, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    path = f"{settings.root}-secret"
    client.create(path, b"secret", acl=[make_digest_acl("somebody", "else", all=True)])
    (one,) = document(f"znode:{path}", cwd=tmp_path, zookeeper=settings)["znodes"]
    assert one["problem"] == "its data may not be read"
    assert (one["values"]["exists"], one["values"]["length"]) == (1, 6)
    assert "value" not in one["values"]
    below = metrics(f"znode:{path}/*", cwd=tmp_path, zookeeper=settings)
    assert below.returncode == 1
    assert below.stderr.endswith(f"{path} is there, and its children may not be read\n")


# No match -------------------------------------------------------------------------------------------------------------

_NO_IDZ = "{top} is there, {top}/idz is not; it has ids, seqid, topics; did you mean {top}/ids?"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/idz", "{top}/idz matches nothing (a rule on it sees exists 0): " + _NO_IDZ),
        ("/idz/*/x", "{top}/idz/*/x matches nothing: " + _NO_IDZ),
        ("/seqid/*", "{top}/seqid/* matches nothing: {top}/seqid is there and has no children"),
        ("/topics/*/*/*", "{top}/topics/*/*/* matches nothing: {top}/topics/orders/state is there and has no children"),
    ],
    ids=["missing", "missing folder", "childless", "too deep"],
)
def test_where_nothing_matches_it_is_told_how_far_the_path_leads(
    top: str, settings: ZookeeperSettings, tmp_path: Path, path: str, said: str
) -> None:
    done = metrics(f"znode:{top}{path}", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"zkalert: error: znode:{said.format(top=top)}\n"


def test_an_end_of_a_path_that_no_match_has_is_told_beside_them(
    top: str, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    done = metrics(f"znode:{top}/topics/*/stat#exists", cwd=tmp_path, zookeeper=settings)
    assert done.returncode == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()[2:]] == ["0", "0"]
    assert done.stderr.startswith(f"{top}/topics/orders is there, {top}/topics/orders/stat is not; it has state")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/brokers/ids", "did you mean znode:/brokers/ids?"),
        ("kafka:brokers", "expected <ensemble>:/path#field"),
        ("znode:/a//b", "expected whole names"),
        ("znode:/a#chlidren", "did you mean znode:/a#children?"),
        ("znode:/a#~(", "not a regular expression"),
        ("znode:/a#~(a+)+", "for ever"),
        ("kafak:/brokers", "did you mean kafka?"),
        ("solr:/live_nodes", "known: zookeeper, kafka"),
    ],
)
def test_what_names_no_znode_is_refused_with_what_would(tmp_path: Path, text: str, said: str) -> None:
    config = "zookeeper: {hosts: '127.0.0.1:1'}\nensembles: {kafka: {hosts: '127.0.0.1:1'}}\n"
    (tmp_path / "zkalert.yaml").write_text(config)
    done = metrics(text, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


# Ensembles ------------------------------------------------------------------------------------------------------------


def test_another_ensemble_is_looked_at_without_the_own_one(own_zookeeper: LocalServer, tmp_path: Path) -> None:
    client = KazooClient(own_zookeeper.hosts)
    client.start()
    client.create("/brokers/ids/7", b"", makepath=True)
    client.stop()
    client.close()
    config = f"zookeeper: {{hosts: '127.0.0.1:1'}}\nensembles: {{kafka: {{hosts: '{own_zookeeper.hosts}/brokers'}}}}\n"
    (tmp_path / "zkalert.yaml").write_text(config)
    done = metrics("kafka:/ids#children", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["kafka:/ids  1 znode in kafka", "", "  /ids  1"]
    servers = metrics("--ensemble", "kafka", "zookeeper.role", cwd=tmp_path)
    assert (servers.returncode, servers.stderr) == (0, "")
    assert cells(servers.stdout, "zookeeper.role")[0][1:3] == [own_zookeeper.hosts, "standalone"]


def test_an_ensemble_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text(
        "ensembles: {kafka: {hosts: '127.0.0.1:1', session_timeout: 1s}}\nzookeeper: {hosts: '127.0.0.1:1'}\n"
    )
    done = metrics("kafka:/brokers", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"
    servers = metrics("--ensemble", "kafka", cwd=tmp_path)
    assert servers.returncode == 0
    assert cells(servers.stdout, "zookeeper.ok")[0][1:3] == ["127.0.0.1:1", "0"]


def test_what_the_servers_of_the_own_ensemble_say_is_shown(
    tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    done = metrics("--ensemble", "zookeeper", cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("zookeeper\n\nzookeeper  The servers of an ensemble")
    assert cells(done.stdout, "zookeeper.quorum")[0][1] == "100%"
    assert "memory_usage" not in done.stdout
    found = document("--ensemble", "zookeeper", cwd=tmp_path, zookeeper=settings)
    assert found["ensemble"] == "zookeeper"
    assert [entry["name"] for entry in found["families"]] == ["zookeeper"]
    assert found["families"][0]["sample"]["values"]["quorum"] == 100


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--ensemble", "zookeper"), "did you mean zookeeper?"),
        (("--ensemble", "zookeeper", "--host", "web1"), "ask one"),
        (("--host", "web1", "znode:/brokers"), "a path names its ensemble itself"),
        (("--ensemble", "zookeeper", "memory_usage"), 'no family "memory_usage"'),
    ],
)
def test_questions_that_go_ill_together_are_refused(
    settings: ZookeeperSettings, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = metrics(*args, cwd=tmp_path, zookeeper=settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
