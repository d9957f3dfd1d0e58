"""Short hashes of rules: of what one looks for, and of a whole set."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from operator import attrgetter
from typing import Any

from zkalert.model import Across, Condition, HostMatch, Override, Rule, Term


def with_digest(rule: Rule) -> Rule:
    """The rule with the hash of its condition: what it is, not how long, how bad or who hears of it."""
    object.__setattr__(rule, "digest", _digest_of(repr(_condition(rule))))  # nobody else has seen it yet
    return rule


def _condition(rule: Rule) -> list[Any]:
    """What the hash covers. A key that a rule does not have adds nothing, so that new keys change no old hash."""
    parts: list[Any] = [*map(_of_condition, rule.conditions)]
    if len(parts) > 1:
        parts.append(rule.join.value)
    levels = [(step.threshold, step.clear) for step in rule.steps if step.threshold is not None]
    overrides = [_of_override(one) for one in rule.overrides if one.threshold is not None or one.clear is not None]
    if levels:
        parts.append(("levels", levels))
    if overrides:
        parts.append(("overrides", overrides))
    if rule.within is not None:
        parts.append(("within", rule.within))
    if rule.across is not None:
        parts.append(("across", _of_across(rule.across)))
    if rule.hosts or rule.not_hosts:
        parts.append(("hosts", _of_hosts(rule.hosts), _of_hosts(rule.not_hosts)))
    if rule.instances is not None or rule.not_instances:
        parts.append(("instances", sorted(rule.instances or ()), sorted(rule.not_instances)))
    return parts


def _of_condition(one: Condition) -> list[Any]:
    parts = [*_of_term(one.term), one.comparator.value, one.threshold]
    if one.clear is not None:
        parts += ["clear", one.clear]
    if one.relative_to is not None:
        parts += ["relative_to", *_of_term(one.relative_to)]
    return parts


def _of_term(term: Term) -> tuple[Any, ...]:
    if term.window is None:
        return (*term.metric,)
    return (*term.metric, term.window.over, term.window.stat.value, term.window.parameter)


def _of_across(across: Across) -> tuple[Any, ...]:
    where = None if across.comparator is None else (across.comparator.value, across.threshold)
    return across.of.value, across.stat.value, across.by, where


def _of_override(one: Override) -> tuple[Any, ...]:
    instances = None if one.instances is None else sorted(one.instances)
    return _of_hosts(one.hosts), instances, one.threshold, one.clear


def _of_hosts(matches: tuple[HostMatch, ...]) -> list[Any]:
    return sorted([match.glob or "", sorted(match.labels.items())] for match in matches)


def digest(rules: Iterable[Rule]) -> str:
    """A short hash of a set of rules as a whole: the same for the same rules, whatever files they came from."""
    chosen = sorted(rules, key=lambda rule: rule.name)
    return _short_hash(json.dumps([{**_plain(rule), "source": ""} for rule in chosen], sort_keys=True))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_digest_of = functools.lru_cache(maxsize=4096)(_short_hash)  # many rules look for the same


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, the same in every process (sets have no order of their own)."""
    if value is None or type(value) in (str, float, bool, int):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    kind: type = type(value)
    names, read, defaults = _parts(kind)
    return {
        name: _plain(part) for name, part, default in zip(names, read(value), defaults, strict=True) if part != default
    }


@functools.cache
def _parts(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], tuple[Any, ...]]:
    """Names, values and defaults of the fields of a dataclass; what is at its default adds nothing."""
    names = tuple(field.name for field in fields(kind))
    read = attrgetter(*names)
    values = read if len(names) > 1 else lambda value: (read(value),)
    return names, values, tuple(MISSING if field.default is MISSING else field.default for field in fields(kind))
