"""What is shipped as an example works: files fit their schemas, scripts run, the demo's zombies come and go."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.docs import settings
from zkalert import config, documents, rulefile, senders
from zkalert.model import Alert, Comparator, Effect, Metric, Phase, Reason, Run, SendState, Severity, State
from zkalert.render import render, template_problem
from zkalert.senders import RunSender

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRETS = {
    "HEARTBEAT_URL": "https://beat.example.org/1",
    "SHOP_TOKEN": "a-token",
    "SLACK_URL": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
    "SMTP_PASSWORD": "a-password",
    "WEBHOOK_SECRET": "a-secret",
    "ZKALERT_PASSWORD": "a-password",
    "KAFKA_PASSWORD": "a-password",
}
ACTIONS = sorted((EXAMPLES / "actions").iterdir())
EFFECT = Effect(
    alert=Alert(
        rule="memory-high",
        host='it\'s $(a) "host"',
        state=State.FIRING,
        episode="3fa4b2c1d0e9",
        severity=Severity.WARNING,
        metric=Metric("memory_usage", "percent"),
        unit="percent",
        comparator=Comparator.GT,
        threshold=90.0,
        value=93.42,
        since=1_763_900_000.0,
    ),
    phase=Phase.FIRING,
    reason=Reason.HELD,
    at=1_763_900_120.0,
)


def _files(kind: str) -> list[Path]:
    configs, tests = sorted(EXAMPLES.glob("**/zkalert.yaml")), sorted(EXAMPLES.glob("**/*.test.yaml"))
    known = {"config": configs, "tests": tests}
    return known.get(kind, sorted(set(EXAMPLES.glob("**/*.yaml")).difference(configs, tests)))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        pytest.param(file, kind, id=str(file.relative_to(EXAMPLES)))
        for kind in ("config", "rules", "tests")
        for file in _files(kind)
    ],
)
def test_examples_fit_their_schemas(file: Path, kind: str) -> None:
    document, findings = documents.parse(file.read_bytes(), str(file), kind)
    assert findings == ()
    assert documents.check(document) == ()


def _paths(value: object, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all keys, those in lists too."""
    if isinstance(value, list):
        for item in value:
            yield from _paths(item, prefix)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{prefix}{name}"
            yield from _paths(inner, f"{prefix}{name}.")


def test_every_key_of_the_configuration_is_in_the_example() -> None:
    """Whoever looks for what can be configured finds all of it in one file."""
    document, _ = documents.parse((EXAMPLES / "zkalert.yaml").read_bytes(), "zkalert.yaml", "config")
    shown = "\n".join(_paths(document.data))
    for name, found in settings.settings().items():
        for path in (name, *(f"{name}.{below.path}" for below in settings.below(found))):
            pattern = re.escape(path).replace(settings.NAME, "[^.\n]+")
            assert re.search(f"^{pattern}$", shown, re.MULTILINE), f"{path} is missing"


@pytest.mark.parametrize("file", _files("config"), ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_an_example_of_a_configuration_can_be_used_with_its_rules(file: Path) -> None:
    found, findings = config.read(
        file.read_bytes(), file, environ=SECRETS, check_url=lambda url: senders.validate_url(url) or ""
    )
    assert findings == ()
    assert found is not None
    rules = rulefile.load(found.rules, channels=found.channels, intervals=found.intervals)
    assert rules.findings == ()
    assert rules.rules


@pytest.mark.parametrize("file", _files("rules"), ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_texts_of_example_rules_are_fine(file: Path) -> None:
    document, _ = documents.parse(file.read_bytes(), str(file), "rules")
    for rule in document.data["rules"]:
        for key in ("summary", "description"):
            assert template_problem(rule.get(key, "")) is None


@pytest.mark.parametrize("script", ACTIONS, ids=lambda script: script.name)
def test_action_scripts_run(script: Path, tmp_path: Path) -> None:
    """As an engine runs them; each writes what it was told into the file that it is given."""
    out = tmp_path / "out"
    result = RunSender(Run(command=(str(script), str(out)))).send((EFFECT,), render(EFFECT))
    assert (result.state, result.detail.partition(";")[0]) == (SendState.DELIVERED, "exit code 0")
    assert "memory-high" in out.read_text()


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("**/*.sh")), ids=lambda script: script.name)
def test_shell_scripts_parse(script: Path) -> None:
    assert subprocess.run(["/bin/sh", "-n", str(script)], check=False).returncode == 0


def test_the_demo_makes_zombies_and_collects_them() -> None:
    script = EXAMPLES / "demo" / "zombies.py"
    with subprocess.Popen([sys.executable, str(script), "6", "1"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "6 zombies for 1 s\n"
        children = psutil.Process(process.pid).children()
        deadline = time.monotonic() + 0.9
        while (dead := [child.status() for child in children].count(psutil.STATUS_ZOMBIE)) < 6:
            assert time.monotonic() < deadline, f"only {dead} zombies"
        assert process.stdout.readline() == "6 zombies collected\n"
        assert process.wait(5) == 0
    assert not [child for child in children if child.is_running()]
