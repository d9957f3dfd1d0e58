"""The rule packs that ship with zkalert, and how lists of rules name them: `pack:kafka`, or `pack:kafka@ENSEMBLE`.

Comes in: a name. Goes out: the text of the pack, with its metrics in the ensemble that was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from zkalert.documents.shipped import shipped
from zkalert.metrics import OWN_ENSEMBLE, OWN_PREFIX, nearest

PREFIX = "pack:"

_SUFFIX = ".yaml"
_ENSEMBLE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
# Where packs name a metric of a znode: as the value of a key, or in a text within the quotes of now(), which a text in
# quotes of its own has escaped.
_METRIC = re.compile(rf"""((?:\b(?:metric|relative_to):[ ]+|\bnow\()["'\\]*){OWN_PREFIX}:(?=/)""")
_COMMENT = re.compile(r"^#\n((?:# .+\n)+)", re.MULTILINE)
_SENTENCE = re.compile(r".+?[.!?](?= |$)")


class PackError(ValueError):
    """A text that names no pack; `expected` says what would, `hint` names the nearest one, or is empty."""

    def __init__(self, message: str, *, expected: str, near: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.hint = f"did you mean {near}?" if near else ""

    @property
    def cure(self) -> str:
        """The hint, or else what was expected."""
        return self.hint or f"expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that ships with zkalert; `ensemble` is where its znodes are, empty for that of zkalert's own tree."""

    name: str
    ensemble: str = ""

    def __str__(self) -> str:
        return PREFIX + self.name + (f"@{self.ensemble}" if self.ensemble else "")

    @property
    def path(self) -> Path:
        """The file it ships as."""
        return shipped("rules") / f"{self.name}{_SUFFIX}"

    @property
    def file_name(self) -> str:
        """What a copy of it is called."""
        return str(self).removeprefix(PREFIX) + _SUFFIX

    @property
    def about(self) -> str:
        """What it is for: the first sentence of the comment that it begins with; empty without one."""
        comment = _COMMENT.search(self._shipped())
        lines = comment[1].splitlines() if comment else ()
        first = _SENTENCE.match(" ".join(line.removeprefix("# ") for line in lines))
        return first[0] if first else ""

    @property
    def has_znodes(self) -> bool:
        """Whether it looks at the znodes of one ensemble."""
        return _METRIC.search(self._shipped()) is not None

    def text(self) -> bytes:
        """The pack as a rule file; all but the metrics of znodes is as it ships."""
        text = self._shipped()
        if self.ensemble:
            lines = text.splitlines(keepends=True)
            text = "".join(line if line.lstrip().startswith("#") else self._moved(line) for line in lines)
        return text.encode()

    def _moved(self, line: str) -> str:
        return _METRIC.sub(rf"\g<1>{self.ensemble}:", line)

    def _shipped(self) -> str:
        return self.path.read_text(encoding="utf-8")


RuleSource: TypeAlias = Path | Pack
"""What an entry in a list of rules stands for: a file, a folder of files, or a pack."""


def shipped_packs() -> tuple[Pack, ...]:
    """All that ship with zkalert, by name."""
    return tuple(Pack(path.name.removesuffix(_SUFFIX)) for path in sorted(shipped("rules").glob(f"*{_SUFFIX}")))


def find_pack(name: str, ensemble: str | None = None) -> Pack:
    """The pack of this name, with its znodes in an ensemble beside zkalert's own, or (None) in that.

    Raises PackError for an unknown pack, for a name that no such ensemble can have, and where there are no znodes.
    """
    names = [pack.name for pack in shipped_packs()]
    if name not in names:
        raise PackError(f'no pack "{name[:100]}"', expected="one of " + ", ".join(names), near=nearest(name, names))
    pack = Pack(name, ensemble or "")
    if ensemble is None:
        return pack
    if not pack.has_znodes:
        raise PackError(f"{name} looks at no znodes of one ensemble", expected=f"{name} alone")
    if ensemble in (OWN_ENSEMBLE, OWN_PREFIX):
        raise PackError(f'"{ensemble}" is zkalert\'s own ensemble', expected=f"{name} alone, which looks there")
    if not _ENSEMBLE.fullmatch(ensemble):
        raise PackError(
            f'"{ensemble[:100]}" is no name of an ensemble',
            expected="a name that begins with a lower-case letter, of these, digits, underscores and hyphens",
        )
    return pack


def rule_source(text: str, folder: Path) -> RuleSource:
    """What an entry in a list of rules names; paths are relative to `folder`. Raises PackError."""
    if not text.startswith(PREFIX):
        return folder / text
    name, at, ensemble = text.removeprefix(PREFIX).partition("@")
    return find_pack(name, ensemble if at else None)
