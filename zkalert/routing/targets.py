"""Who hears of an effect: targets out of channels, URLs and commands.

Comes in: a rule's actions, a phase, the channels. Goes out: targets, each one URL with one recipient or one command,
under an id that stays the same over restarts and that anybody may read. Nothing here sends, or knows apprise.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, unquote, unquote_plus

from zkalert.metrics import nearest
from zkalert.model import Action, Channel, Effect, Phase, Rule, Run, Severity, Target, TargetKind

DEFAULT_CHANNEL = "default"

_MAIL = ("mailto", "mailtos")
_SECRET_PARAMETERS = frozenset({"pass", "password", "pwd", "token", "secret", "key", "apikey", "authorization"})
# Services whose URL has a host where a URL has one. Elsewhere a token may stand in its place (slack://TOKEN/...).
_HAS_HOST = frozenset(
    {"http", "https", "json", "jsons", "form", "forms", "xml", "xmls", "apprise", "apprises", "gotify", "gotifys"}
    | {"mailto", "mailtos", "mmost", "mmosts", "nextcloud", "ncloud", "rocket", "rockets", "syslog", "mqtt", "mqtts"}
)
_URL = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_BETWEEN_RECIPIENTS = re.compile(r'[,;](?=(?:[^"]*"[^"]*")*[^"]*$)')
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_NAME_LENGTH = 60


def targets(
    actions: tuple[Action, ...] | None, phase: Phase, channels: Mapping[str, Sequence[Target]]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Who hears of `phase`, each once and in order, and a sentence for each channel that is named but not known.

    `actions` None, where the rule names none: the channel `default`, or all channels where there is no such one.
    """
    return _chosen(actions, frozenset({phase}), channels)


def _chosen(
    actions: tuple[Action, ...] | None, phases: frozenset[Phase], channels: Mapping[str, Sequence[Target]]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    if actions is None:
        chosen = channels.values() if DEFAULT_CHANNEL not in channels else (channels[DEFAULT_CHANNEL],)
        return _once(target for channel in chosen for target in channel), ()
    found: list[Target] = []
    problems: list[str] = []
    for action in actions:
        if not phases & action.at:
            continue
        if isinstance(action, Run):
            found.append(run_target(action))
        elif action.url is not None:
            found += url_targets(action.url)
        elif (channel := channels.get(action.channel or "")) is not None:
            found += channel
        else:
            problems.append(_unknown(action.channel or "", channels))
    return _once(found), tuple(problems)


def effect_targets(
    rule: Rule, effect: Effect, channels: Mapping[str, Sequence[Target]]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Who hears of an effect, each once, and a sentence for each channel that is named but not known.

    `rule` is the one that holds for the series, with its overrides. A step without actions of its own has those of
    the rule. By the phase:

        firing, repeated    the step of the alert's severity
        escalated           the step of the severity it rose to; after a while unheard, the escalation alone, its
                            commands too where their `at` says firing
        resolved, closed    every step and escalation that was told, the default channels first
    """
    # What a rule does when an escalation is due is what fires there: a command without `at` is meant too.
    phases = frozenset({effect.phase} if effect.escalation is None else {Phase.ESCALATED, Phase.FIRING})
    found: list[Target] = []
    problems: dict[str, None] = {}
    for actions in sorted(_actions(rule, effect), key=lambda actions: actions is not None):
        some, unknown = _chosen(actions, phases, channels)
        found += some
        problems.update(dict.fromkeys(unknown))
    return _once(found), tuple(problems)


def _actions(rule: Rule, effect: Effect) -> Iterator[tuple[Action, ...] | None]:
    alert = effect.alert
    if effect.escalation is not None:
        if effect.escalation < len(rule.escalate):
            yield rule.escalate[effect.escalation].actions
    elif effect.phase in (Phase.RESOLVED, Phase.CLOSED):
        for severity in alert.told:
            yield _of_step(rule, severity)
        for escalation in rule.escalate[: alert.escalations]:
            yield escalation.actions
    else:
        yield _of_step(rule, alert.severity)


def _of_step(rule: Rule, severity: Severity) -> tuple[Action, ...] | None:
    """The actions of a severity; where an edit took its step away, those of the only one, or of the rule."""
    alone = rule.steps[0] if len(rule.steps) == 1 else None
    step = next((step for step in rule.steps if step.severity is severity), alone)
    return rule.actions if step is None or step.actions is None else step.actions


def _unknown(name: str, channels: Mapping[str, Sequence[Target]]) -> str:
    near = nearest(name, channels)
    return f'unknown channel "{name}"' + (f'; did you mean "{near}"?' if near else "")


def _once(found: Iterable[Target]) -> tuple[Target, ...]:
    kept: dict[str, Target] = {}
    for target in found:
        kept.setdefault(target.id, target)
    return tuple(kept.values())


def channel_targets(channel: Channel) -> tuple[Target, ...]:
    """The targets of a channel: one for each URL and recipient; the same one twice counts once."""
    return tuple(replace(target, channel=channel) for target in _url_targets(channel.name, channel.name, channel.urls))


def url_targets(url: str) -> tuple[Target, ...]:
    """The targets of a URL that stands in a rule itself: one for each recipient."""
    return _url_targets("url", masked(url), (url,))


def run_target(run: Run) -> Target:
    """The target of a command; its name is the command's first word."""
    command = run.command if isinstance(run.command, str) else list(run.command)
    words = run.command.split() if isinstance(run.command, str) else run.command
    # In `PASSWORD=x ./restart.sh` the first word is a secret.
    name = next((word for word in words if not _ASSIGNMENT.match(word)), "command")
    digest = _digest(json.dumps([command, run.timeout]))
    return Target(id=f"run/{digest}", kind=TargetKind.RUN, name=name[:_NAME_LENGTH], run=run)


def _url_targets(owner: str, name: str, urls: Iterable[str]) -> tuple[Target, ...]:
    """Targets with ids `<owner>/<8 hex>`.

    The id leaves out what is secret by its place, so URLs can differ and still have the same; those are told apart
    by a number in the order in which they stand.
    """
    found: dict[str, Target] = {}
    for url in dict.fromkeys(single for whole in urls for single in split_recipients(whole.strip())):
        digest = _digest(_without_secrets(url))
        number = 1
        while (target_id := f"{owner}/{digest}" + (f"-{number}" if number > 1 else "")) in found:
            number += 1
        found[target_id] = Target(id=target_id, kind=TargetKind.NOTIFY, name=name, url=url)
    return tuple(found.values())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _without_secrets(url: str) -> str:
    """The URL without its password, and without query parameters that are secret by their name."""
    match = _URL.match(url)
    if match is None:
        return url
    scheme, place, rest = match.groups()
    user, at, host = place.rpartition("@")
    path, _, query = rest.partition("?")
    kept = "&".join(
        pair
        for pair in query.split("&")
        if unquote_plus(pair.partition("=")[0]).lstrip("+-: ").lower() not in _SECRET_PARAMETERS
    )
    return f"{scheme.lower()}://{user.partition(':')[0]}{at}{host}{path}?{kept}"


def split_recipients(url: str) -> tuple[str, ...]:
    """A mail URL with several recipients as one URL for each; any other URL as it is.

    apprise counts a mail as failed when one of its recipients is refused: sending it again would tell the others
    twice.
    """
    match = _URL.match(url)
    if match is None or match[1].lower() not in _MAIL:
        return (url,)
    scheme, place, rest = match.groups()
    path, _, query = rest.partition("?")
    recipients = [unquote(part) for part in path.split("/") if part]
    others = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name).strip().lower() == "to":
            recipients += [part.strip() for part in _BETWEEN_RECIPIENTS.split(unquote_plus(value))]
        elif pair:
            others.append(pair)
    recipients = list(dict.fromkeys(recipient for recipient in recipients if recipient))
    if len(recipients) < 2:
        return (url,)
    return tuple(f"{scheme}://{place}?" + "&".join([*others, "to=" + quote(one, safe="")]) for one in recipients)


def masked(url: str) -> str:
    """A URL as it may be printed anywhere: the scheme, and the host where the service surely has one there.

    Everything else can be secret: paths and hosts hold tokens, queries hold passwords and headers.
    """
    match = _URL.match(url)
    if match is None:
        return "..."
    scheme, place, rest = match[1].lower(), match[2], match[3]
    host = place.rpartition("@")[2]
    if scheme not in _HAS_HOST or not _HOST.fullmatch(host) or _is_doubtful(place, host, rest):
        return f"{scheme}://..."
    return f"{scheme}://{host[:_NAME_LENGTH]}/..."


def _is_doubtful(place: str, host: str, rest: str) -> bool:
    """Whether what looks like the host may be part of a password in which "/" or "?" was not encoded."""
    path, _, query = rest.partition("?")
    if any("@" in pair.partition("=")[0] for pair in query.split("&")):
        return True
    return "@" in path and ("@" in place or not ("." in host or host.startswith("localhost")))
