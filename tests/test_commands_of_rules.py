"""Commands in rule files: where they run, as whom, and how often."""

from __future__ import annotations

import pytest

from zkalert import rulefile
from zkalert.model import Brake, Level, Phase, Run, Where


def actions(written: str, **options: object) -> tuple[object, ...]:
    """The actions of a rule, and what is found wrong with the file."""
    text = f'rules:\n  - {{name: a, metric: cpu_usage, comparator: ">", threshold: 90, action: {written}}}\n'
    rules, findings = rulefile.parse(text, "a.yaml", **options)  # type: ignore[arg-type]
    assert [finding.message for finding in findings if finding.level is Level.ERROR] == []
    return rules[0].actions or ()


@pytest.mark.parametrize(
    ("written", "run"),
    [
        ("{run: ls, where: engine}", Run(command="ls")),
        ("{run: restart-app, where: host}", Run(command="restart-app", where=Where.HOST)),
        (
            "{run: restart, where: host, timeout: 2m, at: resolved}",
            Run(
                command="restart",
                where=Where.HOST,
                timeout=120.0,
                at=frozenset({Phase.RESOLVED, Phase.CLOSED}),
            ),
        ),
        (
            "{run: [./x], user: deploy, cwd: /srv, umask: '027', environment: clean}",
            Run(command=("./x",), user="deploy", cwd="/srv", umask=0o027, is_clean=True),
        ),
        ("{run: [./x], umask: 0077, environment: inherit}", Run(command=("./x",), umask=0o077)),
        ("{run: x, brake: {}}", Run(command="x", brake=Brake(at_once=1, per=3600.0, most=3))),
        (
            "{run: x, brake: {at_once: 2.0, per: 1d, most: 5, group: kafka, then: ops}}",
            Run(command="x", brake=Brake(at_once=2, per=86400.0, most=5, group="kafka", then="ops")),
        ),
    ],
    ids=["engine", "host", "host with more", "as somebody", "umask without quotes", "brake", "brake with more"],
)
def test_how_a_command_is_run(written: str, run: Run) -> None:
    assert actions(written) == (run,)


def test_the_channel_that_a_brake_tells_has_to_be_there() -> None:
    written = "{run: x, brake: {then: opps}}"
    text = f'rules:\n  - {{name: a, metric: cpu_usage, comparator: ">", threshold: 90, action: {written}}}\n'
    _, findings = rulefile.parse(text, "a.yaml", channels=["ops", "boss"])
    [finding] = findings
    assert (finding.code, finding.hint) == ("unknown-channel", "did you mean ops?")
    assert finding.text[finding.column - 1 :].startswith("opps")


def test_all_that_a_host_has_to_say_itself_is_found_at_once() -> None:
    written = "{run: [ls], where: host, user: a, cwd: /b, umask: '022', environment: clean}"
    text = f'rules:\n  - {{name: a, metric: cpu_usage, comparator: ">", threshold: 90, action: {written}}}\n'
    rules, findings = rulefile.parse(text, "a.yaml")
    assert rules == ()
    assert [finding.code for finding in findings] == ["wrong-action", *["misplaced-key"] * 4]
