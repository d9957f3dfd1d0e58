"""Samples of the past, read back from where they were kept.

Comes in: rows of a sampler's history, or lines of what `zkalert history export` writes. Goes out: samples in the order
of time. Only families that rules read are looked into. What is damaged is left out, counted, and told with its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zkalert.evaluate import goes_by_instance
from zkalert.model import Condition, Problem, Rule, Sample
from zkalert.tree import MAX_PAYLOAD, MAX_TEXT, decode_sample

MOST_BACK = 60.0
"""A sample that lies up to so many seconds before the one above it counts as of the same moment: a clock was set."""

MOST_AHEAD = 400 * 86400.0
"""One that lies further than that after the one above it is taken for damaged."""
MOST_TOLD = 5

_MOST = 2**63
_LAST_MOMENT = 253_402_300_799.0  # the end of the year 9999
_INSTANCES = ',"instances":'
_ERRORS = ',"errors":'
_DECODER = json.JSONDecoder()


class Past(NamedTuple):
    """One sample, and when it is played (epoch seconds): its own time, unless that went back a little."""

    at: float
    host: str
    sample: Sample


class Need(NamedTuple):
    """What rules read of one family: these fields, of its instances too or of its whole value alone."""

    fields: tuple[str, ...]
    by_instance: bool


def needs_of(rules: Iterable[Rule]) -> dict[str, Need]:
    """What these rules read, by family."""
    needs: dict[str, Need] = {}
    for rule in rules:
        for condition in rule.conditions:
            for term in condition.terms:
                family, name = term.metric
                before = needs.get(family, Need((), by_instance=False))
                fields = tuple(dict.fromkeys((*before.fields, name)))
                by_instance = goes_by_instance(rule, Condition(term=term, comparator=condition.comparator))
                needs[family] = Need(fields, before.by_instance or by_instance)
    return needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which samples are wanted: what rules read, of all hosts or of those named, from `since` to `until`.

    Both ends are epoch seconds, and belong to it.
    """

    needs: Mapping[str, Need]
    hosts: frozenset[str] = frozenset()
    since: float = -math.inf
    until: float = math.inf

    def takes_host(self, host: str) -> bool:
        return not self.hosts or host in self.hosts


@dataclass(slots=True, kw_only=True)
class Source:
    """One place that samples come from, and what was found there.

    `name` is for people, `noun` says what its parts are: a row, a line. `samples` counts what was good and wanted,
    `unwanted` other parts, `damaged` what had to be left out; `told` has the first of these: where they stand, and
    why. `first` and `last` are the times of the samples.
    """

    name: str
    noun: str = "line"
    samples: int = 0
    unwanted: int = 0
    damaged: int = 0
    told: list[tuple[int, str]] = field(default_factory=list)
    first: float | None = None
    last: float = -math.inf

    def damage(self, place: int, why: str) -> None:
        """Something is left out."""
        self.damaged += 1
        if len(self.told) < MOST_TOLD:
            self.told.append((place, why))

    def past(self, place: int, host: str, sample: Sample) -> Past | None:
        """A good sample in its place in time; None where it has none."""
        at = sample.at
        if at > _LAST_MOMENT:
            self.damage(place, "its time is none that a calendar has")
            return None
        if not self.last <= at <= self.last + MOST_AHEAD:
            if self.first is None:
                self.first = at
            elif at > self.last:
                self.damage(place, f"lies {(at - self.last) / 86400:.0f} days after what stands above it")
                return None
            elif at < self.last - MOST_BACK:
                self.damage(place, f"lies {self.last - at:.0f} s before what stands above it")
                return None
            else:
                at = self.last
        self.last = at
        self.samples += 1
        return Past(at, host, sample)


def from_rows(rows: Iterable[tuple[int, str, str, str]], choice: Choice, source: Source) -> Iterator[Past]:
    """Samples of rows of a history: id, host, family, the sample as JSON.

    Rows are of wanted families and times already.
    """
    for row_id, host, family, text in rows:
        if type(host) is not str or not host or type(text) is not str:  # a column takes any type
            source.damage(row_id, "host or sample is no text")
            continue
        if not choice.takes_host(host):
            source.unwanted += 1
            continue
        sample = _sample(family, text, choice.needs[family])
        if isinstance(sample, Problem):
            source.damage(row_id, sample.message)
            continue
        past = source.past(row_id, host, sample)
        if past is not None:
            yield past


def _sample(family: str, text: str, need: Need) -> Sample | Problem:
    """The sample in a payload, of which only what rules read is looked at; whatever is odd is judged as a whole."""
    if not need.by_instance:
        # In what zkalert writes the instances follow the whole value, and quotes within texts are escaped.
        cut = text.find(_INSTANCES)
        if cut > 0 and text.find(_ERRORS, cut) < 0:
            trimmed = _decoded(family, text[:cut] + "}", need)
            if trimmed is not None:
                return trimmed
    return _decoded(family, text, need) or decode_sample(family, text.encode("utf-8", "surrogatepass"))


def _decoded(family: str, text: str, need: Need) -> Sample | None:
    try:
        document, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return glance(family, document, need) if end == len(text) <= MAX_PAYLOAD else None


def glance(family: str, document: Any, need: Need) -> Sample | None:
    """The sample in a decoded payload, where all that rules read of it is sound; None where a closer look is due.

    Nothing else of it is looked at, and labels are left out: this runs for every sample.
    """
    try:
        at, interval, max_age = document["time"], document["interval"], document["max_age"]
        values, version = document["values"], document["v"]
        is_odd = version != 1 or not (0 < at < _MOST and 0 < interval < _MOST and 0 < max_age < _MOST)
    except (KeyError, TypeError):  # no object, no such key, no number
        return None
    if is_odd or type(values) is not dict or not _are_sound(values, need.fields):
        return None
    instances: Any = {}
    if need.by_instance and "instances" in document:
        instances = document["instances"]
        if type(instances) is not dict:
            return None
        for one in instances.values():
            if type(one) is not dict or not _are_sound(one, need.fields):
                return None
    errors: Any = ()
    if "errors" in document:
        errors = document["errors"]
        if type(errors) is not list or not all(type(error) is str for error in errors):
            return None
        errors = tuple(errors)
    return Sample(
        family=family,
        at=at,
        interval=interval,
        max_age=max_age,
        values=values,
        instances=instances,
        errors=errors,
    )


def _are_sound(values: dict[str, Any], fields: tuple[str, ...]) -> bool:
    """Whether each field that is there is a finite number or a short text."""
    for name in fields:
        if name in values:
            value = values[name]
            kind = type(value)
            if kind is float or kind is int:
                if not -_MOST < value < _MOST:
                    return False
            elif kind is not str or len(value) > MAX_TEXT:
                return False
    return True
