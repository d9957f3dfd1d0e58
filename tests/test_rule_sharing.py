"""Rules of one file that look for the same share what is made of it, and are what each would be alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from zkalert import documents, rulefile

ROOT = Path(__file__).parent.parent
FILES = [*sorted((ROOT / "tests/rules/good").glob("*.yaml")), *sorted((ROOT / "rules").rglob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_is_the_same_alone_and_among_others(path: Path) -> None:
    whole, findings = rulefile.parse(path.read_bytes(), "a.yaml", links=rulefile.Links())
    assert rulefile.RuleSet(findings=findings).is_usable
    raw = documents.parse(path.read_bytes(), "a.yaml", "rules")[0].data
    assert len(whole) == len(raw["rules"])
    for rule, one in zip(whole, raw["rules"], strict=True):
        text = json.dumps({**raw, "rules": [one]})
        [alone], _ = rulefile.parse(text, "a.yaml", links=rulefile.Links())
        assert replace(rule, source="") == replace(alone, source="")


def test_what_two_rules_share_is_advised_about_at_each() -> None:
    rule = "{{name: {}, metric: memory_usage, comparator: '>', threshold: 200}}"
    text = f"rules:\n  - {rule.format('a')}\n  - {rule.format('b')}\n"
    rules, findings = rulefile.parse(text, "a.yaml")
    assert rules[0].conditions == rules[1].conditions
    assert [(finding.line, finding.code) for finding in findings] == [(2, "threshold-range"), (3, "threshold-range")]


def test_what_is_wrong_in_two_rules_is_told_at_each() -> None:
    rule = "{{name: {}, metric: memory_usage, comparator: '>', threshold: 5 apples}}"
    _, findings = rulefile.parse(f"rules:\n  - {rule.format('a')}\n  - {rule.format('b')}\n", "a.yaml")
    assert [(finding.line, finding.code) for finding in findings] == [(2, "wrong-threshold"), (3, "wrong-threshold")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("0", "-0.0"), ("90", "'90%'"), ("90", "90\n    clear: 80"), ("90", "90\n    over: 10m"), ("1GiB", "1")],
)
def test_what_is_written_otherwise_has_its_own_digest_or_the_same_as_alone(one: str, other: str) -> None:
    metric = "memory_usage.used" if "GiB" in one else "memory_usage"
    rules = [
        f"  - name: {name}\n    metric: {metric}\n    comparator: '>='\n    threshold: {written}\n"
        for name, written in (("a", one), ("b", other))
    ]
    together, _ = rulefile.parse("rules:\n" + "".join(rules), "a.yaml")
    alone = [rulefile.parse(f"rules:\n{rule}", "a.yaml")[0][0] for rule in rules]
    assert [rule.digest for rule in together] == [rule.digest for rule in alone]
