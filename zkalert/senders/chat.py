"""Messages as cards in chat: a bar in the colour of the message's kind, its sentences, its facts side by side.

Comes in: a plugin of apprise and a message. apprise knows how to reach a service and sends flat text; for Slack and
Discord what it is about to post is dressed here, to Mattermost's webhooks it is posted from here. In all of them the
text of an alert is text: it calls nobody, and no link hides behind other words.
"""

from __future__ import annotations

import html
import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zkalert.model import Format, Message, MessageKind, SendResult, SendState
from zkalert.render import without_mentions, written
from zkalert.render.written import ESCAPES
from zkalert.senders.reasons import by_http

_SLACK = "NotifySlack"
_DISCORD = "NotifyDiscord"
_MATTERMOST = "NotifyMattermost"

_COLOURS = {
    MessageKind.INFO: 0x3AA3E3,
    MessageKind.WARNING: 0xCACF29,
    MessageKind.FAILURE: 0xA32037,
    MessageKind.SUCCESS: 0x3AA337,
}
_SHORT = 40  # characters of a fact that has room beside another
_MOST_FACTS = 20
_MOST_FACT = 500
_MOST_FOOTER = 300
_MOST_TEXT = 12_000  # bytes, beside the facts
_MOST_DISCORD_TEXT = 2_500  # a card of Discord's has 6,000 characters in all
_MOST_DISCORD_FACT = 100
_MOST_DISCORD_TITLE = 256


def dress(plugin: Any, message: Message, note: str) -> bool:
    """Have `plugin` post a card the next time it sends, where its service and its settings take one.

    Whether nothing of the body that it is given will be seen.
    """
    service = type(plugin).__name__
    if service not in (_SLACK, _DISCORD):
        return False
    post = type(plugin)._send.__get__(plugin)  # noqa: SLF001 - apprise offers no other place between words and post
    is_whole = service == _DISCORD and not (plugin.ping or plugin.template)
    if is_whole:
        post = _with_discord_card(post, message, note)
    elif service == _SLACK and message.format is not Format.MARKDOWN:
        post = _with_slack_card(post, message, note)
    plugin._send = post  # noqa: SLF001
    return is_whole


def _with_slack_card(post: Callable[..., Any], message: Message, note: str) -> Callable[..., Any]:
    def send(url: str, payload: dict[str, Any], *rest: Any, **named: Any) -> Any:
        cards = payload.get("attachments")
        if cards and "text" in cards[0]:  # not so with blocks, or with a template of the URL's own
            cards[0] |= {
                "fallback": _slack(message.title),
                "title": _slack(message.title),
                "text": _slack(_text(message, Format.TEXT, _MOST_TEXT, note)),
                "fields": [
                    {"title": _slack(name), "value": _slack(text), "short": len(text) <= _SHORT}
                    for name, text in _facts(message)
                ],
                "mrkdwn_in": [],
                "footer": _slack(_footer(message)),
            }
            cards[0].pop("footer_icon", None)
            payload |= {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        return post(url, payload, *rest, **named)

    return send


def _slack(text: str) -> str:
    """What Slack wants escaped; without its angle brackets there are neither mentions nor links with other words."""
    return html.escape(without_mentions(text), quote=False)


def _with_discord_card(post: Callable[..., Any], message: Message, note: str) -> Callable[..., Any]:
    def send(payload: dict[str, Any], *rest: Any, **named: Any) -> Any:
        payload.pop("content", None)
        payload["embeds"] = [
            {
                "title": _title(message)[:_MOST_DISCORD_TITLE],
                "description": _text(message, Format.MARKDOWN, _MOST_DISCORD_TEXT, note),
                "color": _COLOURS[message.kind],
                "fields": [
                    {
                        "name": _markdown(name)[:_MOST_DISCORD_TITLE],
                        "value": _markdown(text[:_MOST_DISCORD_FACT]),
                        "inline": len(text) <= _SHORT,
                    }
                    for name, text in _facts(message)
                ],
                "footer": {"text": _footer(message)},
            }
        ]
        payload["allowed_mentions"] = {"parse": []}
        return post(payload, *rest, **named)

    return send


def takes_mattermost(plugin: Any) -> bool:
    """Whether it is a webhook of Mattermost's; a bot's posts go by apprise, which looks up its channels."""
    return type(plugin).__name__ == _MATTERMOST and str(plugin.mode) == "webhook"


def post_mattermost(plugin: Any, message: Message, note: str) -> SendResult:
    """Post a card to each channel of the URL. Raises what requests raises."""
    requests: Any = importlib.import_module("requests")  # comes with apprise, and honours proxies as apprise does
    port = "" if plugin.port is None else f":{plugin.port}"
    url = f"{plugin.schema}://{plugin.host}{port}{plugin.fullpath.rstrip('/')}/hooks/{plugin.token}"
    card = {
        "fallback": _title(message),
        "color": f"#{_COLOURS[message.kind]:06X}",
        "title": _title(message),
        "text": _text(message, Format.MARKDOWN, _MOST_TEXT, note),
        "fields": [
            {"title": _markdown(name), "value": _markdown(text), "short": len(text) <= _SHORT}
            for name, text in _facts(message)
        ],
        "footer": _footer(message),
    }
    for _, channel in plugin.targets or [(None, None)]:
        payload = {"username": plugin.user or plugin.app_id, "attachments": [card]}
        if plugin.icon_url:
            payload["icon_url"] = plugin.icon_url
        if channel:
            payload["channel"] = channel
        answer = requests.post(
            url,
            data=json.dumps(payload),
            headers={"User-Agent": plugin.app_id, "Content-Type": "application/json"},
            verify=plugin.verify_certificate,
            timeout=plugin.request_timeout,
            allow_redirects=False,
        )
        if not 200 <= answer.status_code < 300:
            reason = by_http(answer.status_code)
            return SendResult(state=reason.state, is_retryable=reason.is_retryable, detail=reason.detail)
    return SendResult(state=SendState.DELIVERED, detail="delivered")


def _text(message: Message, form: Format, most: int, note: str) -> str:
    """The body without what a card shows elsewhere."""
    if message.parts is not None:
        message = replace(message, parts=message.parts._replace(facts=(), footer=""))
    text = written(message, form, most)
    return f"{note}\n{text}" if note else text


def _title(message: Message) -> str:
    return _harmless(message.title)


def _harmless(text: str) -> str:
    """A text that may or may not be read as Markdown: it shows the same either way, and holds no link."""
    return without_mentions(text).replace("](", "]\u200b(")


def _markdown(text: str) -> str:
    return ESCAPES[Format.MARKDOWN](text)


def _facts(message: Message) -> list[tuple[str, str]]:
    facts = () if message.parts is None else message.parts.facts
    return [(name, text[:_MOST_FACT]) for name, text in facts[:_MOST_FACTS]]


def _footer(message: Message) -> str:
    text = message.key if message.parts is None else message.parts.footer
    return _harmless(text[:_MOST_FOOTER])
