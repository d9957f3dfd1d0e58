"""The reference of all keys of a rule, made of their JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.docs import recipes, schemas
from tests.docs.recipes import Recipe
from tests.docs.schemas import Schema, takes
from tests.docs.text import code, flow, listed, paragraph, table, yaml_block
from zkalert.documents.shipped import schema

GROUPS = {
    "What it is called": ("name", "enabled"),
    "What is looked for": ("metric", "comparator", "threshold", "levels", "all", "any"),
    "Where": ("hosts", "not_hosts", "instances", "not_instances", "overrides", "across"),
    "Windows and ratios": ("over", "stat", "relative_to"),
    "When it fires and when it is over": ("duration", "within", "clear", "clear_duration", "schedule"),
    "When data is missing": ("no_data", "instance_gone"),
    "Who hears of it": ("severity", "action", "repeat", "escalate", "inhibited_by", "flap"),
    "What is said": ("summary", "description", "runbook", "labels"),
}
"""All keys of a rule, in the order in which they are told."""

_RULE = "#/$defs/rule/properties/"
_MOST_RECIPES = 3
_RARE = 15
"""Keys of more recipes than these need no pointers."""


def rule_keys() -> Mapping[str, Schema]:
    """The schemas of a rule's keys."""
    found: Mapping[str, Schema] = schema("rules")["$defs"]["rule"]["properties"]
    return found


def reference(cookbook: Sequence[Recipe]) -> str:
    """A heading for each group, a section for each key, and one for `defaults`."""
    parts: list[str] = []
    for title, names in GROUPS.items():
        parts.append(f"### {title}")
        for name in names:
            parts += _section(name, rule_keys()[name], cookbook)
    return "\n\n".join([*parts, "### For all rules of a file", *_defaults(cookbook)])


def _section(name: str, raw: Schema, cookbook: Sequence[Recipe]) -> Iterator[str]:
    resolved = _resolved(raw)
    yield f"#### {name}"
    yield paragraph(resolved["description"])
    yield "\n".join(_facts(name, resolved, cookbook))
    examples = schemas.examples(resolved)
    if examples:
        yield yaml_block("\n".join(schemas.example(name, value) for value in examples))
    for inner in schemas.objects(resolved, "rules"):
        yield from _mapping(inner, is_alone=inner is resolved)


def _defaults(cookbook: Sequence[Recipe]) -> Iterator[str]:
    raw: Schema = schema("rules")["properties"]["defaults"]
    missing = [code(name) for name in rule_keys() if name not in raw["properties"]]
    yield "#### defaults"
    beside = f"It stands beside `rules`, and takes all keys of a rule but {listed(missing)}."
    yield paragraph(f"{raw['description']} {beside}")
    yield "\n".join(_facts("defaults", raw, [one for one in cookbook if "defaults" in one.data]))
    yield yaml_block("\n".join(f"defaults: {flow(example)}" for example in raw["examples"]))


def _facts(name: str, resolved: Schema, cookbook: Sequence[Recipe]) -> Iterator[str]:
    yield f"- Takes {takes(resolved)}."
    if "default" in resolved:
        yield f"- Default: {code(flow(resolved['default']))}."
    found = [one for one in cookbook if name == "defaults" or name in set(recipes.used(one.data["rules"]))]
    if found and (len(found) <= _RARE):
        links = (recipes.link(one, "cookbook.md") for one in found[:_MOST_RECIPES])
        yield f"- In the cookbook: {listed(links, 'and')}."


def _resolved(raw: Schema) -> Schema:
    return schemas.resolved(raw, "rules")


def _mapping(inner: Schema, *, is_alone: bool) -> Iterator[str]:
    """The keys of a mapping: in one sentence those that are the rule's own again, in a table the others."""
    title = "the mapping" if is_alone or "title" not in inner else f"`{inner['title'].lower()}`"
    own = [_link(name, inner) for name, raw in inner["properties"].items() if _is_of_the_rule(raw)]
    if own:
        yield paragraph(f"Keys of {title}, as those of the rule: {listed(own, 'and')}.")
    rows = list(_rows(inner))
    if rows:
        yield f"{'Other keys' if own else 'Keys'} of {title}:"
        yield table(("key", "meaning", "takes", "default"), rows)


def _link(name: str, inner: Schema) -> str:
    target = inner["properties"][name]["$ref"].removeprefix(_RULE)
    return f"[`{name}`](#{target})" + schemas.due(name, inner)


def _is_of_the_rule(raw: Schema) -> bool:
    return bool(raw.get("$ref", "").startswith(_RULE))


def _rows(inner: Schema, prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, raw in inner["properties"].items():
        if _is_of_the_rule(raw) and not prefix:
            continue
        resolved = _resolved(raw)
        default = code(flow(resolved["default"])) if "default" in resolved else ""
        yield code(f"{prefix}{name}") + schemas.due(name, inner), resolved["description"], takes(resolved), default
        if "properties" in resolved:
            yield from _rows(resolved, f"{prefix}{name}.")


def paths() -> set[str]:
    """Each key once, as a dotted path: those of a rule, and below them those that are not the rule's own again."""
    return {path for name, raw in rule_keys().items() for path in _paths(name, _resolved(raw))}


def _paths(prefix: str, resolved: Schema) -> Iterator[str]:
    yield prefix
    for inner in schemas.objects(resolved, "rules"):
        for name, raw in inner["properties"].items():
            if not _is_of_the_rule(raw):
                yield from _paths(f"{prefix}.{name}", _resolved(raw))
