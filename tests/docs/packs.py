"""The packs that come with zkalert: what each of them is for, and what its rules tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.text import anchor, code, paragraph, table
from zkalert import documents, rulefile
from zkalert.model import Rule

_FILLED = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)


def contents(folder: Path) -> str:
    """A line for each pack."""
    return "\n".join(f"- [{path.stem}](#{anchor(path.stem)})" for path in _files(folder))


def tables(folder: Path) -> str:
    """A chapter for each pack: the first sentence of its comment, and its rules."""
    return "\n\n".join(part for path in _files(folder) for part in _chapter(path))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _chapter(path: Path) -> Iterator[str]:
    pack = documents.find_pack(path.stem)
    assert pack.about, f"{path} does not say what it is for in a sentence"
    rules, _ = rulefile.parse(pack.text(), str(path))
    yield f"## {path.stem}"
    yield paragraph(f"{pack.about} In [rules/{path.name}](../rules/{path.name}).")
    yield table(("rule", "severity", "what it tells"), (_row(rule) for rule in rules))


def _row(rule: Rule) -> tuple[str, ...]:
    severities = dict.fromkeys(step.severity.value for step in rule.steps)
    return code(rule.name), ", ".join(severities), " ".join(_FILLED.sub("…", rule.summary).split())
