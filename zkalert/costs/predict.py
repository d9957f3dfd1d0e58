"""Rules and a fleet become what they cost: writes, reads, watches, bytes, memory.

Writes, reads and watches follow from how samplers and engines work; memory from coefficients that were measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from zkalert.costs import coefficients as c
from zkalert.costs.fleet import Cost, EngineCost, FamilyCost, Fleet, HostCost, PatternCost, Published, Rate
from zkalert.costs.typical import typical_sample
from zkalert.evaluate import families_of, goes_by_instance
from zkalert.metrics import OWN_ENSEMBLE, SAMPLED, ZnodePattern, is_znode, parse_pattern
from zkalert.model import Alive, Condition, FamilyLimits, HostInfo, Quiet, Rule, Sample, Term
from zkalert.rulebook import limits_of
from zkalert.tree import Tree, encode_alive, encode_host, encode_limits, encode_sample

_HORIZON = 3600.0
_TOGETHER = 0.01  # seconds: what is due within these is one transaction
_ROUNDING = 0.01
_HASH = "0123456789abcdef"


def predict(rules: Sequence[Rule], fleet: Fleet) -> Cost:
    """What `fleet` costs under `rules`; those that are built in have to be among them. All hosts are alike.

    A rule counts for every host, whatever its `hosts` say.
    """
    enabled = [rule for rule in rules if rule.enabled]
    host = _host(enabled, fleet)
    znodes = _znodes(enabled, fleet.matches)
    engine = _engine(enabled, fleet, host, _joined(znodes.values()))
    own = _own_znodes(enabled, fleet)
    return Cost(
        fleet=fleet,
        host=host,
        engine=engine,
        patterns=tuple(_pattern(name, watches) for name, watches in znodes.items()),
        transactions=host.transactions.times(fleet.hosts) + _steady(engine.transactions * fleet.engines),
        sets=host.sets.times(fleet.hosts) + _steady(2 * engine.transactions * fleet.engines),
        # A sampler looks whether its ephemeral stands before each transaction.
        reads_per_second=host.transactions.times(fleet.hosts / 60) + engine.events_per_second.times(fleet.engines),
        bytes_written=host.bytes_per_second.times(fleet.hosts),
        bytes_read=engine.bytes_per_second.times(fleet.engines),
        znodes=host.znodes * fleet.hosts + len(own),
        tree_bytes=host.tree_bytes * fleet.hosts + sum(len(path) + size for path, size in own.items()),
        watches=host.watches * fleet.hosts + engine.watches * fleet.engines,
        connections=fleet.hosts + fleet.engines,
    )


def _own_znodes(rules: Sequence[Rule], fleet: Fleet) -> dict[str, int]:
    """The znodes that are there once, and how many bytes they hold."""
    tree = Tree(fleet.root)
    folders = (tree.top, tree.hosts, tree.engines, tree.alerts, tree.dead, tree.thresholds)
    empty = (*folders, tree.layout, f"{tree.root}/outbox", tree.outbox(0), f"{tree.root}/shards")
    asked = {tree.threshold(family): len(encode_limits(limits)) for family, limits in limits_of(rules).items()}
    engines = {f"{tree.engine(fleet.host_name)}-{number}": c.SIGN for number in range(fleet.engines)}
    waiting = {f"{tree.shard(0)}/{c.LOCK}{number}": c.SIGN for number in range(fleet.engines)}
    return {**dict.fromkeys(empty, 0), **asked, tree.shard(0): c.SIGN, **engines, **waiting}


def _steady(rate: float) -> Rate:
    return Rate(rate, rate)


# Hosts ----------------------------------------------------------------------------------------------------------------


def _host(rules: Sequence[Rule], fleet: Fleet) -> HostCost:
    limits = limits_of(rules)
    families = tuple(
        _family(published, rules, limits.get(published.family.name), fleet.resting) for published in fleet.published
    )
    tree, name = Tree(fleet.root), fleet.host_name
    znodes = {
        tree.host(name): len(encode_host(_info(name))),
        tree.alive(name): len(encode_alive(Alive(machine=_HASH, pid=12345, started_at=1_763_900_000.12))),
        tree.metrics(name): 0,
        **{tree.family(name, one.published.family.name): one.payload for one in families},
    }
    return HostCost(
        transactions=Rate(
            ticks_per_minute(one.every.rest for one in families),
            ticks_per_minute(one.every.full for one in families),
        ),
        sets=_total(one.sets for one in families),
        bytes_per_second=_total(one.bytes_per_second for one in families),
        znodes=len(znodes),
        tree_bytes=sum(len(path) + size for path, size in znodes.items()),
        watches=c.ACTIONS_WATCHES + 1 + len(SAMPLED),  # what rules ask of samples: the list, and each family
        memory=c.SAMPLER,
        families=families,
    )


def _info(name: str) -> HostInfo:
    return HostInfo(name=name, platform="Linux 6.1.0-37-amd64 x86_64", version="0.1.0", machine=_HASH)


def _family(
    published: Published, rules: Sequence[Rule], limits: FamilyLimits | None, resting: float | None
) -> FamilyCost:
    name = published.family.name
    needs_all = limits is None or limits.is_full
    return FamilyCost(
        published=published,
        every=Rate(_rest(published.interval, limits, resting), published.interval),
        payload=len(encode_sample(_sample(published, may_rest=resting is not None and not needs_all))),
        readers=sum(name in _read_by(rule) for rule in rules),
        needs_all=needs_all,
    )


def _rest(interval: float, limits: FamilyLimits | None, resting: float | None) -> float:
    """The seconds between two samples of a family whose values are far from every limit, as samplers choose them."""
    if resting is None or limits is None or limits.is_full:
        return interval
    if limits.quiet_after is not None:
        resting = min(resting, limits.quiet_after / 3)
    return interval * max(1, math.floor(resting / interval + _ROUNDING))


def _sample(published: Published, *, may_rest: bool) -> Sample:
    return typical_sample(published.family, published.instances, interval=published.interval, may_rest=may_rest)


def _read_by(rule: Rule) -> set[str]:
    """The families that an engine follows for a rule: those that it judges, and those that its texts show."""
    return {*families_of(rule), *(metric.family for metric in rule.reads)}


def _total(rates: Iterable[Rate]) -> Rate:
    return sum(rates, Rate(0.0, 0.0))


def ticks_per_minute(intervals: Iterable[float]) -> float:
    """How often a minute something is due of families whose grids all begin at the same moment."""
    instants: set[int] = set()
    for interval in set(intervals):
        instants.update(round(number * interval / _TOGETHER) for number in range(math.ceil(_HORIZON / interval)))
    return len(instants) * 60 / _HORIZON


# Engines --------------------------------------------------------------------------------------------------------------


def _engine(rules: Sequence[Rule], fleet: Fleet, host: HostCost, znodes: _Watches) -> EngineCost:
    followed = [one for one in host.families if one.readers]
    per_host = _total(one.sets for one in followed)
    standing_by = 1 if fleet.engines > 1 else 0
    here = sum(count for watched, count in znodes.items() if watched.ensemble == OWN_ENSEMBLE)
    return EngineCost(
        events_per_second=per_host.times(fleet.hosts / 60),
        bytes_per_second=_total(one.bytes_per_second for one in followed).times(fleet.hosts),
        transactions=60 / c.SIGN_OF_LIFE,
        watches=(
            c.ENGINE_WATCHES + fleet.engines + standing_by + fleet.hosts * (c.HOST_WATCHES + len(followed)) + here
        ),
        watches_elsewhere=sum(znodes.values()) - here,
        memory_by={
            "the engine itself": c.ENGINE + (c.CHANNELS if fleet.has_channels else 0),
            "rules": c.RULE * len(rules),
            "hosts": c.HOST * fleet.hosts,
            "last samples": sum(_kept(one.published) for one in followed) * fleet.hosts,
            "windows (`over`)": sum(_windows(rules, fleet)) * fleet.hosts,
            "series that rules remember": sum(_members(rules, fleet)) * fleet.hosts * c.MEMBER,
            "znodes": _memory_of(znodes),
        },
    )


def _kept(published: Published) -> int:
    """The bytes of one sample."""
    fields = len(published.family.fields)
    whole = fields if published.family.has_whole else 0
    return c.SAMPLE + c.FIELD * whole + published.instances * (c.INSTANCE + c.FIELD * fields)


def _windows(rules: Sequence[Rule], fleet: Fleet) -> Iterator[int]:
    """The bytes of each rule's windows on one host, once they are full."""
    published = {one.family.name: one for one in fleet.published}
    for rule in rules:
        for condition in rule.conditions:
            for term in _terms(condition):
                source = published.get(term.metric.family)
                if term.window is not None and source is not None:
                    buckets = min(math.ceil(term.window.over / source.interval), c.MOST_BUCKETS)
                    yield _series(rule, condition, source) * (c.WINDOW + buckets * c.BUCKET)


def _terms(condition: Condition) -> Iterator[Term]:
    yield condition.term
    if condition.relative_to is not None:
        yield condition.relative_to


def _series(rule: Rule, condition: Condition, source: Published) -> int:
    return source.instances if goes_by_instance(rule, condition) else 1


def _members(rules: Sequence[Rule], fleet: Fleet) -> Iterator[int]:
    """How many series of one host each rule remembers beside its windows."""
    published = {one.family.name: one for one in fleet.published}
    for rule in rules:
        if rule.across is None and len(rule.conditions) == 1 and rule.no_data.then is Quiet.KEEP:
            continue
        for condition in rule.conditions:
            source = published.get(condition.metric.family)
            if source is not None:
                yield _series(rule, condition, source)


# Znodes ---------------------------------------------------------------------------------------------------------------


class _Watched(NamedTuple):
    """What is watched of some znodes: those that these parts of a path (None: any name) lead to."""

    ensemble: str
    parts: tuple[str | None, ...]
    is_children: bool


_Watches: TypeAlias = Mapping[_Watched, int]
"""How many znodes that are."""


def _znodes(rules: Sequence[Rule], matches: int) -> dict[str, _Watches]:
    """What is watched for each pattern, however many rules read it."""
    fields: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        metrics = [term.metric for condition in rule.conditions for term in _terms(condition)]
        for metric in (*metrics, *rule.reads):
            if is_znode(metric.family):
                fields[metric.family].add(metric.field)
    return {name: dict(_watched(parse_pattern(name), read, matches)) for name, read in sorted(fields.items())}


def _watched(pattern: ZnodePattern, read: Collection[str], matches: int) -> Iterator[tuple[_Watched, int]]:
    """A list of children for each folder that is looked into, and one or two watches of each match.

    Each open part counts as if it had equally many names.
    """
    count = matches if pattern.is_open else 1
    opened = [place for place, part in enumerate(pattern.parts) if part is None]
    for number, place in enumerate(opened):
        folders = math.ceil(matches ** (number / len(opened)))
        yield _Watched(pattern.ensemble, pattern.parts[:place], is_children=True), folders
    yield _Watched(pattern.ensemble, pattern.parts, is_children=False), count
    if "children" in read:
        yield _Watched(pattern.ensemble, pattern.parts, is_children=True), count


def _joined(watches: Iterable[_Watches]) -> dict[_Watched, int]:
    """Those of all patterns: what several of them watch is watched once."""
    joined: dict[_Watched, int] = {}
    for some in watches:
        for watched, count in some.items():
            joined[watched] = max(count, joined.get(watched, 0))
    return joined


def _pattern(name: str, watches: _Watches) -> PatternCost:
    children = sum(count for watched, count in watches.items() if watched.is_children)
    data = sum(watches.values()) - children
    return PatternCost(
        pattern=name,
        matches=data,
        data_watches=data,
        children_watches=children,
        memory=_memory_of(watches),
    )


def _memory_of(watches: _Watches) -> int:
    return sum(count * (c.CHILDREN if watched.is_children else c.ZNODE) for watched, count in watches.items())
