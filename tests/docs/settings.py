"""The reference of all keys of zkalert.yaml, made of their JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.docs import schemas
from tests.docs.schemas import Schema, takes
from tests.docs.text import anchor, code, flow, paragraph, table, yaml_block
from zkalert.documents.shipped import schema

_KIND = "config"
NAME = "NAME"
"""Stands for names of the user's own in a path: of channels, of actions."""


class Setting(NamedTuple):
    """One key: its dotted path below the key at the top, and what the schema says of it."""

    path: str
    schema: Schema
    is_due: bool


def settings() -> Mapping[str, Schema]:
    """The schemas of the keys at the top."""
    found: Mapping[str, Schema] = schema(_KIND)["properties"]
    return {name: _resolved(raw) for name, raw in found.items()}


def contents() -> str:
    """Each key at the top, with the first sentence that is said of it."""
    firsts = {name: found["description"].partition(". ")[0].rstrip(".") for name, found in settings().items()}
    return "\n".join(f"- [`{name}`](#{anchor(name)}): {first}" for name, first in firsts.items())


def reference() -> str:
    """A section for each key at the top, with a table of those below it."""
    return "\n\n".join(part for name, found in settings().items() for part in _section(name, found))


def _section(name: str, found: Schema) -> Iterator[str]:
    yield f"### {name}"
    yield paragraph(found["description"])
    facts = [f"- Takes {takes(found)}."]
    if "default" in found:
        facts.append(f"- Default: {code(flow(found['default']))}.")
    yield "\n".join(facts)
    if shown := schemas.examples(found):
        yield yaml_block("\n".join(schemas.example(name, value) for value in shown))
    if rows := [_row(setting) for setting in below(found)]:
        yield table(("key", "meaning", "takes", "default", "example"), rows)


def _row(setting: Setting) -> tuple[str, ...]:
    found = setting.schema
    default = code(flow(found["default"])) if "default" in found else ""
    shown = found.get("examples", ()) if not default else ()
    return (
        code(setting.path) + (" (due)" if setting.is_due else ""),
        found["description"],
        takes(found),
        default,
        code(flow(shown[0])) if shown else "",
    )


def below(found: Schema, prefix: str = "") -> Iterator[Setting]:
    """All keys below one, each with those below itself; `NAME` stands for names of the user's own."""
    if "properties" in found:
        for name, raw in found["properties"].items():
            inner = _resolved(raw)
            yield Setting(f"{prefix}{name}", inner, name in found.get("required", ()))
            yield from below(inner, f"{prefix}{name}.")
    named: Any = found.get("additionalProperties")
    if isinstance(named, dict) and "description" in (inner := _resolved(named)):
        yield Setting(f"{prefix}{NAME}", inner, is_due=False)
        yield from below(inner, f"{prefix}{NAME}.")
    for part in (*found.get("anyOf", ()), *([found["items"]] if "items" in found else [])):
        yield from below(_resolved(part), prefix)


def _resolved(raw: Schema) -> Schema:
    return schemas.resolved(raw, _KIND)
