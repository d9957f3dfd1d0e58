"""What a rule document means: its keys become a Rule, or findings with their places.

Comes in: a document that its schema has passed. Whether channels exist is only checked where their names are given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from zkalert.documents import Document, without_urls
from zkalert.metrics import MetricError, parse_metric
from zkalert.model import EMPTY, Finding, Join, Level, Metric, Rule
from zkalert.rulefile import advice, conditions, forms, ladder, selection, timing
from zkalert.rulefile.actions import Actions
from zkalert.rulefile.conditions import Judged
from zkalert.rulefile.digests import with_digest
from zkalert.rulefile.keys import Keys, Path, Raw, Report
from zkalert.rulefile.links import Links

_TEXTS = ("summary", "description", "runbook")


class Meaning:
    """One pass over one document."""

    def __init__(
        self,
        report: Report,
        actions: Actions,
        taken: dict[str, str],
        links: Links,
        skipped: Collection[str | int] = (),
    ) -> None:
        self._report = report
        self._document: Document = report.document
        self._actions = actions
        self._taken = taken
        self._links = links
        self._skipped = skipped
        self._defaults: Raw = self._document.data.get("defaults", {})
        self._shared: dict[tuple[Any, ...], Judged] = {}
        self._templates: dict[str, tuple[str | None, tuple[str, ...]]] = {}

    def rules(self) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
        """All rules but the skipped ones, or none where a finding is an error; and all findings, sorted."""
        rules: list[Rule] = []
        for index, raw in enumerate(self._document.data["rules"]):
            if index in self._skipped:
                continue
            source = f"{self._document.file}:{self._document.line(('rules', index))}"
            self._name(index, raw, source)
            rule = self._rule(index, raw, source)
            if rule is not None:
                rules.append(rule)
        findings = self._report.findings()
        if any(finding.level is Level.ERROR for finding in findings):
            return (), findings
        return tuple(rules), findings

    def _name(self, index: int, raw: Raw, source: str) -> None:
        name = raw["name"]
        self._links.name(name, is_off=not raw.get("enabled", self._defaults.get("enabled", True)))
        first = self._taken.get(name)
        if first is None:
            self._taken[name] = source
        else:
            self._report.add(
                ("rules", index, "name"),
                "duplicate-name",
                f"a second rule named {name}",
                expected="a name that no other rule has",
                hint=f"the first is at {first}",
            )

    def _rule(self, index: int, raw: Raw, source: str) -> Rule | None:
        place: Path = ("rules", index)
        if self._defaults:
            keys = Keys(self._report, forms.merged(raw, self._defaults), place, own=raw)
        else:
            keys = Keys(self._report, raw, place)
        values = keys.values
        beside = self._beside(keys)
        judged = self._judged(keys)
        if judged is None:
            return None
        instances, not_instances = selection.instances(keys, judged)
        kind = selection.kind(judged, wants_each=instances is not None)
        if kind is None:
            selection.refuse_gone(keys, judged)
        steps = ladder.levels(keys, judged, self._actions) if "levels" in values else ladder.plain(keys)
        if steps is None:
            return None
        overrides = ladder.overrides(keys, judged, self._actions, has_instances=kind is not None)
        rule = Rule(
            name=values["name"],
            conditions=judged.conditions,
            join=judged.join,
            steps=steps,
            within=ladder.within(keys, steps, overrides),
            across=judged.across,
            hosts=selection.hosts(keys, "hosts", judged),
            not_hosts=selection.hosts(keys, "not_hosts", judged),
            instances=instances,
            not_instances=not_instances,
            keeps_gone=kind is not None and values.get("instance_gone") == "keep",
            overrides=overrides,
            labels=values.get("labels", EMPTY),
            summary=values.get("summary", ""),
            description=values.get("description", ""),
            runbook=values.get("runbook", ""),
            enabled=values.get("enabled", True),
            source=source,
            **beside,
        )
        advice.give(keys, rule, judged, self._actions.channels)
        return with_digest(rule)

    def _judged(self, keys: Keys) -> Judged | None:
        """What the rule looks for, by the one form that it has."""
        name = forms.form(keys)
        if name == "threshold":
            return self._single(keys)
        if forms.clashes(keys, name):
            return None
        if name in ("all", "any"):
            return conditions.several(keys, Join(name))
        return conditions.single(keys, has_levels=name == "levels")

    def _single(self, keys: Keys) -> Judged | None:
        """A condition of its own. Many rules of a file look for the same: they share it."""
        values = keys.values
        written = (values.get("metric"), values.get("comparator"), values.get("threshold"), values.get("clear"))
        # 0 and -0.0 are equal, but not the same.
        if 0 in written or list in map(type, written) or not _BESIDE_ONE.isdisjoint(values):
            return conditions.single(keys)
        judged = self._shared.get(written)
        if judged is not None:
            return Judged(conditions=judged.conditions, places=(keys,), scale=judged.scale)
        judged = conditions.single(keys)
        if judged is not None:
            self._shared[written] = judged
        return judged

    def _beside(self, keys: Keys) -> dict[str, Any]:
        """What does not depend on the condition; checked whatever the condition says."""
        values = keys.values
        reads = [metric for key in _TEXTS if key in values for metric in self._template(values[key], keys.at(key))]
        found: dict[str, Any] = {"actions": self._actions.read(keys)}
        if reads:
            found["reads"] = tuple(dict.fromkeys(reads))
        if not values.keys().isdisjoint(_TIMING):
            found |= {
                "no_data": timing.no_data(keys),
                "repeat": timing.repeat(keys),
                "escalate": timing.escalations(keys, self._actions),
                "flap": timing.flap(keys),
                "schedule": timing.schedule(keys),
                "inhibited_by": self._links.read(keys),
            }
        return found

    def _template(self, text: str, path: Path) -> Iterator[Metric]:
        """Check a text, and tell which metrics it shows besides the rule's own."""
        if "{{" not in text and "{%" not in text and "{#" not in text:
            return
        if text not in self._templates:
            from zkalert.render import template_problem, template_reads  # noqa: PLC0415 - brings jinja2: few need it

            self._templates[text] = (template_problem(text), template_reads(text))
        problem, reads = self._templates[text]
        if problem is not None:
            self._report.add(path, "template", f"{path[-1]}: {problem}", expected="a Jinja2 template that compiles")
        for name in reads:
            metric = self._read(name, path)
            if metric is not None:
                yield metric

    def _read(self, name: str, path: Path) -> Metric | None:
        try:
            return parse_metric(name)
        except MetricError as error:
            hint = f"did you mean {error.hint}?" if error.hint else ""
            message = f'{path[-1]}: now("..."): {without_urls(str(error)[:200])}'
            self._report.add(path, "unknown-metric", message, expected=error.expected, hint=hint)
            return None


_BESIDE_ONE = frozenset({"over", "stat", "relative_to", "across"})
_TIMING = frozenset({"no_data", "repeat", "escalate", "flap", "schedule", "inhibited_by"})
