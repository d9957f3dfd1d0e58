"""From a message to the outside world: a URL by apprise, a command by a process group.

Comes in: an effect and its message. Goes out: a SendResult, never an exception. What happens after a failure, and how
often, is not decided here. apprise takes long to import, so it is loaded on first use.
"""

from __future__ import annotations

from pathlib import Path

from zkalert.model import Target
from zkalert.routing import masked
from zkalert.senders.channel import AppriseSender, preload, validate_url
from zkalert.senders.command import RunSender

__all__ = ["AppriseSender", "RunSender", "make_sender", "masked", "preload", "validate_url"]


def make_sender(target: Target, cwd: Path | None = None) -> AppriseSender | RunSender:
    """The sender for a target, for one worker thread; relative commands start from `cwd`."""
    return AppriseSender(target) if target.run is None else RunSender(target.run, cwd)
