"""A backtest for people and for programs.

Comes in: reports, and what was found in the sources. Goes out: lines of text, or one object for JSON. Names come from
files that anybody may have written: text has no control characters.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from zkalert.backtest.compare import Difference
from zkalert.backtest.past import MOST_TOLD, Source
from zkalert.backtest.report import Episode, Message, Report, RuleReport, counted
from zkalert.metrics import format_duration

_PHASES = ("firing", "escalated", "repeated", "resolved", "closed")
_MOST_LISTED = 20
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, which a calendar has
_WIDTH = 110
_NUMBERS = frozenset(
    (
        "alerts",
        "firing",
        "share",
        "messages",
        "withheld",
        "nearly",
        "longest",
        "for",
        "was",
        "now",
        "new",
        "gone",
        "moved",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What there is to show; `old` and `difference` where rules were compared with `against`."""

    report: Report
    sources: tuple[Source, ...]
    against: str = ""
    old: Report | None = None
    difference: Difference | None = None


# For people -----------------------------------------------------------------------------------------------------------


def as_text(result: Result, *, is_long: bool = False) -> Iterator[str]:
    """Lines: a summary, a table of the rules that fired, notes; with `is_long` every episode and every message."""
    report = result.report
    yield _head(report)
    yield from _messages_line(report)
    fired = [rule for rule in report.rules if rule.episodes or rule.messages]
    fired.sort(key=lambda rule: (-sum(rule.sent.values()), -rule.firing_for))
    if fired:
        yield ""
        heads = ("rule", "alerts", "firing", "share", "messages", "withheld", "nearly", "longest", "first", "last")
        yield from _table(heads, [_row(rule) for rule in fired])
    notes = list(_notes(report))
    if notes:
        yield ""
        yield from notes
    if is_long and report.episodes:
        yield ""
        yield from _timeline(report)
    if is_long and report.messages:
        yield ""
        yield from _table(_MESSAGE_HEADS, [_message_row(message) for message in report.messages])
    if result.old is not None and result.difference is not None:
        yield ""
        yield from _comparison(result.against, result.old, report, result.difference, is_long=is_long)


def damage(source: Source) -> str:
    """`web1.csv: 3 lines cannot be used and were left out: 4: no JSON; 7: ...`; empty where nothing is damaged."""
    if not source.damaged:
        return ""
    told = "; ".join(f"{place}: {why}" for place, why in source.told)
    more = "; ..." if source.damaged > MOST_TOLD else ""
    return _plain(f"{source.name}: {_count(source.damaged, source.noun)} cannot be used and left out: {told}{more}")


def _head(report: Report) -> str:
    span = format_duration(report.until - report.since)
    hosts = report.hosts[0] if len(report.hosts) == 1 else f"{len(report.hosts):,} hosts"
    played = f"{_count(report.samples, 'sample')} of {hosts}, {_count(len(report.rules), 'rule')}"
    return _plain(f"{_time(report.since)} to {_time(report.until)} UTC ({span}): {played}")


def _messages_line(report: Report) -> Iterator[str]:
    sent: Counter[str] = Counter()
    withheld: Counter[str] = Counter()
    for rule in report.rules:
        sent.update(rule.sent)
        withheld.update(rule.withheld)
    line = _count(len(report.sent), "message")
    if sent:
        line += f": {counted(sent, _PHASES)}"
    yield line
    channels = report.by_channel()
    if channels:
        yield _plain("to " + ", ".join(f"{name}: {count:,}" for name, count in sorted(channels.items())))
    unheard = sum(not message.channels and not message.commands for message in report.sent)
    if unheard:
        yield f"to nobody: {unheard:,}, for want of a channel"
    commands = Counter(name for message in report.sent for name in message.commands)
    if commands:
        yield _plain(f"commands: {counted(commands)}")
    if withheld:
        yield _plain(f"withheld: {counted(withheld)}")


def _row(rule: RuleReport) -> tuple[str, ...]:
    longest = rule.longest
    return (
        rule.name,
        f"{len(rule.episodes):,}",
        format_duration(rule.firing_for),
        f"{rule.share:.1%}",
        f"{sum(rule.sent.values()):,}",
        f"{sum(rule.withheld.values()):,}",
        f"{rule.nearly:,}",
        "" if longest is None else format_duration(longest.lasted(rule.until)),
        _time(rule.episodes[0].began) if rule.episodes else "",
        _time(rule.episodes[-1].began) if rule.episodes else "",
    )


def _notes(report: Report) -> Iterator[str]:
    for one in report.episodes:
        if one.ended is None:
            severity = one.severity.value
            yield _plain(
                f"still firing at the end: {one.series.rule}, {one.where}, {severity}, since {_time(one.began)}"
            )
    for rule in report.rules:
        if rule.nearly and not rule.episodes:
            longest = format_duration(rule.nearly_for)
            yield f"nearly: {rule.name}, {_count(rule.nearly, 'time')}, {longest} at the longest"
    for rule in report.rules:
        yield from (_plain(f"{rule.name}: {note}") for note in rule.notes)
    quiet = [rule.name for rule in report.rules if not rule.episodes and not rule.messages]
    if quiet:
        yield from textwrap.wrap(
            f"never fired: {', '.join(quiet)}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )


def _timeline(report: Report) -> Iterator[str]:
    heads = ("began", "ended", "for", "severity", "rule", "where", "peak")
    rows = [
        (
            _time(one.began),
            "still firing" if one.ended is None else _time(one.ended),
            format_duration(one.lasted(report.until)),
            one.severity.value,
            one.series.rule,
            one.where,
            one.peak,
        )
        for one in report.episodes
    ]
    return _table(heads, rows)


_MESSAGE_HEADS = ("time", "message", "severity", "rule", "where", "to")


def _message_row(message: Message) -> tuple[str, ...]:
    heard = ", ".join((*message.channels, *(f"runs {name}" for name in message.commands))) or "nobody"
    return (
        _time(message.at),
        message.phase,
        message.severity.value,
        message.series.rule,
        message.where,
        f"withheld: {message.why}" if message.why else heard,
    )


def _comparison(against: str, old: Report, new: Report, difference: Difference, *, is_long: bool) -> Iterator[str]:
    yield _plain(
        f"against {against}: {_count(len(old.sent), 'message')} before, {len(new.sent):,} now; "
        f"{difference.same:,} the same, {len(difference.moved):,} at another time, "
        f"{len(difference.severities):,} of another severity, {len(difference.new):,} new, "
        f"{len(difference.gone):,} gone"
    )
    rows = [row for row in _by_rule(old, new, difference) if row[3:] != ("0", "0", "0")]
    if rows:
        yield ""
        yield from _table(("rule", "was", "now", "new", "gone", "moved"), rows)
    for name, messages in (("new", difference.new), ("gone", difference.gone)):
        if messages:
            shown = messages if is_long else messages[:_MOST_LISTED]
            yield ""
            yield f"{name}:"
            yield from _table(_MESSAGE_HEADS, [_message_row(message) for message in shown])
            if len(shown) < len(messages):
                yield f"... and {len(messages) - len(shown):,} more; -v shows all"
    if is_long and difference.moved:
        yield ""
        yield "moved:"
        rows = [(_time(one.at), *_message_row(other)) for one, other in difference.moved]
        yield from _table(("before", *_MESSAGE_HEADS), rows)


def _by_rule(old: Report, new: Report, difference: Difference) -> Iterator[tuple[str, ...]]:
    counts = [
        Counter(message.series.rule for message in messages)
        for messages in (old.sent, new.sent, difference.new, difference.gone, [pair[1] for pair in difference.moved])
    ]
    for name in dict.fromkeys(rule.name for report in (new, old) for rule in report.rules):
        yield (name, *(f"{count[name]:,}" for count in counts))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns below their heads; those of numbers end below one another."""
    plain = [tuple(_plain(cell) for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(heads, *plain, strict=True)]
    for row in (heads, *plain):
        cells = (
            cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _time(at: float) -> str:
    """A moment in UTC; the bare number where no calendar has it."""
    if not _FIRST <= at <= _LAST:
        return f"{at:.0f}"
    return datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


# For programs ---------------------------------------------------------------------------------------------------------


def as_json(result: Result) -> dict[str, Any]:
    """A result as one object, whose keys stay as they are from release to release::

        {"since": 1795000000.0, "until": 1795086395.0, "hosts": ["web1"], "samples": 172800,
         "sources": [{"name": "web1.csv", "samples": 172800, "damaged": 1, "told": [{"place": 4, "why": "no JSON"}]}],
         "rules": [{"rule": "memory-high", "source": "rules/host.yaml:6", "episodes": 1, "still_firing": 0,
                    "firing_for": 310.0, "share": 0.0036, "longest": 310.0, "first": 1795000300.0,
                    "last": 1795000300.0, "nearly": 2, "nearly_for": 60.0, "sent": {"firing": 1, "resolved": 1},
                    "withheld": {"flapping": 2}, "notes": []}],
         "episodes": [{"rule": "memory-high", "host": "web1", "instance": null, "severity": "warning",
                       "began": 1795000300.0, "ended": 1795000610.0, "peak": "97%"}],
         "messages": [{"at": 1795000300.0, "rule": "memory-high", "host": "web1", "instance": null,
                       "phase": "firing", "severity": "warning", "channels": ["ops"], "commands": [], "why": ""}],
         "compare": null}

    Moments are epoch seconds, spans seconds, `share` is 0 to 1. `ended` is null where it fired still at the end;
    `first` and `last` (when the first and the last episode began) and `longest` are null without one. `why` says what
    withheld a message, and is empty for one that would have gone out. `place` is the number of a line of text, or of
    a row of a history. With a comparison `compare` is::

        {"against": "old.yaml", "before": 4, "now": 2, "same": 1, "new": [MESSAGE], "gone": [MESSAGE],
         "moved": [{"before": MESSAGE, "now": MESSAGE}], "severities": [{"before": MESSAGE, "now": MESSAGE}]}
    """
    report = result.report
    return {
        "since": _second(report.since),
        "until": _second(report.until),
        "hosts": list(report.hosts),
        "samples": report.samples,
        "sources": [
            {
                "name": source.name,
                "samples": source.samples,
                "damaged": source.damaged,
                "told": [{"place": place, "why": why} for place, why in source.told],
            }
            for source in result.sources
        ],
        "rules": [_rule_document(rule) for rule in report.rules],
        "episodes": [_episode_document(one) for one in report.episodes],
        "messages": _documents(report.messages),
        "compare": _compare_document(result),
    }


def _rule_document(rule: RuleReport) -> dict[str, Any]:
    longest = rule.longest
    return {
        "rule": rule.name,
        "source": rule.source,
        "episodes": len(rule.episodes),
        "still_firing": rule.still_firing,
        "firing_for": _second(rule.firing_for),
        "share": round(rule.share, 6),
        "longest": None if longest is None else _second(longest.lasted(rule.until)),
        "first": _second(rule.episodes[0].began) if rule.episodes else None,
        "last": _second(rule.episodes[-1].began) if rule.episodes else None,
        "nearly": rule.nearly,
        "nearly_for": _second(rule.nearly_for),
        "sent": dict(rule.sent),
        "withheld": dict(rule.withheld),
        "notes": list(rule.notes),
    }


def _episode_document(episode: Episode) -> dict[str, Any]:
    return {
        **episode.series._asdict(),
        "severity": episode.severity.value,
        "began": _second(episode.began),
        "ended": None if episode.ended is None else _second(episode.ended),
        "peak": episode.peak,
    }


def _documents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [
        {
            "at": _second(message.at),
            **message.series._asdict(),
            "phase": message.phase,
            "severity": message.severity.value,
            "channels": list(message.channels),
            "commands": list(message.commands),
            "why": message.why,
        }
        for message in messages
    ]


def _compare_document(result: Result) -> dict[str, Any] | None:
    difference = result.difference
    if difference is None or result.old is None:
        return None

    def pairs(of: Iterable[tuple[Message, Message]]) -> list[dict[str, Any]]:
        return [dict(zip(("before", "now"), _documents(pair), strict=True)) for pair in of]

    return {
        "against": result.against,
        "before": len(result.old.sent),
        "now": len(result.report.sent),
        "same": difference.same,
        "new": _documents(difference.new),
        "gone": _documents(difference.gone),
        "moved": pairs(difference.moved),
        "severities": pairs(difference.severities),
    }


def _second(at: float) -> float:
    return round(at, 3)
