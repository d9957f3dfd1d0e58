"""What a rule document means: its keys become a Rule, or findings with their places.

Comes in: a document that its schema has passed. Whether channels exist is only checked where their names are given.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeAlias

from zkalert.documents import Document, show, without_urls
from zkalert.metrics import (
    FAMILIES,
    MetricError,
    QuantityError,
    Unit,
    field_of,
    nearest,
    parse_duration,
    parse_metric,
    parse_quantity,
)
from zkalert.model import (
    EMPTY,
    Action,
    Comparator,
    Finding,
    HostMatch,
    Level,
    Metric,
    Notify,
    Phase,
    Rule,
    Run,
    Severity,
)

MAX_DURATION = 366 * 86400.0
MAX_TIMEOUT = 86400.0

_NEEDED = {
    "metric": "a metric such as memory_usage",
    "comparator": "one of " + ", ".join(Comparator),
    "threshold": "a number, or a text with a unit",
}
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")
# Whoever was told that an alert fires also hears that its rule is gone: to people both are its end.
_PHASES = {"firing": frozenset({Phase.FIRING}), "resolved": frozenset({Phase.RESOLVED, Phase.CLOSED})}

_Raw: TypeAlias = Mapping[str, Any]
_Path: TypeAlias = tuple["str | int", ...]


class Meaning:
    """One pass over one document."""

    def __init__(
        self,
        document: Document,
        channels: Collection[str] | None,
        taken: dict[str, str],
        skipped: Collection[str | int] = (),
    ) -> None:
        self._document = document
        self._channels = channels
        self._taken = taken
        self._skipped = skipped
        self._defaults: _Raw = document.data.get("defaults", {})
        self._findings: dict[Finding, None] = {}  # what is wrong in `defaults` is told once, not for each rule
        self._templates: dict[str, str | None] = {}

    def rules(self) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
        """All rules but the skipped ones, or none where a finding is an error; and all findings, sorted."""
        rules: list[Rule] = []
        for index, raw in enumerate(self._document.data["rules"]):
            if index in self._skipped:
                continue
            self._name(index, raw["name"])
            rule = self._rule(index, raw)
            if rule is not None:
                rules.append(rule)
        findings = sorted(self._findings, key=lambda finding: (finding.line, finding.column, finding.code))
        if any(finding.level is Level.ERROR for finding in findings):
            return (), tuple(findings)
        return tuple(rules), tuple(findings)

    def _name(self, index: int, name: str) -> None:
        first = self._taken.get(name)
        if first is None:
            self._taken[name] = self._source(index)
        else:
            self._add(
                ("rules", index, "name"),
                "duplicate-name",
                f"a second rule named {name}",
                expected="a name that no other rule has",
                hint=f"the first is at {first}",
            )

    def _source(self, index: int) -> str:
        return f"{self._document.file}:{self._document.line(('rules', index))}"

    def _rule(self, index: int, raw: _Raw) -> Rule | None:
        place: _Path = ("rules", index)
        whole = {**self._defaults, **raw} if self._defaults else raw
        where = _Where(place, raw)
        missing = [key for key in _NEEDED if key not in whole]
        for key in missing:
            self._add(place, "missing-key", f"the key {key} is missing", expected=f"{key}: {_NEEDED[key]}")
        metric = None if "metric" in missing else self._metric(whole["metric"], where("metric"))
        threshold = None
        if metric is not None and "threshold" not in missing:
            threshold = self._threshold(whole["threshold"], metric, where("threshold"))
        duration = self._span(whole.get("duration", 0), where("duration"), most=MAX_DURATION)
        action = whole.get("action")
        actions = None if action is None else self._actions(action, where("action"))
        for key in ("summary", "description"):
            self._template(whole.get(key, ""), where(key))
        if metric is not None and "instances" in whole and FAMILIES[metric.family].instance_kind is None:
            self._add(
                where("instances"),
                "no-instances",
                f"{metric.family} has no instances",
                expected="no key instances here",
                at_key=True,
            )
        if metric is None or threshold is None or duration is None or missing:
            return None
        return _with_digest(
            Rule(
                name=whole["name"],
                metric=metric,
                comparator=Comparator(whole["comparator"]),
                threshold=threshold,
                duration=duration,
                severity=Severity(whole.get("severity", "warning")),
                actions=actions,
                hosts=tuple(_host(item) for item in _listed(whole["hosts"])) if "hosts" in whole else (),
                instances=tuple(_listed(whole["instances"])) if "instances" in whole else None,
                labels=whole.get("labels", EMPTY),
                summary=whole.get("summary", ""),
                description=whole.get("description", ""),
                enabled=whole.get("enabled", True),
                source=self._source(index),
            )
        )

    def _metric(self, text: str, path: _Path) -> Metric | None:
        try:
            return parse_metric(text)
        except MetricError as error:
            hint = f"did you mean {error.hint}?" if error.hint else ""
            self._add(path, "unknown-metric", without_urls(str(error)[:200]), expected=error.expected, hint=hint)
            return None

    def _threshold(self, written: float | str, metric: Metric, path: _Path) -> float | None:
        unit = field_of(metric).judged_unit
        try:
            threshold = parse_quantity(written, unit)
        except QuantityError as error:
            self._add(path, "wrong-threshold", without_urls(str(error)), expected=error.expected)
            return None
        if unit is Unit.PERCENT and not 0 <= threshold <= 100:
            self._add(
                path,
                "threshold-range",
                f"{metric} stays between 0% and 100%",
                expected="a percentage between 0 and 100",
                level=Level.ADVICE,
            )
        return threshold

    def _span(self, written: str | float, path: _Path, *, most: float, least: float = 0.0) -> float | None:
        """A span in seconds; its form has been checked, for the schema says it."""
        seconds = parse_duration(written) if isinstance(written, str) else float(written)
        if least <= seconds <= most:
            return seconds
        bounds = f"at most {most / 86400:.0f}d" + (", and more than none" if least else "")
        self._add(path, "wrong-duration", f"{path[-1]}: found {show(written)}", expected=bounds)
        return None

    def _actions(self, written: Any, path: _Path) -> tuple[Action, ...]:
        if not isinstance(written, list):
            action = self._action(written, path)
            return () if action is None else (action,)
        found = (self._action(item, (*path, index)) for index, item in enumerate(written))
        return tuple(action for action in found if action is not None)

    def _action(self, written: str | _Raw, path: _Path) -> Action | None:
        if isinstance(written, str):
            return self._notify(written, path, None)
        at = frozenset().union(*(_PHASES[item] for item in _listed(written["at"]))) if "at" in written else None
        if "notify" in written:
            return self._notify(written["notify"], (*path, "notify"), at)
        command = written["run"]
        if isinstance(command, str) and not command.strip():
            self._add((*path, "run"), "wrong-value", "run: found an empty text", expected="a line for the shell")
        timeout = self._span(written.get("timeout", "30s"), (*path, "timeout"), least=0.001, most=MAX_TIMEOUT)
        command = command if isinstance(command, str) else tuple(command)
        if timeout is None:
            return None
        return Run(command=command, timeout=timeout) if at is None else Run(command=command, timeout=timeout, at=at)

    def _notify(self, target: str, path: _Path, at: frozenset[Phase] | None) -> Notify | None:
        if "://" in target:
            if _URL.fullmatch(target):
                return Notify(url=target) if at is None else Notify(url=target, at=at)
            self._add(path, "wrong-url", "not a URL", expected="a URL of a service: service://...")
        elif not _CHANNEL.fullmatch(target):
            self._add(
                path, "unknown-channel", f"found {show(target)}", expected="a channel's name, or a URL: service://..."
            )
        elif self._channels is not None and target not in self._channels:
            names = sorted(self._channels)
            near = nearest(target, names)
            self._add(
                path,
                "unknown-channel",
                f'no channel "{target}" in the configuration',
                expected=("one of " + ", ".join(names)) if names else "a channel that zkalert.yaml has",
                hint=f"did you mean {near}?" if near else "",
            )
        else:
            return Notify(channel=target) if at is None else Notify(channel=target, at=at)
        return None

    def _template(self, text: str, path: _Path) -> None:
        if "{{" not in text and "{%" not in text and "{#" not in text:
            return
        if text not in self._templates:
            from zkalert.render import template_problem  # noqa: PLC0415 - brings jinja2, which few files need

            self._templates[text] = template_problem(text)
        problem = self._templates[text]
        if problem is not None:
            self._add(path, "template", f"{path[-1]}: {problem}", expected="a Jinja2 template that compiles")

    def _add(self, path: _Path, code: str, message: str, **rest: Any) -> None:
        self._findings[self._document.finding(path, code, message, **rest)] = None


class _Where:
    """Where a key's value stands: in the rule, or where the rule leaves it out, in the defaults."""

    def __init__(self, place: _Path, raw: _Raw) -> None:
        self._place = place
        self._raw = raw

    def __call__(self, key: str) -> _Path:
        return (*self._place, key) if key in self._raw else ("defaults", key)


def _listed(written: Any) -> list[Any]:
    return written if isinstance(written, list) else [written]


def _host(written: str | Mapping[str, str]) -> HostMatch:
    return HostMatch(glob=written) if isinstance(written, str) else HostMatch(labels=written)


def _with_digest(rule: Rule) -> Rule:
    """The rule with the hash of its condition: what it is, not how long, how bad or who hears of it."""
    hosts = sorted(json.dumps(_plain(match), sort_keys=True) for match in rule.hosts)
    condition = [*rule.metric, rule.comparator.value, float(rule.threshold), hosts, rule.instances]
    object.__setattr__(rule, "digest", _short_hash([condition]))  # nobody else has seen it yet
    return rule


def digest(rules: Iterable[Rule]) -> str:
    """A short hash of a set of rules as a whole: the same for the same rules, whatever files they came from."""
    chosen = sorted(rules, key=lambda rule: rule.name)
    return _short_hash([{**_plain(rule), "source": ""} for rule in chosen])


def _short_hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, the same in every process (sets have no order of their own)."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
