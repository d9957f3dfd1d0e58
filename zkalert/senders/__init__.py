"""From a message to the outside world: a URL by apprise or by what is ours, a command by a process group.

Comes in: an effect and its message. Goes out: a SendResult, never an exception. What happens after a failure, and how
often, is not decided here. apprise takes long to import, so it is loaded on first use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from zkalert.model import Target
from zkalert.routing import masked
from zkalert.senders.channel import AppriseSender, preload, validate_url
from zkalert.senders.command import RunSender
from zkalert.senders.desktop import DesktopSender

if TYPE_CHECKING:
    from zkalert.senders.webhook import WebhookSender

__all__ = [
    "AppriseSender",
    "DesktopSender",
    "RunSender",
    "UrlSender",
    "make_sender",
    "masked",
    "preload",
    "url_sender",
    "validate_url",
]

UrlSender: TypeAlias = Union[AppriseSender, DesktopSender, "WebhookSender"]


def make_sender(target: Target, cwd: Path | None = None) -> UrlSender | RunSender:
    """The sender for a target, for one worker thread; relative commands start from `cwd`."""
    return url_sender(target) if target.run is None else RunSender(target.run, cwd)


def url_sender(target: Target) -> UrlSender:
    """The sender for a target that is a URL, for one worker thread."""
    scheme = (target.url or "").strip().partition("://")[0].lower()
    if scheme == "desktop":
        return DesktopSender()
    if scheme in ("webhook", "webhooks"):
        from zkalert.senders.webhook import WebhookSender  # noqa: PLC0415 - brings HTTP and TLS

        return WebhookSender(target)
    return AppriseSender(target)
