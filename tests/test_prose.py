"""What README and docs tell people to type and to write works: commands parse, configurations and rules are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.docs import DOCS
from zkalert import config, documents, rulefile
from zkalert.cli import cli

PAGES = [DOCS.parent / "README.md", *sorted((DOCS / "source").glob("*.md"))]
SECRETS = {
    "SLACK_URL": "json://hooks.example.org/chat",
    "ONCALL_URL": "json://hooks.example.org/oncall",
    "HEARTBEAT_URL": "https://beat.example.org/1",
    "WEBHOOK_SECRET": "a-secret",
    "SMTP_PASSWORD": "a-password",
    "ZKALERT_PASSWORD": "a-password",
    "KAFKA_PASSWORD": "a-password",
}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield text


def _commands(page: Path) -> Iterator[str]:
    """All calls of zkalert: the lines of shell blocks, of sessions those behind a prompt, and what is code in prose."""
    for text in _blocks(page, "sh"):
        yield from (line for line in text.splitlines() if line.startswith("zkalert "))
    for text in _blocks(page, "console"):
        yield from (line[2:] for line in text.splitlines() if line.startswith("$ zkalert "))
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    yield from re.findall(r"(?<!`)`(zkalert [a-z][^`\n]*)`", prose)


COMMANDS = [
    pytest.param(line, id=f"{page.name}:{line.partition('  #')[0].strip()}")
    for page in PAGES
    for line in dict.fromkeys(_commands(page))
]
YAML = [
    pytest.param(text, id=f"{page.name}:{number}")
    for page in PAGES
    for number, text in enumerate(_blocks(page, "yaml"))
    if text.startswith("# ")
]


def _leaf(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that the words name, and what is left of them."""
    command: click.Command = cli
    context = click.Context(cli, info_name="zkalert")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None and not command.params:
            break
        assert found is not None, f"no command {words[0]}"
        command, context, words = found, click.Context(found, context, info_name=words[0]), words[1:]
    return command, context, words


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_is_shown_exists_with_these_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    command, context, rest = _leaf(words[1:])
    opened, _, _ = command.make_parser(context).parse_args(list(rest))
    known = {parameter.name for parameter in command.params}
    assert set(opened) <= known


@pytest.mark.parametrize("text", YAML)
def test_yaml_that_names_its_file_can_be_used(text: str) -> None:
    """A first line such as `# zkalert.yaml` or `# rules/memory.yaml` says what it is."""
    name = text.partition("\n")[0].removeprefix("# ")
    if name == "zkalert.yaml":
        _, findings = config.read(text, DOCS / name, environ=SECRETS)
        assert findings == ()
    elif name.endswith(".test.yaml") or name.startswith("yaml-language-server"):
        document, findings = documents.parse(text, name, "tests" if "\ntests:" in text else "rules")
        assert (*findings, *documents.check(document)) == ()
    else:
        _, findings = rulefile.parse(text, name)
        assert findings == ()


def test_enough_is_looked_at() -> None:
    assert len(COMMANDS) >= 40
    assert len(YAML) >= 8
