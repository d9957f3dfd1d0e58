"""A message as the page of a mail: a bar in the colour of its kind, its sentences, a table of its facts.

Comes in: a message. Goes out: HTML with inline styles alone, which is what mail programs keep; no image, no script,
nothing that is fetched. What anybody may have written is text in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from zkalert.model import Format, Message, MessageKind
from zkalert.render.written import fitting, written

_MOST = 64 * 1024
_COLOURS = {
    MessageKind.FAILURE: "#b3261e",
    MessageKind.WARNING: "#b26a00",
    MessageKind.INFO: "#1f6feb",
    MessageKind.SUCCESS: "#1a7f37",
}
_LINK = re.compile(r"https?://[^\s<>\"'\\]+")
_SMALL = "color:#57606a;font-size:12px"
_ITEM = '<li style="margin:4px 0">{}</li>'
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="margin:0;padding:16px;background:#f6f8fa;\
font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:1.45;color:#1f2328">
<div style="max-width:680px;margin:0 auto;background:#ffffff;border:1px solid #d0d7de;border-top:6px solid {colour}">
<div style="padding:14px 18px;color:{colour};font-size:17px;font-weight:600">{title}</div>
<div style="padding:0 18px 14px">
{content}
</div></div></body></html>
"""


def page(message: Message, note: str = "") -> str:
    """The whole page; `note` is a line before all else."""
    return _PAGE.format(
        title=html.escape(message.title),
        colour=_COLOURS[message.kind],
        content="\n".join([*([_paragraph(note)] if note else []), *_content(message)]),
    )


def _content(message: Message) -> Iterator[str]:
    parts = message.parts
    if parts is None:
        is_own = message.format is Format.HTML
        yield written(message, Format.HTML) if is_own else _paragraph(written(message, Format.TEXT))
        return
    if parts.notice:
        yield f'<p style="padding:8px;background:#fff8c5"><b>{html.escape(parts.notice)}</b></p>'
    for text in (parts.description, *parts.lead):
        if text:
            yield _paragraph(text)
    if parts.facts:
        rows = "\n".join(_row(name, text) for name, text in parts.facts)
        yield f'<table style="border-collapse:collapse;width:100%" role="presentation">\n{rows}\n</table>'
    if parts.lines:
        items = fitting([_ITEM.format(html.escape(text)) for text in parts.lines], _MOST, form=_ITEM)
        yield '<ul style="padding-left:20px">\n' + "\n".join(items) + "\n</ul>"
    for problem in parts.problems:
        yield _paragraph(f"({problem})", _SMALL)
    if parts.footer:
        yield _paragraph(parts.footer, _SMALL)


def _paragraph(text: str, style: str = "") -> str:
    return f'<p style="white-space:pre-wrap;word-break:break-word;{style}">{html.escape(text)}</p>'


def _row(name: str, text: str) -> str:
    cell = "padding:5px 8px;border-top:1px solid #d8dee4;vertical-align:top"
    shown = html.escape(text)
    if name == "Runbook" and _LINK.fullmatch(text):
        shown = f'<a href="{shown}">{shown}</a>'
    return (
        f'<tr><td style="{cell};color:#57606a;white-space:nowrap">{html.escape(name)}</td>'
        f'<td style="{cell};word-break:break-word">{shown}</td></tr>'
    )
