"""A JSON Schema made into a function that says whether a document passes: yes or no, and nothing of why.

It takes a twentieth of the time that jsonschema needs, which stays the judge: who fails here is judged, and told,
there. So it may err on one side alone, by refusing: a schema with a keyword that ours do not use is refused as a whole,
and so is a value of a type that JSON does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any], object]
"""Says by its truth whether a value, whose type is known, passes."""

Place: TypeAlias = Mapping[type, Check]
"""What may stand in a place: the Python types that are allowed there, and what each value of such a type must pass."""

_TYPES: dict[str, dict[type, tuple[Check, ...]]] = {
    "string": {str: ()},
    "number": {int: (), float: ()},
    "integer": {int: (), float: (float.is_integer,)},  # 1.0 is one
    "boolean": {bool: ()},
    "array": {list: ()},
    "object": {dict: ()},
    "null": {type(None): ()},
}
_LIMITS: dict[str, tuple[tuple[type, ...], Callable[[Any], Check]]] = {
    # a keyword, the types that it speaks of, and what makes its check of its value
    "minLength": ((str,), lambda least: lambda text: len(text) >= least),
    "maxLength": ((str,), lambda most: lambda text: len(text) <= most),
    "pattern": ((str,), lambda pattern: re.compile(pattern).search),
    "minimum": ((int, float), lambda least: lambda number: not number < least),  # NaN passes
    "maximum": ((int, float), lambda most: lambda number: not number > most),
    "minItems": ((list,), lambda least: lambda items: len(items) >= least),
    "maxItems": ((list,), lambda most: lambda items: len(items) <= most),
    "minProperties": ((dict,), lambda least: lambda mapping: len(mapping) >= least),
    "maxProperties": ((dict,), lambda most: lambda mapping: len(mapping) <= most),
    "required": ((dict,), lambda names: lambda mapping: all(map(mapping.__contains__, names))),
    "dependentRequired": ((dict,), lambda needs: lambda mapping: _has_what_it_needs(mapping, needs)),
}
_OF_THE_ROOT = frozenset({"$schema", "$id", "$defs"})
_STRUCTURE = ("type", "$ref", "anyOf", "enum", "items", "properties", "additionalProperties", "propertyNames")
_ANNOTATIONS = ("title", "description", "default", "examples")
_KNOWN = frozenset({*_LIMITS, *_STRUCTURE, *_ANNOTATIONS})


class UnknownKeywordError(ValueError):
    """A schema says what is not known here, so that nothing can be said of any document."""


def compiled(schema: Mapping[str, Any]) -> Callable[[object], bool]:
    """A function that says whether a document passes `schema`, in the dialect 2020-12.

    Raises UnknownKeywordError where the schema is beyond what is known here.
    """
    root = _Compiler(schema).place({key: value for key, value in schema.items() if key not in _OF_THE_ROOT})
    return lambda document: bool(_passes(root, document))


def _passes(place: Place, value: object) -> object:
    check = place.get(type(value))
    return check is not None and check(value)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[str, Place | None] = {}  # None while it is being made

    def place(self, schema: Mapping[str, Any]) -> Place:
        """What a schema allows: what all of its keywords do."""
        if not isinstance(schema, Mapping):  # true and false are schemas too
            raise UnknownKeywordError(f"the schema {schema}")
        unknown = [name for name in schema if name not in _KNOWN and not name.startswith("x-")]
        if unknown:
            raise UnknownKeywordError(f"not known: {', '.join(unknown)}")
        checks = _of_types(schema.get("type", list(_TYPES)))
        for place in self._wholes(schema):
            checks = {kind: [*found, place[kind]] for kind, found in checks.items() if kind in place}
        for keyword, (kinds, make) in _LIMITS.items():
            if keyword in schema:
                check = make(schema[keyword])
                for kind in kinds:
                    checks.get(kind, []).append(check)
        for kind, inside in ((list, self._items(schema)), (dict, self._mapping(schema))):
            if inside is not None:
                checks.get(kind, []).append(inside)
        return {kind: _all(found) for kind, found in checks.items()}

    def _wholes(self, schema: Mapping[str, Any]) -> Iterator[Place]:
        """What other schemas allow here, and a list of values."""
        if "$ref" in schema:
            yield self._target(schema["$ref"])
        if "anyOf" in schema:
            yield _any([self.place(one) for one in schema["anyOf"]])
        if "enum" in schema:
            if not all(isinstance(one, str) for one in schema["enum"]):
                raise UnknownKeywordError("enum of something else than texts")
            yield {str: frozenset(schema["enum"]).__contains__}

    def _target(self, reference: str) -> Place:
        if reference not in self._known:
            if not reference.startswith("#/") or "~" in reference or "%" in reference:
                raise UnknownKeywordError(f"reference {reference}")
            self._known[reference] = None
            target: Any = self._root
            for name in reference[2:].split("/"):
                target = target[name]
            self._known[reference] = self.place(target)
        place = self._known[reference]
        if place is None:
            raise UnknownKeywordError(f"reference {reference} within itself")
        return place

    def _items(self, schema: Mapping[str, Any]) -> Check | None:
        if "items" not in schema:
            return None
        find = self.place(schema["items"]).get

        def check(items: list[Any]) -> bool:
            for item in items:
                passes = find(type(item))
                if passes is None or not passes(item):
                    return False
            return True

        return check

    def _mapping(self, schema: Mapping[str, Any]) -> Check | None:
        """The check of keys and of their values."""
        if schema.keys().isdisjoint(("properties", "additionalProperties", "propertyNames")):
            return None
        known = {name: self.place(one) for name, one in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties", {})
        beside: Place = {} if others is False else self.place(others)
        names = self.place(schema["propertyNames"]) if "propertyNames" in schema else None

        def check(mapping: dict[Any, Any]) -> bool:
            for name, value in mapping.items():
                passes = known.get(name, beside).get(type(value))
                if passes is None or not passes(value):
                    return False
            return names is None or all(_passes(names, name) for name in mapping)

        return check


def _of_types(names: str | Sequence[str]) -> dict[type, list[Check]]:
    """The checks, by Python type, of JSON's types; a type that is there twice is the wider one of both."""
    checks: dict[type, list[Check]] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in _TYPES:
            raise UnknownKeywordError(f"type {name}")
        for kind, found in _TYPES[name].items():
            checks[kind] = [] if checks.get(kind) == [] else list(found)
    return checks


def _any(places: Sequence[Place]) -> Place:
    """What one of several allows."""
    kinds = {kind for place in places for kind in place}
    return {kind: _either([place[kind] for place in places if kind in place]) for kind in kinds}


def _either(checks: Sequence[Check]) -> Check:
    return checks[0] if len(checks) == 1 else lambda value: any(check(value) for check in checks)


def _all(checks: Sequence[Check]) -> Check:
    if not checks:
        return _anything
    if len(checks) == 1:
        return checks[0]
    first, *rest = checks
    second = _all(rest)
    return lambda value: first(value) and second(value)


def _anything(_value: object) -> bool:
    return True


def _has_what_it_needs(mapping: Mapping[str, Any], needs: Mapping[str, Sequence[str]]) -> bool:
    return all(name in mapping for key, names in needs.items() if key in mapping for name in names)
