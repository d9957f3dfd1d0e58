"""Which form a rule has, and which keys go with it.

A rule says what it looks for in one of four forms: a threshold of its own, `levels`, `all` or `any`. The schema knows
each key, but `defaults` may bring any of them, so only the merged rule can be judged. What the defaults bring and the
form cannot have is left out; what the rule itself brings is an error. So no complaint is ever about a form that was
not meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zkalert.model import Comparator
from zkalert.rulefile.keys import Keys, Raw

_OF_ONE = ("metric", "comparator", "threshold", "clear", "over", "stat", "relative_to", "across", "levels")
_FORMS = {
    # a form's key, the keys that cannot stand beside it, and why
    "all": ((*_OF_ONE, "any"), "each condition has its own"),
    "any": ((*_OF_ONE, "all"), "each condition has its own"),
    "levels": (("threshold", "clear", "severity", "all", "any"), "each level has its own"),
}
_WHY = {"levels": "levels go with one condition", "across": "across goes with one condition"}
_WHY |= {"all": "a rule is one of them", "any": "a rule is one of them"}

_CLASHES: dict[str, set[str]] = {}
for _form, (_others, _) in _FORMS.items():
    for _other in _others:
        _CLASHES.setdefault(_form, set()).add(_other)
        _CLASHES.setdefault(_other, set()).add(_form)

_USELESS = {
    Comparator.ABSENT.value: ("threshold", "clear", "levels", "over", "stat", "relative_to"),
    Comparator.CHANGED.value: ("threshold", "clear", "levels", "stat", "relative_to"),
}


def merged(raw: Raw, defaults: Raw) -> Raw:
    """A rule with those defaults that go with what it says itself."""
    whole: dict[str, Any] = {
        key: value for key, value in defaults.items() if key not in _CLASHES or _CLASHES[key].isdisjoint(raw)
    }
    whole |= raw
    for key in _USELESS.get(str(whole.get("comparator")), ()):
        if key not in raw:
            whole.pop(key, None)
    return whole


def form(keys: Keys) -> str:
    """`all`, `any`, `levels`, or `threshold` where it is none of these."""
    if _FORMS.keys().isdisjoint(keys.values):
        return "threshold"
    return next(name for name in _FORMS if name in keys)


def clashes(keys: Keys, name: str) -> bool:
    """Whether there are keys that cannot stand beside that of the form; a finding for each."""
    found = list(_beside(keys, name))
    for key, why in found:
        keys.misplaced(
            key,
            "clashing-keys",
            f"{name} and {key} cannot stand together: {why}",
            expected=f"either {name} or {key}" if key in _FORMS else f"no key {key} beside {name}",
        )
    return bool(found)


def _beside(keys: Keys, name: str) -> Iterator[tuple[str, str]]:
    others, why = _FORMS[name]
    for key in others:
        if key in keys:
            yield key, _WHY.get(key, why)
