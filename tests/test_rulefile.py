"""Rule files: what is right becomes rules, what is wrong is told with its place and its cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zkalert import documents, rulefile
from zkalert.evaluate import is_of_hosts
from zkalert.metrics import FAMILIES
from zkalert.model import (
    Comparator,
    Condition,
    Finding,
    HostMatch,
    Level,
    Metric,
    Notify,
    Phase,
    Rule,
    Run,
    Severity,
    Step,
    Term,
    UsageError,
)

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
GOOD = sorted((HERE / "rules" / "good").glob("*.yaml"))
BAD = sorted((HERE / "rules" / "bad").glob("*.yaml"))
SHIPPED = sorted(documents.shipped("rules").glob("*.yaml"))
SHIPPED += sorted(
    path
    for path in EXAMPLES.rglob("*.yaml")
    if re.search(r"^rules:\s*$", path.read_text(), re.MULTILINE) and not rulefile.is_config_name(path)
)
EXPECT = re.compile(r"# expect: (\d+):(\d+) ([a-z0-9-]+): (.*)")


def one(text: str, **rest: object) -> Rule:
    """The rule of a plain file, with some keys replaced."""
    keys = {"name": "a", "metric": "memory_usage", "comparator": '">"', "threshold": 90} | rest
    body = "\n".join(f"    {key}: {value}" for key, value in keys.items())
    rules, findings = rulefile.parse(f"{text}rules:\n  -\n{body}\n", "a.yaml")
    assert not findings
    return rules[0]


def problems(text: str, **options: object) -> list[Finding]:
    rules, findings = rulefile.parse(text, "a.yaml", **options)  # type: ignore[arg-type]
    assert not rules
    return list(findings)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_has_no_findings(path: Path) -> None:
    rules, findings = rulefile.parse(path.read_bytes(), path.name)
    assert findings == ()
    assert rules or path.stem == "no-rules"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_file_has_no_findings_and_names_no_missing_key(path: Path) -> None:
    intervals = dict.fromkeys(FAMILIES, 1.0) if path.parent.name == "demo" else None  # as its zkalert.yaml has it
    rules, findings = rulefile.parse(path.read_bytes(), str(path), intervals=intervals)
    assert findings == ()
    assert rules


def test_shipped_packs_name_no_action_and_say_what_is_wrong_in_words() -> None:
    packs = rulefile.load([documents.shipped("rules")])
    assert packs.is_usable
    assert packs.rules
    for rule in packs.rules:
        assert rule.actions is None, rule.name
        # An ensemble is named by its rule's file; which of its parts it is about, the text has to say.
        assert "{{ host }}" in rule.summary or (rule.summary and not is_of_hosts(rule)), rule.name
        assert rule.runbook or is_of_hosts(rule), rule.name


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_has_the_one_finding_that_its_comment_expects(path: Path) -> None:
    text = path.read_text()
    expected = EXPECT.search(text)
    assert expected
    [finding] = problems(text)
    assert (finding.line, finding.column, finding.code) == (int(expected[1]), int(expected[2]), expected[3])
    said = f"{finding.message}\n{finding.expected}\n{finding.hint}"
    assert expected[4] in said
    assert finding.expected or finding.hint
    assert finding.text == text.splitlines()[finding.line - 1]


def test_a_plain_rule_is_read_whole() -> None:
    rule = one("", duration="2m", severity="critical", action="ops", labels="{team: a}", summary="hot", enabled="false")
    assert rule == Rule(
        name="a",
        conditions=(
            Condition(
                term=Term(metric=Metric("memory_usage", "percent")),
                comparator=Comparator.GT,
                threshold=90.0,
                unit="percent",
                subject="memory_usage.percent",
            ),
        ),
        steps=(Step(severity=Severity.CRITICAL, duration=120.0),),
        actions=(Notify(channel="ops"),),
        labels={"team": "a"},
        summary="hot",
        enabled=False,
        digest=rule.digest,
        source="a.yaml:3",
    )


@pytest.mark.parametrize(
    ("written", "actions"),
    [
        ("ops", (Notify(channel="ops"),)),
        ("json://h/x", (Notify(url="json://h/x"),)),
        ("{notify: ops, at: firing}", (Notify(channel="ops", at=frozenset({Phase.FIRING})),)),
        ("{notify: ops, at: [resolved]}", (Notify(channel="ops", at=frozenset({Phase.RESOLVED, Phase.CLOSED})),)),
        ("{run: ls -l, timeout: 5s}", (Run(command="ls -l", timeout=5.0),)),
        (
            "{run: [ls, -l], at: [firing, escalated, repeated, resolved]}",
            (Run(command=("ls", "-l"), at=frozenset(Phase)),),
        ),
        (
            "[ops, {run: ls, at: [firing, escalated]}]",
            (Notify(channel="ops"), Run(command="ls", at=frozenset({Phase.FIRING, Phase.ESCALATED}))),
        ),
        ("[ops, {run: ls}]", (Notify(channel="ops"), Run(command="ls"))),
    ],
    ids=["channel", "url", "at", "resolved-includes-closed", "shell", "argv", "escalated", "list"],
)
def test_an_action_is_a_channel_a_url_a_command_or_a_list(written: str, actions: tuple[object, ...]) -> None:
    assert one("", action=written).actions == actions


def test_without_an_action_the_default_channels_are_meant() -> None:
    assert one("").actions is None


def test_hosts_are_globs_or_labels() -> None:
    assert one("", hosts="web*").hosts == (HostMatch(glob="web*"),)
    assert one("", hosts="[db1, {role: db}]").hosts == (HostMatch(glob="db1"), HostMatch(labels={"role": "db"}))


def test_instances_are_globs_and_without_them_none() -> None:
    assert one("", metric="cpu_usage").instances is None
    assert one("", metric="cpu_usage", instances='"*"').instances == ("*",)
    assert one("", metric="cpu_usage", instances='["0", "1"]').instances == ("0", "1")


def test_defaults_fill_missing_keys_only() -> None:
    rule = one("defaults: {duration: 1m, severity: info}\n", severity="critical")
    assert (rule.steps[0].duration, rule.severity) == (60.0, Severity.CRITICAL)


def test_a_counter_is_judged_by_its_rate() -> None:
    [condition] = one("", metric="network_io.rx_bytes", threshold="10MB/s").conditions
    assert (condition.threshold, condition.unit) == (10_000_000, "bytes per second")
    [condition] = one("", metric="disk_io.busy", threshold="80%").conditions
    assert condition.threshold == pytest.approx(0.8)
    assert condition.unit == "ratio"


def test_a_percentage_beyond_its_range_is_advice() -> None:
    rules, findings = rulefile.parse(
        'rules: [{name: a, metric: memory_usage, comparator: ">", threshold: 101}]', "a.yaml"
    )
    assert len(rules) == 1
    assert [(finding.code, finding.level) for finding in findings] == [("threshold-range", Level.ADVICE)]


def test_channels_are_checked_where_they_are_known() -> None:
    text = 'rules: [{name: a, metric: cpu_usage, comparator: ">", threshold: 1, action: [ops, {notify: chta}]}]'
    assert rulefile.parse(text, "a.yaml")[1] == ()
    [finding] = problems(text, channels={"ops", "chat"})
    assert (finding.code, finding.hint) == ("unknown-channel", "did you mean chat?")
    assert {finding.code for finding in problems(text, channels=())} == {"unknown-channel"}


def test_a_url_is_never_shown_whole() -> None:
    text = (
        'rules: [{name: a, metric: memry_usage, comparator: ">", threshold: 1, action: "mailto://u:hunter2@h"},'
        ' {name: b, metric: cpu_usage, comparator: ">", threshold: 1, action: {notify: {a: "json://u:hunter2@h"}}},'
        ' {name: "json://u:hunter2@h", metric: cpu_usage}]'
    )
    assert "hunter2" not in repr(problems(text))
    assert "hunter2" not in repr(problems(text.replace("memry", "memory")))
    for key in ("metric", "threshold", "duration", "severity", "hosts", "name"):
        assert "hunter2" not in repr(problems(f"rules: [{{name: a, {key}: ['json://u:hunter2@h']}}]"))
        assert "hunter2" not in repr(problems(f"rules: [{{name: a, metric: cpu_usage, {key}: 'json://u:hunter2@h'}}]"))


def test_the_digest_covers_the_condition_and_nothing_else() -> None:
    base = one("", metric="cpu_usage").digest
    assert re.fullmatch("[0-9a-f]{12}", base)
    same = [
        one("", name="b", metric="cpu_usage.percent", threshold="90%"),
        one("", metric="cpu_usage", duration="5m", severity="info", summary="x", action="ops", labels="{a: b}"),
        one("# moved\n", metric="cpu_usage", threshold=90.0),
    ]
    other = [
        one("", metric="cpu_usage.user"),
        one("", metric="cpu_usage", comparator='">="'),
        one("", metric="cpu_usage", threshold=91),
        one("", metric="cpu_usage", hosts="web*"),
        one("", metric="cpu_usage", instances='"*"'),
    ]
    assert {rule.digest for rule in same} == {base}
    assert len({base, *(rule.digest for rule in other)}) == 1 + len(other)


def test_the_digest_of_a_set_is_the_same_in_any_order_and_place_but_not_with_another_wording() -> None:
    first, second = one("", name="a", action="{run: ls, at: [firing, resolved]}"), one("", name="b")
    moved = one("# moved\n", name="b")
    assert rulefile.digest([first, second]) == rulefile.digest([moved, first])
    assert rulefile.digest([first, second]) != rulefile.digest([first, one("", name="b", summary="x")])
    assert rulefile.digest([first, one("", name="b", action="json://a")]) != rulefile.digest(
        [first, one("", name="b", action="json://b")]
    )


def write(folder: Path, **files: str) -> None:
    for name, rule in files.items():
        text = f"rules:\n  - name: {rule}\n    metric: cpu_usage\n    comparator: '>'\n    threshold: 90\n"
        (folder / f"{name}.yaml").write_text(text)


def test_folders_are_read_through_sorted_and_loops_of_links_end(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    write(tmp_path, b="rule-b", a="rule-a", zkalert="not-a-rule-file")
    write(tmp_path / "sub", c="rule-c")
    write(tmp_path / ".hidden", d="rule-d")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no rules")
    rule_set = rulefile.load([tmp_path])
    assert [rule.name for rule in rule_set.rules] == ["rule-a", "rule-b", "rule-c"]
    assert (rule_set.files, rule_set.findings, rule_set.is_usable) == (3, (), True)


def test_a_name_that_stands_in_two_files_is_told_in_the_second(tmp_path: Path) -> None:
    write(tmp_path, a="same", b="same")
    rule_set = rulefile.load([tmp_path])
    [finding] = rule_set.findings
    assert (finding.file, finding.line, finding.column) == (str(tmp_path / "b.yaml"), 2, 11)
    assert (finding.code, finding.hint) == ("duplicate-name", f"the first is at {tmp_path / 'a.yaml'}:2")
    assert not rule_set.is_usable


def test_one_bad_file_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path, a="good", b="BAD", d="ALSO-BAD")
    (tmp_path / "c.yaml").write_text("rules: [")
    rule_set = rulefile.load([tmp_path])
    assert [rule.name for rule in rule_set.rules] == ["good"]
    assert [Path(finding.file).name for finding in rule_set.findings] == ["b.yaml", "c.yaml", "d.yaml"]
    assert not rule_set.is_usable


def test_a_path_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        rulefile.load([tmp_path / "nowhere"])


def test_a_file_without_rules_is_advice() -> None:
    rules, [finding] = rulefile.parse("# nothing here yet\n", "a.yaml")
    assert (rules, finding.level) == ((), Level.ADVICE)


def test_what_is_wrong_in_the_defaults_is_told_once() -> None:
    rules = "".join(f"  - {{name: r{index}}}\n" for index in range(50))
    found = problems(f"defaults: {{metric: cpu, comparator: '>', threshold: hot, duration: 0s}}\nrules:\n{rules}")
    assert [(finding.line, finding.code) for finding in found] == [(1, "unknown-metric")]


def test_what_the_schema_says_of_one_rule_hides_nothing_of_the_others() -> None:
    text = """
rules:
  - {name: x, metric: memory_usage, comparator: ">", threshold: 90, for: 2m}
  - {name: y, metric: memory, comparator: ">", threshold: 2GiB}
  - {name: y, metric: disk_usage.free, comparator: "<", threshold: 10%}
"""
    rules, findings = rulefile.parse(text, "f.yaml")
    assert rules == ()
    assert [(finding.line, finding.code) for finding in findings] == [
        (3, "unknown-key"),
        (4, "unknown-metric"),
        (5, "duplicate-name"),
        (5, "wrong-threshold"),
    ]
