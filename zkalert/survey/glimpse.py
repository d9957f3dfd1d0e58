"""Ensembles, looked at once: what the znodes of a rule's patterns say now, and what the servers say of themselves.

Comes in: rules, a reader of the own ensemble, how the others are reached. Goes out: the survey, in which each ensemble
that the rules look at stands in the place of a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zkalert import clock
from zkalert.evaluate import is_of_hosts
from zkalert.metrics import OWN_ENSEMBLE, ZOOKEEPER_FAMILY, ZnodePattern, family_of, is_znode, parse_pattern
from zkalert.model import EnsembleSettings, HostInfo, Problem, Rule, Sample, Value, ZkalertError
from zkalert.servers import Servers
from zkalert.survey.reading import Reader, connected
from zkalert.survey.values import HostSeen, Published, Survey
from zkalert.tree import ZnodeFields, is_open_to_all

MOST_MATCHES = 10_000
"""Znodes of one pattern that are looked at."""

_LONG = 1e9
_MOST_HELD = 100


def with_ensembles(
    seen: Survey, reader: Reader, rules: Iterable[Rule], settings: Mapping[str, EnsembleSettings]
) -> Survey:
    """A survey with the ensembles that rules look at; `settings` has the own one too.

    Of another one that does not answer there are Problems in the place of its znodes. Raises as the methods of a reader
    do for the own one.
    """
    wanted: dict[str, dict[str, set[str]]] = {}  # ensemble, family, fields
    for rule in rules:
        if is_of_hosts(rule):
            continue
        for family, field in _read(rule):
            places = [parse_pattern(family).ensemble] if is_znode(family) else list(settings)
            for name in places:
                wanted.setdefault(name, {}).setdefault(family, set()).add(field)
    found = dict(seen.hosts)
    for name, families in wanted.items():
        if name in settings:
            found[name] = _looked_at(name, families, reader, settings[name], seen.at)
    return replace(seen, hosts=found)


def servers_now(name: str, settings: EnsembleSettings) -> Sample:
    """What the servers of an ensemble say of themselves now, as the family `zookeeper`; never raises."""
    return Servers(name, settings, _ignore, _never).step().sample


def _read(rule: Rule) -> Iterator[tuple[str, str]]:
    for condition in rule.conditions:
        yield from (term.metric for term in condition.terms)
    yield from (metric for metric in rule.reads if not family_of(metric.family).of_hosts)


def _looked_at(
    name: str, families: Mapping[str, Iterable[str]], reader: Reader, settings: EnsembleSettings, at: float
) -> HostSeen:
    found: dict[str, Sample | Problem] = {}
    if ZOOKEEPER_FAMILY in families:
        found[ZOOKEEPER_FAMILY] = replace(servers_now(name, settings), max_age=_LONG)
    patterns = {family: fields for family, fields in families.items() if is_znode(family)}
    if name == OWN_ENSEMBLE:
        found |= _glimpses(patterns, reader)
    elif patterns:
        try:
            with connected(settings.zookeeper) as theirs:
                found |= _glimpses(patterns, theirs)
        except ZkalertError as error:
            problem = Problem(code="no-answer", message=f"the ensemble {name} is not known now: {error}")
            found |= dict.fromkeys(patterns, problem)
    samples = {family: (Published(sample, at),) for family, sample in found.items()}
    return HostSeen(info=HostInfo(name=name, is_ensemble=True), is_alive=True, samples=samples)


def _glimpses(patterns: Mapping[str, Iterable[str]], reader: Reader) -> dict[str, Sample]:
    """What the znodes that each pattern matches say now."""
    return {family: _sample(family, fields, reader, clock.wall()) for family, fields in patterns.items()}


def _ignore(_event: object) -> None:
    """Who looks once has the answer in hand."""


def _never() -> bool:
    return False


def _sample(family: str, names: Iterable[str], reader: Reader, now: float) -> Sample:
    pattern, fields, client = parse_pattern(family), ZnodeFields(names), reader.client
    paths, is_cut = matches_of(pattern, reader)
    found: dict[str, dict[str, Value]] = {}
    for some in sliced(paths):
        stood = reader.answers(client.get_async, some)
        children = reader.answers(client.get_children_async, some) if fields.has_children else {}
        acls = reader.answers(client.get_acls_async, some) if fields.has_acl else {}
        found |= {path: _values(fields, stood.get(path), children.get(path), acls.get(path), now) for path in some}
    labels = {path: pattern.labelled(found_in) for path in paths if (found_in := pattern.names_in(path))}
    return Sample(
        family=family,
        at=now,
        interval=1.0,
        max_age=_LONG,
        values={} if pattern.is_open else next(iter(found.values()), {}),
        instances=found if pattern.is_open else {},
        labels=labels,
        errors=(f"only the first {MOST_MATCHES:,} are here",) if is_cut else (),
    )


def matches_of(pattern: ZnodePattern, reader: Reader) -> tuple[list[str], bool]:
    """The paths that a pattern matches, sorted, at most MOST_MATCHES; and whether there are more."""
    reached: list[tuple[str, ...]] = [()]
    is_cut = False
    for index, part in enumerate(pattern.parts):
        if part is not None:
            continue
        folders = {pattern.path(index, names): names for names in reached}
        below = reader.answers(reader.client.get_children_async, folders)
        reached = [(*folders[folder], child) for folder in folders for child in sorted(below.get(folder, ()))]
        is_cut = is_cut or len(reached) > MOST_MATCHES
        del reached[MOST_MATCHES:]
    paths = [pattern.path(len(pattern.parts), names) for names in reached]
    return paths, is_cut


def sliced(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as may be held with all their data: each can have a mebibyte."""
    for start in range(0, len(paths), _MOST_HELD):
        yield paths[start : start + _MOST_HELD]


def _values(fields: ZnodeFields, stood: Any, children: Any, acls: Any, now: float) -> dict[str, Value]:
    if stood is None:
        return fields.missing()
    data, stat = stood
    values = {**fields.of_stat(stat), **fields.of_time(stat, now), **fields.of_data(data)[0]}
    if children is not None:
        values["children"] = len(children)
    if acls is not None:
        values["acl_open"] = int(is_open_to_all(acls[0]))
    return values
