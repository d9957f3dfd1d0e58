"""What a JSON Schema says of a key, in words: what it takes, with which examples, and which mappings are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tests.docs.text import code, flow, listed
from zkalert.documents.shipped import schema

Schema: TypeAlias = Mapping[str, Any]

_MOST_EXAMPLES = 4


def resolved(raw: Schema, kind: str) -> Schema:
    """A part of the schema `kind` with what it refers to; what stands beside the reference goes first."""
    if "$ref" not in raw:
        return raw
    target: Any = schema(kind)
    for part in raw["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**resolved(target, kind), **{key: value for key, value in raw.items() if key != "$ref"}}


def takes(found: Schema) -> str:
    if "x-expected" in found:
        return str(found["x-expected"])
    if "enum" in found:
        return listed(code(flow(value)) for value in found["enum"])
    return {"boolean": "`true` or `false`", "string": "a text"}.get(str(found.get("type")), "a mapping")


def examples(found: Schema) -> Sequence[Any]:
    shown: Sequence[Any] = found.get("examples", found.get("enum", ()))[:_MOST_EXAMPLES]
    return shown


def example(name: str, value: Any) -> str:
    """The key with a value, as YAML."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "\n".join([f"{name}:", *(f"  - {flow(item)}" for item in value)])
    return f"{name}: {flow(value)}"


def due(name: str, inner: Schema) -> str:
    return " (due)" if name in inner.get("required", ()) else ""


def objects(found: Schema, kind: str) -> Iterator[Schema]:
    """The mappings that a key takes, as its value, as one of several forms, or in a list; each once."""
    if "properties" in found:
        yield found
    parts = [*found.get("anyOf", ()), *([found["items"]] if "items" in found else [])]
    seen: list[Schema] = []
    for part in parts:
        for inner in objects(resolved(part, kind), kind):
            if inner not in seen:
                seen.append(inner)
                yield inner
