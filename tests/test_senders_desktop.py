"""desktop://: real notifications, shown by a daemon on a display of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.receivers import Desktop, desktop
from tests.test_render import ALERT, FIRING, RESOLVED
from zkalert.model import SendState
from zkalert.render import render
from zkalert.routing import url_targets
from zkalert.senders import DesktopSender, url_sender, validate_url
from zkalert.senders import desktop as module

ARTEFACTS = Path(__file__).resolve().parents[1] / "build" / "artefacts"


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desktop]:
    with desktop(tmp_path) as shown:
        for name, value in shown.environ.items():
            monkeypatch.setenv(name, value)
        yield shown


def _program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `notify-send` that does as the script says."""
    file = folder / "notify-send"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_an_episode_is_one_notification(screen: Desktop) -> None:
    """What is resolved takes the place of what fired; a screenshot of each stays in build/artefacts."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    sender = url_sender(url_targets("desktop://")[0])
    for name, effect in (("firing", FIRING), ("resolved", RESOLVED)):
        before = screen.pixels()
        assert sender.send((effect,), render(effect)).state is SendState.DELIVERED
        screen.screenshot(ARTEFACTS / f"desktop-{name}.png", before)
        assert (ARTEFACTS / f"desktop-{name}.png").stat().st_size > 1000
    assert screen.displayed() == 1
    (shown,) = screen.history()
    assert shown["summary"] == render(RESOLVED).title
    assert shown["appname"] == "zkalert"


def test_what_anybody_wrote_is_text_on_the_desktop(screen: Desktop) -> None:
    """No markup in what the daemon shows, and a text that begins with a dash is no option."""
    hostile = "--urgency=low <b>$(id)</b> & <img src=x>"
    other = replace(FIRING, alert=replace(ALERT, host=hostile, episode="beef"))
    message = replace(render(other), title=f"--help {hostile}")
    sender = DesktopSender()
    assert sender.send((FIRING,), render(FIRING)).state is SendState.DELIVERED
    assert sender.send((other,), message).state is SendState.DELIVERED
    assert screen.displayed() == 2
    last = screen.history()[0]
    assert last["summary"] == f"--help {hostile}"
    assert "&lt;b&gt;$(id)&lt;/b&gt; &amp; &lt;img src=x&gt;" in last["body"]
    assert "<b>" not in last["body"]


def test_the_urgency_is_that_of_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    _program(tmp_path, monkeypatch, f'printf "%s\\n" "$@" >> {said}; echo 7')
    sender = DesktopSender()
    for effect in (FIRING, RESOLVED):
        assert sender.send((effect,), render(effect), is_repeat=effect is RESOLVED).state is SendState.DELIVERED
    first, second = said.read_text().split("--print-id\n")[1:]
    assert "--urgency=critical\n" in first
    assert "--replace-id" not in first
    assert {"--urgency=normal", "--replace-id=7", "(may be a repeat)"} <= set(second.splitlines())


def test_a_desktop_that_cannot_be_reached_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, 'echo "Cannot autolaunch D-Bus\033[31m" >&2; exit 1')
    result = DesktopSender().send((FIRING,), render(FIRING))
    assert (result.state, result.is_retryable) == (SendState.FAILED, True)
    assert result.detail.startswith("notify-send failed: Cannot autolaunch D-Bus")
    assert "\033" not in result.detail


def test_without_its_program_it_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = DesktopSender().send((FIRING,), render(FIRING))
    assert (result.state, result.is_retryable) == (SendState.FAILED, True)
    assert "libnotify-bin" in result.detail


def test_a_desktop_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    result = DesktopSender().send((FIRING,), render(FIRING))
    assert (result.state, result.is_retryable) == (SendState.UNKNOWN, True)
    assert result.seconds < 5


def test_its_url_takes_nothing_more() -> None:
    assert validate_url("desktop://") is None
    assert validate_url("desktop://T0kenPath") == (
        "desktop:// takes nothing more: it is the desktop that the engine runs on"
    )
