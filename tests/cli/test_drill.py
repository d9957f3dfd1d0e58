"""`zkalert drill`, as people run it: real senders and a real receiver, with and without a ZooKeeper."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.saying import environ, write_host
from tests.helpers import Answer, HttpReceiver
from zkalert.evaluate.compare import judge_of
from zkalert.model import HostInfo, Outcome, Sample, Severity, ZookeeperSettings
from zkalert.rulefile import parse
from zkalert.survey import Scene, drill_of, severities
from zkalert.tree import Tree, encode_sample
from zkalert.zk import Client

AT = 1_795_000_000.0
RULES = """\
rules:
  - name: disk-full
    metric: disk_usage
    comparator: ">"
    instances: ["/data", "/srv*"]
    levels:
      - {severity: warning, threshold: 80%, duration: 5m}
      - {severity: critical, threshold: 95%, action: pager}
    summary: "{{ host }} {{ instance }} {{ value }}"
  - name: cleaner
    metric: memory_usage
    comparator: ">"
    threshold: 90%
    action: [{notify: ops}, {run: "touch ran"}]
"""


@pytest.fixture
def folder(tmp_path: Path, http_receiver: HttpReceiver) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    config = {
        "host": "here",
        "rules": ["rules.yaml"],
        "channels": {name: {"urls": [http_receiver.url(f"/{name}", "json")]} for name in ("default", "ops", "pager")},
    }
    (tmp_path / "zkalert.yaml").write_text(json.dumps(config))
    return tmp_path


def drill(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", "drill", *words, "--state-dir", str(folder)],
        cwd=folder,
        env={name: value for name, value in environ().items() if name != "ZKALERT_HOST"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_it_walks_the_whole_way_and_says_what_became_of_it(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "disk-full")
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("firing    default/")
    assert "json://127.0.0.1" in first
    assert "delivered in" in first
    assert last.startswith("resolved  default/")
    began, ended = http_receiver.wait(2, path="/default")
    assert began.json["title"].startswith("[DRILL] [warning] disk-full on here, /data: here /data 80.1%")
    assert "This is a drill: nothing has happened." in began.json["message"]
    assert ended.json["title"].startswith("[DRILL] [resolved] disk-full")
    assert http_receiver.at("/pager") == []


def test_a_level_has_its_own_threshold_and_channel(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "disk-full", "--severity", "critical", "--phase", "firing", "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (one,) = document["messages"]
    assert (document["severity"], document["instance"], one["phase"], one["name"]) == (
        "critical",
        "/data",
        "firing",
        "pager",
    )
    assert (one["state"], one["kind"], one["problem"]) == ("delivered", "notify", "")
    assert one["url"].startswith("json://127.0.0.1")
    assert "pager" not in one["url"]
    assert "95.1%" in http_receiver.at("/pager")[0].json["title"]


def test_a_channel_that_fails_is_told_and_is_the_exit_code(folder: Path, http_receiver: HttpReceiver) -> None:
    http_receiver.answer("/default", Answer(status=500))
    done = drill(folder, "disk-full", "--phase", "firing")
    assert done.returncode == 1
    assert "failed after" in done.stdout
    assert "500" in done.stdout


def test_a_dry_run_sends_nothing_and_shows_what_would_be(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "disk-full", "--dry-run", "--instance", "/srv/a")
    assert done.returncode == 0
    assert "skipped: not sent" in done.stdout
    assert "    [DRILL] [warning] disk-full on here, /srv/a: here /srv/a 80.1%" in done.stdout
    assert http_receiver.requests == []


def test_commands_do_not_run_unless_it_is_said(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "cleaner", "--phase", "firing")
    assert done.returncode == 0, done.stderr
    assert "the command touch  skipped: commands run with --run alone" in done.stdout
    assert not (folder / "ran").exists()
    done = drill(folder, "cleaner", "--phase", "firing", "--run")
    assert done.returncode == 0, done.stderr
    assert "the command touch  ran in" in done.stdout
    assert (folder / "ran").exists()
    assert len(http_receiver.at("/ops")) == 2


def test_one_channel_alone(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "cleaner", "--channel", "ops", "--run")
    assert done.returncode == 0
    assert not (folder / "ran").exists()
    assert len(http_receiver.at("/ops")) == 2
    done = drill(folder, "cleaner", "--channel", "pager")
    assert done.returncode == 2
    assert 'the channel "pager" does not hear of this' in done.stderr


def test_a_template_that_fails_is_found_by_a_drill(folder: Path) -> None:
    path = folder / "rules.yaml"
    path.write_text(path.read_text().replace("{{ value }}", "{{ 1 / (value - value) }}"))
    done = drill(folder, "disk-full", "--dry-run")
    assert done.returncode == 1, done.stdout
    assert "template: " in done.stdout


def test_the_labels_of_another_host_come_from_zookeeper(
    folder: Path, http_receiver: HttpReceiver, client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    write_host(client, tree, "web1", role="db")
    sample = Sample(family="disk_usage", at=AT, interval=5, max_age=15, instances={"/srv7": {"percent": 5.0}})
    client.create(tree.family("web1", "disk_usage"), encode_sample(sample), makepath=True)
    path = folder / "rules.yaml"
    path.write_text(path.read_text().replace('"/data", "/srv*"', '"/srv*"') + "    hosts: {role: web}\n")
    there = ("--zookeeper", settings.hosts, "--root", settings.root, "--phase", "firing")
    done = drill(folder, "disk-full", "--host", "web1", *there)
    assert (done.returncode, done.stderr) == (0, "")
    assert "on web1, /srv7" in http_receiver.at("/default")[0].json["title"]
    done = drill(folder, "cleaner", "--host", "web1", *there)
    assert done.stderr == "the rule does not look at web1: hosts: its label role is db, not web\n"
    done = drill(folder, "disk-full", "--host", "nobody", *there)
    assert done.returncode == 0
    assert "the labels of nobody are not known: it never published here" in done.stderr


LEADERLESS = """\
rules:
  - name: leaderless
    metric: "znode:{top}/topics/{{topic}}/state#/leader"
    comparator: "=="
    threshold: -1
    summary: '{{{{ instance.topic }}}} has no leader, {{{{ now("znode:{top}/ids#children") }}}} brokers'
"""


@pytest.mark.parametrize(("topic", "shown"), [("orders", "orders has no leader"), ("", "drill has no leader")])
def test_a_rule_about_znodes_is_drilled_on_one_that_is_there_or_on_one_made_up(
    topic: str, shown: str, folder: Path, settings: ZookeeperSettings, client: Client
) -> None:
    top = f"{settings.root}-znodes"
    client.ensure_path(f"{top}/ids/1")
    if topic:
        client.create(f"{top}/topics/{topic}/state", b'{"leader": 3}', makepath=True)
    (folder / "rules.yaml").write_text(LEADERLESS.format(top=top))
    where = ("--zookeeper", settings.hosts, "--root", settings.root)
    done = drill(folder, "leaderless", "--dry-run", "--format", "json", *where)
    document = json.loads(done.stdout)
    assert (document["host"], document["instance"]) == ("zookeeper", f"{top}/topics/{topic or 'drill'}/state")
    assert document["messages"][0]["title"].endswith(f"{shown}, 1 brokers")
    wrong = drill(folder, "leaderless", "--host", "kafka", *where)
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (
        2,
        'zkalert: error: "leaderless" is about no ensemble "kafka"; known: zookeeper',
    )


def test_without_zookeeper_another_host_has_no_labels(folder: Path, http_receiver: HttpReceiver) -> None:
    done = drill(folder, "disk-full", "--host", "web1", "--phase", "firing")
    assert done.returncode == 0
    assert "the labels of web1 are not known: " in done.stderr
    assert "on web1, /data" in http_receiver.at("/default")[0].json["title"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["disk-ful"], 'no rule "disk-ful"; did you mean disk-full?'),
        (["cleaner", "--severity", "critical"], 'the rule "cleaner" is never critical; expected warning'),
        (["cleaner", "--phase", "firing,resolve"], 'no phase "resolve" in a drill; did you mean resolved?'),
        (["cleaner", "--dry-run", "--run"], "leave out --run"),
        ([], "Missing argument 'RULE'"),
    ],
)
def test_wrong_usage(folder: Path, words: list[str], message: str) -> None:
    done = drill(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    "limits",
    [
        "threshold: 90%, comparator: '>'",
        "threshold: 90%, comparator: '>='",
        "threshold: 10%, comparator: '<'",
        "threshold: 10%, comparator: '<=', clear: 20%",
        "threshold: 90%, clear: 80%, comparator: '>'",
        "threshold: [10%, 20%], comparator: between",
        "threshold: [10%, 20%], comparator: outside",
        "threshold: 0, comparator: '=='",
        "threshold: 0, comparator: '!='",
        "threshold: 0, comparator: '>'",
    ],
)
def test_the_value_is_past_the_threshold_and_then_is_not(limits: str) -> None:
    (found,), _ = parse(f"rules:\n  - {{name: r, metric: memory_usage.percent, {limits}}}\n", "rules.yaml")
    made = drill_of(found, Scene(host=HostInfo(name="web1")), None, AT, "a" * 16)
    for effect, outcome in ((made.firing, Outcome.TRUE), (made.resolved, Outcome.FALSE)):
        alert = effect.alert
        judge = judge_of(alert.comparator, alert.threshold, alert.clear)
        assert alert.value is not None
        assert judge(alert.value) is outcome
        assert effect.is_drill


def test_severities_are_those_of_the_levels() -> None:
    (found, _), _ = parse(RULES, "rules.yaml")
    assert severities(found) == (Severity.WARNING, Severity.CRITICAL)
