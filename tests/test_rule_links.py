"""What rules say of each other over all files: who keeps whom quiet."""

from __future__ import annotations

from pathlib import Path

from zkalert import rulefile
from zkalert.model import Level

SIMPLE = 'metric: cpu_usage, comparator: ">", threshold: 90'


def write(folder: Path, name: str, *rules: str) -> None:
    (folder / name).write_text("rules:\n" + "".join(f"  - {{{SIMPLE}, {keys}}}\n" for keys in rules))


def test_inhibitors_may_stand_in_any_file(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a, inhibited_by: [b, c]", "name: c")
    write(tmp_path, "b.yaml", "name: b, inhibited_by: c")
    found = rulefile.load([tmp_path])
    assert found.findings == ()
    assert [one.inhibited_by for one in found.rules] == [("b", "c"), (), ("c",)]
    assert rulefile.parse((tmp_path / "a.yaml").read_text(), "a.yaml")[1][0].code == "unknown-rule"


def test_a_loop_over_several_files_is_told_once_and_names_its_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a, inhibited_by: b", "name: x, inhibited_by: a")
    write(tmp_path, "b.yaml", "name: b, inhibited_by: c")
    write(tmp_path, "c.yaml", "name: c, inhibited_by: a")
    found = rulefile.load([tmp_path])
    [finding] = found.findings
    assert (Path(finding.file).name, finding.line, finding.code) == ("c.yaml", 2, "inhibition-loop")
    assert finding.message == "inhibition in a loop: a by b by c by a"
    assert not found.is_usable


def test_a_chain_of_two_thousand_inhibitors_is_no_loop_and_no_trouble(tmp_path: Path) -> None:
    chain = [f"name: r{index}, inhibited_by: r{index + 1}" for index in range(2000)]
    write(tmp_path, "a.yaml", *chain, "name: r2000")
    assert rulefile.load([tmp_path]).findings == ()


def test_names_in_files_with_errors_are_known_to_the_others(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a, inhibited_by: b")
    write(tmp_path, "b.yaml", "name: b, for: 5m")
    assert [finding.code for finding in rulefile.load([tmp_path]).findings] == ["unknown-key"]
    (tmp_path / "b.yaml").write_text("rules: [")
    assert [finding.code for finding in rulefile.load([tmp_path]).findings] == ["yaml-syntax"]


def test_an_inhibitor_that_is_off_is_advice(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a, inhibited_by: b", "name: b, enabled: false")
    found = rulefile.load([tmp_path])
    assert [(finding.code, finding.level) for finding in found.findings] == [("inhibitor-off", Level.ADVICE)]
    assert len(found.rules) == 2
