"""A document against its schema: jsonschema is the judge, the words are ours. It is asked where something is wrong.

Schemas say in their own annotations what people are told: `x-expected` is what should stand in a place, `x-slips`
maps well-known wrong names to the right ones, `x-refused` says of well-known misplaced keys where they belong.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from zkalert.documents import masking
from zkalert.documents.accepting import compiled
from zkalert.documents.reading import MAX_FINDINGS, Document, paused_gc
from zkalert.documents.shipped import schema
from zkalert.metrics import nearest
from zkalert.model import Finding

if TYPE_CHECKING:  # it takes a tenth of a second and ten megabytes: who has nothing wrong does not pay
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_Path: TypeAlias = tuple["str | int", ...]

_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_TRUE = frozenset({"yes", "on", "y", "true"})
_FALSE = frozenset({"no", "off", "n", "false"})
_HOURS = re.compile(r"\s*(\d{1,2})\s*-\s*(\d{1,2})\s*")
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])?[a-z]*\s*", re.IGNORECASE)


def check(document: Document) -> tuple[Finding, ...]:
    """All that the schema of the document's kind says against it, in the order of the text."""
    return judge(document)[0]


def judge(document: Document) -> tuple[tuple[Finding, ...], frozenset[_Path]]:
    """As `check`, and where the schema has something to say, as paths of keys and indices.

    Where that is too often, the only place is the whole document.
    """
    with paused_gc():
        if _accepts(document.kind)(document.data):
            return (), frozenset()
        errors = list(islice(_validator(document.kind).iter_errors(document.data), MAX_FINDINGS + 1))
        told = islice(
            (finding for error in errors[:MAX_FINDINGS] for finding in _explain(document, error)), MAX_FINDINGS
        )
        findings = sorted(set(told), key=lambda finding: (finding.line, finding.column, finding.code, finding.message))
        are_too_many = len(errors) > MAX_FINDINGS
        places = frozenset({()}) if are_too_many else frozenset(tuple(error.absolute_path) for error in errors)
    if len(findings) >= MAX_FINDINGS:
        findings.append(document.finding((), "too-many", f"{MAX_FINDINGS} findings or more; the rest is not shown"))
    return tuple(findings), places


@functools.cache
def _accepts(kind: str) -> Callable[[object], bool]:
    return compiled(schema(kind))


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - see above

    return Draft202012Validator(schema(kind))


def _explain(document: Document, error: ValidationError) -> Iterator[Finding]:
    """One complaint of the judge as findings."""
    path = tuple(error.absolute_path)
    if error.validator == "anyOf":
        yield from _branch(document, error)
    elif error.validator == "additionalProperties":
        yield from _unknown_keys(document, error, path)
    elif error.validator in ("required", "dependentRequired"):
        yield from _missing_keys(document, error, path)
    elif error.validator == "enum":
        yield _not_listed(document, error, path)
    elif "propertyNames" in error.absolute_schema_path:
        yield document.finding(
            (*path, str(error.instance)),
            "wrong-key",
            f"{masking.name(str(error.instance))} cannot be a key here",
            expected=_expected(_place(error)) or "a shorter name",
            at_key=True,
        )
    else:
        yield _unfit(document, error, path)


def _branch(document: Document, error: ValidationError) -> Iterator[Finding]:
    """The complaints of the alternative that was meant: one whose type fits, and best that has what it requires."""
    alternatives: dict[int, list[ValidationError]] = {}
    for sub in error.context or ():
        alternatives.setdefault(int(sub.relative_schema_path[0]), []).append(sub)
    fitting = [subs for subs in alternatives.values() if not any(_is_about(sub, "type") for sub in subs)]
    if not fitting:
        yield _unfit(document, error, tuple(error.absolute_path))
        return
    lacking = [sub for subs in fitting for sub in subs if _is_about(sub, "required")]
    if len(fitting) > 1 and len(lacking) == len(fitting) and isinstance(error.instance, dict):
        slips = {slip: right for sub in lacking for slip, right in _place(sub).get("x-slips", {}).items()}
        needed = [name for sub in lacking for name in _place(sub)["required"]]
        meant = next((name for key in error.instance if (name := _meant(key, needed, slips)) in needed), "")
        if not meant:
            keys = " nor ".join(needed)
            yield document.finding(
                tuple(error.absolute_path), "missing-key", f"neither {keys}", expected=_expected(_place(error))
            )
            return
        fitting.sort(key=lambda subs: not any(meant in _place(sub).get("required", ()) for sub in subs))
    else:
        fitting.sort(key=lambda subs: (sum(_is_about(sub, "required") for sub in subs), len(subs)))
    for sub in fitting[0]:
        yield from _explain(document, sub)


def _place(error: ValidationError) -> dict[str, Any]:
    """The schema that a complaint is about; ours are all mappings."""
    place: Any = error.schema
    return place if isinstance(place, dict) else {}


def _is_about(error: ValidationError, keyword: str) -> bool:
    """Whether an alternative fails by `keyword` in the very place that has the alternatives."""
    return error.validator == keyword and not error.relative_path


def _unknown_keys(document: Document, error: ValidationError, path: _Path) -> Iterator[Finding]:
    mapping: Any = error.instance
    known = list(_place(error).get("properties", ()))
    slips, refused = _place(error).get("x-slips", {}), _place(error).get("x-refused", {})
    for key in mapping:
        if key in known:
            continue
        if key in refused:
            yield document.finding((*path, key), "misplaced-key", refused[key], expected=_one_of(known), at_key=True)
            continue
        meant = _meant(key, known, slips)
        yield document.finding(
            (*path, key),
            "unknown-key",
            f"unknown key {masking.name(key)}" if masking.name(key) != "a key" else "an unknown key",
            expected=_one_of(known),
            hint=f"did you mean {meant}?" if meant else "",
            at_key=True,
        )


def _missing_keys(document: Document, error: ValidationError, path: _Path) -> Iterator[Finding]:
    wanted: Any = error.validator_value
    mapping: Any = error.instance
    if error.validator == "dependentRequired":
        wanted = sorted({name for key, names in wanted.items() if key in mapping for name in names})
    known = _place(error).get("properties", {})
    slips = _place(error).get("x-slips", {})
    # A misspelt key is told once, as unknown, not as missing too.
    meant = {_meant(key, known, slips) for key in mapping if key not in known}
    for name in wanted:
        if name not in mapping and name not in meant:
            expected = _expected(_followed(document.kind, known.get(name, {})))
            yield document.finding(
                path, "missing-key", f"the key {name} is missing", expected=f"{name}: {expected}" if expected else ""
            )


def _meant(key: str, known: Sequence[str] | dict[str, Any], slips: dict[str, str]) -> str:
    """The known key that a wrong one stands for, or an empty text."""
    return slips.get(key) or (nearest(key, known) if len(key) <= 100 else "")


def _not_listed(document: Document, error: ValidationError, path: _Path) -> Finding:
    wanted: Any = error.validator_value
    listed = [str(item) for item in wanted]
    value = error.instance
    hint = _block_scalar(document, path)
    if not hint and isinstance(value, str) and len(value) <= 100:
        folded = value.strip().lower()
        meant = _place(error).get("x-slips", {}).get(folded) or (
            folded if folded in listed else nearest(folded, listed)
        )
        hint = f"did you mean {meant}?" if meant else ""
    return _found(document, error, path, "wrong-value", _one_of(listed), hint)


def _one_of(names: Iterable[object]) -> str:
    return "one of " + ", ".join(map(str, names))


def _unfit(document: Document, error: ValidationError, path: _Path) -> Finding:
    """A value of the wrong type or form."""
    is_type = error.validator in ("type", "anyOf")
    hint = _block_scalar(document, path) or _cure(document, error, path)
    return _found(document, error, path, "wrong-type" if is_type else "wrong-value", _expected(_place(error)), hint)


def _found(document: Document, error: ValidationError, path: _Path, code: str, expected: str, hint: str) -> Finding:
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    named = f"{key}: " if key and masking.name(key) != "a key" else ""
    is_open = masking.is_open(document.kind, path)
    found = show(error.instance) if is_open else _kind(error.instance)
    return document.finding(path, code, f"{named}found {found}", expected=expected, hint=hint if is_open else "")


def show(value: object) -> str:
    """A value for a message, short and without secrets: `text "x"`, `the number 5`, `a list`."""
    if isinstance(value, str) and value:
        text = masking.urls(value[:200])
        return f'text "{text}"' if len(text) <= 60 else f'text "{text[:57]}..."'
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = str(value)
        return f"the number {text}" if len(text) <= 40 else "a long number"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _kind(value)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    named = "list" if isinstance(value, list) else "mapping"
    return f"a {named}" if value else f"an empty {named}"


def _followed(kind: str, place: dict[str, Any]) -> dict[str, Any]:
    """A place in a schema, with what it refers to filled in."""
    reference = place.get("$ref", "")
    if not reference:
        return place
    target: Any = schema(kind)
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return {**_followed(kind, target), **place, "$ref": ""}


def _expected(place: dict[str, Any]) -> str:
    """What a schema wants, in words."""
    if "x-expected" in place:
        return str(place["x-expected"])
    if "enum" in place:
        return _one_of(place["enum"])
    types = place.get("type", ())
    return " or ".join(_TYPES[name] for name in ([types] if isinstance(types, str) else types))


def _block_scalar(document: Document, path: _Path) -> str:
    """The cure for `comparator: >`, which YAML reads as the beginning of a text over several lines."""
    text, style = document.written(path)
    if style in (">", "|") and not text.strip() and path:
        return f'{style} alone begins a text of several lines; quote it: {path[-1]}: "{style}"'
    return ""


def _cure(document: Document, error: ValidationError, path: _Path) -> str:
    """What to write instead, where the value shows what was meant."""
    value = error.instance
    types, pattern = _place(error).get("type", ()), _place(error).get("pattern", "")
    if isinstance(value, str) and value.strip().lower() in _place(error).get("x-slips", {}):
        return f"did you mean {_place(error)['x-slips'][value.strip().lower()]}?"
    if types == "array" and isinstance(value, dict) and value:
        return "a list has a dash before each item, or brackets around all of them"
    if types == "boolean" and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return f"did you mean {'true' if value.lower() in _TRUE else 'false'}?"
    if "ms|s|m|h|d|w" in pattern and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        span = _SPAN.fullmatch(str(value))
        return f"did you mean {span[1]}{(span[2] or 's').lower()}?" if span and len(span[1]) <= 12 else ""
    if "24:00" in pattern and isinstance(value, str) and (hours := _HOURS.fullmatch(value)):
        return f"did you mean {hours[1]}:00-{hours[2]}:00?"
    if types == "string" and "examples" not in _place(error) and isinstance(value, (bool, int, float)):
        return f'quote it: "{document.written(path)[0][:40]}"'
    if pattern and isinstance(value, str) and len(value) <= 100 and "://" not in value:
        slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
        return f"did you mean {slug}?" if slug and re.search(pattern, slug) else ""
    return ""
