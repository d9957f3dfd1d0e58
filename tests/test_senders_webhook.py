"""webhook://: the documented JSON, its signature, its time limits, and what each failure is called."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from tests.helpers import Answer, HttpReceiver
from tests.receivers import certificate, server_tls
from tests.test_render import ALERT, DISK, FIRING, RESOLVED, _effects
from zkalert.documents.shipped import schema
from zkalert.model import Ack, ActionResult, Channel, Effect, SendResult, SendState, Severity, Target
from zkalert.render import render, render_digest, trial_message
from zkalert.routing import channel_targets
from zkalert.senders import url_sender, validate_url
from zkalert.senders import webhook as module

FULL = replace(
    FIRING,
    alert=replace(
        DISK,
        ack=Ack(episode="3fa4b2c1d0e9", at=1_763_900_100.0, ends_at=1_763_907_300.0, author="ada", comment="mine"),
        actions=(ActionResult(name="tidy", phase="firing", at=1_763_900_130.0, seconds=1.2, exit_code=0, tail="ok"),),
        threshold=(1.0, 2.0),
        members=(3, 1),
    ),
    labels={"team": "ops"},
    host_labels={"role": "db"},
    note="It flaps.",
    summary="{{ value }} left",
    runbook="https://wiki/disk",
)


def target(url: str, secret: str | None = None) -> Target:
    return channel_targets(Channel(name="ops", urls=(url,), secret=secret))[0]


def send(url: str, *, secret: str | None = None, effect: Effect = FIRING, is_repeat: bool = False) -> SendResult:
    return url_sender(target(url, secret)).send((effect,), render(effect), is_repeat=is_repeat)


def check(document: Any) -> None:
    jsonschema.Draft202012Validator(schema("webhook")).validate(document)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("webhook"))


def test_a_webhook_gets_the_document(http_receiver: HttpReceiver) -> None:
    assert send(http_receiver.url("/in?token=x", "webhook"), effect=FULL).state is SendState.DELIVERED
    (request,) = http_receiver.wait(1)
    check(request.json)
    assert (request.method, request.path, request.query) == ("POST", "/in", "token=x")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Zkalert-Key"] == FULL.key == request.json["key"]
    assert "X-Zkalert-Signature" not in request.headers
    assert (request.json["kind"], request.json["state"], request.json["repeat"]) == ("alert", "firing", False)
    (alert,) = request.json["alerts"]
    assert alert["ack"] == {
        "at": "2025-11-23T12:15:00Z",
        "until": "2025-11-23T14:15:00Z",
        "author": "ada",
        "comment": "mine",
    }
    assert alert["actions"][0]["exit_code"] == 0
    assert (alert["threshold"], alert["value"], alert["unit"]) == ([1, 2], 2**31 - 2**20, "bytes")
    assert (alert["summary"], alert["note"], alert["labels"]) == ("2 GiB left", "It flaps.", {"team": "ops"})
    assert alert["members"] == {"count": 3, "silent_hosts": 1}


def test_a_digest_has_the_same_shape() -> None:
    warning = replace(FIRING, alert=replace(DISK, severity=Severity.WARNING))
    document = render_digest([RESOLVED, warning, FIRING], "d1").document
    check(document)
    assert (document["kind"], document["id"], document["severity"], document["state"]) == (
        "digest",
        "d1",
        "critical",
        "firing",
    )
    assert [(one["severity"], one["state"]) for one in document["alerts"]] == [
        ("critical", "firing"),
        ("critical", "resolved"),
        ("warning", "firing"),
    ]
    assert document["counts"] == {"alerts": 3, "firing": 2, "resolved": 1, "critical": 2, "warning": 1, "info": 0}


def test_a_test_message_is_a_document_too(http_receiver: HttpReceiver) -> None:
    sender = url_sender(target(http_receiver.url("/in", "webhook")))
    assert sender.send((), trial_message("hello", "1")).state is SendState.DELIVERED
    (request,) = http_receiver.wait(1)
    check(request.json)
    assert (request.json["kind"], request.json["text"], request.json["alerts"]) == ("test", "hello", [])


@settings(max_examples=60, deadline=None)
@given(_effects())
def test_any_effect_makes_a_document_that_its_schema_takes(effect: Effect) -> None:
    check(render(effect).document)
    check(render_digest([effect, FIRING], "d").document)


def test_a_secret_signs_time_and_body(http_receiver: HttpReceiver) -> None:
    send(http_receiver.url("/in", "webhook"), secret="S3cret")
    (request,) = http_receiver.wait(1)
    signed = request.headers["X-Zkalert-Timestamp"].encode() + b"." + request.body
    expected = hmac.new(b"S3cret", signed, hashlib.sha256).hexdigest()
    assert request.headers["X-Zkalert-Signature"] == f"v1={expected}"
    assert b"S3cret" not in request.body


def test_the_check_in_the_manual_takes_what_is_sent(http_receiver: HttpReceiver) -> None:
    manual = (Path(__file__).parents[1] / "docs" / "webhook.md").read_text()
    names: dict[str, Any] = {}
    exec(manual.partition("```python\n")[2].partition("```")[0], names)
    send(http_receiver.url("/in", "webhook"), secret="S3cret")
    (request,) = http_receiver.wait(1)
    stamp, signature = request.headers["X-Zkalert-Timestamp"], request.headers["X-Zkalert-Signature"]
    now = float(stamp)
    assert names["is_genuine"]("S3cret", stamp, signature, request.body, now + 5)
    assert not names["is_genuine"]("S3cret", stamp, signature, request.body + b" ", now)
    assert not names["is_genuine"]("other", stamp, signature, request.body, now)
    assert not names["is_genuine"]("S3cret", stamp, signature, request.body, now + 600)


def test_a_repeat_says_so_and_logins_are_sent(http_receiver: HttpReceiver) -> None:
    url = http_receiver.url("/in", "webhook").replace("//", "//me:p%40ss@")
    assert send(url, is_repeat=True).state is SendState.DELIVERED
    (request,) = http_receiver.wait(1)
    assert request.json["repeat"] is True
    assert request.headers["Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("status", "state", "is_retryable", "detail"),
    [
        (200, SendState.DELIVERED, False, "delivered"),
        (204, SendState.DELIVERED, False, "delivered"),
        (302, SendState.FAILED, True, "answered with a redirect (HTTP 302), which is not followed"),
        (307, SendState.FAILED, True, "answered with a redirect (HTTP 307), which is not followed"),
        (404, SendState.FAILED, True, "answered with HTTP 404 (not found)"),
        (422, SendState.FAILED, False, "answered with HTTP 422 (not processable)"),
        (503, SendState.FAILED, True, "answered with HTTP 503 (unavailable)"),
    ],
)
def test_answers(http_receiver: HttpReceiver, status: int, state: SendState, is_retryable: bool, detail: str) -> None:
    headers = {"Location": http_receiver.url("/other")}
    http_receiver.answer("/in", Answer(status=status, body=b"", headers=headers))
    result = send(http_receiver.url("/in", "webhook"))
    assert (result.state, result.is_retryable, result.detail) == (state, is_retryable, detail)
    assert [request.path for request in http_receiver.requests] == ["/in"]


@contextmanager
def drip(pause: float) -> Iterator[int]:
    """A server on loopback that takes what it is sent and answers a byte at a time, never to the end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                with suppress(OSError):
                    while not over.wait(pause):
                        connection.send(b"H")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(5)


@pytest.mark.parametrize(("limit", "pause"), [("_TIMEOUT", 0.01), ("_READ_TIMEOUT", 60.0)])
def test_an_answer_that_does_not_come_to_an_end_is_unknown(
    limit: str, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then holds the worker no longer than silence does."""
    monkeypatch.setattr(module, limit, 0.3)
    with drip(pause) as port:
        result = send(f"webhook://127.0.0.1:{port}/in")
    assert (result.state, result.is_retryable) == (SendState.UNKNOWN, True)
    assert "may have arrived" in result.detail
    assert 0.2 < result.seconds < 5


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("webhook://127.0.0.1:1/T0kenPath", "the connection was refused"),
        ("webhook://no-such-host.invalid/T0kenPath", "the host name was not found"),
    ],
)
def test_nobody_there(url: str, detail: str) -> None:
    result = send(url)
    assert (result.state, result.is_retryable, result.detail) == (SendState.FAILED, True, detail)


@contextmanager
def over_tls(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server on loopback that answers each request with 200."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                with server_tls(file).wrap_socket(connection, server_side=True) as secure:
                    heard.append(secure.recv(65536))
                    while not heard[0].endswith(b"}"):
                        heard[0] += secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except ssl.SSLError:
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(5)


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path)
    with over_tls(file) as (port, heard):
        result = send(f"webhooks://localhost:{port}/in")
    assert (result.state, result.detail) == (SendState.FAILED, "TLS failed: the certificate or protocol does not fit")
    assert heard == []
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with over_tls(file) as (port, heard):
        assert send(f"webhooks://localhost:{port}/in").state is SendState.DELIVERED
    assert heard[0].startswith(b"POST /in HTTP/1.1\r\n")


def test_a_key_breaks_out_of_no_header(http_receiver: HttpReceiver) -> None:
    hostile = 'x\r\nX-Evil: 1\n\u20ac"$(id)'
    assert send(
        http_receiver.url("/in", "webhook"), effect=replace(FIRING, alert=replace(ALERT, host=hostile))
    ).state is (SendState.DELIVERED)
    (request,) = http_receiver.wait(1)
    assert "X-Evil" not in request.headers
    assert request.headers["X-Zkalert-Key"] == r'memory-high/x X-Evil: 1 \u20ac"$(id)/3fa4b2c1d0e9/firing'


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("webhook://example.org/in", None),
        ("webhooks://me:s3cret@example.org:8443/in?x=1", None),
        ("webhook:///in", "not a valid webhook:// URL: the host is missing"),
        ("webhook://h:99999/", "not a valid URL: its port is none of 1 to 65535, or its host has the wrong form"),
        ("webhook://h:0/", "0 is no port; expected 1 to 65535"),
        ("webhook://h/a b", "not a valid URL: a character in its path or query must be percent-encoded"),
        ("webook://h/", 'unknown service "webook"; did you mean "webhook"?'),
    ],
)
def test_urls(url: str, problem: str | None) -> None:
    assert validate_url(url) == problem


def test_no_failure_tells_a_secret(http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    http_receiver.answer("/T0kenPath", Answer(status=500, body=b"T0kenPath"))
    urls = (
        http_receiver.url("/T0kenPath", "webhook").replace("//", "//Us3rName:Passw0rd@"),
        "webhook://127.0.0.1:1/T0kenPath",
    )
    told = "".join(send(url, secret="S3cret").detail for url in urls) + caplog.text
    for secret in ("T0kenPath", "Passw0rd", "S3cret"):
        assert secret not in told
    assert "Passw0rd" not in repr(module.WebhookSender(target(urls[0]))) + repr(target(urls[0]))
