"""`zkalert hosts`, `engines` and `sampler --leave`, as people run them, on a tree in a real ZooKeeper."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.saying import command, environ, firing, run, write_alerts
from tests.helpers import wait_for
from zkalert import cli
from zkalert.model import Alive, EngineInfo, HostInfo, Publication, Sample, State, ZookeeperSettings
from zkalert.rulefile import digest, load_texts
from zkalert.sampler import machine_id
from zkalert.store import rulesets
from zkalert.store.hosts import HostIsBack, forget_host
from zkalert.tree import Tree, encode_alive, encode_engine, encode_host, encode_sample
from zkalert.zk import Client, make_client

HOSTILE = "web\x1b[31m\n1"
RULES = b"rules:\n  - {name: disk-full, metric: disk_usage, comparator: '>', threshold: 90%}\n"


def publish(
    client: Client,
    tree: Tree,
    name: str,
    families: int = 2,
    ahead: float = 0.0,
    machine: str = "m1",
    *,
    is_alive: bool = True,
) -> None:
    info = HostInfo(name=name, platform="Linux 6.1 x86_64", version="0.4", labels={"role": "web"}, machine=machine)
    client.create(tree.host(name), encode_host(info), makepath=True)
    client.create(tree.metrics(name))
    for number in range(families):
        one = Sample(family=f"family{number}", at=time.time() + ahead, interval=5, max_age=15, values={"n": 1})
        client.create(tree.family(name, one.family), encode_sample(one))
    if is_alive:
        client.create(tree.alive(name), encode_alive(Alive(machine=machine, pid=1, started_at=1.0)), ephemeral=True)


@contextmanager
def engine(settings: ZookeeperSettings, tree: Tree, name: str, rules: str, *, waits: bool = True) -> Iterator[Client]:
    """An engine as its session shows it: its own znode, and its place in the queue for the lock."""
    client = make_client(settings)
    client.start(timeout=15)
    try:
        info = EngineInfo(host=name, pid=7, version="0.4", rules=rules)
        client.ensure_path(tree.engines)
        client.create(tree.engine(f"{name}-7"), encode_engine(info), ephemeral=True)
        if waits:
            client.ensure_path(tree.shard(0))
            client.create(f"{tree.shard(0)}/{name}__lock__", encode_engine(info), ephemeral=True, sequence=True)
        yield client
    finally:
        client.stop()
        client.close()


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines() if line}


def test_hosts_with_the_age_of_what_they_say(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    publish(client, tree, "web1")
    publish(client, tree, "db1", families=3, ahead=-90, is_alive=False)
    write_alerts(client, tree, firing(), firing(name="other", episode="b" * 16, state=State.PENDING))
    done = run(settings, "hosts")
    found = rows(done.stdout)
    assert done.returncode == 0
    assert list(found)[1:] == ["db1", "web1"]
    assert found["db1"][1] == "gone"
    assert found["db1"][-3:] == ["Linux", "6.1", "x86_64"]
    assert "-1m30s" in found["db1"]
    assert found["web1"][1] == "alive"
    assert found["web1"][3:7] == ["ago", "2", "0", "0"]
    assert "no engine evaluates this tree now" in done.stderr

    (db, web) = json.loads(run(settings, "hosts", "--format", "json").stdout)["hosts"]
    assert (db["alive"], db["firing"], db["pending"], len(db["families"])) == (False, 1, 1, 3)
    assert db["clock_skew"] == pytest.approx(-90, abs=2)
    assert web["labels"] == {"role": "web"}
    assert 0 <= web["age"] < 30
    assert abs(web["clock_skew"]) < 2


def test_an_empty_tree_has_nobody(settings: ZookeeperSettings) -> None:
    done = run(settings, "hosts")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nobody publishes here" in done.stderr


def test_nothing_in_a_name_steers_the_terminal(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    publish(client, tree, HOSTILE, is_alive=False)
    done = run(settings, "hosts")
    assert "web\\x1b[31m\\x0a1" in done.stdout
    done = run(settings, "hosts", "forget", HOSTILE)
    assert done.returncode == 0
    assert "\x1b" not in done.stderr


def test_the_owner_comes_first_then_those_who_wait(settings: ZookeeperSettings, tree: Tree, client: Client) -> None:
    publish(client, tree, "web1")
    with (
        engine(settings, tree, "zoe", "aaa"),
        engine(settings, tree, "ann", "aaa"),
        engine(settings, tree, "new", "bbb", waits=False),
    ):
        done = run(settings, "engines")
        document = json.loads(run(settings, "engines", "--format", "json").stdout)
        together = run(settings, "hosts").stdout
    found = rows(done.stdout)
    assert list(found)[1:] == ["zoe-7", "ann-7", "new-7"]
    assert [line[4] for line in found.values()][1:] == ["owner", "standby", "starting"]
    assert "one engine runs other rules than most of them" in done.stderr
    assert [(one["id"], one["other_rules"]) for one in document["engines"]] == [
        ("zoe-7", False),
        ("ann-7", False),
        ("new-7", True),
    ]
    assert document["published"] is None
    assert {"web1", "zoe-7", "ann-7"} <= rows(together).keys()


def test_engines_are_held_against_the_published_rules(settings: ZookeeperSettings, tree: Tree, client: Client) -> None:
    files = {"rules.yaml": RULES}
    rulesets.publish(
        client, tree, files, Publication(set_id=rulesets.publication_of(files, at=1.0).set_id, at=1.0, by="Ann"), None
    )
    right = digest(load_texts(files).rules)
    assert len(load_texts(files).rules) == 1
    with engine(settings, tree, "zoe", "old"), engine(settings, tree, "ann", right):
        done = run(settings, "engines")
        document = json.loads(run(settings, "engines", "--format", "json").stdout)
    assert "one engine runs other rules than the published set" in done.stderr
    assert (document["published"]["by"], document["published"]["digest"]) == ("Ann", right)
    assert [one["other_rules"] for one in document["engines"]] == [True, False]


def test_a_host_is_forgotten(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    publish(client, tree, "web1", is_alive=False)
    publish(client, tree, "web2", is_alive=False)
    client.create(tree.requests("web1"), makepath=True)
    done = run(settings, "hosts", "forget", "web1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "host web1 is forgotten: 4 znodes deleted\n")
    assert client.get_children(tree.hosts) == ["web2"]
    assert client.exists(tree.requests("web1")) is None


def test_a_host_that_lives_is_not_forgotten_nor_are_others_then(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    publish(client, tree, "web1", is_alive=False)
    publish(client, tree, "web2")
    done = run(settings, "hosts", "forget", "web1", "web2")
    assert done.returncode == 1
    assert 'nothing was deleted: the sampler of host "web2" lives' in done.stderr
    assert sorted(client.get_children(tree.hosts)) == ["web1", "web2"]
    done = run(settings, "hosts", "forget", "web1", "wbe2")
    assert (done.returncode, done.stderr) == (1, 'zkalert: error: no host "wbe2"; did you mean web2?\n')
    assert sorted(client.get_children(tree.hosts)) == ["web1", "web2"]


def test_hundreds_of_znodes_go_in_bounded_transactions(client: Client, tree: Tree) -> None:
    publish(client, tree, "web1", families=250, is_alive=False)
    assert forget_host(client, tree, "web1") == 252
    assert client.exists(tree.host("web1")) is None
    assert forget_host(client, tree, "web1") == 0


def test_a_sampler_that_comes_back_meanwhile_keeps_its_host(
    client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(client, tree, "web1", is_alive=False)
    look = client.get_children

    def look_and_be_late(path: str) -> list[str]:
        found: list[str] = look(path)
        if path == tree.host("web1") and client.exists(tree.alive("web1")) is None:
            client.create(tree.alive("web1"), b"{}", ephemeral=True)
        return found

    monkeypatch.setattr(client, "get_children", look_and_be_late)
    with pytest.raises(HostIsBack):
        forget_host(client, tree, "web1")
    assert sorted(look(tree.host("web1"))) == ["alive", "metrics"]
    assert len(look(tree.metrics("web1"))) == 2


def leave(settings: ZookeeperSettings, state: Path) -> subprocess.CompletedProcess[str]:
    return run(settings, "sampler", "--leave", "--state-dir", str(state), "--host", "web1")


def test_a_stopped_sampler_leaves_for_good(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    words = command(settings, "sampler", "--state-dir", str(tmp_path), "--host", "web1")
    with subprocess.Popen(words, env=environ(), stderr=subprocess.DEVNULL) as sampler:
        try:
            wait_for(lambda: client.exists(tree.family("web1", "memory_usage")), "a sample", 20)
            done = leave(settings, tmp_path)
            assert done.returncode == 1
            assert f"pid {sampler.pid} on this machine" in done.stderr
            assert client.exists(tree.alive("web1")) is not None
        finally:
            sampler.terminate()
            sampler.wait()
    done = leave(settings, tmp_path)
    assert done.returncode == 0
    assert "host web1 has left" in done.stderr
    assert client.get_children(tree.hosts) == []
    done = leave(settings, tmp_path)
    assert (done.returncode, done.stderr) == (0, "there is no host web1 in the tree: nothing is to be done\n")


def test_a_sampler_that_was_killed_need_not_be_waited_for(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    gone = subprocess.Popen(["true"])
    started_at = psutil.Process(gone.pid).create_time()
    gone.wait()
    machine = machine_id(tmp_path)
    publish(client, tree, "web1", machine=machine, is_alive=False)
    mark = Alive(machine=machine, pid=gone.pid, started_at=started_at)
    client.create(tree.alive("web1"), encode_alive(mark), ephemeral=True)
    assert leave(settings, tmp_path).returncode == 0
    assert client.get_children(tree.hosts) == []


def test_the_host_of_another_machine_stays(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    publish(client, tree, "web1", machine="other")
    done = leave(settings, tmp_path)
    assert (done.returncode, "on machine other" in done.stderr) == (1, True)
    client.delete(tree.alive("web1"))
    done = leave(settings, tmp_path)
    assert done.returncode == 1
    assert 'nothing was deleted: machine other published as host "web1"' in done.stderr
    assert client.get_children(tree.hosts) == ["web1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hosts", "forget"], "Missing argument 'HOST...'"),
        (["hosts", "--format", "xml"], "'xml' is not one of"),
        (["hosts", "--zookeeper", "localhost:1", "forget", "web1"], "--zookeeper goes behind forget"),
        (["engines", "web1"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert cli.run(words) == 2
    assert message in capsys.readouterr().err
