"""Documents made of documents: values changed, moved, swapped and spliced, written anew, and then hurt as text."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias, TypeVar

import yaml
from hypothesis import strategies as st

from tests.fuzz import nasty
from tests.fuzz.corpus import Corpus

MAX_SIZE = 64 * 1024

_T = TypeVar("_T")
_Slot: TypeAlias = "tuple[Any, Any, str]"
"""A mapping or list, the key or index in it, and the nearest key above."""


class _Quoting(yaml.SafeDumper):
    """Texts always in quotes: what PyYAML takes for one, our reader might take for a number."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def dump(tree: Any, *, is_flow: bool = False) -> str:
    """A tree as YAML that means the same to any reader."""
    stream = io.StringIO()
    yaml.dump(
        copy.deepcopy(tree),  # what is there twice becomes an anchor and an alias otherwise
        stream,
        Dumper=_Quoting,
        sort_keys=False,
        default_flow_style=is_flow,
        width=10**6,
    )
    return stream.getvalue()


def documents(corpus: Corpus) -> st.SearchStrategy[bytes]:
    """Documents near those of a corpus."""
    return st.randoms(use_true_random=True).map(lambda random: _Maker(corpus, random).document())


class _Maker:
    def __init__(self, corpus: Corpus, random: Random) -> None:
        self._corpus = corpus
        self._random = random

    def document(self) -> bytes:
        if self._chance(0.02):
            return self._random.randbytes(self._random.randrange(200))
        if self._chance(0.4):
            text = self._pick(self._corpus.texts)
        else:
            tree = copy.deepcopy(self._pick(self._corpus.trees))
            for _ in range(self._count()):
                self._change(tree)
            text = dump(tree, is_flow=self._chance(0.2))
        if self._chance(0.4):
            for _ in range(self._count()):
                text = self._pick(_TEXT_CHANGES)(self, text)[:MAX_SIZE]
        return self._encoded(f"{text}\n# samples {self._random.randrange(1000)}\n")[:MAX_SIZE]

    def _pick(self, options: Sequence[_T]) -> _T:
        return options[self._random.randrange(len(options))]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _count(self) -> int:
        """Mostly one, sometimes some."""
        return self._pick((1, 1, 1, 2, 2, 3, 5))

    # Trees ------------------------------------------------------------------------------------------------------------

    def _change(self, tree: Any) -> None:
        slots: list[_Slot] = []
        _slots(tree, "", slots)
        if not slots:
            return
        inside, place, key = self._pick(slots)
        self._pick(_TREE_CHANGES)(self, inside, place, key)

    def _replace(self, inside: Any, place: Any, key: str) -> None:
        """A value by one that stands under the same key elsewhere."""
        known = self._corpus.values.get(key)
        inside[place] = copy.deepcopy(self._pick(known)) if known else self._nasty()

    def _replace_by_any(self, inside: Any, place: Any, _key: str) -> None:
        known = self._corpus.values[self._pick(list(self._corpus.values))]
        inside[place] = copy.deepcopy(self._pick(known))

    def _spoil(self, inside: Any, place: Any, _key: str) -> None:
        inside[place] = self._nasty()

    def _wrap(self, inside: Any, place: Any, key: str) -> None:
        value = inside[place]
        inside[place] = self._pick(([value], [value, value], {key or "a": value}, [[value]], {"x": [value]}))

    def _remove(self, inside: Any, place: Any, _key: str) -> None:
        del inside[place]

    def _rename(self, inside: Any, place: Any, _key: str) -> None:
        if not isinstance(inside, dict):
            return
        name = self._pick((*self._corpus.values, *nasty.TEXTS, str(place)[:-1], f"{place}s", str(place).upper()))
        items = [(name if known == place else known, value) for known, value in inside.items()]
        inside.clear()
        inside.update(items)

    def _add(self, inside: Any, place: Any, key: str) -> None:
        """One key more, of those that stand in such a mapping elsewhere; or an item twice."""
        if isinstance(inside, list):
            inside.insert(place, copy.deepcopy(inside[place]))
            return
        above = next((name for name, items in self._corpus.items.items() if (place, inside[place]) in items), key)
        name, value = self._pick(self._corpus.items.get(above) or [("a", 1)])
        inside[name] = copy.deepcopy(value)

    def _nasty(self) -> Any:
        options: tuple[Sequence[Any], ...] = (nasty.TEXTS, nasty.VALUES, nasty.PATTERNS, nasty.TEMPLATES)
        return copy.deepcopy(self._pick(self._pick(options)))

    # Texts ------------------------------------------------------------------------------------------------------------

    def _value_raw(self, text: str) -> str:
        """What stands behind a colon or a dash."""
        lines = text.split("\n")
        at = self._random.randrange(len(lines))
        head, colon, _ = lines[at].partition(": ")
        if not colon:
            head, colon, _ = lines[at].partition("- ")
        lines[at] = f"{head}{colon}{self._pick(nasty.RAW)}"
        return "\n".join(lines)

    def _line(self, text: str) -> str:
        """A line away, twice, elsewhere, indented otherwise, or one of another document."""
        lines = text.split("\n")
        at = self._random.randrange(len(lines))
        how = self._random.randrange(6)
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(self._random.randrange(len(lines) + 1), lines[at])
        elif how == 2:
            lines[at] = self._pick(("  ", " ", "\t", "- ", "# ")) + lines[at]
        elif how == 3:
            lines[at] = lines[at][1:]
        elif how == 4:
            other = self._pick(self._corpus.texts).split("\n")
            start = self._random.randrange(len(other))
            lines[at:at] = other[start : start + self._pick((1, 2, 5))]
        else:
            lines[at] = lines[at] * self._pick((2, 50))
        return "\n".join(lines)

    def _character(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        away = self._pick((0, 0, 1, 1, 3))
        return text[:at] + self._pick(nasty.CHARACTERS) * self._pick((1, 1, 1, 2)) + text[at + away :]

    def _cut(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        return self._pick((text[:at], text[at:], text[:at] + text))

    def _breaks(self, text: str) -> str:
        return text.replace("\n", self._pick(("\r\n", "\r", "\x85", "\u2028", "\n\n")), self._pick((1, -1)))

    def _word(self, text: str) -> str:
        """One word by another one of some document."""
        words = text.split(" ")
        at = self._random.randrange(len(words))
        words[at] = self._pick(self._pick(self._corpus.texts).split(" "))
        return " ".join(words)

    def _encoded(self, text: str) -> bytes:
        if self._chance(0.95):
            return text.encode("utf-8", "surrogatepass")
        how = self._pick(("utf-8-sig", "utf-16", "utf-32-le", "latin-1", "bytes"))
        if how != "bytes":
            return text.encode(how, "replace")
        data = bytearray(text.encode("utf-8", "replace") or b"x")
        data[self._random.randrange(len(data))] = self._random.randrange(256)
        return bytes(data)


def _slots(tree: Any, key: str, slots: list[_Slot]) -> None:
    if isinstance(tree, dict):
        for name, value in tree.items():
            slots.append((tree, name, name))
            _slots(value, name, slots)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            slots.append((tree, index, key))
            _slots(value, key, slots)


_TREE_CHANGES: tuple[Callable[[_Maker, Any, Any, str], None], ...] = (
    *[_Maker._replace] * 5,
    *[_Maker._spoil] * 3,
    *[_Maker._add] * 4,
    _Maker._replace_by_any,
    _Maker._wrap,
    _Maker._remove,
    _Maker._rename,
)
_TEXT_CHANGES: tuple[Callable[[_Maker, str], str], ...] = (
    *[_Maker._value_raw] * 3,
    *[_Maker._line] * 3,
    *[_Maker._character] * 2,
    *[_Maker._word] * 2,
    _Maker._cut,
    _Maker._breaks,
)
