"""The cookbook: rule files with a title and a reason in their first comment, each with its tests beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.text import anchor, paragraph, yaml_block
from zkalert import documents

_HEAD = re.compile(r"# yaml-language-server: [^\n]*\n#\n# ([^\n]+)\n#\n((?:# [^\n]+\n)+)\n(.*)", re.DOTALL)
_TESTS_FROM = re.compile(r"^tests:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One rule file: its title, when it is of use, its rules as text and as data, and its tests as text."""

    path: Path
    title: str
    when: str
    rules: str
    data: dict[str, Any]
    tests: str

    @property
    def test_path(self) -> Path:
        return self.path.with_suffix(".test.yaml")


def read(folder: Path) -> tuple[Recipe, ...]:
    """All recipes, in the order of their names. Raises ValueError for a file without a title."""
    return tuple(_read(path) for path in sorted(folder.glob("*.yaml")) if not path.name.endswith(".test.yaml"))


def _read(path: Path) -> Recipe:
    match = _HEAD.fullmatch(path.read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{path}: expected the line of the schema, a title, when to use it, and rules")
    title, when, rules = match.groups()
    document, _ = documents.parse(rules, str(path), "rules")
    tests = path.with_suffix(".test.yaml").read_text(encoding="utf-8")
    from_tests = _TESTS_FROM.search(tests)
    return Recipe(
        path=path,
        title=title,
        when=" ".join(line.removeprefix("# ") for line in when.splitlines()),
        rules=rules,
        data=document.data,
        tests=tests[from_tests.start() :] if from_tests else tests,
    )


def contents(recipes: Sequence[Recipe], page: str = "") -> str:
    return "\n".join(f"- {link(recipe, page)}" for recipe in recipes)


def link(recipe: Recipe, page: str = "") -> str:
    return f"[{recipe.title}]({page}#{anchor(recipe.title)})"


def cookbook(recipes: Sequence[Recipe]) -> str:
    """A list of all recipes, and a section for each."""
    return "\n\n".join([contents(recipes), *("\n\n".join(_section(recipe)) for recipe in recipes)])


def _section(recipe: Recipe) -> Iterator[str]:
    yield f"## {recipe.title}"
    yield paragraph(recipe.when)
    yield yaml_block(recipe.rules)
    name = recipe.test_path.name
    yield "<details><summary>Its test</summary>"
    yield yaml_block(recipe.tests)
    yield f"In [{name}](cookbook/{name})."
    yield "</details>"


def used(value: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a rule as dotted paths, lists passed through: `action.at`, `across.where.threshold`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{prefix}{key}"
            yield from used(item, f"{prefix}{key}.")
    elif isinstance(value, list):
        for item in value:
            yield from used(item, prefix)
