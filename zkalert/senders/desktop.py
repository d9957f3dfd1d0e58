"""A desktop's notifications by the program `notify-send`: the target `desktop://`.

What is shown is text: a daemon parses the body as markup, so it is escaped, and `--` keeps a title that begins with a
dash from being an option. All messages of one episode replace each other, so that what was resolved does not stay.
"""

from __future__ import annotations

import html
import subprocess
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from zkalert import clock
from zkalert.model import Effect, Format, Message, MessageKind, SendResult, SendState
from zkalert.render import written
from zkalert.render.text import clean, line

SCHEMES = ("desktop",)

_PROGRAM = "notify-send"
_TIMEOUT = 5.0
_MOST_TITLE = 200
_MOST_BODY = 1000  # bytes: a window that covers half of the screen tells no more
_MOST_THREADS = 1000
_URGENCY = {
    MessageKind.INFO: ("low", "dialog-information"),
    MessageKind.WARNING: ("normal", "dialog-warning"),
    MessageKind.FAILURE: ("critical", "dialog-error"),
    MessageKind.SUCCESS: ("normal", "dialog-information"),
}


def url_problem(url: str) -> str | None:
    """Why a `desktop://` URL is wrong; None where it is not."""
    rest = url.strip().partition("://")[2]
    return None if rest in ("", "/") else "desktop:// takes nothing more: it is the desktop that the engine runs on"


class DesktopSender:
    """Shows messages on the desktop of the session that this process belongs to. Not for more than one thread."""

    def __init__(self) -> None:
        self._shown: OrderedDict[str, str] = OrderedDict()

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - all senders are called alike; a desktop gets words only
        """Show `message`; never raises. A daemon that does not answer within 5 s may have shown it."""
        started = clock.monotonic()
        state, detail = self._show(message, is_repeat=is_repeat)
        is_sent = state is SendState.DELIVERED
        return SendResult(state=state, is_retryable=not is_sent, detail=detail, seconds=clock.monotonic() - started)

    def _show(self, message: Message, *, is_repeat: bool) -> tuple[SendState, str]:
        try:
            done = subprocess.run(  # noqa: S603 - no shell; texts come after "--"
                self._command(message, is_repeat=is_repeat),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError:
            return SendState.FAILED, f"{_PROGRAM} is not installed; Debian and Ubuntu have it in libnotify-bin"
        except subprocess.TimeoutExpired:
            return SendState.UNKNOWN, f"the desktop did not answer within {_TIMEOUT:g} s"
        except (OSError, ValueError) as error:
            return SendState.FAILED, f"{_PROGRAM} could not be run: {line(str(error), 200)}"
        if done.returncode:
            said = line(clean(done.stderr.decode("utf-8", "replace")), 200)
            return SendState.FAILED, f"{_PROGRAM} failed: {said or f'exit code {done.returncode}'}"
        self._remember(message.thread, done.stdout.decode("ascii", "replace").strip())
        return SendState.DELIVERED, "delivered"

    def _command(self, message: Message, *, is_repeat: bool) -> list[str]:
        urgency, icon = _URGENCY[message.kind]
        repeat = "(may be a repeat)\n" if is_repeat else ""
        body = html.escape(repeat + clean(written(_short(message), Format.TEXT, _MOST_BODY)), quote=False)
        replaced = self._shown.get(message.thread)
        return [
            *(_PROGRAM, "--print-id", "--app-name=zkalert", f"--urgency={urgency}", f"--icon={icon}"),
            *([f"--replace-id={replaced}"] if replaced else []),
            *("--", line(message.title, _MOST_TITLE), body),
        ]

    def _remember(self, thread: str, shown: str) -> None:
        if not thread or not shown.isdigit():
            return
        self._shown[thread] = shown
        self._shown.move_to_end(thread)
        if len(self._shown) > _MOST_THREADS:
            self._shown.popitem(last=False)


def _short(message: Message) -> Message:
    """The sentences alone; facts and footer are for those who sit down to read."""
    if message.parts is None:
        return message
    return replace(message, parts=message.parts._replace(facts=(), footer=""))
