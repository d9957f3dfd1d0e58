"""`zkalert validate --live`: rules held against the hosts of a tree in a real ZooKeeper."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from zkalert.model import HostInfo, Sample, Value, ZookeeperSettings
from zkalert.tree import Tree, encode_host, encode_sample
from zkalert.zk import Client

ROOT = Path(__file__).parents[2]
RULES = """\
rules:
  - {name: memory-high, metric: memory_usage, comparator: ">", threshold: 90}
  - metric: disk_usage.percent
    name: disk-full
    comparator: ">"
    threshold: 90
  - {name: kafka, metric: memory_usage, comparator: ">", threshold: 90, hosts: {role: kafka}}
  - {name: one-host, metric: memory_usage, comparator: ">", threshold: 90, hosts: wbe1}
  - {name: swapping, metric: swap_usage.used, comparator: ">", threshold: 1GiB}
  - {name: window, metric: memory_usage, over: 1h, comparator: ">", threshold: 90}
  - {name: "off", metric: swap_usage, comparator: ">", threshold: 90, enabled: false}
"""


def validate(folder: Path, *args: str, zookeeper: ZookeeperSettings | None = None) -> subprocess.CompletedProcess[str]:
    where = ["--zookeeper", zookeeper.hosts, "--root", zookeeper.root] if zookeeper else []
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", "validate", *args, *where],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def publish(client: Client, tree: Tree, host: str, percent: float) -> None:
    client.create(tree.host(host), encode_host(HostInfo(name=host, labels={"role": "web"})), makepath=True)
    client.create(tree.metrics(host))
    disks: Mapping[str, Mapping[str, Value]] = {"/": {"percent": 41.0}, "/data": {"percent": 95.0}}
    for family, values, instances in (
        ("memory_usage", {"percent": percent}, {}),
        ("disk_usage", {}, disks),
        ("swap_usage", {"percent": 1.0}, {}),
    ):
        sample = Sample(
            family=family,
            at=time.time(),
            interval=5,
            max_age=60,
            values=values,
            instances=instances,
        )
        client.create(tree.family(host, family), encode_sample(sample))


@pytest.fixture
def folder(tmp_path: Path, client: Client, tree: Tree) -> Path:
    """A folder with rules; three hosts publish."""
    for number, percent in enumerate((95.0, 40.0, 30.0), 1):
        publish(client, tree, f"web{number}", percent)
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def test_each_rule_has_a_row_and_what_meets_nothing_is_advice(folder: Path, settings: ZookeeperSettings) -> None:
    done = validate(folder, "rules.yaml", "--live", zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "rules.yaml:7:12: advice: kafka looks at none of the hosts that are there",
        '      - {name: kafka, metric: memory_usage, comparator: ">", threshold: 90, hosts: {role: kafka}}',
        "               ^",
        "  expected: one of web1, web2, web3",
        "  role is web there",
        "rules.yaml:8:12: advice: one-host looks at none of the hosts that are there",
        '      - {name: one-host, metric: memory_usage, comparator: ">", threshold: 90, hosts: wbe1}',
        "               ^",
        "  expected: one of web1, web2, web3",
        "  did you mean web1?",
        "rules.yaml:9:12: advice: no host that swapping looks at publishes swap_usage.used (web1, web2, web3)",
        '      - {name: swapping, metric: swap_usage.used, comparator: ">", threshold: 1GiB}',
        "               ^",
        "  expected: a metric that one of them publishes: `zkalert metrics --host web1`",
        "rule         hosts   publish it  series  now",
        "memory-high  3 of 3  3           3       1 of 3 true",
        "disk-full    3 of 3  3           6       3 of 6 true",
        "kafka        0 of 3  0           0       nothing",
        "one-host     0 of 3  0           0       nothing",
        "swapping     3 of 3  0           0       nothing",
        "window       3 of 3  3           3       0 of 3 true, 3 not known here",
        "off          3 of 3                      off",
        "7 rules in 1 file: no errors, 3 advice",
    ]


def test_advice_stands_at_the_name_wherever_that_is(folder: Path, settings: ZookeeperSettings) -> None:
    text = RULES.replace("    name: disk-full\n", "    hosts: nobody\n    name: disk-full\n")
    (folder / "rules.yaml").write_text(text)
    done = validate(folder, "rules.yaml", "--live", zookeeper=settings)
    assert "rules.yaml:5:11: advice: disk-full looks at none of the hosts that are there\n" in done.stdout


def test_the_rows_as_json(folder: Path, settings: ZookeeperSettings) -> None:
    done = validate(folder, "rules.yaml", "--live", "--format", "json", zookeeper=settings)
    document = json.loads(done.stdout)
    assert [(one["code"], one["line"], one["level"]) for one in document["findings"]] == [
        ("no-host", 7, "advice"),
        ("no-host", 8, "advice"),
        ("no-metric", 9, "advice"),
    ]
    live = document["live"]
    assert (live["root"], live["hosts"], live["problem"], len(live["rules"])) == (settings.root, 3, "", 7)
    assert live["rules"][1] == {
        "name": "disk-full",
        "enabled": True,
        "looks_at": 3,
        "publish": 3,
        "series": 6,
        "true": 3,
        "unknown": 0,
    }


@pytest.mark.parametrize("format_", ["github", "sarif"])
def test_formats_for_programs_hold_the_advice_and_nothing_else(
    folder: Path, settings: ZookeeperSettings, format_: str
) -> None:
    done = validate(folder, "rules.yaml", "--live", "--format", format_, zookeeper=settings)
    assert done.stdout.count("no-metric") == (1 if format_ == "github" else 2)
    assert "publish it" not in done.stdout
    if format_ == "sarif":
        assert len(json.loads(done.stdout)["runs"][0]["results"]) == 3


def test_strict_takes_it_for_errors(folder: Path, settings: ZookeeperSettings) -> None:
    done = validate(folder, "rules.yaml", "--live", "--strict", zookeeper=settings)
    assert done.returncode == 1
    assert "error: kafka looks at none" in done.stdout


def test_files_with_errors_are_told_of_and_the_others_are_held_against_the_tree(
    folder: Path, settings: ZookeeperSettings
) -> None:
    (folder / "wrong.yaml").write_text("rules:\n  - {name: x}\n")
    done = validate(folder, "wrong.yaml", "rules.yaml", "--live", zookeeper=settings)
    assert done.returncode == 1
    assert "wrong.yaml:2:" in done.stdout
    assert "memory-high  3 of 3" in done.stdout


def test_the_configuration_names_the_tree(folder: Path, settings: ZookeeperSettings) -> None:
    (folder / "zkalert.yaml").write_text(
        f"zookeeper: {{hosts: '{settings.hosts}', root: {settings.root}}}\nrules: [rules.yaml]\n"
    )
    done = validate(folder, "--live")
    assert (done.returncode, done.stderr) == (0, "")
    assert "memory-high  3 of 3" in done.stdout


def test_without_a_zookeeper_it_is_wrong_usage(folder: Path) -> None:
    done = validate(folder, "rules.yaml", "--live")
    assert done.returncode == 2
    assert "no ZooKeeper is configured" in done.stderr


def test_a_zookeeper_that_does_not_answer_costs_no_finding(folder: Path) -> None:
    (folder / "zkalert.yaml").write_text(
        "zookeeper: {hosts: '127.0.0.1:1', session_timeout: 1s}\nrules: [rules.yaml]\n"
    )
    (folder / "rules.yaml").write_text(RULES.replace("metric: swap_usage,", "metric: swap_usge,"))
    done = validate(folder, "--live")
    assert done.returncode == 1
    assert "did you mean swap_usage?" in done.stdout
    assert done.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"


def test_a_tree_without_hosts_holds_nothing(tmp_path: Path, settings: ZookeeperSettings) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    done = validate(tmp_path, "rules.yaml", "--live", zookeeper=settings)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"zkalert: error: no host publishes below {settings.root}, so no rule could be held against one\n"
    )
    assert "no-host" not in done.stdout


def test_a_pack_that_meets_nothing_is_no_advice(folder: Path, settings: ZookeeperSettings) -> None:
    done = validate(folder, "pack:hbase", "--live", "--strict", zookeeper=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hbase-no-master" in done.stdout
    assert done.stdout.endswith("17 rules in 1 file: no errors\n")


def test_an_ensemble_that_does_not_answer_hides_no_other(folder: Path, settings: ZookeeperSettings) -> None:
    (folder / "rules.yaml").write_text("""\
rules:
  - {name: brokers, metric: "kafka:/brokers/ids#children", comparator: "<", threshold: 3}
  - {name: topics, metric: "kafka:/brokers/topics#children", comparator: "<", threshold: 3}
  - {name: own, metric: "znode:/zookeeper#children", comparator: ">", threshold: 0}
""")
    (folder / "zkalert.yaml").write_text("""\
ensembles: {kafka: {hosts: "127.0.0.1:1", session_timeout: 1s}}
rules: [rules.yaml]
""")
    done = validate(folder, "--live", zookeeper=settings)
    assert done.returncode == 1
    why = "ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)"
    assert done.stderr == f"zkalert: error: the ensemble kafka is not known now: {why}\n"
    assert done.stdout.splitlines() == [
        "rule     hosts       publish it  series  now",
        "brokers  1 ensemble  0           0       nothing",
        "topics   1 ensemble  0           0       nothing",
        "own      1 ensemble  1           1       1 of 1 true",
        "3 rules in 2 files: no errors",
    ]
