"""`zkalert schema`: what editors and other tools need, as it ships."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from zkalert import documents

ROOT = Path(__file__).parents[2]
KINDS = sorted(path.name.removesuffix(".schema.json") for path in documents.shipped("schemas").iterdir())


def schema(*args: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "zkalert", "schema", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_printed_as_it_ships(kind: str) -> None:
    done = schema(kind)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (documents.shipped("schemas") / f"{kind}.schema.json").read_bytes()
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_rules_are_what_is_meant_without_a_name() -> None:
    assert schema().stdout == schema("rules").stdout != schema("config").stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rule", 'no schema "rule"; did you mean rules?'),
        ("nothing", 'no schema "nothing"; expected one of ' + ", ".join(KINDS)),
        ("../rules/rules", 'no schema "../rules/rules"; '),
        ("", 'no schema ""; expected one of '),
    ],
)
def test_an_unknown_schema_is_refused_with_the_nearest_name(name: str, said: str) -> None:
    done = schema(name)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


def test_help_says_how_an_editor_uses_it() -> None:
    said = schema("--help").stdout.decode()
    assert "zkalert schema rules > rules.schema.json" in said
    assert "# yaml-language-server: $schema=rules.schema.json" in said
