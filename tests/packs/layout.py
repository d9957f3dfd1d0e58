"""What the rules of a pack look at, and what a real system has there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zkalert.metrics import ZnodePattern, is_znode, parse_pattern
from zkalert.model import Rule
from zkalert.rulefile import load
from zkalert.zk import Client, NoNodeError

RULES = Path(__file__).parent.parent.parent / "rules"


def pack(name: str) -> tuple[Rule, ...]:
    """The rules of one pack."""
    found = load([RULES / f"{name}.yaml"])
    assert not found.findings
    return tuple(found.rules)


def patterns(rules: tuple[Rule, ...]) -> set[str]:
    """All families of znodes that rules name."""
    return {one.term.metric.family for rule in rules for one in rule.conditions if is_znode(one.term.metric.family)}


def matches(client: Client, family: str) -> list[str]:
    """The paths of znodes that are there and that a family names, in order."""
    pattern = parse_pattern(family)
    return sorted(_walk(client, pattern, ()))


def _walk(client: Client, pattern: ZnodePattern, names: tuple[str, ...]) -> Iterator[str]:
    opened = [index for index, part in enumerate(pattern.parts) if part is None]
    if len(names) == len(opened):
        path = pattern.path(len(pattern.parts), names)
        if client.exists(path):
            yield path
        return
    try:
        children = client.get_children(pattern.path(opened[len(names)], names))
    except NoNodeError:
        return
    for child in children:
        yield from _walk(client, pattern, (*names, child))
