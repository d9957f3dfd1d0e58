"""What commands share by which people say something of alerts: matchers, spans, moments, and who says it."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple, TypeVar

import click

from zkalert import clock
from zkalert.config import Config
from zkalert.metrics import QuantityError, nearest, parse_duration
from zkalert.model import EMPTY, FOR_GOOD, Alert, Effect, Phase, Reason, Severity, Silence, UsageError
from zkalert.routing import silencing
from zkalert.store import Facts
from zkalert.tree import MAX_COMMENT, MAX_TEXT

_Command = TypeVar("_Command", bound=Callable[..., Any])

_GLOBS = ("rule", "host", "instance")
_SLIPS = {"rules": "rule", "hosts": "host", "instances": "instance", "severities": "severity", "level": "severity"}
_LABEL = "label:"
_ALL = frozenset(Severity)
_TIME_OF_DAY = re.compile(r"(\d\d?):(\d\d)", re.ASCII)
_MOST_SPAN = 100 * 366 * 86400.0
_MOMENT = "a time such as 18:30, 2026-11-24T06:00 or 2026-11-24T06:00+01:00"


# Matchers -------------------------------------------------------------------------------------------------------------


class Matchers(NamedTuple):
    """Which alerts something is about; see Silence."""

    rule: str = "*"
    host: str = "*"
    instance: str = "*"
    severities: frozenset[Severity] = _ALL
    labels: Any = EMPTY

    @property
    def is_everything(self) -> bool:
        return self == Matchers()


def matchers(written: Iterable[str], *, is_all: bool) -> Matchers:
    """`rule=disk-*`, `host=db3`, `severity=warning,info`, `team=web`: what matches has to match in all of them.

    Raises UsageError where one cannot be read, or where they match everything and `is_all` does not say so.
    """
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for word in written:
        name, equals, glob = word.partition("=")
        _check(word, name, equals, glob)
        label = name.removeprefix(_LABEL)
        if label != name or name not in (*_GLOBS, "severity"):
            is_twice = label in labels
            labels[label] = glob
        else:
            is_twice = name in found
            found[name] = _severities(glob) if name == "severity" else glob
        if is_twice:
            raise UsageError(f"{name}= is given twice; one glob can stand for several, such as {name}=[ab]*")
    if "severity" in found:
        found["severities"] = found.pop("severity")
    made = Matchers(**found, labels=labels or EMPTY)
    if made.is_everything and not is_all:
        raise UsageError("this matches every alert; name some, such as host=db3 or rule=disk-*, or say --all")
    if is_all and not made.is_everything:
        raise UsageError("--all and matchers: give one of them")
    return made


def _check(word: str, name: str, equals: str, glob: str) -> None:
    if not equals or not name.removeprefix(_LABEL):
        raise UsageError(f'"{word}" is no matcher; expected NAME=GLOB, such as host=db3, rule=disk-* or team=web')
    if not glob:
        raise UsageError(f"{name}= matches nothing; expected a glob, such as {name}=web*")
    if name in _SLIPS:
        raise UsageError(
            f"no matcher {name}=; did you mean {_SLIPS[name]}=? (the label of that name is {_LABEL}{name})"
        )
    if len(name) > MAX_TEXT or len(glob) > MAX_TEXT:
        raise UsageError(f"{name[:40]}=: expected at most {MAX_TEXT} characters")


def _severities(written: str) -> frozenset[Severity]:
    known = [severity.value for severity in Severity]
    found = set()
    for name in written.split(","):
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else "expected some of " + ", ".join(known)
            raise UsageError(f'no severity "{name}"; {hint}')
        found.add(Severity(name))
    return frozenset(found)


def words(silence: Silence) -> str:
    """The matchers of a silence, as they are written."""
    parts = [f"{name}={getattr(silence, name)}" for name in _GLOBS if getattr(silence, name) != "*"]
    if silence.severities != _ALL:
        parts.append("severity=" + ",".join(one.value for one in Severity if one in silence.severities))
    reserved = (*_GLOBS, "severity", *_SLIPS)
    parts += [(_LABEL if name in reserved else "") + f"{name}={glob}" for name, glob in sorted(silence.labels.items())]
    return " ".join(parts) or "every alert"


def matched(facts: Facts, silence: Silence) -> list[Alert]:
    """The firing alerts that a silence matches; of labels, those of hosts alone are known here."""
    hosts = facts.hosts() if silence.labels else {}

    def is_about(alert: Alert) -> bool:
        labels = hosts[alert.host].labels if alert.host in hosts else EMPTY
        effect = Effect(alert=alert, phase=Phase.FIRING, reason=Reason.STILL, at=0.0, host_labels=labels)
        return silencing.matches(silence, effect)

    return [alert for alert in facts.alerts() if alert.state.is_active and is_about(alert)]


def how_many(alerts: Sequence[Alert], silence: Silence) -> str:
    """`it matches 2 firing alerts now`, of these."""
    number = len(alerts)
    text = f"it matches {number or 'no'} firing alert{'' if number == 1 else 's'} now"
    return text + (
        " by the labels of hosts (those of rules and instances are not in the tree)" if silence.labels else ""
    )


# Options --------------------------------------------------------------------------------------------------------------


def span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """`90s`, `1h30m`, `7d`, in seconds."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except QuantityError as error:
        raise click.BadParameter(f"{error}; expected {error.expected}", ctx, param) from error
    if seconds > _MOST_SPAN:
        raise click.BadParameter(f'"{text}" is longer than anybody plans', ctx, param)
    return seconds


def _text(ctx: click.Context, param: click.Parameter, text: str) -> str:
    most = MAX_COMMENT if param.name == "comment" else MAX_TEXT
    if len(text) > most:
        raise click.BadParameter(f"{len(text)} characters; expected at most {most}", ctx, param)
    return text


def signed(*, needs_comment: bool = False) -> Callable[[_Command], _Command]:
    """Give a command `--comment TEXT` and `--author NAME`."""

    def decorate(command: _Command) -> _Command:
        author = click.option(
            "--author", default="", metavar="NAME", callback=_text, help="Who says so. [default: USER@HOST]"
        )
        # A default, were it None, would do for a required one.
        kind: dict[str, Any] = {"required": True} if needs_comment else {"default": ""}
        comment = click.option(
            "--comment", metavar="TEXT", callback=_text, help="Why, for those who come across it.", **kind
        )
        return comment(author(command))

    return decorate


def author_of(given: str, config: Config) -> str:
    """Who says something: the one that was given, or else the user and the host."""
    if given:
        return given
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{config.host}"[:MAX_TEXT]


# Moments --------------------------------------------------------------------------------------------------------------


def moment(option: str, text: str, now: float, zone: tzinfo | None) -> float:
    """Epoch seconds of a time as people write it; of a time of the day, when the clock shows it next.

    Without a zone of its own it is in `zone` (None: this machine's). Raises UsageError for anything else.
    """
    try:
        if match := _TIME_OF_DAY.fullmatch(text):
            today = _in_zone(now, zone).replace(tzinfo=None, minute=int(match[2]), second=0, microsecond=0)
            wall = today.replace(hour=int(match[1]))
            at = _epoch(wall, zone)
            return at if at > now else _epoch(wall + timedelta(days=1), zone)
        found = _epoch(datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)), zone)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f'{option}: found "{text}"; expected {_MOMENT}') from None
    if not 0 <= found < FOR_GOOD:
        raise UsageError(f'{option}: found "{text}"; expected {_MOMENT}')
    return found


def _epoch(when: datetime, zone: tzinfo | None) -> float:
    return (when if when.tzinfo is not None or zone is None else when.replace(tzinfo=zone)).timestamp()


def _in_zone(at: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc).astimezone(zone)


def local(at: float) -> str:
    """Epoch seconds for people: this machine's time, with its zone."""
    shown = datetime.fromtimestamp(at, timezone.utc).astimezone()
    return shown.strftime("%Y-%m-%d %H:%M:%S %Z")


def iso(at: float | None) -> str | None:
    """Epoch seconds for programs; None for what has no end."""
    return None if at is None or at >= FOR_GOOD else clock.iso(at)
