"""`zkalert notify`: what arrives, what is printed, and the exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers import Answer, HttpReceiver, SmtpReceiver
from zkalert.cli import run


@pytest.fixture
def config(tmp_path: Path, http_receiver: HttpReceiver) -> Path:
    """Two channels: `ops` with two URLs that carry secrets, and `chat`."""
    file = tmp_path / "zkalert.yaml"
    ops = [http_receiver.url(path, "json").replace("//", "//us3r:s3cret@") for path in ("/one", "/two")]
    file.write_text(f"channels:\n  ops: {{urls: {ops}}}\n  chat: {{urls: [{http_receiver.url('/chat', 'json')}]}}\n")
    file.chmod(0o600)
    return file


def test_each_url_of_a_channel_is_told(
    config: Path, http_receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["notify", "--config", str(config), "ops", "hello there"]) == 0
    assert [(request.path, request.json["message"]) for request in http_receiver.wait(2)] == [
        ("/one", "hello there"),
        ("/two", "hello there"),
    ]
    out, err = capsys.readouterr()
    assert err == ""
    for line in out.splitlines():
        assert re.fullmatch(
            rf"ops/[0-9a-f]{{8}}  json://127\.0\.0\.1:{http_receiver.port}/\.\.\.  delivered in \d+ ms", line
        )
    assert len(out.splitlines()) == 2


def test_one_failure_is_told_and_decides_the_exit_code(
    config: Path, http_receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    http_receiver.answer("/one", Answer(status=500))
    assert run(["notify", "--config", str(config), "ops"]) == 1
    http_receiver.wait(2)
    first, second = capsys.readouterr().out.splitlines()
    assert re.search(r"failed after \d+ ms: answered with HTTP 500 \(internal error\)$", first)
    assert "delivered in" in second
    assert "s3cret" not in first + second


def test_a_url_stands_in_for_a_channel(http_receiver: HttpReceiver, capsys: pytest.CaptureFixture[str]) -> None:
    """No configuration is needed for it."""
    assert run(["notify", http_receiver.url("/hook", "json")]) == 0
    (request,) = http_receiver.wait(1)
    assert request.json["message"] == "If you can read this, alerts arrive here."
    assert capsys.readouterr().out.startswith("url/")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("slck://s3cret/s3cret/s3cret", 'slck://...  failed after 0 ms: unknown service "slck"; did you mean "slack"?'),
        ("json://us3r:s3cret@127.0.0.1:1/s3cret", "the connection was refused"),
    ],
)
def test_a_url_that_fails(url: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["notify", url]) == 1
    out = re.sub(r"after \d+ ms", "after 0 ms", "".join(capsys.readouterr()))
    assert told in out
    assert "s3cret" not in out


@pytest.mark.parametrize("scheme", ["json", "form", "xml", "webhook"])
def test_every_kind_of_webhook_gets_the_test(http_receiver: HttpReceiver, scheme: str) -> None:
    assert run(["notify", http_receiver.url("/hook", scheme), "hello there"]) == 0
    (request,) = http_receiver.wait(1)
    assert b"hello" in request.body


def test_mail_and_chat_get_the_test(
    http_receiver: HttpReceiver, smtp_receiver: SmtpReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mail twice: two tests are two mails, each with an id of its own."""
    chat = f"mmost://127.0.0.1:{http_receiver.port}/3ccdd113474722377935511fc85d3dd4"
    for url in (smtp_receiver.url(), smtp_receiver.url(), chat):
        assert run(["notify", url, "hello there"]) == 0
    first, second = smtp_receiver.wait(2)
    assert first.text.strip() == "hello there"
    assert first.message["Message-ID"] != second.message["Message-ID"]
    assert http_receiver.wait(1)[0].json["attachments"][0]["text"] == "hello there"
    assert "3ccdd1134747" not in capsys.readouterr().out


def test_the_desktop_gets_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run(["notify", "desktop://", "hello there"]) == 0
    assert (tmp_path / "said").read_text().endswith("--\n[test] zkalert\nhello there\n")
    assert "desktop://...  delivered in" in capsys.readouterr().out


def test_an_unknown_channel_names_the_nearest(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["notify", "--config", str(config), "osp"]) == 2
    assert 'unknown channel "osp"; did you mean "ops"?' in capsys.readouterr().err
    assert run(["notify", "--config", str(config), "zzzz"]) == 2
    assert 'unknown channel "zzzz"; known: chat, ops' in capsys.readouterr().err


def test_without_a_configuration_there_are_no_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["notify", "ops"]) == 2
    assert "no configuration was found" in capsys.readouterr().err


def test_a_configuration_without_channels_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "zkalert.yaml"
    file.write_text("host: web1\n")
    assert run(["notify", "--config", str(file), "ops"]) == 2
    assert "has no channels" in capsys.readouterr().err
