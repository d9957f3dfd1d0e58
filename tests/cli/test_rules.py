"""`zkalert rules`, as people run it, on trees in a real ZooKeeper; and engines that follow what it publishes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.stage import EngineProcess, Stage
from tests.acceptance.stage import stage as stage  # noqa: PLC0414 - a fixture
from tests.helpers import HttpReceiver, wait_for
from zkalert.model import Publication, Publications, ZookeeperSettings
from zkalert.rulefile import digest, load_texts
from zkalert.store import rulesets
from zkalert.tree import Tree, decode_engine, encode_publications
from zkalert.zk import Client

ROOT = Path(__file__).parents[2]
RULE = "  - {name: NAME, metric: memory_usage, comparator: '>', threshold: 90, action: ops}\n"
A = "rules:\n" + RULE.replace("NAME", "a")
B = "rules:\n" + RULE.replace("NAME", "b")


@pytest.fixture
def folder(tmp_path: Path, settings: ZookeeperSettings) -> Path:
    """A folder with a configuration and two rule files."""
    (tmp_path / "zkalert.yaml").write_text(
        f"zookeeper: {{hosts: '{settings.hosts}', root: {settings.root}, session_timeout: 4s}}\n"
        f"host: here\nstate_dir: {tmp_path}/state\nrules: [rules]\n"
        "channels: {ops: {urls: ['json://127.0.0.1:9/secret']}}\n"
    )
    (tmp_path / "rules" / "more").mkdir(parents=True)
    (tmp_path / "rules" / "a.yaml").write_text(A)
    (tmp_path / "rules" / "more" / "b.yml").write_text(B)
    (tmp_path / "rules" / "a.test.yaml").write_text("tests: []\n")
    return tmp_path


def rules(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", "rules", *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def pushed(folder: Path, *args: str | Path) -> str:
    """The id of a set that was pushed."""
    done = rules(folder, "push", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def current(client: Client, tree: Tree) -> str | None:
    pointer = rulesets.read_pointer(client, tree)
    return None if pointer is None else pointer.set_id


# Push and pull --------------------------------------------------------------------------------------------------------


def test_what_was_pushed_is_pulled_byte_for_byte(folder: Path) -> None:
    done = rules(folder, "push", "--comment", "first")
    set_id = done.stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", set_id)
    assert done.stderr == f"rule set {set_id[:12]} is published: 2 files, 2 rules\nadded: a, b\n"
    done = rules(folder, "pull", "copy/of")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"rule set {set_id[:12]} is in copy/of: 2 of 2 files written\n"
    found = {path.relative_to(folder / "copy/of").as_posix() for path in (folder / "copy/of").rglob("*.y*")}
    assert found == {"a.yaml", "more/b.yml"}
    for name in found:
        assert (folder / "copy/of" / name).read_bytes() == (folder / "rules" / name).read_bytes()
    assert pushed(folder, "copy/of") == set_id, "the folder makes no difference"


def test_a_push_without_a_change_does_nothing(folder: Path) -> None:
    set_id = pushed(folder)
    done = rules(folder, "push", "rules")
    assert (done.returncode, done.stdout.strip()) == (0, set_id)
    assert done.stderr == f"rule set {set_id[:12]} is published already; nothing to do\n"
    assert len(json.loads(rules(folder, "history", "--format", "json").stdout)) == 1


def test_a_push_says_which_rules_it_adds_changes_and_removes(folder: Path) -> None:
    pushed(folder)
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "95") + RULE.replace("NAME", "c"))
    (folder / "rules" / "more" / "b.yml").unlink()
    assert rules(folder, "push").stderr.splitlines()[1:] == ["added: c", "changed: a", "removed: b"]


def test_a_push_with_errors_shows_them_and_publishes_nothing(folder: Path, client: Client, tree: Tree) -> None:
    (folder / "rules" / "a.yaml").write_text(A.replace("memory_usage", "memory_usige"))
    (folder / "rules" / "more" / "b.yml").write_text(B.replace("ops", "opps"))
    done = rules(folder, "push")
    assert (done.returncode, done.stdout) == (1, "")
    assert "rules/a.yaml:2:23: error: " in done.stderr
    assert 'no channel "opps" in the configuration' in done.stderr
    assert current(client, tree) is None


@pytest.mark.parametrize(("action", "key"), [("{run: [ls]}", "shell"), ("'json://h/hunter2'", "urls")])
def test_commands_and_urls_are_published_only_where_the_configuration_allows_them(
    folder: Path, client: Client, tree: Tree, action: str, key: str
) -> None:
    (folder / "rules" / "a.yaml").write_text(A.replace("ops", action))
    done = rules(folder, "push")
    assert done.returncode == 1
    assert f"published_rules: {{{key}: true}}" in done.stderr
    assert "hunter2" not in done.stderr
    assert current(client, tree) is None
    with (folder / "zkalert.yaml").open("a") as config:
        config.write(f"published_rules: {{{key}: true}}\n")
    done = rules(folder, "push")
    assert done.returncode == 0
    assert "an engine takes it only where its own zkalert.yaml" in done.stderr


def test_of_two_pushes_that_expect_the_same_set_one_is_refused(folder: Path) -> None:
    first = pushed(folder, "--expect", "none")
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "91"))
    second = pushed(folder, "--expect", first[:12], "--author", "ci\x1b[2J")
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "92"))
    for late in (first, "none"):
        done = rules(folder, "push", "--expect", late)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"nothing was changed: rule set {second[:12]} is the current one, published 20" in done.stderr
        assert "\x1b" not in done.stderr
    assert rules(folder, "push", "--expect", "newest").returncode == 2


def test_what_is_no_rule_file_is_not_pushed(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "a.yaml").write_text(A)
    for args, said in (
        (["rules/a.test.yaml"], "tests of rules"),
        (["zkalert.yaml"], "a configuration"),
        (["rules", "other"], "would both be called a.yaml"),
        (["rulez"], "no such file or folder"),
        (["state"], "no rule files"),
        (["--comment", "x" * 257], "at most 256"),
    ):
        (folder / "state").mkdir(exist_ok=True)
        done = rules(folder, "push", *args)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr


def test_a_pull_overwrites_nothing_that_says_something_else_unless_it_is_forced(folder: Path) -> None:
    pushed(folder)
    local = folder / "rules" / "a.yaml"
    local.write_text("mine")
    (folder / "rules" / "more" / "b.yml").unlink()
    (folder / "rules" / "own.yaml").write_text("rules: []\n")
    done = rules(folder, "pull", "rules")
    assert done.returncode == 1
    assert "rules/a.yaml would be overwritten; nothing was written" in done.stderr
    assert local.read_text() == "mine"
    assert not (folder / "rules" / "more" / "b.yml").exists()
    done = rules(folder, "pull", "rules", "--force")
    assert done.returncode == 0
    assert done.stderr.endswith("2 of 2 files written\nnot in the set: own.yaml\n")
    assert local.read_text() == A
    assert {path.name for path in (folder / "rules").iterdir()} == {"a.yaml", "a.test.yaml", "more", "own.yaml"}


def test_a_pull_does_not_leave_the_folder_by_a_link(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pushed(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "copy").mkdir()
    (folder / "copy" / "more").symlink_to(elsewhere)
    done = rules(folder, "pull", "copy", "--force")
    assert done.returncode == 1
    assert "leads out of copy by a link; nothing was written" in done.stderr
    assert [*elsewhere.iterdir()] == []
    assert not (folder / "copy" / "a.yaml").exists()


# History --------------------------------------------------------------------------------------------------------------


def test_a_rollback_publishes_the_set_before_and_the_history_tells_it(folder: Path, client: Client, tree: Tree) -> None:
    first = pushed(folder, "--comment", "first", "--author", "alice")
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "95"))
    second = pushed(folder, "--comment", "second")
    done = rules(folder, "rollback")
    assert (done.returncode, done.stdout.strip()) == (0, first)
    assert done.stderr == f"rule set {first[:12]} is published again: 2 rules\nchanged: a\n"
    found = rulesets.published(client, tree)
    assert found is not None
    assert found.files["a.yaml"] == A.encode()
    listed = json.loads(rules(folder, "history", "--format", "json").stdout)
    assert [(one["set"], one["comment"], one["current"]) for one in listed] == [
        (first, f"back to {first[:12]}", True),
        (second, "second", False),
        (first, "first", False),
    ]
    lines = rules(folder, "history").stdout.splitlines()
    assert re.fullmatch(rf"\* {first[:12]}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  \S+@here  back to {first[:12]}", lines[0])
    assert lines[2].endswith("first")
    assert rules(folder, "rollback", second[:8]).stdout.strip() == second
    assert "is the current one; nothing to do" in rules(folder, "rollback", second).stderr
    assert rules(folder, "rollback", "0000").returncode == 1


def test_a_rollback_to_what_this_configuration_refuses_changes_nothing(
    folder: Path, client: Client, tree: Tree
) -> None:
    pushed(folder)
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "95"))
    second = pushed(folder)
    config = folder / "zkalert.yaml"
    config.write_text(config.read_text().replace("{ops:", "{boss:"))
    done = rules(folder, "rollback")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'no channel "ops"' in done.stderr
    assert current(client, tree) == second


def test_without_a_set_each_command_says_what_is_missing(folder: Path) -> None:
    for command in (["pull", "x"], ["rollback"], ["show"], ["list"], ["push", "--expect", "0000"]):
        done = rules(folder, *command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no rules are published" in done.stderr
    assert json.loads(rules(folder, "history", "--format", "json").stdout) == []
    assert rules(folder, "history").returncode == 0
    pushed(folder)
    assert "there is no set before the current one" in rules(folder, "rollback").stderr


def test_a_set_is_shown_with_its_files_and_rules(folder: Path) -> None:
    set_id = pushed(folder, "--comment", "why\x1b[2J")
    shown = rules(folder, "show").stdout
    assert shown.startswith(f"set      {set_id}\nat       20")
    assert shown.endswith("comment  why\\x1b[2J\nfile     a.yaml: 1 rule\nfile     more/b.yml: 1 rule\n")
    document = json.loads(rules(folder, "show", set_id[:6], "--format", "json").stdout)
    assert [one["name"] for one in document["files"]] == ["a.yaml", "more/b.yml"]
    assert rules(folder, "list").stdout.splitlines() == [
        "a  warning  memory_usage.percent  a.yaml:2",
        "b  warning  memory_usage.percent  more/b.yml:2",
    ]
    listed = json.loads(rules(folder, "list", "--format", "json").stdout)
    assert [one["name"] for one in listed] == ["a", "b"]


# Differences ----------------------------------------------------------------------------------------------------------


def test_a_diff_tells_rules_by_name_and_files_line_by_line(folder: Path) -> None:
    assert rules(folder, "diff").returncode == 1
    set_id = pushed(folder)
    assert (rules(folder, "diff").returncode, rules(folder, "diff").stdout) == (0, "")
    (folder / "rules" / "a.yaml").write_text(A.replace("90", "95") + "# \u202e json://u:hunter2@h\n", "utf-8")
    (folder / "rules" / "more" / "b.yml").rename(folder / "rules" / "b.yaml")
    done = rules(folder, "diff")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[:3] == ["rules changed: a", "--- published/a.yaml", "+++ files/a.yaml"]
    assert "-" + RULE.replace("NAME", "a").rstrip() in lines
    assert "+" + RULE.replace("NAME", "a").replace("90", "95").rstrip() in lines
    assert "--- published/more/b.yml" in lines
    assert "hunter2" not in done.stdout
    assert "+# \\u202e json://***********" in lines
    document = json.loads(rules(folder, "diff", "rules", "--format", "json").stdout)
    assert document["published"] == set_id
    assert document["rules"] == {"added": [], "changed": ["a"], "removed": []}
    assert document["files"] == {"added": ["b.yaml"], "changed": ["a.yaml"], "removed": ["more/b.yml"]}


def test_a_file_that_differs_in_its_last_line_break_alone_differs(folder: Path) -> None:
    pushed(folder)
    (folder / "rules" / "a.yaml").write_text(A.rstrip("\n"))
    done = rules(folder, "diff")
    assert (done.returncode, done.stdout) == (1, "a.yaml differs in its line endings\n")


# Trouble --------------------------------------------------------------------------------------------------------------


def test_a_spoilt_set_is_told_and_the_same_push_mends_it(folder: Path, client: Client, tree: Tree) -> None:
    set_id = pushed(folder)
    client.set(tree.blob(set_id), b"spoilt")
    done = rules(folder, "pull", "copy")
    assert done.returncode == 1
    assert f"the manifest of rule set {set_id[:12]} cannot be used" in done.stderr
    assert not (folder / "copy").exists()
    done = rules(folder, "push")
    assert (done.returncode, done.stdout.strip()) == (0, set_id)
    assert "what is published now cannot be read" in done.stderr
    assert rules(folder, "pull", "copy").returncode == 0


def test_a_spoilt_pointer_is_an_error_of_one_line(folder: Path, client: Client, tree: Tree) -> None:
    pushed(folder)
    client.set(tree.current_rules, b"\x1b[2J")
    for command in (["push"], ["pull", "x"], ["diff"], ["history"], ["show"], ["rollback"]):
        done = rules(folder, *command)
        assert done.returncode == 1
        assert f"{tree.current_rules} cannot be used: not JSON in UTF-8; delete it and push again" in done.stderr


def test_without_zookeeper_a_push_says_so(folder: Path) -> None:
    done = rules(folder, "push", "--zookeeper", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"


# Engines that follow --------------------------------------------------------------------------------------------------


def following(stage: Stage, receiver: HttpReceiver) -> EngineProcess:
    """An engine with `rules: zookeeper`, in a process of its own."""
    (stage.folder / "rules").mkdir(exist_ok=True)
    channels = f"channels: {{ops: {{urls: ['{receiver.url('/hook', 'json')}']}}}}\n"
    return stage.process("", channels, source="zookeeper")


def published(stage: Stage, text: str, **files: str) -> str:
    (stage.folder / "rules" / "a.yaml").write_text(text)
    for name, content in files.items():
        (stage.folder / "rules" / f"{name}.yaml").write_text(content)
    return pushed(stage.folder, "rules")


def digests(stage: Stage) -> list[str]:
    """What the live engines say they run."""
    if not stage.client.exists(stage.tree.engines):
        return []
    found = (
        stage.client.get(f"{stage.tree.engines}/{name}")[0] for name in stage.client.get_children(stage.tree.engines)
    )
    return [info.rules for info in map(decode_engine, found) if hasattr(info, "rules")]


def test_an_engine_waits_for_a_set_and_follows_each_push_within_a_second(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    stage.publish(93)
    engine = following(stage, http_receiver)
    engine.wait_log("waiting for `zkalert rules push`")
    assert digests(stage) == [], "who has no rules does not compete for the tree"
    published(stage, A)
    stage.wait_states("firing")
    text = A.replace("90", "95")
    files = {"a.yaml": text.encode()}
    before = rulesets.read_pointer(stage.client, stage.tree)
    rulesets.publish(stage.client, stage.tree, files, rulesets.publication_of(files, at=1.0), before)
    stage.wait_states(timeout=1.0)
    expected = digest(load_texts({"elsewhere/b.yaml": text.encode()}).rules)
    wait_for(lambda: digests(stage) == [expected], "the digest of the set")
    assert rules(stage.folder, "rollback").returncode == 0
    stage.wait_states("firing")
    assert engine.log.count("is in use: ") == 3
    engine.signal(signal.SIGTERM)
    assert engine.process.wait(5) == 0
    assert "Traceback" not in engine.log


def test_what_a_foreign_client_publishes_badly_changes_nothing(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(50)
    engine = following(stage, http_receiver)
    published(stage, A)
    engine.wait_log("is in use: ")
    before = rulesets.read_pointer(stage.client, stage.tree)
    marks = stage.folder / "ran"
    for content, said in (
        (A.replace("ops", f"{{run: 'touch {marks}'}}"), "may not bring a command"),
        (A.replace("ops", "'json://evil.example.org/hunter2'"), "may not bring a URL"),
        (A.replace("memory_usage", "memory"), 'unknown metric "memory"'),
        ("rules: [", "yaml"),
    ):
        files = {"a.yaml": content.encode()}
        publication = rulesets.publication_of(files, at=time.time(), by="mallory")
        before = rulesets.publish(stage.client, stage.tree, files, publication, before)
        engine.wait_log(f"rule set {publication.set_id[:12]}, published by mallory, is refused")
        assert said in engine.log
    pointer = Publications(current=Publication(set_id="0" * 64, at=1.0))
    stage.client.set(stage.tree.current_rules, encode_publications(pointer))
    engine.wait_log("is missing")
    stage.publish(95)
    stage.wait_states("firing")
    assert not marks.exists()
    assert "hunter2" not in engine.log
    assert digests(stage) == [digest(load_texts({"a.yaml": A.encode()}).rules)]


def test_a_hangup_judges_what_is_published_by_the_new_configuration(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.publish(95)
    engine = following(stage, http_receiver)
    marks = stage.folder / "ran"
    text = A.replace("ops", f"[ops, {{run: 'touch {marks}'}}]")
    files = {"a.yaml": text.encode()}
    publication = rulesets.publication_of(files, at=time.time())
    rulesets.publish(stage.client, stage.tree, files, publication, None)
    engine.wait_log("may not bring a command")
    config = stage.folder / "zkalert.yaml"
    config.write_text(config.read_text() + "published_rules: {shell: true}\n")
    assert stage.alerts() == []
    engine.signal(signal.SIGHUP)
    engine.wait_log("is in use: ")
    stage.wait_states("firing")
    config.write_text(config.read_text().replace("rules: zookeeper", "rules: [rules]"))
    engine.signal(signal.SIGHUP)
    engine.wait_log("which takes a restart")


def test_a_waiting_engine_ends_in_order(stage: Stage, http_receiver: HttpReceiver) -> None:
    engine = following(stage, http_receiver)
    engine.wait_log("waiting for `zkalert rules push`")
    engine.signal(signal.SIGTERM)
    assert engine.process.wait(5) == 0
    assert engine.log.rstrip().endswith("engine stopped")


def test_up_follows_too(folder: Path) -> None:
    config = folder / "zkalert.yaml"
    config.write_text(config.read_text().replace("rules: [rules]", "rules: zookeeper"))
    pushed(folder, "rules")
    log = folder / "up.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "zkalert", "up", "--no-ui"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=stream,
            stderr=stream,
        )
    try:
        wait_for(lambda: "is in use: " in log.read_text(), "the published rules", 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
