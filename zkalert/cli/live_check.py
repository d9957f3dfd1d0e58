"""What `zkalert validate --live` adds: what each rule meets in a live tree, and what it says there.

Comes in: rules with the texts they stand in. Goes out: advice at the names of rules that meet nothing, and a row for
each rule. The tree is read once, and nothing is changed in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from zkalert import config, documents, survey
from zkalert.cli import findings, local, logs
from zkalert.cli.explain import await_next
from zkalert.evaluate import families_of, is_of_hosts, looks_at
from zkalert.metrics import HOST_FAMILY, is_znode, nearest
from zkalert.model import Comparator, Finding, HostInfo, Level, Metric, Outcome, Problem, Rule, UsageError, ZkalertError

_NOT_THERE = frozenset({"no-host", "no-sample", "bad-sample", "no-field", "no-instance", "no-znode", "no-answer"})
_SHOWN_NAMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule: how many hosts it looks at, how many of them publish all its metrics, how many series there are.

    `true` of the series are true now, and of `unknown` nobody but the engine knows.
    """

    rule: Rule
    looks_at: int
    publish: int
    series: int
    true: int
    unknown: int


class _Read(NamedTuple):
    """One rule file: its text, its name, its rules in their order."""

    text: bytes
    name: str
    rules: tuple[Rule, ...]
    is_pack: bool


class LiveCheck:
    """Collects rules while their files are checked, and then holds them against a live tree, once."""

    def __init__(self, flags: config.Flags) -> None:
        self.problem = ""
        self._flags = flags
        self._files: list[_Read] = []
        self._rows: tuple[Row, ...] = ()
        self._hosts = 0
        self._root = ""

    def add(self, text: bytes, name: str, rules: tuple[Rule, ...], *, is_pack: bool) -> None:
        """A file was read, and these are its rules."""
        self._files.append(_Read(text, name, rules, is_pack))

    def advice(self, settings: config.Config | None) -> list[Finding]:
        """Advice about rules that meet nothing in the tree; `problem` is set where that cannot be read.

        `settings` None: the configuration was not read with the rules, or is wrong. Raises UsageError where no
        ZooKeeper is configured, DocumentError where the configuration is wrong.
        """
        settings = config.load(self._flags) if settings is None else settings
        zookeeper = local.zookeeper_of(settings)
        ensembles = local.ensembles_of(settings)
        self._root = zookeeper.root
        rules = [rule for file in self._files for rule in file.rules]
        try:
            with survey.connected(zookeeper) as reader:
                seen = reader.read({family for rule in rules for family in families_of(rule)} | {HOST_FAMILY})
                seen = survey.with_ensembles(seen, reader, rules, ensembles)
                series = {rule.name: survey.series_of(rule, seen) for rule in rules if rule.enabled}
                fuller = await_next(reader, seen, (one for some in series.values() for one in some))
        except UsageError:
            raise
        except ZkalertError as error:
            self.problem = str(error)
            return []
        for rule in rules:
            if survey.awaited(series.get(rule.name, ()), seen)[0]:
                series[rule.name] = survey.series_of(rule, fuller)
        self._hosts = sum(not host.info.is_ensemble for host in seen.hosts.values())
        self._rows = tuple(_row(rule, seen, series.get(rule.name, ())) for rule in rules)
        if not seen.hosts:
            self.problem = f"no host publishes below {zookeeper.root}, so no rule could be held against one"
            return []
        self.problem = "; ".join(sorted({problem for rule in rules for problem in _problems(rule, seen)}))
        return [finding for file in self._files for finding in _advice(file, seen)]

    def write(self, report: findings.Report, format_: str, stream: TextIO) -> None:
        """Write a report, with what was seen where the format has a place for it."""
        if format_ == "json":
            stream.write(json.dumps(findings.as_json(report) | {"live": self._document()}, indent=2) + "\n")
            return
        findings.WRITERS[format_](report, stream)
        if format_ == "text" and self._rows:
            stream.writelines(line.translate(logs.CONTROL) + "\n" for line in self._lines())

    def _document(self) -> dict[str, Any]:
        """The rows as one object::

            {"root": "/zkalert", "hosts": 12, "problem": "", "rules": [
                {"name": "memory-high", "enabled": true, "looks_at": 12, "publish": 12, "series": 12, "true": 3,
                 "unknown": 0}]}

        `looks_at` counts hosts, `publish` those of them that publish all metrics of the rule. Of `series`, `true` are
        true now, and `unknown` are known to the engine alone or come of samples that are too old.
        """
        return {
            "root": self._root,
            "hosts": self._hosts,
            "problem": self.problem,
            "rules": [
                {
                    "name": row.rule.name,
                    "enabled": row.rule.enabled,
                    "looks_at": row.looks_at,
                    "publish": row.publish,
                    "series": row.series,
                    "true": row.true,
                    "unknown": row.unknown,
                }
                for row in self._rows
            ],
        }

    def _lines(self) -> Iterator[str]:
        table = [("rule", "hosts", "publish it", "series", "now"), *(self._cells(row) for row in self._rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for cells in table:
            yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    def _cells(self, row: Row) -> tuple[str, ...]:
        hosts = f"{row.looks_at} of {self._hosts}" if is_of_hosts(row.rule) else _ensembles(row.looks_at)
        if not row.rule.enabled:
            return (row.rule.name, hosts, "", "", "off")
        unknown = f", {row.unknown} not known here" if row.unknown else ""
        now = f"{row.true} of {row.series} true{unknown}" if row.series else "nothing"
        return (row.rule.name, hosts, str(row.publish), str(row.series), now)


def _ensembles(count: int) -> str:
    return "1 ensemble" if count == 1 else f"{count} ensembles"


def _row(rule: Rule, seen: survey.Survey, series: Iterable[survey.Series]) -> Row:
    there = [one for one in series if one.unknown is None or one.unknown.code not in _NOT_THERE]
    hosts = _hosts(rule, seen)
    return Row(
        rule=rule,
        looks_at=len(hosts),
        publish=sum(all(_publishes(host, metric, rule) for metric in _metrics(rule)) for host in hosts),
        series=len(there),
        true=sum(one.outcome is Outcome.TRUE for one in there),
        unknown=sum(one.outcome is None for one in there),
    )


def _hosts(rule: Rule, seen: survey.Survey) -> list[survey.HostSeen]:
    return [host for host in seen.hosts.values() if looks_at(rule, host.info)]


def _metrics(rule: Rule) -> Mapping[Metric, None]:
    return dict.fromkeys(term.metric for one in rule.conditions for term in one.terms)


def _publishes(host: survey.HostSeen, metric: Metric, rule: Rule) -> bool:
    """A rule on what is absent asks for the family alone."""
    if rule.conditions[0].comparator is Comparator.ABSENT:
        return host.newest(metric.family) is not None
    return survey.has_metric(host, metric)


# Advice ---------------------------------------------------------------------------------------------------------------


def _problems(rule: Rule, seen: survey.Survey) -> Iterator[str]:
    """Why ensembles that a rule looks at are not known now."""
    for host in _hosts(rule, seen):
        for metric in _metrics(rule):
            published = host.newest(metric.family)
            if host.info.is_ensemble and published is not None and isinstance(published.sample, Problem):
                yield published.sample.message


def _advice(file: _Read, seen: survey.Survey) -> Iterator[Finding]:
    if file.is_pack:  # its rules are quiet where there is nothing for them, by design
        return
    wrong = [(index, rule) for index, rule in enumerate(file.rules) if rule.enabled]
    told = [(index, *what) for index, rule in wrong if (what := _what_is_wrong(rule, seen)) is not None]
    if not told:
        return
    document = documents.parse(file.text, file.name, "rules")[0]
    for index, code, message, expected, hint in told:
        yield document.finding(
            ("rules", index, "name"), code, message, expected=expected, hint=hint, level=Level.ADVICE
        )


def _what_is_wrong(rule: Rule, seen: survey.Survey) -> tuple[str, str, str, str] | None:
    """Code, message, what was expected and a hint, of a rule that meets nothing."""
    hosts = _hosts(rule, seen)
    if any(_problems(rule, seen)) or (not hosts and not is_of_hosts(rule)):
        return None
    if not hosts:
        infos = [host.info for host in seen.hosts.values() if not host.info.is_ensemble]
        message = f"{rule.name} looks at none of the hosts that are there"
        return "no-host", message, f"one of {_listed(info.name for info in infos)}", _near(rule, infos)
    for metric in _metrics(rule):
        if not any(_publishes(host, metric, rule) for host in hosts):
            names = _listed(host.info.name for host in hosts)
            if not is_of_hosts(rule):
                message = f"{rule.name} finds no {metric} now in {names}"
                return "no-metric", message, _expected_of(metric, hosts[0].info.name), ""
            expected = f"a metric that one of them publishes: `zkalert metrics --host {hosts[0].info.name}`"
            return "no-metric", f"no host that {rule.name} looks at publishes {metric} ({names})", expected, ""
    return None


def _expected_of(metric: Metric, ensemble: str) -> str:
    """What would be there to judge, in an ensemble."""
    if is_znode(metric.family):
        return "a znode that is there, if it ought to be by now"
    return f"one that its servers tell: `zkalert metrics --ensemble {ensemble}`"


def _near(rule: Rule, infos: Iterable[HostInfo]) -> str:
    """The nearest host for a name that is no glob, or the values that a label has."""
    infos = list(infos)
    for match in rule.hosts:
        if match.glob is not None:
            near = nearest(match.glob, [info.name for info in infos])
            if near:
                return f"did you mean {near}?"
        for label in match.labels:
            values = sorted({info.labels[label] for info in infos if label in info.labels})
            return f"{label} is {_listed(values)} there" if values else f"no host has a label {label}"
    return ""


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
    return ", ".join(known[:_SHOWN_NAMES]) + more
