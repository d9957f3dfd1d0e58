"""Mail by real servers: both parts, threads, TLS and logins, and that no text of an alert gets into a header."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import SmtpReceiver
from tests.receivers import certificate, only, server_tls
from tests.test_render import ALERT, FIRING, RESOLVED, STILL
from zkalert.model import Alert, Channel, Effect, Format, SendResult, SendState
from zkalert.render import render, render_digest
from zkalert.routing import channel_targets
from zkalert.senders import url_sender

HOSTILE = 'web1"\r\nBcc: all@example.org\r\n\r\n<script>$(id)</script>{{ host }}'


def send(url: str, effect: Effect = FIRING, **settings: Any) -> SendResult:
    channel = Channel(name="ops", urls=(url,), **settings)
    (target,) = channel_targets(channel)
    return url_sender(target).send((effect,), render(effect, channel=channel))


@contextmanager
def server(**options: Any) -> Iterator[SmtpReceiver]:
    receiver = SmtpReceiver(**options)
    try:
        yield receiver
    finally:
        receiver.close()


def parts(receiver: SmtpReceiver) -> tuple[str, str]:
    """The plain text and the page of the only mail."""
    (mail,) = receiver.wait(1)
    page = mail.message.get_body(("html",))
    assert page is not None
    return mail.text.replace("\r\n", "\n"), str(page.get_content())


def test_a_mail_has_a_page_and_the_same_in_plain_text(smtp_receiver: SmtpReceiver) -> None:
    effect = replace(FIRING, description="First line.\nSecond <line>.", runbook="https://wiki/memory")
    assert send(smtp_receiver.url(), effect).state is SendState.DELIVERED
    text, page = parts(smtp_receiver)
    assert text.strip() == render(effect).text
    assert "<title>[critical] memory-high on web1: memory_usage.percent is 93.42% (&gt; 90%)</title>" in page
    assert "border-top:6px solid #b3261e" in page
    assert "First line.\nSecond &lt;line&gt;." in page.replace("\r\n", "\n")
    assert '<a href="https://wiki/memory">https://wiki/memory</a>' in page
    assert ">Severity</td>" in page
    assert "src=" not in page  # nothing that is fetched when it is read


def test_resolved_is_green(smtp_receiver: SmtpReceiver) -> None:
    send(smtp_receiver.url(), RESOLVED)
    assert "border-top:6px solid #1a7f37" in parts(smtp_receiver)[1]


def test_all_mails_of_an_episode_are_one_thread(smtp_receiver: SmtpReceiver) -> None:
    """And a message that goes out twice has one id, so that a mailbox keeps it once."""
    other = replace(FIRING, alert=replace(ALERT, episode="beefbeefbeef"))
    for effect in (FIRING, STILL, RESOLVED, other, FIRING):
        assert send(smtp_receiver.url(), effect).state is SendState.DELIVERED
    mails = [mail.message for mail in smtp_receiver.wait(5)]
    roots = [str(mail["References"]) for mail in mails]
    assert roots == [str(mail["In-Reply-To"]) for mail in mails]
    assert len(set(roots[:3])) == 1
    assert roots[3] not in roots[:3]
    ids = [str(mail["Message-ID"]) for mail in mails]
    assert len(set(ids)) == 4
    assert ids[4] == ids[0]
    assert not set(ids) & set(roots)


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN])
def test_a_channel_may_ask_for_text_alone(smtp_receiver: SmtpReceiver, form: Format) -> None:
    send(smtp_receiver.url(), format=form)
    (mail,) = smtp_receiver.wait(1)
    assert mail.message.get_content_type() == "text/plain"
    assert ("**Severity:** critical" in mail.text) is (form is Format.MARKDOWN)


def test_a_template_of_the_channel_makes_the_page(smtp_receiver: SmtpReceiver) -> None:
    send(
        smtp_receiver.url(),
        replace(FIRING, alert=replace(ALERT, host="<i>x</i>")),
        format=Format.HTML,
        templates={"body": "<h1>{{ host }}</h1>{{ body }}", "title": "{{ severity }}: {{ name }}"},
    )
    _, page = parts(smtp_receiver)
    assert "<h1>&lt;i&gt;x&lt;/i&gt;</h1><p>memory_usage.percent on" in page
    assert "<title>critical: memory-high</title>" in page


@pytest.mark.parametrize("name", ["host", "instance", "rule", "episode"])
def test_no_text_of_an_alert_gets_into_a_header(smtp_receiver: SmtpReceiver, name: str) -> None:
    changes: dict[str, Any] = {name: HOSTILE}
    alert: Alert = replace(ALERT, **changes)
    assert send(smtp_receiver.url(), replace(FIRING, alert=alert, summary=HOSTILE)).state is SendState.DELIVERED
    (mail,) = smtp_receiver.wait(1)
    assert mail.recipients == ("ops@example.org",)
    assert "Bcc" not in mail.message
    assert all("\n" not in str(value) for value in mail.message.values())
    assert "<script>" not in parts(smtp_receiver)[1]


def test_all_letters_arrive_by_seven_bits(smtp_receiver: SmtpReceiver) -> None:
    effect = replace(FIRING, alert=replace(ALERT, host="h\u00f6st-\u20ac"), description="\u00e4" * 3000)
    assert send(smtp_receiver.url(), effect).state is SendState.DELIVERED
    (mail,) = smtp_receiver.wait(1)
    assert mail.message.as_bytes().isascii()
    assert mail.subject == render(effect).title
    assert parts(smtp_receiver)[0].startswith("\u00e4" * 3000)


def test_a_digest_lists_its_alerts(smtp_receiver: SmtpReceiver) -> None:
    channel = Channel(name="ops", urls=(smtp_receiver.url(),))
    (target,) = channel_targets(channel)
    effects = (RESOLVED, replace(FIRING, alert=replace(ALERT, host=HOSTILE)))
    message = render_digest(effects, "d1", channel=channel)
    assert url_sender(target).send(effects, message).state is SendState.DELIVERED
    text, page = parts(smtp_receiver)
    assert text.count("\n[") == 2
    assert page.count("<li ") == 2
    assert "<script>" not in page
    assert smtp_receiver.wait(1)[0].message["References"] is None


def test_copies_and_headers_of_the_url(smtp_receiver: SmtpReceiver) -> None:
    url = smtp_receiver.url() + "&cc=cc@example.org&bcc=bcc@example.org&reply=r@example.org&%2BX-Team=a%0Ab"
    assert send(url).state is SendState.DELIVERED
    (mail,) = smtp_receiver.wait(1)
    assert sorted(mail.recipients) == ["bcc@example.org", "cc@example.org", "ops@example.org"]
    assert (mail.message["Cc"], mail.message["Reply-To"]) == ("cc@example.org", "r@example.org")
    assert mail.message["X-Team"] == "a b"
    assert "bcc@example.org" not in str(mail.message)


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Verified: without the authority of its certificate nothing is sent, and the failure says so."""
    file = certificate(tmp_path)
    context: dict[str, ssl.SSLContext] = {"tls_context" if mode == "starttls" else "ssl_context": server_tls(file)}
    with server(**context, **({"require_starttls": True} if mode == "starttls" else {})) as receiver:
        url = f"mailtos://localhost:{receiver.port}?from=a@example.org&to=ops@example.org&mode={mode}"
        refused = send(url)
        assert (refused.state, refused.is_retryable) == (SendState.FAILED, True)
        assert refused.detail == "TLS failed: the certificate or protocol does not fit"
        assert receiver.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert send(url).state is SendState.DELIVERED
        assert receiver.wait(1)[0].recipients == ("ops@example.org",)


def test_a_login_over_starttls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with server(
        tls_context=server_tls(file), require_starttls=True, auth_required=True, authenticator=only("mon", "s3/cr@t")
    ) as receiver:
        place = f"localhost:{receiver.port}?from=a@example.org&to=ops@example.org"
        assert send(f"mailtos://mon:s3%2Fcr%40t@{place}").state is SendState.DELIVERED
        receiver.wait(1)
        wrong = send(f"mailtos://mon:Passw0rd@{place}")
        assert (wrong.state, "Passw0rd" in wrong.detail) == (SendState.FAILED, False)
        assert "535" in wrong.detail


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_login_without_tls() -> None:
    with server(auth_required=True, auth_require_tls=False, authenticator=only("mon", "s3cret")) as receiver:
        place = f"localhost:{receiver.port}?from=a@example.org&to=ops@example.org"
        assert send(f"mailto://mon:s3cret@{place}").state is SendState.DELIVERED
        receiver.wait(1)
        assert send(f"mailto://{place}").state is SendState.FAILED
