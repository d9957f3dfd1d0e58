"""Who is told, as a configuration says it: channels, routes, and what an engine tells by itself.

Comes in: parts of a document that its schema has passed. Goes out: frozen values, and findings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zkalert.config.values import Heartbeat, ZookeeperLost
from zkalert.config.written import Place, Written
from zkalert.documents import schedules
from zkalert.model import EMPTY, Channel, Format, HostDown, Notify, QuietHours, Rate, Route, Schedule, Severity

DAY = 86400.0
WEEK = frozenset(range(7))

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")
_SHOWN = re.compile(r"[!-~]+")  # what may stand in a request line
_WEBHOOK = re.compile(r"\s*webhooks?://", re.IGNORECASE)
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0}

Raw = Mapping[str, Any]


def channels(written: Written, check_url: Callable[[str], str] | None) -> dict[str, Channel]:
    """All channels, by name; `check_url` as for `config.read`."""
    data: Raw = written.data
    common = _grouping(written, data, ())
    return {
        name: _channel(written, name, raw, {**common, **_grouping(written, raw, ("channels", name))}, check_url)
        for name, raw in data.get("channels", {}).items()
    }


def _channel(written: Written, name: str, raw: Raw, grouping: Raw, check_url: Callable[[str], str] | None) -> Channel:
    place: Place = ("channels", name)
    urls = tuple(_urls(written, raw["urls"], (*place, "urls"), check_url))
    secret = written.secret(raw["secret"], (*place, "secret")) if "secret" in raw else None
    if secret is not None and not any(map(_WEBHOOK.match, urls)):
        message = "this secret signs nothing: the channel has no webhook:// or webhooks:// URL"
        written.advise((*place, "secret"), "idle-secret", message, "a URL webhooks://..., or no secret")
    return Channel(
        name=name,
        urls=urls,
        min_severity=Severity(raw.get("min_severity", "info")),
        quiet_hours=_quiet_hours(written, raw["quiet_hours"], (*place, "quiet_hours"))
        if "quiet_hours" in raw
        else None,
        format=Format(raw["format"]) if "format" in raw else None,
        templates=_templates(written, raw, place) if "templates" in raw else EMPTY,
        rate=_rate(raw["rate"]) if "rate" in raw else None,
        secret=secret,
        **grouping,
    )


def _urls(written: Written, texts: Sequence[str], place: Place, check_url: Callable[[str], str] | None) -> list[str]:
    urls = []
    for index, text in enumerate(texts):
        url = written.secret(text, (*place, index))
        if url is None:
            continue
        if not _URL.fullmatch(url):
            written.add((*place, index), "wrong-url", "not a URL", expected="a URL of a service: service://...")
        elif problem := check_url(url) if check_url else "":
            written.add((*place, index), "wrong-url", problem, expected="a URL that apprise can use")
        urls.append(url)
    return urls


def _grouping(written: Written, raw: Raw, place: Place) -> dict[str, Any]:
    """What the keys `group_by` and `group_interval` say, as far as they are there."""
    found: dict[str, Any] = {}
    if "group_by" in raw:
        found["group_by"] = tuple(dict.fromkeys(_listed(raw["group_by"])))
    if "group_interval" in raw:
        found["group_interval"] = written.span(raw["group_interval"], (*place, "group_interval"), least=0.0, most=DAY)
    return found


def _rate(text: str) -> Rate:
    messages, _, per = text.partition("/")
    return Rate(messages=int(messages), per=_PER[per.strip()])


def _quiet_hours(written: Written, raw: Raw, place: Place) -> QuietHours | None:
    if "days" not in raw and "hours" not in raw:
        expected = "hours: 22:00-07:00, days: sat-sun, or both"
        written.add(place, "missing-key", "neither days nor hours", expected=expected)
        return None
    days = schedules.days(raw["days"]) if "days" in raw else WEEK
    hours, empty = schedules.hours(raw.get("hours", ()))
    for index in empty:
        written.add(
            (*place, "hours", index) if isinstance(raw["hours"], list) else (*place, "hours"),
            "wrong-schedule",
            f'hours: "{_listed(raw["hours"])[index]}" is empty',
            expected="two times that differ; 00:00-24:00 is the whole day",
        )
    zone = raw.get("timezone", "UTC")
    if "timezone" in raw and (problem := schedules.zone_problem(zone)) is not None:
        where = (*place, "timezone")
        written.add(where, "unknown-timezone", problem.message, expected=problem.expected, hint=problem.hint)
        return None
    but = frozenset(map(Severity, _listed(raw.get("but", ()))))
    is_always = days == WEEK and (not hours or (0.0, DAY) in hours)
    if is_always and but != frozenset(Severity):
        message = "these hours never end: what is not in but never goes out here"
        written.advise(place, "always-quiet", message, "hours such as 22:00-07:00, or min_severity in their place")
    return QuietHours(schedule=Schedule(days=days, hours=hours, timezone=zone), but=but)


def _templates(written: Written, raw: Raw, place: Place) -> dict[str, str]:
    """The texts of a channel's own, each compiled once, so that what is wrong is told now."""
    from zkalert.render import channel_template_problem  # noqa: PLC0415 - brings jinja2: few channels have templates

    form = Format(raw.get("format", "text"))
    for key, text in raw["templates"].items():
        problem = channel_template_problem(text, form if key == "body" else Format.TEXT)
        if problem is not None:
            where = (*place, "templates", key)
            written.add(where, "template", f"{key}: {problem}", expected="a Jinja2 template that compiles")
    return dict(raw["templates"])


def routes(written: Written, known: Mapping[str, Channel]) -> tuple[Route, ...]:
    """All routes, in the order of the text."""
    found = []
    for index, raw in enumerate(written.data.get("routes", ())):
        match, place = raw.get("match", {}), ("routes", index, "channels")
        severities = frozenset(map(Severity, _listed(match.get("severity", tuple(Severity)))))
        names = written.known(raw["channels"], place, known)
        _advise_of_mute(written, raw["channels"], place, known, severities)
        found.append(
            Route(
                channels=names,
                rule=match.get("rule", "*"),
                host=match.get("host", "*"),
                severities=severities,
                labels=match.get("labels", EMPTY),
            )
        )
    return tuple(found)


def host_down(written: Written, known: Mapping[str, Channel]) -> HostDown | None:
    """The rule that is built in, None where it is switched off."""
    raw = written.data.get("host_down", True)
    if isinstance(raw, bool):
        return HostDown() if raw else None
    after, severity = HostDown().after, Severity(raw.get("severity", "critical"))
    if "after" in raw:
        after = written.span(raw["after"], ("host_down", "after"), least=0.0, most=DAY)
    if "action" not in raw:
        return HostDown(after=after, severity=severity)
    place = ("host_down", "action")
    names = written.known(raw["action"], place, known)
    _advise_of_mute(written, raw["action"], place, known, frozenset({severity}))
    return HostDown(after=after, severity=severity, actions=tuple(Notify(channel=name) for name in names))


def zookeeper_lost(written: Written, known: Mapping[str, Channel]) -> ZookeeperLost | None:
    """Whom the engine tells that ZooKeeper is gone."""
    raw = written.data.get("on_zookeeper_lost")
    if raw is None:
        return None
    after = written.span(raw.get("after", "30s"), ("on_zookeeper_lost", "after"), least=1.0, most=DAY)
    names = written.known(raw["channels"], ("on_zookeeper_lost", "channels"), known)
    return ZookeeperLost(channels=names, after=after)


def heartbeat(written: Written) -> Heartbeat | None:
    """The dead man's switch."""
    raw = written.data.get("heartbeat")
    if raw is None:
        return None
    every = written.span(raw.get("every", "60s"), ("heartbeat", "every"), least=1.0, most=DAY)
    place = ("heartbeat", "url")
    url = written.secret(raw["url"], place)
    if url is None:
        return None
    url = url.strip()
    if not _is_web(url):
        written.add(place, "wrong-url", "not a URL of the web", expected="http://HOST/... or https://HOST/...")
    return Heartbeat(url=url, every=every)


def _is_web(url: str) -> bool:
    """Whether it can be asked for: http or https, a host, and a port that there is."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - few configurations have a heartbeat

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and _SHOWN.fullmatch(url) is not None
    )


def _advise_of_mute(
    written: Written,
    names: str | Sequence[str],
    place: Place,
    known: Mapping[str, Channel],
    severities: frozenset[Severity],
) -> None:
    """A channel that wants more than ever comes to it here."""
    worst = max(severities, key=lambda severity: severity.rank)
    for index, name in enumerate(_listed(names)):
        if name in known and known[name].min_severity.rank > worst.rank:
            least = known[name].min_severity.value
            written.advise(
                place if isinstance(names, str) else (*place, index),
                "mute-channel",
                f"the channel {name} hears nothing of this: {worst.value} is below its min_severity {least}",
                "another channel, or another min_severity",
            )


def _listed(raw: Any) -> Sequence[Any]:
    return [raw] if isinstance(raw, str) else raw
