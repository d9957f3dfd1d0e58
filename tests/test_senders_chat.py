"""Cards in chat: colours, facts, and that the text of an alert calls nobody. What is posted is looked at as it came."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers import Answer, HttpReceiver
from tests.test_render import ALERT, FIRING, RESOLVED
from zkalert.model import Channel, Effect, Format, SendResult, SendState, Severity
from zkalert.render import render, render_digest
from zkalert.routing import channel_targets
from zkalert.senders import preload, url_sender
from zkalert.senders.channel import _open

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7/#alerts"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
HOSTILE = "<!channel> <@U123> @here @everyone [x](http://evil) <http://evil|ok> *b* `c` {{ host }} $(id)"
WARNING = replace(FIRING, alert=replace(ALERT, severity=Severity.WARNING))


def send(url: str, *effects: Effect, is_repeat: bool = False, **settings: Any) -> SendResult:
    channel = Channel(name="chat", urls=(url,), **settings)
    (target,) = channel_targets(channel)
    message = (
        render(effects[0], channel=channel) if len(effects) == 1 else render_digest(effects, "d1", channel=channel)
    )
    return url_sender(target).send(effects, message, is_repeat=is_repeat)


def hostile(effect: Effect = FIRING) -> Effect:
    return replace(
        effect,
        alert=replace(effect.alert, host=HOSTILE, instance=HOSTILE),
        labels={HOSTILE: HOSTILE},
        summary=HOSTILE.replace("{{ host }}", ""),
        description=HOSTILE.replace("{{ host }}", ""),
        note=HOSTILE,
    )


def texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.fixture
def receiver(http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> HttpReceiver:
    """Slack and Discord, turned to a receiver here."""
    preload()
    from apprise.plugins.discord import NotifyDiscord  # noqa: PLC0415 - only once apprise is loaded
    from apprise.plugins.slack import NotifySlack  # noqa: PLC0415

    monkeypatch.setattr(NotifySlack, "webhook_url", http_receiver.url("/slack"))
    monkeypatch.setattr(NotifyDiscord, "notify_url", http_receiver.url("/discord"))
    return http_receiver


def mattermost(receiver: HttpReceiver, more: str = "") -> str:
    return f"mmost://127.0.0.1:{receiver.port}/3ccdd113474722377935511fc85d3dd4{more}"


def posted(receiver: HttpReceiver) -> Any:
    return receiver.wait(1)[0].json


@pytest.mark.parametrize(
    ("effect", "colour"),
    [(FIRING, "A32037"), (WARNING, "CACF29"), (RESOLVED, "3AA337")],
    ids=["critical", "warning", "resolved"],
)
@pytest.mark.parametrize("service", ["slack", "mattermost", "discord"])
def test_the_colour_is_that_of_the_severity_and_resolved_is_green(
    receiver: HttpReceiver, service: str, effect: Effect, colour: str
) -> None:
    url = {"slack": SLACK, "mattermost": mattermost(receiver), "discord": DISCORD}[service]
    assert send(url, effect).state is SendState.DELIVERED
    body = posted(receiver)
    card = (body.get("attachments") or body.get("embeds"))[0]
    assert card["title"] == render(effect).title.replace(">", "&gt;" if service == "slack" else ">")
    assert card["color"] == (int(colour, 16) if service == "discord" else f"#{colour}")


def test_facts_stand_side_by_side(receiver: HttpReceiver) -> None:
    effect = replace(FIRING, labels={"team": "storage"}, description="Look at the caches.")
    assert send(SLACK, effect).state is SendState.DELIVERED
    (card,) = posted(receiver)["attachments"]
    assert card["text"] == "Look at the caches.\n\nmemory_usage.percent on web1 is 93.42% (&gt; 90%)."
    assert {"title": "Severity", "value": "critical", "short": True} in card["fields"]
    assert {"title": "Labels", "value": "team=storage", "short": True} in card["fields"]
    assert card["footer"] == "alert 3fa4b2, key memory-high/web1/3fa4b2c1d0e9/firing"


@pytest.mark.parametrize("form", [None, *Format])
@pytest.mark.parametrize("digest", [False, True])
def test_slack_calls_nobody(receiver: HttpReceiver, form: Format | None, digest: bool) -> None:
    assert send(SLACK, *([hostile(), hostile(RESOLVED)] if digest else [hostile()]), format=form).state is (
        SendState.DELIVERED
    )
    body = posted(receiver)
    for text in texts(body["attachments"]):
        assert not any(sign in text for sign in ("<!", "<@", "<http", "<\u200b"))
    assert "evil" in json.dumps(body)


@pytest.mark.parametrize("query", ["?blocks=yes", "?footer=no&image=no"])
def test_slack_by_other_settings_calls_nobody(receiver: HttpReceiver, query: str) -> None:
    assert send(SLACK.replace("/#alerts", "/") + query, hostile()).state is SendState.DELIVERED
    for text in texts(posted(receiver)["attachments"]):
        assert not any(call in text for call in ("<!channel", "<@U", " @here", " @everyone"))


@pytest.mark.parametrize("form", [None, *Format])
@pytest.mark.parametrize("service", ["mattermost", "discord"])
def test_others_call_nobody(receiver: HttpReceiver, service: str, form: Format | None) -> None:
    url = mattermost(receiver) if service == "mattermost" else DISCORD
    assert send(url, hostile(), format=form).state is SendState.DELIVERED
    body = posted(receiver)
    for text in texts(body):
        for call in ("<!channel", "<@U", " @here", " @everyone", "[x](http"):
            assert call not in text
    if service == "discord":
        assert body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("service", ["tgram", "rocket", "mmost", "ntfy"])
def test_words_for_all_other_services_call_nobody(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they leave us for apprise."""
    urls = {
        "tgram": "tgram://123456789:ABCdefghijklmnopqrstuvwxyzabcdefghi/12315544/",
        "rocket": "rocket://user:pass@127.0.0.1/#channel",
        "mmost": "mmost://127.0.0.1/3ccdd113474722377935511fc85d3dd4?mode=bot&to=4xp9fdt77pncbef59f4k1qe83o",
        "ntfy": "ntfy://127.0.0.1/topic",
    }
    channel = Channel(name="chat", urls=(urls[service],))
    (target,) = channel_targets(channel)
    sender: Any = url_sender(target)
    heard: dict[str, Any] = {}
    sender._service = _open(urls[service], [])

    def notify(**named: Any) -> bool:
        heard.update(named)
        return True

    monkeypatch.setattr(sender._service.plugin, "notify", notify)
    assert sender.send((hostile(),), render(hostile(), channel=channel)).state is SendState.DELIVERED
    for text in (heard["title"], heard["body"]):
        for call in ("<!channel", "<@U", " @here", " @everyone"):
            assert call not in text


def test_mattermost_posts_where_its_url_says(receiver: HttpReceiver) -> None:
    assert send(mattermost(receiver, "?to=town&image=no"), FIRING, is_repeat=True).state is SendState.DELIVERED
    (request,) = receiver.wait(1)
    assert request.path == "/hooks/3ccdd113474722377935511fc85d3dd4"
    assert (request.json["channel"], request.json["username"]) == ("town", "zkalert")
    assert request.json["attachments"][0]["text"].startswith("(may be a repeat)\n")


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (Answer(status=403, body=b"3ccdd113474722377935511fc85d3dd4"), SendState.FAILED, "HTTP 403 (forbidden)"),
        (
            Answer(status=302, headers={"Location": "/x"}),
            SendState.FAILED,
            "redirect (HTTP 302), which is not followed",
        ),
        (Answer(hang=True), SendState.UNKNOWN, "no answer in time"),
    ],
)
def test_mattermost_that_says_no(receiver: HttpReceiver, answer: Answer, state: SendState, detail: str) -> None:
    receiver.answer("/hooks/3ccdd113474722377935511fc85d3dd4", answer)
    result = send(mattermost(receiver, "?rto=0.3"), FIRING)
    assert (result.state, result.is_retryable) == (state, True)
    assert detail in result.detail
    assert "3ccdd1134747" not in result.detail


def test_a_digest_is_cut_to_what_the_service_takes(receiver: HttpReceiver) -> None:
    effects = [replace(FIRING, alert=replace(ALERT, host=f"web{number}")) for number in range(300)]
    assert send(DISCORD, *effects).state is SendState.DELIVERED
    (card,) = posted(receiver)["embeds"]
    lines = card["description"].splitlines()
    assert len(card["description"]) <= 4096
    shown = sum(line.startswith("- \\[critical") for line in lines)
    assert lines[-1] == f"- and {300 - shown} more: zkalert alerts"
    assert shown > 5


@pytest.mark.parametrize("overflow", ["split", "upstream"])
def test_a_card_is_posted_once_however_long_its_text(receiver: HttpReceiver, overflow: str) -> None:
    effect = replace(FIRING, description="long " * 2000)
    assert send(f"{DISCORD}/?overflow={overflow}", effect).state is SendState.DELIVERED
    (request,) = receiver.wait(1)
    assert len(request.json["embeds"][0]["description"]) <= 4096


def test_fields_of_one_message_do_not_stay_for_the_next(receiver: HttpReceiver) -> None:
    channel = Channel(name="chat", urls=(SLACK,))
    sender = url_sender(channel_targets(channel)[0])
    for effect in (FIRING, RESOLVED):
        assert sender.send((effect,), render(effect)).state is SendState.DELIVERED
    first, second = (request.json["attachments"][0] for request in receiver.wait(2))
    assert first["title"].startswith("[critical]")
    assert second["title"].startswith("[resolved]")
    assert [field["title"] for field in second["fields"]] == ["Lasted", "Peak", "Severity"]
