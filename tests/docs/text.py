"""Small parts of Markdown and of YAML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from zkalert import documents

_PLAIN = re.compile(r"[A-Za-z0-9_./*{][\w./ %*+-]*")


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows)])


def paragraph(text: str) -> str:
    """Prose in lines as long as those that people write."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def code(text: str) -> str:
    return f"`{text}`"


def listed(words: Iterable[str], joint: str = "or") -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} {joint} {last}" if most else last


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def yaml_block(text: str) -> str:
    return f"```yaml\n{text.rstrip()}\n```"


def flow(value: Any) -> str:
    """A value as one line of YAML, with quotes only where a rule file needs them."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and _reads_as(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _reads_as(text: str) -> bool:
    """Whether zkalert reads the bare text, in a list, as just this text."""
    document, findings = documents.parse(f"[{text}]", "", "rules")
    return not findings and document.data == [text]
