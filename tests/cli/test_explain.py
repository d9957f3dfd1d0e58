"""`zkalert explain`, as people run it, on trees in a real ZooKeeper; once with a real engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers import HttpReceiver, wait_for
from zkalert.engine import Engine, EngineSettings
from zkalert.model import Channel, HostInfo, Sample, Value, ZookeeperSettings
from zkalert.rulefile import parse
from zkalert.tree import Tree, encode_host, encode_sample
from zkalert.zk import Client, NoNodeError

ROOT = Path(__file__).parents[2]
RULES = """\
rules:
  - {name: memory-high, metric: memory_usage, comparator: ">", threshold: 90, hosts: "web*"}
  - {name: disk-full, metric: disk_usage.percent, comparator: ">", threshold: 90, instances: "/dta"}
  - {name: traffic, metric: network_io.rx_bytes, comparator: ">", threshold: 1MB/s}
  - {name: elsewhere, metric: memory_usage, comparator: ">", threshold: 90, hosts: {role: kafka}}
  - {name: off, metric: memory_usage, comparator: ">", threshold: 90, enabled: false}
  - {name: each-disk, metric: disk_usage.percent, comparator: ">", threshold: 90}
"""


@pytest.fixture
def folder(tmp_path: Path, settings: ZookeeperSettings) -> Path:
    """A folder with a configuration and rules."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "zkalert.yaml").write_text(
        f"zookeeper: {{hosts: '{settings.hosts}', root: {settings.root}, session_timeout: 4s}}\n"
        f"host: here\nstate_dir: {tmp_path}/state\nrules: [rules.yaml]\n"
        "channels: {ops: {urls: ['json://127.0.0.1:9/secret']}}\n"
    )
    return tmp_path


def explain(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", "explain", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    return done


def sample(family: str, instances: Mapping[str, Mapping[str, Value]] | None = None, **values: Value) -> Sample:
    return Sample(family=family, at=time.time(), interval=5, max_age=60, values=values, instances=instances or {})


def publish(client: Client, tree: Tree, host: str, *samples: Sample) -> None:
    info = HostInfo(name=host, labels={"role": "web"})
    client.create(tree.host(host), encode_host(info), makepath=True)
    client.create(tree.metrics(host))
    client.create(tree.alive(host), b"{}", ephemeral=True)
    for one in samples:
        client.create(tree.family(host, one.family), encode_sample(one))


DISKS = sample("disk_usage", {"/": {"percent": 41.0}, "/data": {"percent": 95.0}})


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()[-1]


def test_a_rule_is_explained_on_each_host_that_it_looks_at(client: Client, tree: Tree, folder: Path) -> None:
    publish(client, tree, "web1", sample("memory_usage", percent=40.0))
    publish(client, tree, "web2")
    publish(client, tree, "db1", sample("memory_usage", percent=95.0))
    done = explain(folder, "memory-high")
    assert last_line(done) == (
        "why no message went out: web1: not crossed: memory_usage.percent is 40% (> 90%); "
        "web2: no sample of memory_usage from web2"
    )
    assert "looks at 2 of 3 hosts; not at db1 (hosts: web* does not match db1)\n" in done.stdout
    assert "no engine evaluates this tree now\n" in done.stdout
    assert re.search(r"^  false +memory_usage\.percent is 40% \(> 90%\), seen .* ago$", done.stdout, re.MULTILINE)
    assert re.search(r"^  hears +ops$", done.stdout, re.MULTILINE)


def test_the_same_as_json(client: Client, tree: Tree, folder: Path) -> None:
    publish(client, tree, "web1", sample("memory_usage", percent=95.0))
    done = explain(folder, "memory-high", "--format", "json")
    document = json.loads(done.stdout)
    assert (document["rule"], document["hosts"], document["evaluated"], document["told"]) == (
        "memory-high",
        1,
        False,
        False,
    )
    (series,) = document["series"]
    assert (series["host"], series["state"], series["outcome"], series["why"]["code"]) == (
        "web1",
        "inactive",
        "true",
        "no-engine",
    )
    (one,) = series["comparisons"]
    mtime = client.get(tree.family("web1", "memory_usage"))[1].mtime
    assert (one["value"], one["threshold"], one["at"], one["unknown"]) == (95.0, 90, mtime / 1000, None)
    assert document["why"] == series["why"]["text"] == "crossed; no engine evaluates this tree now"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["disk-full"], "its instances match nothing of disk_usage; there are /, /data; did you mean /data?"),
        (["elsewhere"], "the rule does not look at web1 (hosts: its label role is web, not kafka)"),
        (["off"], "the rule off is off (enabled: false)"),
        (["memory-high", "--host", "web1"], "not crossed: memory_usage.percent is 40% (> 90%)"),
        (["each-disk", "--instance", "/"], "not crossed: disk_usage.percent is 41% (> 90%)"),
        (["each-disk", "--instance", "/d*"], "crossed; no engine evaluates this tree now"),
    ],
    ids=" ".join,
)
def test_one_sentence_says_why(client: Client, tree: Tree, folder: Path, args: list[str], words: str) -> None:
    publish(client, tree, "web1", sample("memory_usage", percent=40.0), DISKS)
    assert last_line(explain(folder, *args)) == f"why no message went out: {words}"


def test_without_hosts_there_is_nothing_to_look_at(tree: Tree, folder: Path) -> None:
    assert last_line(explain(folder, "memory-high")) == (
        "why no message went out: there are no hosts: nobody publishes here"
    )


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["memory-hgh"], 2, 'no rule "memory-hgh"; did you mean memory-high?'),
        (["memory-high", "--host", "wbe1"], 1, 'no host "wbe1"; did you mean web1?'),
        (["each-disk", "--instance", "/dta"], 1, 'no instance matches "/dta"; did you mean /data?'),
        (["memory-high", "--rules", "nowhere.yaml"], 2, "nowhere.yaml"),
    ],
    ids=["rule", "host", "instance", "file"],
)
def test_what_does_not_exist_is_refused_with_the_nearest(
    client: Client, tree: Tree, folder: Path, args: list[str], code: int, words: str
) -> None:
    publish(client, tree, "web1", DISKS)
    done = explain(folder, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_the_rule_that_is_built_in_is_explained_too(client: Client, tree: Tree, folder: Path) -> None:
    publish(client, tree, "web1", DISKS)
    with (folder / "zkalert.yaml").open("a") as file:
        file.write("routes: [{match: {host: web*}, channels: [ops]}]\n")
    done = explain(folder, "host-down", "--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["source"], told["rule"]) == ("built in", "host-down")
    with (folder / "zkalert.yaml").open("a") as file:
        file.write("host_down: false\n")
    assert 'no rule "host-down"' in explain(folder, "host-down").stderr


def test_a_channel_that_wants_worse_is_said_to_be_why_nobody_hears(client: Client, tree: Tree, folder: Path) -> None:
    publish(client, tree, "web1", DISKS)
    text = (folder / "zkalert.yaml").read_text()
    (folder / "zkalert.yaml").write_text(text.replace("{urls:", "{min_severity: critical, urls:"))
    [story] = json.loads(explain(folder, "memory-high", "--format", "json").stdout)["series"]
    assert story["hears"] == []


def test_a_zookeeper_that_does_not_answer_is_given_up_in_one_line(folder: Path) -> None:
    text = (folder / "zkalert.yaml").read_text()
    (folder / "zkalert.yaml").write_text(re.sub("hosts: '[^']*'", "hosts: '127.0.0.1:1'", text).replace("4s", "1s"))
    done = explain(folder, "memory-high")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"


def test_a_rate_is_waited_for_and_that_is_said(client: Client, tree: Tree, folder: Path) -> None:
    first = sample("network_io", {"eth0": {"rx_bytes": 0}})
    publish(client, tree, "web1", first)
    path = tree.family("web1", "network_io")
    command = [sys.executable, "-m", "zkalert", "explain", "traffic"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        second = Sample(
            family="network_io", at=first.at + 5, interval=5, max_age=60, instances={"eth0": {"rx_bytes": 10**10}}
        )
        client.set(path, encode_sample(second))
        out, _ = process.communicate(timeout=30)
    assert said == "a rate takes two samples: waiting for the next ones, 10 s at most\n"
    assert re.search(r"^  true +network_io\.rx_bytes is .*B/s \(> 1 MB/s\)", out, re.MULTILINE), out


def test_many_series_are_counted_and_the_first_are_shown(client: Client, tree: Tree, folder: Path) -> None:
    for number in range(23):
        publish(client, tree, f"web{number:02}", sample("memory_usage", percent=95.0 if number == 22 else 1.0))
    done = explain(folder, "memory-high")
    assert last_line(done) == (
        "why no message went out: web22: crossed; no engine evaluates this tree now; 22 series: not crossed"
    )
    assert done.stdout.count(": inactive\n") == 20
    assert "3 more series are not shown; --all shows them\n" in done.stdout
    assert explain(folder, "memory-high", "--all").stdout.count(": inactive\n") == 23


def test_names_that_steer_a_terminal_steer_nothing(client: Client, tree: Tree, folder: Path) -> None:
    evil = "web\x1b[2J\u202e"
    publish(client, tree, evil, sample("memory_usage", percent=95.0))
    done = explain(folder, "memory-high")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)
    assert r"web\x1b[2J\u202e: inactive" in done.stdout


def test_an_engine_that_told_it_is_seen_to_have_told_it(
    client: Client, tree: Tree, settings: ZookeeperSettings, folder: Path, http_receiver: HttpReceiver
) -> None:
    publish(client, tree, "web1", sample("memory_usage", percent=95.0))
    url = http_receiver.url("/hook", "json")
    rules, _ = parse(RULES, "rules.yaml")
    channels = {"ops": Channel(name="ops", urls=(url,))}
    engine = Engine(EngineSettings(zookeeper=settings, host="here", rules=rules, channels=channels))
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        http_receiver.wait(1, timeout=20)
        wait_for(lambda: not outbox(client, tree), "the outbox to be empty")
        done = explain(folder, "memory-high")
        pending = last_line(done)
    finally:
        engine.stop()
        thread.join(10)
    assert pending.startswith("a message went out: it fired at ")
    assert "ops is done with it: delivered, or given up, as the log of the engine says" in pending
    assert re.search(r"^evaluated by here \(pid \d+\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^web1: firing since .* ago\), alert [0-9a-f]{6}$", done.stdout, re.MULTILINE)


def outbox(client: Client, tree: Tree) -> list[str]:
    try:
        return list(client.get_children(tree.outbox(0)))
    except NoNodeError:
        return []


def test_where_no_znode_is_that_is_said(tree: Tree, folder: Path) -> None:
    (folder / "rules.yaml").write_text(f"""\
rules:
  - {{name: one, metric: "znode:{tree.root}/nowhere#children", comparator: "<", threshold: 3}}
  - {{name: each, metric: "znode:{tree.root}/nowhere/*#/leader", comparator: "<", threshold: 0}}
""")
    assert last_line(explain(folder, "one")).endswith(f": nothing is at znode:{tree.root}/nowhere")
    assert last_line(explain(folder, "each")).endswith(f": nothing is at znode:{tree.root}/nowhere/*")
