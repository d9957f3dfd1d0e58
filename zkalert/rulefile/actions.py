"""Who is told and what is run: the key `action`, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from zkalert.documents import show, without_urls
from zkalert.metrics import nearest
from zkalert.model import Action, Notify, Phase, Run
from zkalert.rulefile.keys import Keys, Path, Raw, Report, check_span, listed

MAX_TIMEOUT = 86400.0

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")
# Whoever was told that an alert fires also hears that its rule is gone: to people both are its end.
_PHASES = {
    "firing": frozenset({Phase.FIRING}),
    "escalated": frozenset({Phase.ESCALATED}),
    "repeated": frozenset({Phase.REPEATED}),
    "resolved": frozenset({Phase.RESOLVED, Phase.CLOSED}),
}


class Actions:
    """The actions of one document.

    `channels` are the names there are (None: not checked). `check_url` says why a URL is no good, or nothing (None:
    only its form is looked at).
    """

    def __init__(
        self, report: Report, channels: Collection[str] | None, check_url: Callable[[str], str] | None = None
    ) -> None:
        self._report = report
        self._channels = channels
        self._check_url = check_url
        self._known: dict[str, Notify] = {}

    def read(self, keys: Keys) -> tuple[Action, ...] | None:
        """The actions of a mapping: None where it names none. What is wrong is left out, and reported."""
        written = keys.values.get("action")
        if written is None:
            return None
        if isinstance(written, str) and written in self._known:
            return (self._known[written],)
        path = keys.at("action")
        if not isinstance(written, list):
            action = self._action(written, path)
            return () if action is None else (action,)
        found = (self._action(item, (*path, index)) for index, item in enumerate(written))
        return tuple(action for action in found if action is not None)

    def _action(self, written: str | Raw, path: Path) -> Action | None:
        if isinstance(written, str):
            return self._notify(written, path, None)
        at = frozenset().union(*(_PHASES[item] for item in listed(written["at"]))) if "at" in written else None
        if "notify" in written:
            return self._notify(written["notify"], (*path, "notify"), at)
        return self._run(written, path, at)

    def _run(self, written: Raw, path: Path, at: frozenset[Phase] | None) -> Run | None:
        command: Any = written["run"]
        if isinstance(command, str) and not command.strip():
            self._report.add((*path, "run"), "wrong-value", "run: found an empty text", expected="a line for the shell")
        limit = written.get("timeout", "30s")
        timeout = check_span(self._report, limit, (*path, "timeout"), least=0.001, most=MAX_TIMEOUT)
        command = command if isinstance(command, str) else tuple(command)
        if timeout is None:
            return None
        return Run(command=command, timeout=timeout) if at is None else Run(command=command, timeout=timeout, at=at)

    def _notify(self, target: str, path: Path, at: frozenset[Phase] | None) -> Notify | None:
        known = self._known.get(target)
        if known is None:
            if not (self._is_url(target, path) if "://" in target else self._is_channel(target, path)):
                return None
            known = Notify(url=target) if "://" in target else Notify(channel=target)
            self._known[target] = known
        return known if at is None else Notify(channel=known.channel, url=known.url, at=at)

    def _is_url(self, target: str, path: Path) -> bool:
        if not _URL.fullmatch(target):
            self._report.add(path, "wrong-url", "not a URL", expected="a URL of a service: service://...")
            return False
        reason = self._check_url(target) if self._check_url is not None else ""
        if reason:
            self._report.add(path, "wrong-url", without_urls(reason), expected="a URL that apprise can use")
        return not reason

    def _is_channel(self, target: str, path: Path) -> bool:
        if not _CHANNEL.fullmatch(target):
            message = f"found {show(target)}"
            self._report.add(path, "unknown-channel", message, expected="a channel's name, or a URL: service://...")
            return False
        if self._channels is None or target in self._channels:
            return True
        names = sorted(self._channels)
        near = nearest(target, names)
        self._report.add(
            path,
            "unknown-channel",
            f'no channel "{target}" in the configuration',
            expected=("one of " + ", ".join(names)) if names else "a channel that zkalert.yaml has",
            hint=f"did you mean {near}?" if near else "",
        )
        return False
