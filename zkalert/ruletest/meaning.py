"""A test document that its schema has passed -> tests, or findings with their places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from zkalert.documents import Document, schedules, show
from zkalert.metrics import (
    HOST_FAMILY,
    OWN_ENSEMBLE,
    ZOOKEEPER_FAMILY,
    MetricError,
    family_of,
    field_of,
    is_znode,
    nearest,
    parse_duration,
    parse_metric,
    parse_pattern,
)
from zkalert.model import EMPTY, Finding, Metric, Phase, Severity, Silence, State
from zkalert.routing import silencing
from zkalert.ruletest.notation import NotationError, parse_values
from zkalert.ruletest.suite import Acked, ExpectedMessage, ExpectedState, Host, Path, Series, Test, Wanted
from zkalert.ruletest.words import quoted, span

MAX_SAMPLES = 1_000_000
"""Values in all series of a file."""
MAX_SPAN = 100 * 86400.0
MIN_INTERVAL = 0.1

_START = "2026-01-05T00:00:00Z"
_YEARS = range(1971, 2200)
# Whoever was told that an alert fires also hears that its rule is gone: to people both are its end.
_ENDS = frozenset({Phase.RESOLVED, Phase.CLOSED})


class Meaning:
    """One pass over one document."""

    def __init__(self, document: Document) -> None:
        self.findings: list[Finding] = []
        self._document = document
        self._left = MAX_SAMPLES
        self._names: dict[str, Path] = {}

    def tests(self) -> tuple[Test, ...]:
        """All tests; of no use where there are findings."""
        return tuple(self._test(("tests", index), raw) for index, raw in enumerate(self._document.data["tests"]))

    def _add(self, path: Path, code: str, message: str, **rest: Any) -> None:
        self.findings.append(self._document.finding(path, code, message, **rest))

    def _span(self, path: Path, raw: Mapping[str, Any], key: str) -> float | None:
        """The span at a key in seconds, None where there is none."""
        if key not in raw:
            return None
        seconds = parse_duration(raw[key])
        if seconds > MAX_SPAN:
            self._add((*path, key), "wrong-duration", f"{key}: found {show(raw[key])}", expected=_MOST)
            return 0.0
        return seconds

    def _test(self, path: Path, raw: Mapping[str, Any]) -> Test:
        self._name(path, raw["name"])
        hosts = {name: self._host((*path, "hosts", name), name, plan) for name, plan in raw.get("hosts", {}).items()}
        start = self._start(path, raw)
        series = self._all_series(path, raw)
        for one in series:
            hosts.setdefault(one.host, Host(name=one.host, is_ensemble=not family_of(one.metric.family).of_hosts))
        silences = tuple(
            self._silence((*path, "silences", index), one, index, start)
            for index, one in enumerate(raw.get("silences", ()))
        )
        known = frozenset(hosts)
        acks = tuple(self._ack((*path, "acks", index), one, known) for index, one in enumerate(raw.get("acks", ())))
        states = tuple(
            self._state((*path, "expect", index), one, known) for index, one in enumerate(raw.get("expect", ()))
        )
        messages, withheld = (self._messages((*path, key), raw.get(key), known) for key in ("messages", "withheld"))
        moments = [one.at for one in states]
        moments += [one.at for one in acks]
        moments += [one.at for one in (*(messages or ()), *(withheld or ()))]
        moments += [one.interval * len(one.values) for one in series]
        moments += [at for one in hosts.values() for at in (one.dies, one.returns) if at is not None]
        return Test(
            path=path,
            line=self._document.line(path),
            name=raw["name"],
            start=start,
            end=max(moments, default=0.0),
            hosts=tuple(hosts.values()),
            series=series,
            silences=silences,
            acks=acks,
            states=states,
            messages=messages,
            withheld=withheld,
        )

    def _name(self, path: Path, name: str) -> None:
        first = self._names.setdefault(name, path)
        if first is not path:
            self._add(
                (*path, "name"),
                "duplicate-name",
                "a second test of this name",
                expected="a name that no other test has",
                hint=f"the first is in line {self._document.line(first)}",
            )

    def _start(self, path: Path, raw: Mapping[str, Any]) -> float:
        written = raw.get("start", _START)
        try:
            start = datetime.fromisoformat(written.replace("Z", "+00:00"))
        except ValueError:
            start = None
        if start is None or start.year not in _YEARS:
            expected = f"a moment of the years {_YEARS[0]} to {_YEARS[-1]}"
            self._add((*path, "start"), "wrong-value", f"start: found {show(written)}", expected=expected)
            return 0.0
        return start.timestamp()

    def _host(self, path: Path, name: str, plan: Mapping[str, Any] | None) -> Host:
        plan = plan or {}
        dies, returns = self._span(path, plan, "dies"), self._span(path, plan, "returns")
        if dies is not None and returns is not None and returns <= dies:
            message = f"{name} returns at {plan['returns']}, and dies at {plan['dies']}"
            self._add((*path, "returns"), "wrong-value", message, expected=f"more than {plan['dies']}")
        return Host(name=name, labels=plan.get("labels", EMPTY), dies=dies, returns=returns)

    # Series.

    def _all_series(self, path: Path, raw: Mapping[str, Any]) -> tuple[Series, ...]:
        found: list[Series] = []
        places: dict[tuple[str, str | None, Metric], int] = {}
        intervals: dict[tuple[str, str], tuple[float, int]] = {}
        default = self._interval(path, raw)
        for index, one in enumerate(raw.get("series", ())):
            place = (*path, "series", index)
            series = self._series(place, one, default)
            if series is None:
                continue
            found.append(series)
            first = places.setdefault((series.host, series.instance, series.metric), index)
            if first != index:
                line = self._document.line((*path, "series", first))
                self._add(
                    place, "duplicate-series", f"{series.metric} of {series.host} again", hint=f"first in line {line}"
                )
            interval, first = intervals.setdefault((series.host, series.metric.family), (series.interval, index))
            if interval != series.interval:
                line = self._document.line((*path, "series", first))
                self._add(
                    (*place, "interval"),
                    "two-intervals",
                    f"{series.metric.family} of {series.host} comes every {span(series.interval)} here",
                    expected=f"{span(interval)}, as in line {line}: all of a family comes in one sample",
                )
        return tuple(found)

    def _interval(self, path: Path, raw: Mapping[str, Any]) -> float | None:
        interval = self._span(path, raw, "interval")
        if interval is not None and parse_duration(raw["interval"]) < MIN_INTERVAL:
            expected = f"at least {span(MIN_INTERVAL)}"
            self._add(
                (*path, "interval"), "wrong-duration", f"interval: found {show(raw['interval'])}", expected=expected
            )
            return MIN_INTERVAL
        return interval

    def _series(self, path: Path, raw: Mapping[str, Any], default: float | None) -> Series | None:
        own = self._interval(path, raw)
        try:
            metric = parse_metric(raw["metric"])
        except MetricError as error:
            hint = f"did you mean {error.hint}?" if error.hint else ""
            self._add((*path, "metric"), "unknown-metric", str(error), expected=error.expected, hint=hint)
            return None
        host = self._place(path, raw, metric)
        if host is None:
            return None
        labels = self._instance(path, raw, metric)
        interval = own or default or family_of(metric.family).interval
        text = self._document.written((*path, "values"))[0]
        try:
            values = parse_values(text, field_of(metric), most=self._left)
        except NotationError as error:
            self._not_values((*path, "values"), text, error)
            return None
        self._left -= len(values)
        if len(values) * interval > MAX_SPAN:
            message = f"{len(values):,} values, {span(interval)} apart"
            self._add((*path, "values"), "wrong-duration", message, expected=_MOST)
            return None
        return Series(
            metric=metric,
            host=host,
            instance=raw.get("instance"),
            values=values,
            interval=interval,
            labels=labels,
        )

    def _place(self, path: Path, raw: Mapping[str, Any], metric: Metric) -> str | None:
        """The host that says it, or the ensemble; None, and a finding, where it does not stand there."""
        written: str | None = raw.get("host")
        if is_znode(metric.family):
            ensemble = parse_pattern(metric.family).ensemble
            if written not in (None, ensemble):
                message = f"{metric.family} is of the ensemble {ensemble}"
                self._add((*path, "host"), "wrong-host", message, expected=f"host: {ensemble}, or no key host")
                return None
            return ensemble
        if written is None and metric.family == ZOOKEEPER_FAMILY:
            return OWN_ENSEMBLE
        if written is None:
            self._add(path, "missing-key", "the key host is missing", expected="host: the host that says it")
        return written

    def _instance(self, path: Path, raw: Mapping[str, Any], metric: Metric) -> Mapping[str, str]:
        """The labels of an instance: those that are written, or that a pattern of znodes makes."""
        self._check_instance(path, raw, metric)
        labels: Mapping[str, str] = raw.get("labels", EMPTY)
        if not is_znode(metric.family) or "instance" not in raw:
            return labels
        pattern = parse_pattern(metric.family)
        names = pattern.names_in(raw["instance"])
        if names is None:
            expected = f"a path as {metric.family.partition(':')[2]}"
            self._add(
                (*path, "instance"), "wrong-instance", f"instance: found {raw['instance'][:100]}", expected=expected
            )
            return labels
        return {**pattern.labelled(names), **labels}

    def _check_instance(self, path: Path, raw: Mapping[str, Any], metric: Metric) -> None:
        family = family_of(metric.family)
        if metric == (HOST_FAMILY, "alive"):
            hint = "write when it dies below hosts: {web1: {dies: 10m, returns: 12m}}"
            self._add((*path, "metric"), "made-metric", f"{metric} is not sampled: the engine makes it", hint=hint)
        elif "instance" in raw and family.instance_kind is None:
            self._add(
                (*path, "instance"),
                "no-instances",
                f"{family.name} has no instances",
                hint="leave instance out",
                at_key=True,
            )
        elif "instance" not in raw and not family.is_whole(metric.field):
            kind = family.instance_kind
            expected = f"instance: the {kind} that says it"
            self._add(
                path, "missing-key", f"{family.name} goes by {kind}, and the key instance is missing", expected=expected
            )
        if "labels" in raw and "instance" not in raw:
            message = "labels here are those of an instance"
            self._add(
                (*path, "labels"), "no-instances", message, hint="labels of a host stand below hosts", at_key=True
            )

    def _not_values(self, path: Path, text: str, error: NotationError) -> None:
        """Report what cannot be read, at the very word where that can be found again in its line."""
        finding = self._document.finding(path, "wrong-values", str(error), expected=error.expected, hint=error.hint)
        start = finding.text.find(text, finding.column - 1) if text else -1
        if start in (finding.column - 1, finding.column):  # the latter behind a quote
            finding = replace(finding, column=start + 1 + error.at)
        self.findings.append(finding)

    # What is expected.

    def _silence(self, path: Path, raw: Mapping[str, Any], index: int, start: float) -> Silence:
        begins, ends = self._span(path, raw, "from") or 0.0, self._span(path, raw, "until") or 0.0
        if ends <= begins:
            self._add(
                (*path, "until"), "wrong-value", f"until: found {raw['until']}", expected=f"more than {span(begins)}"
            )
        written = raw.get("severity", [severity.value for severity in Severity])
        self._check_cron(path, raw)
        return Silence(
            id=f"silence {index + 1}",
            rule=raw.get("rule", "*"),
            host=raw.get("host", "*"),
            instance=raw.get("instance", "*"),
            severities=frozenset(Severity(one) for one in ([written] if isinstance(written, str) else written)),
            labels=raw.get("labels", EMPTY),
            starts_at=start + begins,
            ends_at=start + ends,
            cron=raw.get("cron", ""),
            timezone=raw.get("timezone", "UTC"),
            span=self._span(path, raw, "span") or 0.0,
        )

    def _check_cron(self, path: Path, raw: Mapping[str, Any]) -> None:
        if "cron" not in raw:
            return
        problem = schedules.zone_problem(raw.get("timezone", "UTC"))
        if problem is not None:
            place = (*path, "timezone")
            self._add(place, "unknown-timezone", problem.message, expected=problem.expected, hint=problem.hint)
        elif flaw := silencing.flaw(raw["cron"], raw.get("timezone", "UTC")):
            expected = 'a cron expression such as "0 2 * * *"'
            self._add((*path, "cron"), "wrong-value", f"cron: {flaw}", expected=expected)

    def _ack(self, path: Path, raw: Mapping[str, Any], known: frozenset[str]) -> Acked:
        return Acked(
            path=path,
            at=self._span(path, raw, "at") or 0.0,
            rule=raw["rule"],
            host=self._host_of(path, raw, known),
            instance=raw.get("instance"),
            span=self._span(path, raw, "for"),
        )

    def _host_of(self, path: Path, raw: Mapping[str, Any], known: frozenset[str]) -> str | None:
        host: str | None = raw.get("host")
        if host is not None and host not in known and host != "-":
            near = nearest(host, known)
            self._add(
                (*path, "host"),
                "unknown-host",
                f"no host {quoted(host)} in this test",
                expected="one of " + ", ".join(sorted(known)[:10]) if known else "a host that series or hosts name",
                hint=f"did you mean {near}?" if near else "",
            )
        return host

    def _state(self, path: Path, raw: Mapping[str, Any], known: frozenset[str]) -> ExpectedState:
        if raw["state"] == "inactive":
            for key in ("severity", "value", "count"):
                if key in raw:
                    message = f"an inactive alert has no {key}"
                    hint = "state: firing with count: 0 says that none fires" if key == "count" else f"leave {key} out"
                    self._add((*path, key), "wrong-key", message, hint=hint, at_key=True)
        return ExpectedState(
            path=path,
            at=self._span(path, raw, "at") or 0.0,
            rule=raw["rule"],
            state=State(raw["state"]),
            host=self._host_of(path, raw, known),
            instance=raw.get("instance"),
            severity=Severity(raw["severity"]) if "severity" in raw else None,
            value=raw.get("value"),
            count=raw.get("count"),
        )

    def _messages(self, path: Path, listed: Any, known: frozenset[str]) -> tuple[ExpectedMessage, ...] | None:
        if listed is None:
            return None
        return tuple(self._message((*path, index), raw, known) for index, raw in enumerate(listed))

    def _message(self, path: Path, raw: Mapping[str, Any], known: frozenset[str]) -> ExpectedMessage:
        if "run" in raw:
            for key in ("to", "title", "body", "contains"):
                if key in raw:
                    self._add(
                        (*path, key),
                        "wrong-key",
                        f"a command has no {key}",
                        hint="a message is another item",
                        at_key=True,
                    )
        run = raw.get("run")
        phase = raw.get("phase")
        return ExpectedMessage(
            path=path,
            at=self._span(path, raw, "at") or 0.0,
            rule=raw.get("rule"),
            host=self._host_of(path, raw, known),
            instance=raw.get("instance"),
            phases=None if phase is None else _ENDS if phase == "resolved" else frozenset({Phase(phase)}),
            severity=Severity(raw["severity"]) if "severity" in raw else None,
            to=frozenset(raw["to"]) if "to" in raw else None,
            run=tuple(run) if isinstance(run, list) else run,
            title=self._wanted(path, raw, "title"),
            body=self._wanted(path, raw, "body"),
            contains=raw.get("contains"),
            why=raw.get("why"),
        )

    def _wanted(self, path: Path, raw: Mapping[str, Any], key: str) -> Wanted | None:
        text: str | None = raw.get(key)
        if text is None or len(text) < 2 or not (text.startswith("/") and text.endswith("/")):
            return text
        try:
            return re.compile(text[1:-1])
        except (re.error, RecursionError, OverflowError) as error:
            self._add((*path, key), "wrong-pattern", f"{key}: {error}", expected="/a regular expression/, or a text")
            return text


_MOST = f"at most {span(MAX_SPAN)}"
