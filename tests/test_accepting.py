"""What is accepted without jsonschema is what jsonschema accepts: of our schemas, of any schema with known keywords."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from jsonschema import Draft202012Validator

from zkalert import documents
from zkalert.documents import judging
from zkalert.documents.accepting import UnknownKeywordError, compiled

ROOT = Path(__file__).parent.parent
KINDS = ("rules", "config", "tests")
SCHEMAS: dict[str, dict[str, Any]] = {kind: json.loads(documents.schema_bytes(kind)) for kind in KINDS}
VALIDATORS = {kind: Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}
ACCEPTS = {kind: compiled(schema) for kind, schema in SCHEMAS.items()}

many = settings(max_examples=1000, deadline=None)
some = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def corpus() -> Iterator[Any]:
    """The values of all YAML files of the project that can be read, the wrong ones too."""
    for folder in ("tests/rules", "tests/ruletests", "tests/packs", "rules", "examples"):
        for path in sorted((ROOT / folder).rglob("*.yaml")):
            document, _ = documents.parse(path.read_bytes(), path.name, "rules")
            if document.data is not None:
                yield document.data


CORPUS = list(corpus())


def test_all_files_of_the_project_are_judged_alike() -> None:
    verdicts = [
        (accepts(data), VALIDATORS[kind].is_valid(data)) for kind, accepts in ACCEPTS.items() for data in CORPUS
    ]
    assert all(ours == theirs for ours, theirs in verdicts)
    assert {True, False} == {ours for ours, _ in verdicts}
    assert len(verdicts) > 300


_NUMBERS = st.integers(-3, 130) | st.floats() | st.sampled_from([10**400, -(10**400), 1.0, 2.5, -0.0, 100.0, math.nan])
_TEXTS = st.text(max_size=4) | st.sampled_from(
    ["5m", "5m\n", "mon-fri", "a" * 101, "\u0660m", "name", "A", "90%", "p99"]
)
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXTS
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "metric", "b", "c"]) | _TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each value inside another one, as what holds it and its key or index there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield value, key
        yield from places(item)


@given(st.data())
@many
def test_files_with_a_change_anywhere_are_judged_alike(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(1, 2))):
        found = list(places(document))
        assume(found)
        holder, key = data.draw(st.sampled_from(found))
        change = data.draw(st.sampled_from(["replace", "remove", "add", "rename"]))
        if change == "replace":
            holder[key] = data.draw(_JSON)
        elif change == "remove":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(data.draw(_JSON))
        elif change == "add":
            holder[data.draw(_TEXTS)] = data.draw(_JSON)
        else:
            holder[data.draw(st.sampled_from([other for _, other in found if isinstance(other, str)]))] = holder.pop(
                key
            )
    for kind, accepts in ACCEPTS.items():
        assert accepts(document) == VALIDATORS[kind].is_valid(document)


def meant_by(kind: str, place: str) -> SearchStrategy[Any]:
    """Documents that a part of a schema, as JSON, may have been written for: most of them pass it."""
    return _meant_by(kind, place)


@functools.cache
def _meant_by(kind: str, place: str) -> SearchStrategy[Any]:
    schema = json.loads(place)
    if "$ref" in schema:
        target: Any = SCHEMAS[kind]
        for name in schema["$ref"][2:].split("/"):
            target = target[name]
        return st.deferred(lambda: meant_by(kind, json.dumps(target)))
    if "anyOf" in schema:
        return st.one_of([meant_by(kind, json.dumps(one)) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema.get("type", [])
    made = [_of_type(kind, one, schema) for one in ([types] if isinstance(types, str) else types)]
    return st.one_of(made) if made else _JSON


def _of_type(kind: str, name: str, schema: dict[str, Any]) -> SearchStrategy[Any]:
    if name == "object":
        known = {key: meant_by(kind, json.dumps(one)) for key, one in schema.get("properties", {}).items()}
        needed = {key: known.pop(key) for key in schema.get("required", ()) if key in known}
        fixed = st.fixed_dictionaries(needed, optional=known)
        others = schema.get("additionalProperties", {})
        if others is False:
            return fixed
        extra = st.dictionaries(_TEXTS, meant_by(kind, json.dumps(others)), max_size=3)
        return st.builds(lambda one, other: {**other, **one}, fixed, extra)
    if name == "array":
        return st.lists(meant_by(kind, json.dumps(schema.get("items", {}))), max_size=3)
    if name == "string":
        examples = [one for one in schema.get("examples", ()) if isinstance(one, str)]
        written = st.sampled_from(examples) if examples else _TEXTS
        return written | st.from_regex(schema["pattern"]) if "pattern" in schema else written
    return {"boolean": st.booleans(), "null": st.none()}.get(name, _NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@some
def test_documents_made_from_a_schema_are_judged_alike(kind: str, data: st.DataObject) -> None:
    document = data.draw(meant_by(kind, json.dumps(SCHEMAS[kind])))
    assert ACCEPTS[kind](document) == VALIDATORS[kind].is_valid(document)


_SMALL = st.integers(0, 3)
_NAMES = st.lists(st.sampled_from(["name", "metric", "b"]), max_size=2, unique=True)
_TYPES = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
_KEYWORDS: dict[str, SearchStrategy[Any]] = {
    "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3),
    "minLength": _SMALL,
    "maxLength": _SMALL,
    "pattern": st.sampled_from(["^a", "b$", "m", "^\\d+m$(?!\\n)", ""]),
    "minimum": _SMALL,
    "maximum": _SMALL | st.just(2.5),
    "minItems": _SMALL,
    "maxItems": _SMALL,
    "minProperties": _SMALL,
    "maxProperties": _SMALL,
    "required": _NAMES,
    "dependentRequired": st.dictionaries(st.sampled_from(["name", "b", "c"]), _NAMES, max_size=2),
    "enum": st.lists(st.sampled_from(["name", "a", "5m"]), min_size=1, max_size=3),
    "x-expected": _TEXTS,
    "description": _TEXTS,
}


def _around(inner: SearchStrategy[Any]) -> dict[str, SearchStrategy[Any]]:
    return {
        "anyOf": st.lists(inner, min_size=1, max_size=3),
        "items": inner,
        "properties": st.dictionaries(st.sampled_from(["name", "metric", "b"]), inner, max_size=3),
        "additionalProperties": st.just(False) | inner,
        "propertyNames": inner,
        "$ref": st.just("#/$defs/text"),
    }


def _of_some(keywords: dict[str, SearchStrategy[Any]]) -> SearchStrategy[dict[str, Any]]:
    """Schemas of a few keywords: with many, hardly any value would pass."""
    chosen = st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


_SCHEMAS = st.recursive(_of_some(_KEYWORDS), lambda inner: _of_some(_KEYWORDS | _around(inner)), max_leaves=6)


@given(_SCHEMAS, st.lists(_JSON, min_size=5, max_size=10))
@many
def test_any_schema_of_known_keywords_judges_alike(schema: dict[str, Any], values: list[Any]) -> None:
    schema = {**schema, "$defs": {"text": {"type": ["string", "object"], "maxLength": 3}}}
    validator, accepts = Draft202012Validator(schema), compiled(schema)
    for value in values:
        assert accepts(value) == validator.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value", "is_right"),
    [
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 1.5, False),
        ({"type": "integer"}, math.inf, False),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, False, False),
        ({"type": ["integer", "number"]}, 1.5, True),
        ({"type": ["number", "integer"]}, 1.5, True),
        ({"minimum": 1}, False, True),
        ({"minimum": 1}, "0", True),
        ({"minimum": 1, "maximum": 2}, math.nan, True),
        ({"minimum": 1, "maximum": 2}, 1, True),
        ({"minimum": 1, "maximum": 2}, 2.0, True),
        ({"minimum": 1}, 0.9, False),
        ({"maximum": 2}, 3, False),
        ({"minLength": 1, "maxLength": 1}, "\U0001f600", True),
        ({"minLength": 1}, "", False),
        ({"maxLength": 1}, "ab", False),
        ({"minItems": 1, "maxItems": 1}, [0], True),
        ({"minItems": 1}, [], False),
        ({"maxItems": 1}, [0, 0], False),
        ({"minProperties": 1, "maxProperties": 1}, {"a": 0}, True),
        ({"minProperties": 1}, {}, False),
        ({"maxProperties": 1}, {"a": 0, "b": 0}, False),
        ({"pattern": "b"}, "abc", True),
        ({"pattern": "^b"}, "a\nb", False),
        ({"enum": ["1"]}, 1, False),
        ({"enum": ["a"]}, ["a"], False),
        ({"required": ["a"]}, [], True),
        ({"dependentRequired": {"a": ["b", "c"]}}, {"b": 1}, True),
        ({"dependentRequired": {"a": ["b", "c"]}}, {"a": 1, "b": 1}, False),
        ({"items": {"type": "string"}}, {"a": 1}, True),
        ({"additionalProperties": False}, {}, True),
        ({"additionalProperties": False}, {"a": 1}, False),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"a": 1, "b": None}, True),
        ({"anyOf": [{"minLength": 3}, {"type": "null"}]}, 5, True),
    ],
    ids=str,
)
def test_the_corners_of_json_schema(schema: dict[str, Any], value: object, is_right: bool) -> None:
    assert Draft202012Validator(schema).is_valid(value) is is_right
    assert compiled(schema)(value) is is_right


KNOWN = {"$ref", "type", "enum", "pattern", "required", "dependentRequired", "anyOf", "items", "properties"}
KNOWN |= {"additionalProperties", "propertyNames", "minimum", "maximum"}
KNOWN |= {f"{end}{what}" for end in ("min", "max") for what in ("Length", "Items", "Properties")}


@pytest.mark.parametrize("keyword", [*sorted(set(Draft202012Validator.VALIDATORS) - KNOWN), "maxlength", "$id", "then"])
def test_a_keyword_that_is_not_known_is_refused_wherever_it_stands(keyword: str) -> None:
    unknown: dict[str, Any] = {keyword: {}}
    with pytest.raises(UnknownKeywordError, match=keyword.replace("$", r"\$")):
        compiled({"properties": {"a": {"items": {"anyOf": [{"additionalProperties": unknown}]}}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [1]},
        {"enum": [None, "a"]},
        {"$ref": "https://example.org/schema"},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
        {"properties": {"a": True}},
        {"type": "any"},
    ],
    ids=str,
)
def test_what_is_not_known_of_a_known_keyword_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UnknownKeywordError):
        compiled(schema)


@pytest.mark.parametrize("value", [(1,), b"a", {1}, object(), type("Text", (str,), {})("a")], ids=repr)
def test_a_value_that_json_does_not_have_is_not_accepted(value: object) -> None:
    assert not compiled({})(value)
    assert not compiled({"items": {}})([value])


def test_who_is_refused_without_a_reason_is_accepted_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_accepts", lambda _kind: lambda _data: False)
    document, _ = documents.parse("rules: []", "a.yaml", "rules")
    assert documents.judge(document) == ((), frozenset())
