"""Who is told and what is run: the key `action`, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zkalert.documents import show, without_urls
from zkalert.metrics import MetricError, family_of, nearest, parse_metric
from zkalert.model import Action, Brake, Channel, Notify, Of, Phase, Run, Where
from zkalert.rulefile.keys import Keys, Path, Raw, Report, check_span, listed

MAX_TIMEOUT = 86400.0

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ACTION = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_OF_THE_HOST = ("user", "cwd", "umask", "environment")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")
# Whoever was told that an alert fires also hears that its rule is gone: to people both are its end.
_PHASES = {
    "firing": frozenset({Phase.FIRING}),
    "escalated": frozenset({Phase.ESCALATED}),
    "repeated": frozenset({Phase.REPEATED}),
    "resolved": frozenset({Phase.RESOLVED, Phase.CLOSED}),
}


class Allowed(NamedTuple):
    """What rules may bring along, by where they come from: commands of their own, and URLs that no channel has.

    A command that runs where the alert is (`where: host`) is one that the host's own configuration has.
    """

    commands: bool = True
    urls: bool = True


ALL = Allowed()


class Actions:
    """The actions of one document.

    `channels` are the names there are (None: not checked). `check_url` says why a URL is no good, or nothing (None:
    only its form is looked at). What is not `allowed` is refused wherever it stands.
    """

    def __init__(
        self,
        report: Report,
        channels: Collection[str] | None,
        check_url: Callable[[str], str] | None = None,
        allowed: Allowed = ALL,
    ) -> None:
        self._report = report
        self._channels = channels
        self._check_url = check_url
        self._allowed = allowed
        self._known: dict[str, Notify] = {}
        self.channels: Mapping[str, Channel] = channels if isinstance(channels, Mapping) else {}
        """The channels, where more of them is known than their names."""

    def read(self, keys: Keys) -> tuple[Action, ...] | None:
        """The actions of a mapping: None where it names none. What is wrong is left out, and reported."""
        written = keys.values.get("action")
        if written is None:
            return None
        if isinstance(written, str) and written in self._known:
            return (self._known[written],)
        path = keys.at("action")
        has_host = keys.values.get("across", {}).get("of") != Of.HOSTS.value and _is_of_hosts(keys.values)
        if not isinstance(written, list):
            action = self._action(written, path, has_host=has_host)
            return () if action is None else (action,)
        found = (self._action(item, (*path, index), has_host=has_host) for index, item in enumerate(written))
        return tuple(action for action in found if action is not None)

    def _action(self, written: str | Raw, path: Path, *, has_host: bool) -> Action | None:
        if isinstance(written, str):
            return self._notify(written, path, None)
        at = frozenset().union(*(_PHASES[item] for item in listed(written["at"]))) if "at" in written else None
        if "notify" in written:
            return self._notify(written["notify"], (*path, "notify"), at)
        if not self._allowed.commands and written.get("where") != Where.HOST.value:
            self._refuse((*path, "run"), "a command", "a channel, or an action of the host: where: host", "shell")
            return None
        if written.get("where") == Where.HOST.value and not has_host:
            self._report.add(
                (*path, "where"),
                "clashing-keys",
                "an alert across hosts, or of an ensemble, has no host of its own that could run it",
                expected="where: engine",
            )
            return None
        return self._run(written, path, at)

    def _run(self, written: Raw, path: Path, at: frozenset[Phase] | None) -> Run | None:
        where = Where(written.get("where", Where.ENGINE.value))
        is_good = self._is_of_a_host(written, path) if where is Where.HOST else self._is_command(written, path)
        limit = written.get("timeout", "30s")
        timeout = check_span(self._report, limit, (*path, "timeout"), least=0.001, most=MAX_TIMEOUT)
        brake = self._brake(written["brake"], (*path, "brake")) if "brake" in written else None
        if timeout is None or not is_good or (brake is None and "brake" in written):
            return None
        command: Any = written["run"]
        run = Run(
            command=command if isinstance(command, str) else tuple(command),
            timeout=timeout,
            where=where,
            brake=brake,
            user=written.get("user"),
            cwd=written.get("cwd"),
            umask=int(written["umask"], 8) if "umask" in written else None,
            is_clean=written.get("environment") == "clean",
        )
        return run if at is None else replace(run, at=at)

    def _is_command(self, written: Raw, path: Path) -> bool:
        command = written["run"]
        if isinstance(command, str) and not command.strip():
            self._report.add((*path, "run"), "wrong-value", "run: found an empty text", expected="a line for the shell")
            return False
        return True

    def _is_of_a_host(self, written: Raw, path: Path) -> bool:
        """Whether a host can be asked for it: a name, and nothing that the host itself has to say."""
        is_good = True
        command = written["run"]
        if not isinstance(command, str) or not _ACTION.fullmatch(command):
            is_good = False
            self._report.add(
                (*path, "run"),
                "wrong-action",
                f"run: found {show(command)}",
                expected="with where: host, the name of an action of that host: small letters, digits and dashes",
                hint="the command itself stands below actions: in the zkalert.yaml of the host",
            )
        for key in _OF_THE_HOST:
            if key in written:
                is_good = False
                self._report.add(
                    (*path, key),
                    "misplaced-key",
                    f"{key} stands beside where: host",
                    hint=f"say {key} of the action in the zkalert.yaml of the host",
                    at_key=True,
                )
        return is_good

    def _brake(self, written: Raw, path: Path) -> Brake | None:
        per = check_span(self._report, written.get("per", "1h"), (*path, "per"), least=1.0)
        then = written.get("then")
        if then is not None and not _CHANNEL.fullmatch(then):
            what = "a URL" if "://" in then else show(then)
            self._report.add((*path, "then"), "unknown-channel", f"then: found {what}", expected="a channel's name")
            return None
        if per is None or (then is not None and not self._is_channel(then, (*path, "then"))):
            return None
        return Brake(
            at_once=int(written.get("at_once", 1)),
            per=per,
            most=int(written.get("most", 3)),
            group=written.get("group", ""),
            then=then,
        )

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
        if not self._allowed.urls:
            self._refuse(path, "a URL", "the name of a channel", "urls")
            return False
        reason = self._check_url(target) if self._check_url is not None else ""
        if reason:
            self._report.add(path, "wrong-url", without_urls(reason), expected="a URL that apprise can use")
        return not reason

    def _refuse(self, path: Path, what: str, expected: str, key: str) -> None:
        self._report.add(
            path,
            "not-allowed",
            f"a rule that comes through ZooKeeper may not bring {what}",
            expected=expected,
            hint=f"published_rules: {{{key}: true}} in an engine's zkalert.yaml lets that engine take it",
        )

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


def _is_of_hosts(values: Raw) -> bool:
    """Whether the metric of a rule is one of hosts, as far as can be told; a wrong one is reported elsewhere."""
    first = next((one for key in ("all", "any") for one in values.get(key, ())), values)
    try:
        return family_of(parse_metric(first.get("metric", "")).family).of_hosts
    except MetricError:
        return True
