"""`zkalert metrics`: the table without a ZooKeeper, and a host's values out of a real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zkalert.localzk import LocalServer
from zkalert.metrics import FAMILIES
from zkalert.model import Alive, HostInfo, Sample, Value, ZookeeperSettings
from zkalert.tree import Tree, encode_alive, encode_host, encode_sample
from zkalert.zk import Client

ROOT = Path(__file__).parents[2]


def metrics(*args: str, cwd: Path, zookeeper: ZookeeperSettings | None = None) -> subprocess.CompletedProcess[str]:
    where = ["--zookeeper", zookeeper.hosts, "--root", zookeeper.root] if zookeeper else []
    command = [sys.executable, "-m", "zkalert", "metrics", *args, *where]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def cells(text: str, metric: str) -> list[list[str]]:
    """The rows of a metric, cut into their columns."""
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    return [row for row in rows if row[0] == metric]


def publish(client: Client, tree: Tree, host: str, *samples: Sample) -> None:
    client.create(tree.host(host), encode_host(HostInfo(name=host)), makepath=True)
    client.create(tree.metrics(host))
    for sample in samples:
        client.create(tree.family(host, sample.family), encode_sample(sample))


def sample(family: str, values: dict[str, Value], instances: dict[str, dict[str, Value]] | None = None) -> Sample:
    return Sample(
        family=family, at=1.0, interval=5.0, max_age=15.0, values=values, instances=instances or {}, errors=("a slip",)
    )


# The table ------------------------------------------------------------------------------------------------------------


def test_every_metric_is_listed_with_unit_kind_and_help(tmp_path: Path) -> None:
    done = metrics(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for family in FAMILIES.values():
        for field in family.fields.values():
            row = [f"{family.name}.{field.name}", field.unit.value, field.kind.value, field.help]
            assert cells(done.stdout, row[0]) == [row]


def test_a_family_says_what_its_instances_are(tmp_path: Path) -> None:
    done = metrics(cwd=tmp_path)
    family = FAMILIES["disk_usage"]
    assert f"disk_usage  {family.help} (main field percent; instances: mount; every 30s)\n" in done.stdout


def test_the_table_as_json_has_all_that_the_table_has(tmp_path: Path) -> None:
    document = json.loads(metrics("--format", "json", cwd=tmp_path).stdout)
    assert list(document) == ["families"]
    assert [entry["name"] for entry in document["families"]] == list(FAMILIES)
    for entry, family in zip(document["families"], FAMILIES.values(), strict=True):
        assert "sample" not in entry
        assert entry["instance_kind"] == family.instance_kind
        assert entry["main"] == family.main
        assert {field["name"]: (field["unit"], field["kind"]) for field in entry["fields"]} == {
            field.name: (field.unit.value, field.kind.value) for field in family.fields.values()
        }


def test_a_family_or_a_field_alone_can_be_asked_for(tmp_path: Path) -> None:
    whole = metrics("disk_usage", cwd=tmp_path).stdout
    assert [line.split()[0] for line in whole.splitlines()[1:]] == [
        f"disk_usage.{name}" for name in FAMILIES["disk_usage"].fields
    ]
    one = metrics("disk_usage.free", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in one] == ["disk_usage", "disk_usage.free"]
    (entry,) = json.loads(metrics("disk_io", "--format", "json", cwd=tmp_path).stdout)["families"]
    assert entry["name"] == "disk_io"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("disk_usgae", "did you mean disk_usage?"),
        ("disk_usage.fre", "did you mean disk_usage.free?"),
        ("qqq", "with --host NAME those too that applications push there"),
    ],
)
def test_an_unknown_metric_is_refused_with_the_nearest_name(tmp_path: Path, asked: str, said: str) -> None:
    done = metrics(asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_host_needs_a_zookeeper(tmp_path: Path) -> None:
    done = metrics("--host", "web1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no ZooKeeper is configured" in done.stderr


# A host ---------------------------------------------------------------------------------------------------------------


def test_values_of_a_host_stand_beside_their_metrics(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    publish(
        client,
        tree,
        "web1",
        sample("memory_usage", {"percent": 91.44, "total": 2**34}),
        sample("disk_usage", {}, {"/": {"percent": 41.0, "free": 2**30}, "/data": {"percent": 88}}),
    )
    client.create(tree.alive("web1"), encode_alive(Alive(machine="m", pid=1, started_at=1.0)), ephemeral=True)
    done = metrics("--host", "web1", zookeeper=settings, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("web1  alive\n")
    (row,) = cells(done.stdout, "memory_usage.percent")
    assert row[1:4] == ["91.44%", "percent", "gauge"]
    assert cells(done.stdout, "memory_usage.total")[0][1] == "16 GiB"
    assert cells(done.stdout, "memory_usage.slab")[0][1] == "-"
    (first, second) = cells(done.stdout, "disk_usage.percent")
    assert (first[1:3], second[1:3]) == (["/", "41%"], ["/data", "88%"])
    assert cells(done.stdout, "disk_usage.free")[0][1:3] == ["/", "1 GiB"]
    assert re.search(r"^cpu_usage .*\n  not published$", done.stdout, re.MULTILINE)
    assert "  (a slip)\n" in done.stdout


def test_one_family_of_a_host_can_be_asked_for_pushed_ones_too(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    publish(client, tree, "web1", sample("orders", {"depth": 3, "open": 1}), sample("uptime", {"seconds": 5}))
    done = metrics("orders.depth", "--host", "web1", zookeeper=settings, cwd=tmp_path)
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("  orders")] == [["orders.depth", "3"]]
    assert "uptime" not in done.stdout
    unknown = metrics("oders", "--host", "web1", zookeeper=settings, cwd=tmp_path)
    assert (unknown.returncode, unknown.stderr) == (2, 'zkalert: error: no family "oders"; did you mean orders?\n')


def test_values_of_a_host_as_json(client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path) -> None:
    publish(client, tree, "web1", sample("disk_usage", {}, {"/": {"percent": 41.0}}))
    mtime = client.get(tree.family("web1", "disk_usage"))[1].mtime
    document = json.loads(metrics("--host", "web1", "--format", "json", zookeeper=settings, cwd=tmp_path).stdout)
    assert (document["host"], document["alive"]) == ("web1", False)
    samples: dict[str, Any] = {entry["name"]: entry["sample"] for entry in document["families"]}
    assert samples["memory_usage"] is None
    assert samples["disk_usage"] == {
        "at": mtime / 1000,
        "values": {},
        "instances": {"/": {"percent": 41.0}},
        "labels": {},
        "errors": ["a slip"],
    }


def test_what_anybody_wrote_is_shown_and_steers_nothing(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    """Text values, families and fields of a newer sampler, and payloads that are no samples."""
    evil = "\x1b[2J\u202e"
    publish(client, tree, evil, sample("own", {"state": evil, "count": 3, evil: 1}, {evil: {"state": "up"}}))
    client.create(tree.family(evil, "memory_usage"), b"\x1b[2J")
    client.create(tree.family(evil, "cpu_usage"), b"x" * 100_000)
    client.create(tree.family(evil, "uptime"), encode_sample(sample("uptime", {"seconds": "long", "later": 5})))
    client.create(tree.family(evil, evil), b"{}")
    done = metrics("--host", evil, zookeeper=settings, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)
    assert re.search(r"^memory_usage .*\n  unusable: not JSON in UTF-8$", done.stdout, re.MULTILINE)
    assert re.search(r"^cpu_usage .*\n  unusable: 100000 bytes", done.stdout, re.MULTILINE)
    assert cells(done.stdout, "uptime.seconds")[0][1] == "long"
    assert cells(done.stdout, "uptime.later")[0][1] == "5"
    assert cells(done.stdout, "own.count")[0][1] == "3"
    assert [row[-1] for row in cells(done.stdout, "own.state")] == [r"\x1b[2J\u202e", "up"]
    document = json.loads(metrics("--host", evil, "--format", "json", zookeeper=settings, cwd=tmp_path).stdout)
    (entry,) = (entry for entry in document["families"] if entry["name"] == evil)
    assert list(entry["sample"]) == ["problem"]


@pytest.mark.parametrize("is_alive", [True, False])
def test_whether_a_host_is_alive_is_not_for_the_host_to_say(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path, is_alive: bool
) -> None:
    publish(client, tree, "web1", sample("host", {"kernel": "Linux 6.1", "alive": 7}))
    if is_alive:
        client.create(tree.alive("web1"), encode_alive(Alive(machine="m", pid=1, started_at=1.0)), ephemeral=True)
    done = metrics("--host", "web1", zookeeper=settings, cwd=tmp_path)
    assert cells(done.stdout, "host.alive")[0][1] == str(int(is_alive))
    assert cells(done.stdout, "host.kernel")[0][1:4] == ["Linux 6.1", "text", "text"]


def test_how_far_a_clock_is_off_is_told_by_when_its_sample_was_written(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    publish(client, tree, "web1", sample("host", {"kernel": "Linux 6.1"}))  # at 1.0
    written_at = client.exists(tree.family("web1", "host")).mtime / 1000
    done = metrics("--host", "web1", "--format", "json", zookeeper=settings, cwd=tmp_path)
    (entry,) = (entry for entry in json.loads(done.stdout)["families"] if entry["name"] == "host")
    assert entry["sample"]["values"]["clock_skew"] == pytest.approx(1.0 - written_at, abs=0.01)


def test_a_host_that_has_published_nothing_yet_is_no_error(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    client.create(tree.host("web1"), encode_host(HostInfo(name="web1")), makepath=True)
    done = metrics("--host", "web1", zookeeper=settings, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("  not published")) == (0, len(FAMILIES))


@pytest.mark.parametrize(
    ("asked", "said"),
    [("wbe1", "did you mean web1?"), ("zzz", "known: db1, web1"), ("a/../web1", ""), (".", "known: ")],
)
def test_an_unknown_host_is_refused_with_the_nearest_name(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path, asked: str, said: str
) -> None:
    for host in ("web1", "db1"):
        publish(client, tree, host)
    done = metrics("--host", asked, zookeeper=settings, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f'zkalert: error: no host "{asked}" below {settings.root}; {said}')


def test_a_tree_that_is_not_there_has_no_hosts(zookeeper: LocalServer, tmp_path: Path) -> None:
    nowhere = ZookeeperSettings(hosts=zookeeper.hosts, root="/nowhere")
    done = metrics("--host", "web1", zookeeper=nowhere, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody publishes there" in done.stderr


def test_a_zookeeper_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text("zookeeper: {hosts: '127.0.0.1:1', session_timeout: 1s}\n")
    done = metrics("--host", "web1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"
