"""`zkalert validate --format`: findings for programs, in formats that others have defined."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.cli.test_validate import BAD, GOOD, zkalert
from zkalert.metrics import FAMILIES

# What SARIF 2.1.0 says of the parts that we write.
_MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "additionalProperties": False,
                                            "properties": {"id": {"type": "string"}, "shortDescription": _MESSAGE},
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": _MESSAGE,
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "additionalProperties": False,
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": r"^[A-Za-z0-9%:/._~-]+$",
                                                            }
                                                        },
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                            "snippet": _MESSAGE,
                                                        },
                                                    },
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
ODD = "a:b, 100% ü\x1b[31m\n::error::x.yaml"


@pytest.fixture
def findings(tmp_path: Path) -> Path:
    """A folder with an error, an advice, a file that cannot be read, and a name that no format may take as it is."""
    (tmp_path / "a.yaml").write_text(BAD)
    (tmp_path / "b.yaml").write_text("# empty\n")
    (tmp_path / "c.yaml").write_text('rules:\n  - {name: a, summary: "{{ value", \n')
    (tmp_path / ODD).write_text("rules: 5\n")
    (tmp_path / "good.yaml").write_text(GOOD.replace("NAME", "good"))
    return tmp_path


def test_json_is_one_object_and_the_summary_goes_to_people(findings: Path) -> None:
    done = zkalert("validate", "a.yaml", "b.yaml", "good.yaml", "--format", "json", cwd=findings)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "files": 3,
        "rules": 1,
        "errors": 1,
        "advice": 1,
        "findings": [
            {
                "file": "a.yaml",
                "line": 3,
                "column": 13,
                "code": "unknown-metric",
                "level": "error",
                "message": 'unknown metric "memory"',
                "expected": "one of " + ", ".join(sorted(FAMILIES)),
                "hint": "did you mean memory_usage?",
                "text": "    metric: memory",
            },
            {
                "file": "b.yaml",
                "line": 1,
                "column": 1,
                "code": "empty",
                "level": "advice",
                "message": "no rules in this file",
                "expected": "",
                "hint": "",
                "text": "# empty",
            },
        ],
    }
    assert done.stderr == "1 error, 1 advice in 3 files\n"


def test_github_gets_one_command_for_each_finding(findings: Path) -> None:
    done = zkalert("validate", "a.yaml", "b.yaml", "--format", "github", cwd=findings)
    place, known = "file=a.yaml,line=3,col=13,title=zkalert unknown-metric", ", ".join(sorted(FAMILIES))
    assert done.stdout.splitlines() == [
        f'::error {place}::unknown metric "memory"%0Aexpected: one of {known}%0Adid you mean memory_usage?',
        "::notice file=b.yaml,line=1,col=1,title=zkalert empty::no rules in this file",
    ]
    assert (done.returncode, done.stderr) == (1, "1 error, 1 advice in 2 files\n")


def test_a_name_cannot_forge_commands(findings: Path) -> None:
    done = zkalert("validate", ODD, "--format", "github", cwd=findings)
    place = "file=a%3Ab%2C 100%25 ü?[31m%0A%3A%3Aerror%3A%3Ax.yaml,line=1,col=8"
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"::error {place},title=zkalert wrong-type::rules: found the number 5%0Aexpected: ")


def test_sarif_is_a_log_with_a_rule_for_each_code(findings: Path) -> None:
    done = zkalert("validate", ".", "--format", "sarif", cwd=findings)
    log = json.loads(done.stdout)
    jsonschema.Draft202012Validator(SARIF).validate(log)
    (run,) = log["runs"]
    results = run["results"]
    codes = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [codes[result["ruleIndex"]] for result in results] == [result["ruleId"] for result in results]
    assert sorted({result["ruleId"] for result in results}) == codes
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert [unquote(place["artifactLocation"]["uri"]) for place in places] == ["a.yaml", ODD, "b.yaml", "c.yaml"]
    assert [result["level"] for result in results] == ["error", "error", "note", "error"]
    assert places[0]["region"] == {"startLine": 3, "startColumn": 13, "snippet": {"text": "    metric: memory"}}
    assert results[0]["message"]["text"].splitlines()[0] == 'unknown metric "memory"'
    assert (done.returncode, done.stderr) == (1, "3 errors, 1 advice in 5 files\n")


def test_a_message_of_sarif_has_neither_placeholders_nor_links(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('rules: "{0} [here](https://example.org)"\n')
    done = zkalert("validate", "a.yaml", "--format", "sarif", cwd=tmp_path)
    message = json.loads(done.stdout)["runs"][0]["results"][0]["message"]["text"]
    assert "{{0}} [here] (https://" in message


def test_sarif_names_a_file_that_stands_elsewhere_by_its_whole_path(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "ä b.yaml").write_text(BAD)
    done = zkalert("validate", tmp_path / "ä b.yaml", "--format", "sarif", cwd=here)
    (result,) = json.loads(done.stdout)["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == f"file://{tmp_path}/%C3%A4%20b.yaml"


@pytest.mark.parametrize("format_", ["text", "json", "github", "sarif"])
def test_no_format_steers_a_terminal(findings: Path, format_: str) -> None:
    done = zkalert("validate", ".", "--format", format_, cwd=findings, FORCE_COLOR="1")
    assert done.returncode == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", done.stdout)


@pytest.mark.parametrize("format_", ["json", "github", "sarif"])
def test_without_findings_programs_get_an_empty_report(tmp_path: Path, format_: str) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("NAME", "a"))
    done = zkalert("validate", "a.yaml", "--format", format_, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "1 rule in 1 file: no errors\n")
    if format_ == "github":
        assert done.stdout == ""
    elif format_ == "json":
        assert json.loads(done.stdout) == {"files": 1, "rules": 1, "errors": 0, "advice": 0, "findings": []}
    else:
        jsonschema.Draft202012Validator(SARIF).validate(json.loads(done.stdout))
        assert json.loads(done.stdout)["runs"][0]["results"] == []


def test_advice_counts_as_errors_where_that_is_asked_for(findings: Path) -> None:
    assert zkalert("validate", "b.yaml", cwd=findings).returncode == 0
    done = zkalert("validate", "b.yaml", "--strict", cwd=findings)
    assert done.returncode == 1
    assert done.stdout.startswith("b.yaml:1:1: error: no rules in this file\n")
    assert done.stdout.endswith("\n1 error in 1 file\n")
    done = zkalert("validate", "b.yaml", "--strict", "--format", "json", cwd=findings)
    assert (json.loads(done.stdout)["errors"], json.loads(done.stdout)["findings"][0]["level"]) == (1, "error")
