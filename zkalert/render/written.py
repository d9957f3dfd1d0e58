"""The parts of a message set as a body: plain text, Markdown or HTML.

Comes in: Parts, or a message. Goes out: a text of bounded length. What anybody may have written is text in all of
them: no markup of its own, no link that looks like another, nobody called by `@`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from zkalert.model import Format, Message, Parts
from zkalert.render.text import clip

MAX_BODY = 16 * 1024
"""Bytes of UTF-8."""

_MARKDOWN = re.compile(r"([\\`*_\[\]<>~|&#])")
_AT_START = re.compile(r"^(\s*)(?:([-+=])|(\d+)(?=[.)]))", re.MULTILINE)
_MENTION = re.compile(r"(?<![A-Za-z0-9_])@(?=[\w!&{])|@(?=(?:channel|all|here|everyone)\b)|(?<=<)(?=[!@#])")
_NO_WIDTH = "\u200b"
_LEAST = 8
_SHORT = 500  # bytes: a body of no more than that, of an SMS say, has room for its sentences alone


class _Style(NamedTuple):
    """How one format writes: what keeps a text a text, and the marks about a fact, a line, a block."""

    escape: Callable[[str], str]
    fact: str
    line: str
    block: str
    between_lines: str
    between_blocks: str


def without_mentions(text: str) -> str:
    """The text with a space of no width where `@channel`, `@here` or `<!channel>` would call people."""
    return _MENTION.sub(lambda match: match[0] + _NO_WIDTH, text)


def _escape_markdown(text: str) -> str:
    return without_mentions(_AT_START.sub(_escape_start, _MARKDOWN.sub(r"\\\1", text)))


def _escape_start(match: re.Match[str]) -> str:
    """What would make a line a list, a heading or a rule. A number is kept off its dot."""
    return f"{match[1]}\\{match[2]}" if match[2] else f"{match[1]}{match[3]}{_NO_WIDTH}"


def _escape_html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>\n")


_STYLES = {
    Format.TEXT: _Style(str, "{}: {}", "{}", "{}", "\n", "\n\n"),
    Format.MARKDOWN: _Style(_escape_markdown, "- **{}:** {}", "- {}", "{}", "\n", "\n\n"),
    Format.HTML: _Style(_escape_html, "<b>{}:</b> {}", "{}", "<p>{}</p>", "<br>\n", "\n"),
}
ESCAPES: dict[Format, Callable[[str], str]] = {form: style.escape for form, style in _STYLES.items()}
"""What keeps a plain text a text in each format."""


def written(message: Message, form: Format, most: int = MAX_BODY) -> str:
    """The body of a message in a format, of at most `most` bytes.

    A body that a template of the channel made is shown as it is in its own format; in others its plain text is.
    """
    if message.parts is not None:
        return write(message.parts, form, most)
    if message.format is form and form is not Format.TEXT:
        return message.body
    return _fitted(message.text or message.body, most, ESCAPES[form])


def write(parts: Parts, form: Format, most: int = MAX_BODY) -> str:
    """All parts in a format. Where all is too long the description gives way first, then the alerts of a digest."""
    style, share = _STYLES[form], most * 3 // 8
    if most < _SHORT:
        return _fitted(" ".join(filter(None, (parts.notice, *parts.lead))), most, style.escape)
    notice = style.block.format(style.escape(parts.notice)) if parts.notice else ""
    footer = style.block.format(_fitted(parts.footer, share, style.escape)) if parts.footer else ""
    told = _first(_sentences(parts, style, share), share, style.between_lines)
    used = _length(notice) + _length(footer) + _length(style.between_lines.join(told))
    left = most - used - 3 * len(style.between_blocks) - 2 * len(style.block)
    if parts.lines:
        lines = [style.line.format(style.escape(text)) for text in parts.lines]
        lines = fitting(lines, left - len(style.between_lines), style.between_lines, style.line)
        left -= _length(style.between_lines.join(lines))
        told += lines
    description = ""
    if parts.description and left > _LEAST:
        description = style.block.format(_fitted(parts.description, left, style.escape))
    blocks = (notice, description, style.block.format(style.between_lines.join(told)), footer)
    return style.between_blocks.join(block for block in blocks if block)


def _sentences(parts: Parts, style: _Style, share: int) -> Iterator[str]:
    for text in parts.lead:
        yield _fitted(text, share // 2, style.escape)
    for name, text in parts.facts:
        yield style.fact.format(style.escape(name), _fitted(text, share // 2, style.escape))
    for problem in parts.problems:
        yield style.line.format(style.escape(f"({problem})"))


def fitting(lines: list[str], most: int, between: str = "\n", form: str = "{}") -> list[str]:
    """As many of a digest's lines as have room in `most` bytes, and one that says how many more there are."""
    if _length(between.join(lines)) <= most:
        return lines
    more = form.format("and {} more: zkalert alerts")
    kept = _first(lines, most - len(more) - len(between) - 4, between)
    return [*kept, more.format(len(lines) - len(kept))]


def _first(texts: Iterable[str], most: int, between: str) -> list[str]:
    """The first of them that have room in `most` bytes."""
    kept: list[str] = []
    for text in texts:
        most -= _length(text)
        if most < 0:
            break
        kept.append(text)
        most -= len(between)
    return kept


def _fitted(text: str, most: int, escape: Callable[[str], str]) -> str:
    """The text escaped, in at most `most` bytes; cut before it is escaped, so that no mark is cut in two."""
    cut = clip(text, max(most, _LEAST))
    while _length(escaped := escape(cut)) > max(most, _LEAST) and len(cut) > 1:
        cut = clip(text, max(_LEAST // 2, _length(cut) * 3 // 4))
    return escaped


def _length(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
