"""`zkalert test`, as people run it: the real command in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parent.parent.parent
HERE = ROOT / "tests"
MEMORY = 2**30
"""Of address space, in bytes: what no input may make the command exceed."""

RULES = """\
rules:
  - {name: hot, metric: memory_usage, comparator: ">", threshold: 90, action: ops}
  - {name: full, metric: disk_usage, comparator: ">", threshold: 90, action: ops}
"""
GOOD = """\
rules: [rules.yaml]
tests:
  - name: it fires
    series: [{metric: memory_usage, host: web1, values: 10 95}]
    expect: [{at: 5s, rule: hot, host: web1, state: firing}]
  - name: it does not
    series: [{metric: memory_usage, host: web1, values: 10 20}]
    expect: [{at: 5s, rule: hot, host: web1, state: inactive}]
"""
WRONG = GOOD.replace("95", "15")


def zkalert(*args: str | Path, cwd: Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the command; whatever it was given, it ends in time, within a gibibyte, and without a traceback."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ZKALERT_")}
    done = subprocess.run(
        [sys.executable, "-m", "zkalert", *map(str, args)],
        cwd=cwd,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode in (0, 1, 2)
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rule file with two rules, and a test file that is about one of them."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "good.test.yaml").write_text(GOOD)
    return tmp_path


def test_tests_that_pass_are_counted_and_rules_without_a_test_are_named(folder: Path) -> None:
    done = zkalert("test", "good.test.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "rules that fire in no test: full\n2 tests in 1 file: all passed\n"


def test_verbose_lists_what_passed(folder: Path) -> None:
    done = zkalert("test", "-v", "good.test.yaml", cwd=folder)
    assert done.stdout.splitlines()[:2] == [
        "good.test.yaml:3: passed: it fires",
        "good.test.yaml:6: passed: it does not",
    ]


def test_a_failure_has_its_place_what_was_expected_and_what_came(folder: Path) -> None:
    (folder / "wrong.test.yaml").write_text(WRONG)
    done = zkalert("test", "wrong.test.yaml", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "wrong.test.yaml:3: FAILED: it fires",
        "wrong.test.yaml:5:14: error: at 5s hot on web1 is inactive",
        "        expect: [{at: 5s, rule: hot, host: web1, state: firing}]",
        "                 ^",
        "  expected: firing",
        "    hot on web1 was inactive all the time",
        "rules that fire in no test: hot, full",
        "2 tests in 1 file: 1 failed",
    ]


def test_a_folder_is_searched_for_test_files_and_paths_of_rules_go_from_the_test_file(folder: Path) -> None:
    (folder / "below" / "deep").mkdir(parents=True)
    (folder / "below" / "deep" / "b.test.yml").write_text(GOOD.replace("rules.yaml", "../../rules.yaml"))
    (folder / "below" / "deep" / ".hidden.test.yaml").write_text("x")
    done = zkalert("test", folder, folder / "good.test.yaml", cwd=ROOT)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "4 tests in 2 files: all passed")


def test_test_files_are_not_taken_for_rules(folder: Path) -> None:
    done = zkalert("validate", folder, cwd=folder)
    assert (done.returncode, done.stdout) == (0, "2 rules in 1 file: no errors\n")


def test_a_file_of_any_name_may_hold_tests(folder: Path) -> None:
    (folder / "good.test.yaml").rename(folder / "checks.yaml")
    assert zkalert("test", "checks.yaml", cwd=folder).returncode == 0


def test_tests_can_be_chosen_by_their_name(folder: Path) -> None:
    (folder / "wrong.test.yaml").write_text(WRONG)
    done = zkalert("test", "-k", "DOES NOT", "wrong.test.yaml", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "1 test in 1 file: all passed\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Missing argument 'PATH...'"),
        (("nowhere.test.yaml",), "nowhere.test.yaml: no such file or folder"),
        (("empty",), "empty: no test files (*.test.yaml, *.test.yml) in this folder"),
        (("-k", "nothing", "good.test.yaml"), 'no test has "nothing" in its name'),
        (("--format", "xml", "good.test.yaml"), "'xml' is not one of 'text', 'json'"),
    ],
)
def test_wrong_usage_is_an_error_of_its_own(folder: Path, args: tuple[str, ...], message: str) -> None:
    (folder / "empty").mkdir()
    done = zkalert("test", *args, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("rules", "tests", "lines"),
    [
        pytest.param(
            RULES,
            GOOD.replace("rule: hot", "rule: hto", 1),
            [
                'good.test.yaml:5:29: error: no rule "hto"',
                "        expect: [{at: 5s, rule: hto, host: web1, state: firing}]",
                "                                ^",
                "  expected: one of hot, full",
                "  did you mean hot?",
            ],
            id="a test of no rule",
        ),
        pytest.param(
            RULES,
            GOOD.replace("10 95", "10 9x5%"),
            [
                "good.test.yaml:4:60: error: 9x5% is no value of percent",
                "        series: [{metric: memory_usage, host: web1, values: 10 9x5%}]",
                "                                                               ^",
                "  expected: a percentage: 90 or 90%",
            ],
            id="values",
        ),
        pytest.param(
            RULES,
            GOOD.replace("rules.yaml", "rulez.yaml"),
            [
                "good.test.yaml:1:9: error: rulez.yaml: no such file or folder",
                "    rules: [rulez.yaml]",
                "            ^",
            ],
            id="no such rules",
        ),
        pytest.param(
            RULES.replace("memory_usage", "memory_usag"),
            GOOD,
            [
                'rules.yaml:2:25: error: unknown metric "memory_usag"',
            ],
            id="rules that cannot be used",
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(folder: Path, rules: str, tests: str, lines: list[str]) -> None:
    (folder / "rules.yaml").write_text(rules)
    (folder / "good.test.yaml").write_text(tests)
    done = zkalert("test", "good.test.yaml", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[: len(lines)] == lines
    assert done.stdout.splitlines()[-1] == "0 tests in 1 file: 1 file cannot be used"


def test_one_file_that_cannot_be_used_keeps_no_other_from_running(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text("tests: [")
    done = zkalert("test", ".", cwd=folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "2 tests in 2 files: 1 file cannot be used")


def test_findings_of_shared_rules_are_told_once(folder: Path) -> None:
    (folder / "rules.yaml").write_text("rules: [{}]\n")
    (folder / "more.test.yaml").write_text(GOOD)
    done = zkalert("test", ".", cwd=folder)
    assert done.stdout.count(": error: ") == 1


def report(folder: Path, *args: str) -> dict[str, Any]:
    done = zkalert("test", "--format", "json", *args, cwd=folder)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_json_stands_alone_on_standard_output(folder: Path) -> None:
    (folder / "wrong.test.yaml").write_text(WRONG)
    (folder / "bad.test.yaml").write_text("tests: []\n")
    document = report(folder, ".")
    assert {key: document[key] for key in ("files", "tests", "passed", "failed", "untested_rules")} == {
        "files": 3,
        "tests": 4,
        "passed": 3,
        "failed": 1,
        "untested_rules": ["full"],
    }
    assert [finding["file"] for finding in document["findings"]] == ["bad.test.yaml"] * 2
    (failed,) = [result for result in document["results"] if not result["passed"]]
    assert (failed["file"], failed["line"], failed["name"]) == ("wrong.test.yaml", 3, "it fires")
    assert failed["failures"] == [
        {
            "line": 5,
            "column": 14,
            "code": "wrong-state",
            "message": "at 5s hot on web1 is inactive",
            "expected": "firing",
            "details": ["hot on web1 was inactive all the time"],
        }
    ]
    assert 0 < failed["seconds"] < document["seconds"]


def test_json_knows_nothing_of_untested_rules_where_only_some_tests_ran(folder: Path) -> None:
    assert report(folder, "-k", "fires", ".")["untested_rules"] is None


def test_junit_has_a_case_for_each_test_and_an_error_for_a_bad_file(folder: Path) -> None:
    (folder / "wrong.test.yaml").write_text(WRONG)
    (folder / "bad.test.yaml").write_text("tests: []\n")
    assert zkalert("test", "--junit", "out.xml", ".", cwd=folder).returncode == 1
    top = ET.parse(folder / "out.xml").getroot()
    assert (top.tag, top.get("tests"), top.get("failures"), top.get("errors")) == ("testsuites", "5", "1", "1")
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in top] == [
        ("bad.test.yaml", "1", "0", "1"),
        ("good.test.yaml", "2", "0", "0"),
        ("wrong.test.yaml", "2", "1", "0"),
    ]
    cases = [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in top.iter("testcase")]
    assert cases == [
        ("bad.test.yaml", "file", ["error"]),
        ("good.test.yaml", "it fires", []),
        ("good.test.yaml", "it does not", []),
        ("wrong.test.yaml", "it fires", ["failure"]),
        ("wrong.test.yaml", "it does not", []),
    ]
    assert all(float(case.get("time", "")) >= 0 for case in top.iter("testcase"))
    (failure,) = top.iter("failure")
    assert failure.get("message") == "at 5s hot on web1 is inactive"
    assert failure.text is not None
    assert failure.text.startswith("wrong.test.yaml:5:14: error: at 5s hot on web1 is inactive, expected: firing\n")


def test_names_and_texts_drive_neither_the_terminal_nor_the_xml(folder: Path) -> None:
    """Escape sequences, markup, what XML cannot hold at all."""
    nasty = r'"\e[31m <&]]> \u0001 \uFFFF \n é"'
    (folder / "wrong.test.yaml").write_text(WRONG.replace("it fires", nasty).replace("rule: hot", "rule: hot", 1))
    done = zkalert("test", "--junit", "out.xml", "wrong.test.yaml", cwd=folder)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "FAILED: ?[31m <&]]> " in done.stdout
    (case, _) = ET.parse(folder / "out.xml").getroot().iter("testcase")
    assert case.get("name") == "?[31m <&]]> ? ? \n é"


def test_a_junit_file_that_cannot_be_written_is_one_clear_message(folder: Path) -> None:
    done = zkalert("test", "--junit", "nowhere/out.xml", "good.test.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "zkalert: error: nowhere/out.xml: No such file or directory\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xff\xfe\x00", id="binary"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(20)),
            id="alias bomb",
        ),
        pytest.param(GOOD.replace("10 95", "1x99999999").encode(), id="a hundred million values"),
        pytest.param(GOOD.replace("at: 5s", "at: " + "9" * 90 + "d").encode(), id="an age away"),
        pytest.param(GOOD.replace("it fires", "x" * 100_000).encode(), id="a long name"),
    ],
)
def test_a_hostile_file_is_a_finding(folder: Path, text: bytes) -> None:
    (folder / "bad.test.yaml").write_bytes(text)
    done = zkalert("test", "bad.test.yaml", cwd=folder)
    assert done.returncode == 1
    assert "bad.test.yaml" in done.stdout


def test_a_pipe_or_a_device_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.test.yaml")
    for path in (folder / "pipe.test.yaml", Path("/dev/zero")):
        done = zkalert("test", path, cwd=folder)
        assert done.returncode == 1
        assert "not a regular file" in done.stdout


def test_the_shipped_packs_pass_their_tests() -> None:
    done = zkalert("test", HERE / "packs", cwd=ROOT)
    assert (done.returncode, "rules that fire in no test" in done.stdout) == (0, False)


def test_a_thousand_tests_take_a_few_seconds(folder: Path) -> None:
    """An hour of samples in each. The bound is wide, for slow machines."""
    block = (
        "  - name: t{}\n    interval: 1m\n    series: [{{metric: memory_usage, host: web1, values: 50x10 95x50}}]\n"
        "    expect: [{{at: 10m, rule: hot, host: web1, state: firing, value: 95%}}]\n"
        "    messages: [{{at: 10m, rule: hot, phase: firing, to: [ops]}}]\n"
    )
    tests = "rules: [rules.yaml]\ntests:\n" + "".join(block.format(number) for number in range(1000))
    (folder / "many.test.yaml").write_text(tests)
    done = zkalert("test", "many.test.yaml", cwd=folder, seconds=30)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1,000 tests in 1 file: all passed")
