"""The packs that come with zkalert, as people reach them: `zkalert packs`, and `pack:NAME` among rules."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.acceptance.stage import stage as stage  # noqa: PLC0414 - a fixture
from tests.cli.saying import command, environ
from tests.helpers import wait_for
from zkalert.documents import Pack, shipped_packs
from zkalert.evaluate import families_of
from zkalert.metrics import OWN_ENSEMBLE, is_znode, parse_pattern
from zkalert.model import EngineInfo, ZookeeperSettings
from zkalert.rulefile import digest, load
from zkalert.tree import decode_engine

RULES = Path(__file__).parents[2] / "rules"
NAMES = sorted(path.stem for path in RULES.glob("*.yaml"))
OF_ZNODES = [pack.name for pack in shipped_packs() if pack.has_znodes]
OWN = """\
rules:
  - {name: kafka-no-brokers, metric: memory_usage, comparator: ">", threshold: 90}
"""


def zkalert(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", *map(str, words)],
        cwd=folder,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def configured(folder: Path, rules: str, more: str = "") -> Path:
    """A folder with a configuration that has these rules, and the ensemble prod."""
    (folder / "zkalert.yaml").write_text(
        f"ensembles: {{prod: {{hosts: '127.0.0.1:9'}}}}\nrules: {rules}\nstate_dir: state\n{more}"
    )
    return folder


# The command ----------------------------------------------------------------------------------------------------------


def test_the_list_has_all_packs_with_what_they_look_at(tmp_path: Path) -> None:
    done = zkalert(tmp_path, "packs")
    assert (done.returncode, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["pack", "rules", "looks", "at", "what", "it", "is", "for"]
    assert [line.split()[0] for line in lines] == NAMES
    listed = {line.split()[0]: line for line in lines}
    assert "hosts      What is worth knowing of any host." in listed["host"]
    assert "znodes     A Kafka cluster" in listed["kafka"]


def test_the_list_as_json_agrees_with_the_files(tmp_path: Path) -> None:
    done = zkalert(tmp_path, "packs", "--format", "json")
    listed = {one["name"]: one for one in json.loads(done.stdout)}
    assert sorted(listed) == NAMES
    for name, one in listed.items():
        assert set(one) == {"name", "rules", "looks_at", "about"}
        assert one["rules"] == len(load([RULES / f"{name}.yaml"]).rules) > 0
        assert one["about"].endswith(".")
    assert {name: one["looks_at"] for name, one in listed.items() if name not in OF_ZNODES} == {
        "host": "hosts",
        "zookeeper": "ensembles",
    }
    assert {listed[name]["looks_at"] for name in OF_ZNODES} == {"znodes"}


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_is_printed_as_it_ships_but_for_where_its_schema_is(tmp_path: Path, name: str) -> None:
    done = zkalert(tmp_path, "packs", name)
    assert (done.returncode, done.stderr) == (0, "")
    schema, text = (RULES / f"{name}.yaml").read_text().split("\n#\n", 1)
    assert (schema, done.stdout) == ("# yaml-language-server: $schema=../schemas/rules.schema.json", text)


@pytest.mark.parametrize("name", OF_ZNODES)
def test_in_another_ensemble_a_pack_has_other_metrics_and_nothing_else(tmp_path: Path, name: str) -> None:
    done = zkalert(tmp_path, "packs", name, "--ensemble", "prod")
    assert (done.returncode, done.stderr) == (0, "")
    before = (RULES / f"{name}.yaml").read_text().splitlines()[2:]
    after = done.stdout.splitlines()
    for old, new in zip(before, after, strict=True):
        if old.lstrip().startswith("#"):
            assert new == old
        else:
            assert new == old.replace("znode:/", "prod:/"), "no text of a pack names a znode but as a metric"
    path = tmp_path / "copy.yaml"
    path.write_text(done.stdout)
    found = load([path], ensembles=["prod"])
    assert found.findings == ()
    ensembles = [
        parse_pattern(family).ensemble for rule in found.rules for family in families_of(rule) if is_znode(family)
    ]
    assert set(ensembles) == {"prod"} != {OWN_ENSEMBLE}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("kafak",), 'no pack "kafak"; did you mean kafka?', id="a slip"),
        pytest.param(("nothing",), 'no pack "nothing"; expected one of clickhouse, ', id="unlike any"),
        pytest.param(("../rules/kafka",), 'no pack "../rules/kafka"; ', id="a path"),
        pytest.param(("host", "--ensemble", "prod"), "host looks at no znodes of one ensemble", id="of hosts"),
        pytest.param(("kafka", "--ensemble", "Prod!"), '"Prod!" is no name of an ensemble', id="no name"),
        pytest.param(("kafka", "--ensemble", ""), '"" is no name of an ensemble', id="an empty name"),
        pytest.param(("kafka", "--ensemble", "zookeeper"), "is zkalert's own ensemble", id="the own one"),
        pytest.param(("--ensemble", "prod"), "--ensemble goes with the NAME of a pack", id="an ensemble alone"),
        pytest.param(("kafka", "--format", "json"), "--format json is for the list", id="a pack as JSON"),
    ],
)
def test_what_cannot_be_printed_is_refused_before_anything_is(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = zkalert(tmp_path, "packs", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


# Among rules ----------------------------------------------------------------------------------------------------------


def test_a_configuration_takes_packs_beside_files(tmp_path: Path) -> None:
    configured(tmp_path, "[pack:host, 'pack:kafka@prod', own.yaml]")
    (tmp_path / "own.yaml").write_text(OWN.replace("kafka-no-brokers", "own"))
    done = zkalert(tmp_path, "validate")
    count = len(load([Pack("host"), Pack("kafka")]).rules) + 1
    assert (done.returncode, done.stdout) == (0, f"{count} rules in 4 files: no errors\n")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        pytest.param("[pack:kafak]", ['zkalert.yaml:2:9: error: no pack "kafak"', "did you mean kafka?"], id="a slip"),
        pytest.param("['pack:']", ['zkalert.yaml:2:9: error: no pack ""', "expected: one of "], id="no name"),
        pytest.param("['pack:kafka@']", ['"" is no name of an ensemble'], id="no name behind the @"),
        pytest.param(
            "['pack:kafka@prd']", ['2:9: error: no ensemble "prd" in this file', "did you mean prod?"], id="ensemble"
        ),
        pytest.param("['pack:zookeeper@prod']", ["zookeeper looks at no znodes of one ensemble"], id="without znodes"),
        pytest.param(
            "[pack:kafka, 'pack:kafka@prod']",
            ["2:21: error: the pack kafka is named twice", "`zkalert packs kafka` prints it"],
            id="twice",
        ),
    ],
)
def test_a_wrong_pack_is_found_at_its_place(tmp_path: Path, rules: str, said: list[str]) -> None:
    done = zkalert(configured(tmp_path, rules), "validate")
    assert done.returncode == 1
    for words in said:
        assert words in done.stdout


def test_findings_in_a_pack_name_it_in_place_of_a_file(tmp_path: Path) -> None:
    configured(tmp_path, "[own.yaml, pack:kafka]")
    (tmp_path / "own.yaml").write_text(OWN)
    line = (RULES / "kafka.yaml").read_text().splitlines().index("  - name: kafka-no-brokers") + 1
    done = zkalert(tmp_path, "validate")
    assert done.returncode == 1
    assert f"pack:kafka:{line}:11: error: " in done.stdout
    done = zkalert(tmp_path, "validate", "--format", "json", "own.yaml", "pack:kafka", "pack:kafka")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["file"], finding["line"]) == ("pack:kafka", line)


def test_flags_take_packs_and_refuse_wrong_ones(tmp_path: Path) -> None:
    assert zkalert(tmp_path, "validate", "pack:kafka@prod", "pack:host").returncode == 0
    for words in (("validate", "pack:kafak"), ("engine", "--rules", "pack:kafak")):
        done = zkalert(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert 'no pack "kafak"; did you mean kafka?' in done.stderr
    done = zkalert(tmp_path, "cost", "pack:host", "--hosts", "10")
    assert (done.returncode, done.stderr) == (0, "")
    done = zkalert(configured(tmp_path, "[]"), "cost", "pack:kafka@prd", "--hosts", "10")
    assert done.returncode == 1
    assert 'no ensemble "prd" in the configuration' in done.stderr


def test_the_tests_of_a_pack_run_on_the_pack(tmp_path: Path) -> None:
    tests = (RULES.parent / "tests" / "packs" / "kafka.test.yaml").read_text()
    (tmp_path / "kafka.test.yaml").write_text(tests.replace("../../rules/kafka.yaml", "pack:kafka"))
    assert "pack:kafka" in (tmp_path / "kafka.test.yaml").read_text()
    done = zkalert(tmp_path, "test", "kafka.test.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("in 1 file: all passed\n")
    (tmp_path / "wrong.test.yaml").write_text(
        "rules: [pack:kafak]\ntests: [{name: a, expect: [{at: 1s, rule: hot, state: firing}]}]"
    )
    done = zkalert(tmp_path, "test", "wrong.test.yaml")
    assert done.returncode == 1
    assert 'no pack "kafak"' in done.stdout


# In a tree ------------------------------------------------------------------------------------------------------------


def test_a_push_publishes_packs_in_a_folder_of_their_own(tmp_path: Path, settings: ZookeeperSettings) -> None:
    own = f"zookeeper: {{hosts: '{settings.hosts}', root: {settings.root}}}\n"
    configured(tmp_path, "[pack:host, 'pack:kafka@prod', own.yaml]", own)
    (tmp_path / "own.yaml").write_text(OWN.replace("kafka-no-brokers", "own"))
    done = zkalert(tmp_path, "rules", "push")
    assert done.returncode == 0, done.stderr
    assert zkalert(tmp_path, "rules", "diff").returncode == 0, "there is no difference"
    assert zkalert(tmp_path, "rules", "pull", "copy").returncode == 0
    found = {path.relative_to(tmp_path / "copy").as_posix(): path for path in (tmp_path / "copy").rglob("*.yaml")}
    assert set(found) == {"own.yaml", "packs/host.yaml", "packs/kafka@prod.yaml"}
    assert found["packs/host.yaml"].read_bytes() == (RULES / "host.yaml").read_bytes()
    assert found["packs/kafka@prod.yaml"].read_bytes() == Pack("kafka", "prod").text()


def in_force(stage: Stage) -> list[str]:
    """The digests of the rules that engines say they run."""
    top = stage.tree.engines
    if not stage.client.exists(top):
        return []
    said = [decode_engine(stage.client.get(f"{top}/{name}")[0]) for name in stage.client.get_children(top)]
    return [info.rules for info in said if isinstance(info, EngineInfo)]


def test_an_engine_runs_packs_and_reads_them_again_at_a_hangup(stage: Stage) -> None:
    stage.client.ensure_path(f"{stage.tree.root}/of-kafka/brokers/ids")
    kafka = f"ensembles: {{prod: {{hosts: '{stage.zookeeper.hosts}{stage.tree.root}/of-kafka'}}}}\n"
    engine = stage.process("", kafka, source="['pack:kafka@prod']")
    (alert,) = stage.wait_states("pending", timeout=30)
    assert (alert.rule, alert.host) == ("kafka-no-brokers", "prod")
    config = stage.folder / "zkalert.yaml"
    written = config.read_text()
    config.write_text(written.replace("pack:kafka@prod", "pack:host"))
    engine.signal(signal.SIGHUP)
    host = load([Pack("host")]).rules
    engine.wait_log(f"rules reloaded: {len(host)} rules")
    wait_for(lambda: in_force(stage) == [digest(host)], "the engine to say what it runs", 15)
    config.write_text(written.replace("pack:kafka@prod", "pack:kafka@prd"))
    engine.signal(signal.SIGHUP)
    engine.wait_log("the old rules stay")
    assert "did you mean prod?" in engine.log
    assert in_force(stage) == [digest(host)]


def test_explain_knows_rules_of_packs(stage: Stage) -> None:
    stage.host("web1")
    stage.publish(42.0)
    done = subprocess.run(
        command(stage.zookeeper, "explain", "memory-high", "--rules", "pack:host"),
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("memory-high  pack:host:")
    assert "web1" in done.stdout


def test_up_without_rules_takes_the_packs_host_and_zookeeper(stage: Stage, tmp_path: Path) -> None:
    usual = load([Pack("host"), Pack("zookeeper")])
    assert usual.is_usable
    log = tmp_path / "up.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command(stage.zookeeper, "up", "--no-ui", "--state-dir", str(tmp_path / "state")),
            cwd=tmp_path,
            env=environ(),
            stdout=stream,
            stderr=stream,
        )
    try:
        wait_for(lambda: in_force(stage) == [digest(usual.rules)], f"the usual packs:\n{log.read_text()}", 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
