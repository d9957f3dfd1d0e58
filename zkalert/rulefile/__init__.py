"""Rule files -> rules, or findings.

`parse` is pure: text in, rules and findings out. `load` reads files and folders, and looks over all of them for names
that stand twice. What a rule does is not known here, only what it may say.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zkalert import documents
from zkalert.model import Finding, Level, Rule, UsageError
from zkalert.rulefile.meaning import Meaning, digest

__all__ = ["RuleSet", "digest", "files_in", "is_config_name", "load", "parse", "read"]

_CONFIG_NAMES = frozenset({"zkalert.yaml", "zkalert.yml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """What came of reading some paths: the rules of all files without errors, and all findings, sorted.

    `files` is how many were read. Who puts a rule set to use looks at `is_usable` first: a bad set changes nothing.
    """

    rules: tuple[Rule, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: int = 0

    @property
    def is_usable(self) -> bool:
        return not any(finding.level is Level.ERROR for finding in self.findings)


def load(paths: Iterable[Path], *, channels: Collection[str] | None = None) -> RuleSet:
    """The rules in files, and in the *.yaml and *.yml below folders; `channels` as for `parse`.

    Raises UsageError for a path that does not exist.
    """
    rules: list[Rule] = []
    findings: list[Finding] = []
    files = 0
    with documents.paused_gc():
        taken: dict[str, str] = {}
        for file in (file for path in paths for file in files_in(path)):
            files += 1
            text, unreadable = read(file)
            if unreadable is not None:
                findings.append(unreadable)
                continue
            part, found = parse(text, str(file), channels=channels, taken=taken)
            rules += part
            findings += found
    findings.sort(key=lambda finding: (finding.file, finding.line, finding.column))
    return RuleSet(rules=tuple(rules), findings=tuple(findings), files=files)


def parse(
    text: str | bytes,
    file: str,
    *,
    channels: Collection[str] | None = None,
    taken: dict[str, str] | None = None,
) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    """The rules in one text, named `file` to people, and all findings, sorted; no rules where one is an error.

    `channels` are the names that actions may use (None: not checked). `taken` holds the names that rules of other
    files have, with their `file:line`; those of this file are added to it.
    """
    document, findings = documents.parse(text, file, "rules")
    if findings:
        return (), findings
    if document.data is None:
        return (), (document.finding((), "empty", "no rules in this file", level=Level.ADVICE),)
    taken = {} if taken is None else taken
    findings = documents.check(document)
    if not findings:
        return Meaning(document, channels, taken).rules()
    # Rules that the schema has nothing to say of may still be wrong, and the user wants to hear all at once.
    places = documents.faulty_places(document)
    if all(len(place) > 1 and place[0] == "rules" for place in places):
        skipped = frozenset(place[1] for place in places)
        more = Meaning(document, channels, taken, skipped).rules()[1]
        findings = tuple(sorted({*findings, *more}, key=lambda finding: (finding.line, finding.column, finding.code)))
    return (), findings


def files_in(path: Path, *, configs: bool = False) -> Iterator[Path]:
    """The file itself, or all rule files below a folder, sorted; hidden ones are left out.

    So is zkalert.yaml, unless `configs`. A folder that was reached before, as by a link to its own parent, is not
    entered again. Raises UsageError for a path that does not exist.
    """
    if not path.is_dir():
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        yield path
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        status = Path(folder).stat()
        place = (status.st_dev, status.st_ino)
        if place in seen:
            folders[:] = []
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            is_ours = name.endswith((".yaml", ".yml")) and not name.startswith(".")
            if is_ours and (configs or not is_config_name(file)) and file.is_file():
                yield file


def read(path: Path) -> tuple[bytes, Finding | None]:
    """What stands in a file, a little more than a document may have at most; or why it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(documents.MAX_BYTES + 1), None
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        return b"", Finding(file=str(path), line=0, column=0, code="unreadable", message=message)


def is_config_name(path: Path) -> bool:
    """Whether a file is a configuration by its name."""
    return path.name in _CONFIG_NAMES
