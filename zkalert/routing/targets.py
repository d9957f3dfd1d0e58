"""Who hears of an effect: targets out of channels, URLs and commands.

Comes in: a rule's actions, a phase, the channels and routes. Goes out: targets, each one URL with one recipient or one
command, under an id that stays the same over restarts and that anybody may read. Nothing here sends, or knows apprise.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote, unquote_plus

from zkalert.metrics import nearest
from zkalert.model import Action, Channel, Effect, Phase, Route, Rule, Run, Severity, Target, TargetKind, Where

DEFAULT_CHANNEL = "default"

_ENDS = frozenset({Phase.RESOLVED, Phase.CLOSED})
_MAIL = ("mailto", "mailtos")
_SECRET_PARAMETERS = frozenset({"pass", "password", "pwd", "token", "secret", "key", "apikey", "authorization"})
# Services whose URL has a host where a URL has one. Elsewhere a token may stand in its place (slack://TOKEN/...).
_HAS_HOST = frozenset(
    {"http", "https", "json", "jsons", "form", "forms", "xml", "xmls", "apprise", "apprises", "gotify", "gotifys"}
    | {"webhook", "webhooks"}
    | {"mailto", "mailtos", "mmost", "mmosts", "nextcloud", "ncloud", "rocket", "rockets", "syslog", "mqtt", "mqtts"}
)
_URL = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_BETWEEN_RECIPIENTS = re.compile(r'[,;](?=(?:[^"]*"[^"]*")*[^"]*$)')
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_NAME_LENGTH = 60
_PLAIN_RUN = [Where.ENGINE.value, None, None, None, False]


def targets(
    actions: tuple[Action, ...] | None, phase: Phase, channels: Mapping[str, Sequence[Target]]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Who hears of `phase`, each once and in order, and a sentence for each channel that is named but not known.

    `actions` None, where the rule names none: the channel `default`, or all channels where there is no such one.
    """
    if actions is None:
        return _once(_of_channels(_fallback(channels), channels)), ()
    return _named(actions, channels, lambda action: phase in action.at)


def effect_targets(
    rule: Rule, effect: Effect, channels: Mapping[str, Sequence[Target]], routes: Sequence[Route] = ()
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Who hears of an effect, each once, and a sentence for each channel that is named but not known.

    `rule` is the one that holds for the series, with its overrides. A step without actions of its own has those of
    the rule. Where neither has any, all `routes` that match say who hears it, else it is the channel `default`, else
    all channels. A channel that wants more than the effect's severity is left out: `too_mild` says which. By the phase:

        firing, repeated    the step of the alert's severity
        escalated           the step of the severity it rose to; after a while unheard, the escalation alone, its
                            commands too where their `at` says firing
        resolved, closed    every step and escalation that was told, the default channels first; where the alert
                            knows who heard it, `end_targets` is the one to ask
    """
    found, problems = _chosen(rule, effect, channels, routes)
    severity = _severity_of(effect)
    return tuple(target for target in found if _is_for(target, severity)), problems


def too_mild(
    rule: Rule, effect: Effect, channels: Mapping[str, Sequence[Target]], routes: Sequence[Route] = ()
) -> tuple[str, ...]:
    """A sentence for each channel that would hear of an effect, if that were worse: to be shown, nothing is wrong."""
    severity = _severity_of(effect)
    left_out = (
        target.channel for target in _chosen(rule, effect, channels, routes)[0] if not _is_for(target, severity)
    )
    return tuple(
        dict.fromkeys(
            f'the channel "{channel.name}" hears of {_and_worse(channel.min_severity)}; this is {severity.value}'
            for channel in left_out
            if channel is not None
        )
    )


def heard_of(
    rule: Rule, effect: Effect, hearing: Sequence[Target], channels: Mapping[str, Sequence[Target]]
) -> tuple[str, ...]:
    """The ids of the targets that will hear of the end, because of this effect: what belongs into `Alert.heard`.

    These are the ones that hear of the effect itself (`hearing`, by `effect_targets`), and are told of ends at all;
    and those that asked for ends alone. An end adds nothing.
    """
    if effect.phase in _ENDS:
        return ()
    for actions, severity in _actions(rule, effect):
        if actions is not None:
            now = {target.id for target in hearing}
            told = _named(actions, channels, lambda action: Phase.RESOLVED in action.at)[0]
            asked = _named(actions, channels, lambda action: Phase.RESOLVED in action.at and action.at <= _ENDS)[0]
            alone = {target.id for target in asked if _is_for(target, severity)}
            hearing = tuple(target for target in told if target.id in now or target.id in alone)
    return tuple(target.id for target in hearing if target.kind is TargetKind.NOTIFY)


def end_targets(
    rule: Rule, effect: Effect, reached: Mapping[str, Target]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Who hears of an end (resolved, closed) of an alert that knows whom it was told to: these, and nobody else.

    `reached` has every target that there is, by its id. One that is gone is stood in for by the same URL in another
    channel (it has another name now), else by what its channel has now; there is a sentence for each that nobody
    stands in for. Commands run where their `at` names the phase.
    """
    found: list[Target] = []
    problems: list[str] = []
    for id_ in effect.alert.heard:
        hearing = [reached[id_]] if id_ in reached else _in_place_of(id_, reached)
        if not hearing:
            problems.append(f"{id_} heard that it fires, and is gone from the configuration: it does not hear the end")
        found += hearing
    for actions, _ in _actions(rule, effect):
        runs = (action for action in actions or () if isinstance(action, Run) and effect.phase in action.at)
        found += map(run_target, runs)
    return _once(found), tuple(problems)


def _in_place_of(id_: str, reached: Mapping[str, Target]) -> list[Target]:
    """Who stands in for a target that is gone."""
    owner, _, digest = id_.rpartition("/")
    same = next((target for target in reached.values() if target.channel and target.id.endswith(f"/{digest}")), None)
    if same is not None:
        return [same]
    return [target for target in reached.values() if target.channel is not None and target.channel.name == owner]


def _chosen(
    rule: Rule, effect: Effect, channels: Mapping[str, Sequence[Target]], routes: Sequence[Route]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """As `effect_targets`, whatever severity the channels want."""
    # What a rule does when an escalation is due is what fires there: a command without `at` is meant too.
    phases = frozenset({effect.phase} if effect.escalation is None else {Phase.ESCALATED, Phase.FIRING})
    found: list[Target] = []
    problems: dict[str, None] = {}
    for actions, severity in sorted(_actions(rule, effect), key=lambda pair: pair[0] is not None):
        if actions is None:
            names = _routed(effect, severity, routes) or _fallback(channels)
            some, unknown = tuple(_of_channels(names, channels)), _unknown_of(names, channels)
        else:
            some, unknown = _named(actions, channels, lambda action: not phases.isdisjoint(action.at))
        found += some
        problems.update(dict.fromkeys(unknown))
    return _once(found), tuple(problems)


def _named(
    actions: Iterable[Action], channels: Mapping[str, Sequence[Target]], is_meant: Callable[[Action], bool]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The targets of the actions that are meant."""
    found: list[Target] = []
    problems: list[str] = []
    for action in filter(is_meant, actions):
        if isinstance(action, Run):
            found.append(run_target(action))
        elif action.url is not None:
            found += url_targets(action.url)
        else:
            names = (action.channel or "",)
            found += _of_channels(names, channels)
            problems += _unknown_of(names, channels)
    return _once(found), tuple(problems)


def _routed(effect: Effect, severity: Severity, routes: Iterable[Route]) -> tuple[str, ...]:
    """The channels of all routes that match an alert at a severity."""
    alert, labels = effect.alert, (effect.labels, effect.host_labels, effect.instance_labels)
    matching = (
        route
        for route in routes
        if severity in route.severities
        and fnmatchcase(alert.rule, route.rule)
        and fnmatchcase(alert.host, route.host)
        and all(
            any(name in some and fnmatchcase(some[name], glob) for some in labels)
            for name, glob in route.labels.items()
        )
    )
    return tuple(dict.fromkeys(name for route in matching for name in route.channels))


def _fallback(channels: Mapping[str, Sequence[Target]]) -> tuple[str, ...]:
    """Who hears of what nobody was named for."""
    return (DEFAULT_CHANNEL,) if DEFAULT_CHANNEL in channels else tuple(channels)


def _of_channels(names: Iterable[str], channels: Mapping[str, Sequence[Target]]) -> list[Target]:
    return [target for name in names for target in channels.get(name, ())]


def _unknown_of(names: Iterable[str], channels: Mapping[str, Sequence[Target]]) -> tuple[str, ...]:
    return tuple(_unknown(name, channels) for name in names if name not in channels)


def _severity_of(effect: Effect) -> Severity:
    """How bad an effect is to its channels: an end as bad as the worst that was told."""
    alert = effect.alert
    if effect.phase in _ENDS:
        return max(alert.told, key=lambda severity: severity.rank, default=alert.severity)
    return alert.severity


def _is_for(target: Target, severity: Severity) -> bool:
    return target.channel is None or severity.rank >= target.channel.min_severity.rank


def _and_worse(severity: Severity) -> str:
    return f"{severity.value} alone" if severity is Severity.CRITICAL else f"{severity.value} and worse"


def _actions(rule: Rule, effect: Effect) -> Iterator[tuple[tuple[Action, ...] | None, Severity]]:
    """The actions that an effect is for, each with the severity that it was told as."""
    alert = effect.alert
    if effect.escalation is not None:
        if effect.escalation < len(rule.escalate):
            yield rule.escalate[effect.escalation].actions, alert.severity
    elif effect.phase in _ENDS:
        for severity in alert.told:
            yield _of_step(rule, severity), severity
        for escalation in rule.escalate[: alert.escalations]:
            yield escalation.actions, alert.severity
    else:
        yield _of_step(rule, alert.severity), alert.severity


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
    # What is at its default adds nothing, so that new keys change no old id.
    how = [run.where.value, run.user, run.cwd, run.umask, run.is_clean]
    digest = _digest(json.dumps([command, run.timeout, *(how if how != _PLAIN_RUN else ())]))
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
