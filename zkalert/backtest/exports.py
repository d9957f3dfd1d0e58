"""What `zkalert history export` wrote, read back.

Comes in: lines of text, CSV or JSON. Goes out: samples in the order of time. A line that is damaged is left out,
counted, and told with its number.

CSV says less than a sample does. The span between samples is taken from their times, labels and errors are unknown.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import statistics
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from zkalert.backtest.past import Choice, Past, Source, glance
from zkalert.metrics import Kind, family_of
from zkalert.model import Problem, Sample, Value, ZkalertError
from zkalert.tree import MAX_TEXT, decode_sample

CSV_HEADER = ("time", "host", "family", "instance", "field", "value")

_GAPS = 5
_NEAR = 0.2
_MIN_MAX_AGE = 10.0
_BAD_JSON = (ValueError, RecursionError)


def from_text(lines: Iterable[str], choice: Choice, source: Source) -> Iterator[Past]:
    """Samples of an export, whichever of the two forms it has.

    Raises ZkalertError for a text that is neither, and (at its end) for one in which no line was good.
    """
    rest = iter(lines)
    skipped = 0
    for line in rest:
        if line.strip():
            break
        skipped += 1
    else:
        raise ZkalertError(f"{source.name} is empty; expected what `zkalert history export` writes")
    all_lines = itertools.chain([line], rest)
    if line.lstrip("\ufeff \t").startswith("{"):
        yield from _from_jsonl(all_lines, skipped, choice, source)
    elif tuple(line.lstrip("\ufeff").strip().split(",")) == CSV_HEADER:
        yield from _from_csv(rest, skipped + 1, choice, source)
    else:
        raise ZkalertError(
            f"{source.name} is no history: expected SQLite as the sampler writes it, or CSV (whose first line is "
            f"{','.join(CSV_HEADER)}) or JSONL as `zkalert history export` does"
        )
    if source.damaged and not source.samples and not source.unwanted:
        place, why = source.told[0]
        raise ZkalertError(f"{source.name}: none of its lines can be used; {source.noun} {place}: {why}")


def _from_jsonl(lines: Iterable[str], skipped: int, choice: Choice, source: Source) -> Iterator[Past]:
    for number, line in enumerate(lines, skipped + 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line.lstrip("\ufeff"))
        except _BAD_JSON:
            source.damage(number, "no JSON")
            continue
        host, family = (document.get("host"), document.get("family")) if type(document) is dict else (None, None)
        if type(host) is not str or type(family) is not str or not host:
            source.damage(number, "no object with host and family")
            continue
        need = choice.needs.get(family)
        if need is None or not choice.takes_host(host):
            source.unwanted += 1
            continue
        sample = glance(family, document, need) or decode_sample(family, line.encode("utf-8", "replace").strip())
        if isinstance(sample, Problem):
            source.damage(number, sample.message)
        elif not choice.since <= sample.at <= choice.until:
            source.unwanted += 1
        elif (past := source.past(number, host, sample)) is not None:
            yield past


class _Cadence:
    """How far apart a family's samples are on a host, as their times say."""

    __slots__ = ("_gaps", "_last", "_usual")

    def __init__(self, family: str) -> None:
        self._usual = family_of(family).interval
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._last: float | None = None

    def interval(self, at: float) -> float:
        """The span between samples, when one came at `at`; what is near the family's own span is that."""
        if self._last is not None and at > self._last:
            self._gaps.append(at - self._last)
        self._last = at
        if not self._gaps:
            return self._usual
        gap = statistics.median(self._gaps)
        return self._usual if abs(gap - self._usual) <= _NEAR * self._usual else round(gap, 3)


class _Group:
    """Lines of CSV that make one sample: those of one moment, host and family that follow one another."""

    def __init__(self, number: int, key: tuple[str, str, str], at: float) -> None:
        self.number = number
        self.key = key
        self.at = at
        self.values: dict[str, Value] = {}
        self.instances: dict[str, dict[str, Value]] = {}

    def sample(self, interval: float) -> Sample:
        return Sample(
            family=self.key[2],
            at=self.at,
            interval=interval,
            max_age=max(3 * interval, _MIN_MAX_AGE),
            values=self.values,
            instances=self.instances,
        )


class _Groups:
    """Makes samples of lines of CSV."""

    def __init__(self, choice: Choice, source: Source) -> None:
        self._choice = choice
        self._source = source
        self._group: _Group | None = None
        self._cadences: dict[tuple[str, str], _Cadence] = {}

    def add(self, number: int, row: list[str]) -> Past | None:
        """Take in a line; the sample before it, where this line ends one that is good."""
        moment, host, family, instance, field, text = row
        key = (moment, host, family)
        need = self._choice.needs.get(family)
        if need is None or not self._choice.takes_host(host):
            self._source.unwanted += 1
            return None
        done: Past | None = None
        group = self._group
        if group is None or group.key != key:
            at = _moment(moment)
            if at is None:
                self._source.damage(number, f'"{moment[:40]}" is no time such as 2026-11-23T17:03:19.123Z')
                return None
            if not self._choice.since <= at <= self._choice.until:
                self._source.unwanted += 1
                return None
            done = self.finish()
            group = self._group = _Group(number, key, at)
        # An instance is there, whether rules read this field of it or not.
        values = group.instances.setdefault(instance, {}) if instance else group.values
        if field in need.fields:
            value = _value(family, field, text)
            if value is None:
                self._source.damage(number, f'"{text[:40]}" is no value of {family}.{field}')
            else:
                values[field] = value
        return done

    def finish(self) -> Past | None:
        """The last sample, if it is good."""
        group, self._group = self._group, None
        if group is None:
            return None
        _, host, family = group.key
        cadence = self._cadences.get((host, family))
        if cadence is None:
            cadence = self._cadences[host, family] = _Cadence(family)
        return self._source.past(group.number, host, group.sample(cadence.interval(group.at)))


def _from_csv(lines: Iterable[str], skipped: int, choice: Choice, source: Source) -> Iterator[Past]:
    groups = _Groups(choice, source)
    for number, row in _rows(lines, skipped, source):
        past = groups.add(number, row)
        if past is not None:
            yield past
    past = groups.finish()
    if past is not None:
        yield past


def _rows(lines: Iterable[str], skipped: int, source: Source) -> Iterator[tuple[int, list[str]]]:
    """Rows of six fields, and the number of the line that each ends on."""
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            source.damage(skipped + reader.line_num, f"no CSV: {error}")
            continue
        if len(row) == len(CSV_HEADER) and row[1]:
            yield skipped + reader.line_num, row
        elif row and tuple(row) != CSV_HEADER:
            source.damage(skipped + reader.line_num, f"{len(row)} fields, expected {','.join(CSV_HEADER)}")


def _moment(text: str) -> float | None:
    """Epoch seconds of a time in ISO 8601; one without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _value(family: str, field: str, text: str) -> Value | None:
    """The value of a field that is written as `text`; None where it is none."""
    known = family_of(family).fields.get(field)
    if known is not None and known.kind is Kind.TEXT:
        return text if len(text) <= MAX_TEXT else None
    try:
        number = int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
