"""URLs as channels: real receivers, what they get, what their failures are called, and that no secret is told."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import Answer, HttpReceiver, SmtpReceiver
from zkalert.model import Channel, Message, MessageKind, SendResult, SendState, Target
from zkalert.routing import channel_targets, url_targets
from zkalert.senders import AppriseSender, make_sender, validate_url
from zkalert.senders.reasons import scrub

MESSAGE = Message(
    key="memory-high/web1/3fa4b2c1d0e9/firing",
    title="[critical] memory-high on web1: a & <x> <!channel>",
    body="a & <x>\n\n<!channel> C:\\new :fire: {{ y }} \u20ac",
    kind=MessageKind.FAILURE,
    fields={"rule": "memory-high", "host": "web1", "severity": "critical", "state": "firing", "value": "93.4"},
)
SECRETS = ("Us3rName", "Passw0rd", "T0kenPath", "QueryS3cret")


def target(url: str) -> Target:
    return url_targets(url)[0]


def send(url: str, message: Message = MESSAGE, *, is_repeat: bool = False) -> SendResult:
    return AppriseSender(target(url)).send((), message, is_repeat=is_repeat)


@pytest.fixture
def slack(http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> Callable[[], HttpReceiver]:
    """Turns Slack's own plugin to a receiver here, for URLs that are used after the call."""

    def turn() -> HttpReceiver:
        assert validate_url("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7") is None  # loads the plugin
        from apprise.plugins.slack import NotifySlack  # noqa: PLC0415 - only once apprise is loaded

        monkeypatch.setattr(NotifySlack, "webhook_url", http_receiver.url("/services"))
        return http_receiver

    return turn


def test_a_json_webhook_gets_words_and_fields(http_receiver: HttpReceiver) -> None:
    result = send(http_receiver.url("/hook?:env=prod&:host=node&:value=", "json"))
    assert (result.state, result.detail) == (SendState.DELIVERED, "delivered")
    assert 0 < result.seconds < 5
    (request,) = http_receiver.wait(1)
    assert request.method == "POST"
    assert request.json == {
        "version": "1.0",
        "title": MESSAGE.title,
        "message": MESSAGE.body,
        "type": "failure",
        "attachments": [],
        "key": MESSAGE.key,
        "rule": "memory-high",
        "node": "web1",
        "severity": "critical",
        "state": "firing",
        "env": "prod",
    }


def test_fields_of_one_message_do_not_stay_for_the_next(http_receiver: HttpReceiver) -> None:
    sender = AppriseSender(target(http_receiver.url("/hook?:env=prod", "json")))
    sender.send((), MESSAGE)
    sender.send((), Message(key="k", title="t", body="b", kind=MessageKind.INFO))
    second = http_receiver.wait(2)[1].json
    assert {"key": "k", "env": "prod"}.items() <= second.items()
    assert "rule" not in second


def test_forms_and_xml_get_the_fields_too(http_receiver: HttpReceiver) -> None:
    assert send(http_receiver.url("/form", "form")).state is SendState.DELIVERED
    assert send(http_receiver.url("/xml", "xml")).state is SendState.DELIVERED
    (form,) = http_receiver.at("/form")
    assert b"rule=memory-high" in form.body
    (xml,) = http_receiver.at("/xml")
    texts = {element.tag: element.text for element in ET.fromstring(xml.body).iter()}
    assert (texts["rule"], texts["key"]) == ("memory-high", MESSAGE.key)
    assert texts["Message"] == MESSAGE.body


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (MessageKind.INFO, "info"),
        (MessageKind.WARNING, "warning"),
        (MessageKind.FAILURE, "failure"),
        (MessageKind.SUCCESS, "success"),
    ],
)
def test_kinds_of_messages(http_receiver: HttpReceiver, kind: MessageKind, sent: str) -> None:
    send(http_receiver.url("/hook", "json"), Message(key="k", title="t", body="b", kind=kind))
    assert http_receiver.wait(1)[0].json["type"] == sent


def test_a_repeat_says_that_it_may_be_one(http_receiver: HttpReceiver) -> None:
    send(http_receiver.url("/hook", "json"), is_repeat=True)
    assert http_receiver.wait(1)[0].json["message"] == "(may be a repeat)\n" + MESSAGE.body


def test_messages_follow_each_other_without_a_pause(smtp_receiver: SmtpReceiver) -> None:
    """Left to itself, apprise sleeps 5.5 s between two mails."""
    sender = AppriseSender(target(smtp_receiver.url()))
    results = [sender.send((), MESSAGE) for _ in range(3)]
    assert [result.state for result in results] == [SendState.DELIVERED] * 3
    assert sum(result.seconds for result in results[1:]) < 2


@pytest.mark.parametrize(
    ("status", "state", "is_retryable", "detail"),
    [
        (204, SendState.DELIVERED, False, "delivered"),
        (500, SendState.FAILED, True, "answered with HTTP 500 (internal error)"),
        (503, SendState.FAILED, True, "answered with HTTP 503 (unavailable)"),
        (429, SendState.FAILED, True, "answered with HTTP 429 (too many requests)"),
        (404, SendState.FAILED, True, "answered with HTTP 404 (not found)"),
        (413, SendState.FAILED, False, "answered with HTTP 413 (too large)"),
        (418, SendState.FAILED, True, "answered with HTTP 418"),
    ],
)
def test_answers_of_a_webhook(
    http_receiver: HttpReceiver, status: int, state: SendState, is_retryable: bool, detail: str
) -> None:
    http_receiver.answer("/hook", Answer(status=status, body=b""))
    result = send(http_receiver.url("/hook", "json"))
    assert (result.state, result.is_retryable, result.detail) == (state, is_retryable, detail)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("query", ["", "?redirect=yes"])
def test_a_redirect_is_a_failure(http_receiver: HttpReceiver, status: int, query: str) -> None:
    """Followed, the alert would arrive as a GET without a body, and count as delivered."""
    http_receiver.answer("/hook", Answer(status=status, headers={"Location": http_receiver.url("/other")}))
    result = send(http_receiver.url("/hook", "json") + query)
    assert (result.state, result.is_retryable) == (SendState.FAILED, True)
    assert result.detail == f"answered with a redirect (HTTP {status}), which is not followed"
    assert [request.path for request in http_receiver.requests] == ["/hook"]


def test_no_answer_in_time_is_unknown(http_receiver: HttpReceiver) -> None:
    """The request was sent, so it may have been heard."""
    http_receiver.answer("/hook", Answer(hang=True))
    result = send(http_receiver.url("/hook?rto=0.3", "json"))
    assert (result.state, result.is_retryable) == (SendState.UNKNOWN, True)
    assert result.detail == "no answer in time; it may have arrived all the same"
    assert 0.3 <= result.seconds < 3


def test_a_hung_receiver_delays_no_other(http_receiver: HttpReceiver) -> None:
    """Ten hang in their own threads; the eleventh is delivered meanwhile."""
    http_receiver.answer("/hang", Answer(hang=True))
    hung = [
        threading.Thread(target=send, args=(http_receiver.url(f"/hang?rto=3&-n={number}", "json"),))
        for number in range(10)
    ]
    for thread in hung:
        thread.start()
    http_receiver.wait(10, path="/hang")
    result = send(http_receiver.url("/hook", "json"))
    assert (result.state, all(thread.is_alive() for thread in hung)) == (SendState.DELIVERED, True)
    http_receiver.release()
    for thread in hung:
        thread.join(10)


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("json://127.0.0.1:1/hook", "the connection was refused"),
        ("json://no-such-host.invalid/hook", "the host name was not found"),
        ("mailto://127.0.0.1:1?from=a@example.org&to=b@example.org", "the connection was refused"),
    ],
)
def test_nobody_there(url: str, detail: str) -> None:
    result = send(url)
    assert (result.state, result.is_retryable, result.detail) == (SendState.FAILED, True, detail)


def test_tls_where_there_is_none(http_receiver: HttpReceiver) -> None:
    result = send(http_receiver.url("/hook", "jsons"))
    assert (result.state, result.is_retryable) == (SendState.FAILED, True)
    assert result.detail.startswith("TLS failed")


def test_a_mail_arrives_verbatim(smtp_receiver: SmtpReceiver) -> None:
    """Its plain part as it was, its page escaped: nothing is taken for markup, an escape or an emoji."""
    assert send(smtp_receiver.url()).state is SendState.DELIVERED
    (mail,) = smtp_receiver.wait(1)
    assert mail.subject == MESSAGE.title
    assert mail.text.replace("\r\n", "\n").strip() == MESSAGE.body
    assert mail.message.get_content_type() == "multipart/alternative"
    assert mail.message["X-Zkalert-Key"] == MESSAGE.key
    assert mail.message["X-Application"] == "zkalert"
    assert mail.recipients == ("ops@example.org",)


def test_a_key_that_no_header_takes_is_written_in_ascii(smtp_receiver: SmtpReceiver) -> None:
    key = "r/h\u00f6st,/mnt/\u20ac/e/firing"
    assert send(smtp_receiver.url(), Message(key=key, title="t", body="b", kind=MessageKind.INFO)).state is (
        SendState.DELIVERED
    )
    assert smtp_receiver.wait(1)[0].message["X-Zkalert-Key"] == r"r/h\xf6st,/mnt/\u20ac/e/firing"


def test_a_mail_to_two_is_two_mails_and_one_refusal_costs_one(smtp_receiver: SmtpReceiver) -> None:
    smtp_receiver.refused.add("gone@example.org")
    results = [
        make_sender(one).send((), MESSAGE)
        for one in channel_targets(Channel(name="ops", urls=(smtp_receiver.url("gone@example.org,ops@example.org"),)))
    ]
    assert [(result.state, result.is_retryable) for result in results] == [
        (SendState.FAILED, False),
        (SendState.DELIVERED, False),
    ]
    assert results[0].detail == "refused by the mail server: 550 5.1.1 no such user"
    assert [mail.recipients for mail in smtp_receiver.wait(1)] == [("ops@example.org",)]


@pytest.mark.parametrize(
    ("reply", "is_retryable"),
    [("451 4.7.1 try later", True), ("554 5.7.1 no thanks", False), ("452 4.3.1 full", True)],
)
def test_a_refused_mail_says_why(smtp_receiver: SmtpReceiver, reply: str, is_retryable: bool) -> None:
    """Greylisting passes, a rejection does not."""
    smtp_receiver.reply = reply
    result = send(smtp_receiver.url())
    assert (result.state, result.is_retryable) == (SendState.FAILED, is_retryable)
    assert result.detail == f"refused by the mail server: {reply}"


def test_slack_shows_alert_text_as_text(slack: Callable[[], HttpReceiver]) -> None:
    """Nobody can wake a whole channel by the name of a process."""
    receiver = slack()
    assert send("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7/#alerts").state is SendState.DELIVERED
    (request,) = receiver.wait(1)
    assert request.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
    (attachment,) = request.json["attachments"]
    for text in (attachment["text"], attachment["title"]):
        assert "!channel&gt;" in text
    assert "<" not in attachment["text"] + attachment["title"]
    assert attachment["color"] == "#A32037"


def test_slack_that_says_no_is_a_failure_without_the_token(slack: Callable[[], HttpReceiver]) -> None:
    slack().answer("/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7", Answer(status=403, body=b"invalid_token"))
    result = send("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7")
    assert (result.state, result.detail) == (SendState.FAILED, "answered with HTTP 403 (forbidden)")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("dbus://", "dbus:// is not supported on this system: what it needs is not installed"),
        ("slck://a/b/c", 'unknown service "slck"; did you mean "slack"?'),
        ("ops@example.org", "not a URL: it does not begin with a service such as mailto:// or slack://"),
        (
            "https://example.org/T0kenPath",
            "not a URL of a known service; a webhook of your own is written jsons://",
        ),
        ("json://", "not a valid json:// URL: a part is missing or has the wrong form"),
        ("json://h.example.org:99999/", "99999 is no port; expected 1 to 65535"),
        ("mailto://h?from=a@example.org&to=T0kenPath", "the URL has no valid recipient; expected ...?from=A@B&to=C@D"),
        ("slack://T0kenPath/T0kenPath/T0kenPath", None),
        ("slack://T0kenPath/!", "not a valid slack:// URL: "),
    ],
)
def test_a_url_that_cannot_be_used(url: str, problem: str | None) -> None:
    """It is told at once, never tried again, and its secrets are not repeated."""
    found = validate_url(url)
    if problem is None:
        assert found is None
        return
    assert found is not None
    assert found.startswith(problem)
    assert "T0kenPath" not in found
    sender = AppriseSender(Target(id="url/1", kind=target("json://h").kind, name="x", url=url))
    for _ in range(2):
        result = sender.send((), MESSAGE)
        assert (result.state, result.is_retryable, result.detail) == (SendState.FAILED, False, found)


@pytest.mark.parametrize("scheme", ["json", "form", "xml"])
@pytest.mark.parametrize(
    "answer", [Answer(status=500, body=b"Passw0rd"), Answer(status=302, headers={"Location": "/T0kenPath"}), None]
)
def test_no_failure_tells_a_secret(
    http_receiver: HttpReceiver,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    answer: Answer | None,
) -> None:
    """Not in the detail, not in any log at any level, not on standard error. None: nobody listens."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, logger="urllib3")  # it prints whole paths; the command line keeps it apart too
    http_receiver.answer("/T0kenPath", answer or Answer())
    place = f"127.0.0.1:{http_receiver.port if answer else 1}"
    url = f"{scheme}://Us3rName:Passw0rd@{place}/T0kenPath?+Authorization=QueryS3cret&-x=QueryS3cret&:y=QueryS3cret"
    result = send(url)
    assert result.state is SendState.FAILED
    told = result.detail + caplog.text + "".join(capfd.readouterr())
    for secret in SECRETS:
        assert secret not in told


def test_no_failed_mail_tells_a_secret(
    smtp_receiver: SmtpReceiver, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats the recipient and offers no login; the password is in neither."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, logger="mail.log")  # the receiver's own
    url = f"mailto://Us3rName:Passw0rd@127.0.0.1:{smtp_receiver.port}?from=a@example.org&to=QueryS3cret@example.org"
    result = send(url)
    assert result.state is SendState.FAILED
    smtp_receiver.reply = "554 no mail for QueryS3cret@example.org"
    refused = send(url.replace("Us3rName:Passw0rd@", ""))
    assert refused.state is SendState.FAILED
    told = result.detail + refused.detail + caplog.text + "".join(capfd.readouterr())
    for secret in SECRETS:
        assert secret not in told


def test_whatever_a_plugin_raises_is_a_result(http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it says is told without the URL's secrets."""
    sender = AppriseSender(target(http_receiver.url("/T0kenPath", "json")))
    assert sender.send((), MESSAGE).state is SendState.DELIVERED

    def fail(*_: object, **__: Any) -> bool:
        raise RuntimeError("it broke at /T0kenPath")

    assert sender._service is not None
    monkeypatch.setattr(sender._service.plugin, "notify", fail)
    result = sender.send((), MESSAGE)
    assert (result.state, result.is_retryable) == (SendState.FAILED, True)
    assert result.detail == "RuntimeError: it broke at /..."


@given(st.text(max_size=60), st.text("abcXYZ019/?&=:@%#", min_size=1, max_size=60))
def test_scrubbing_leaves_no_part_of_a_url(text: str, rest: str) -> None:
    url = f"json://{rest}"
    scrubbed = scrub(f"{text} {url} {text}", url)
    assert url not in scrubbed
    for part in rest.replace("?", "/").split("/"):
        if len(part) >= 8 and not set(part) & set("&=:@%#"):
            assert part not in scrubbed.replace("json", "")


@pytest.mark.parametrize("module", ["apprise", "requests", "http.client", "email.message", "smtplib"])
def test_apprise_is_loaded_on_first_use(module: str) -> None:
    """It takes longer to load than all the rest, and most commands never send."""
    code = (
        "import sys; from zkalert.senders import AppriseSender, RunSender; from zkalert.routing import url_targets; "
        f"AppriseSender(url_targets('json://h')[0]); sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
