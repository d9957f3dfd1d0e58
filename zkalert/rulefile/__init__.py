"""Rule files -> rules, or findings.

`parse` is pure: text in, rules and findings out. `load` reads files and folders, `load_texts` takes what was read
elsewhere; both look over all of it for names that stand twice and for what rules say of each other. What a rule does
is not known here, only what it may say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zkalert import documents
from zkalert.model import Finding, Level, Rule, UsageError
from zkalert.rulefile.actions import ALL, Actions, Allowed
from zkalert.rulefile.builtin import HOST_DOWN, RULES_SKEW, host_down_rule, is_builtin, with_builtin
from zkalert.rulefile.digests import digest
from zkalert.rulefile.keys import Report
from zkalert.rulefile.links import Links
from zkalert.rulefile.meaning import Meaning

__all__ = [
    "HOST_DOWN",
    "RULES_SKEW",
    "Allowed",
    "Links",
    "RuleSet",
    "digest",
    "files_in",
    "host_down_rule",
    "is_builtin",
    "is_config_name",
    "is_test_name",
    "load",
    "load_texts",
    "parse",
    "parse_document",
    "read",
    "with_builtin",
]

_CONFIG_NAMES = frozenset({"zkalert.yaml", "zkalert.yml"})
_TEST_NAMES = (".test.yaml", ".test.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """What came of reading some files: the rules of all files without errors, and all findings, sorted.

    `files` is how many were read. Who puts a rule set to use looks at `is_usable` first: a bad set changes nothing.
    """

    rules: tuple[Rule, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: int = 0

    @property
    def is_usable(self) -> bool:
        return not any(finding.level is Level.ERROR for finding in self.findings)


class _Source(NamedTuple):
    """One file as it was read; `finding` where it cannot be."""

    name: str
    text: bytes
    finding: Finding | None = None


def load(
    sources: Iterable[documents.RuleSource],
    *,
    channels: Collection[str] | None = None,
    check_url: Callable[[str], str] | None = None,
    intervals: Mapping[str, float] | None = None,
    ensembles: Collection[str] | None = None,
) -> RuleSet:
    """The rules in files, in the *.yaml and *.yml below folders, and in packs; the other arguments as for `parse`.

    Raises UsageError for a path that does not exist.
    """
    read_ones = (one for source in sources for one in _read(source))
    return _load(read_ones, channels=channels, check_url=check_url, intervals=intervals, ensembles=ensembles)


def load_texts(
    texts: Mapping[str, bytes],
    *,
    channels: Collection[str] | None = None,
    check_url: Callable[[str], str] | None = None,
    intervals: Mapping[str, float] | None = None,
    ensembles: Collection[str] | None = None,
    allowed: Allowed = ALL,
) -> RuleSet:
    """The rules in texts that were read elsewhere, by the names of their files; the other arguments as for `parse`."""
    sources = (_Source(name, text) for name, text in sorted(texts.items()))
    return _load(
        sources, channels=channels, check_url=check_url, intervals=intervals, ensembles=ensembles, allowed=allowed
    )


def _read(source: documents.RuleSource) -> Iterator[_Source]:
    if isinstance(source, documents.Pack):
        yield _Source(str(source), source.text())
    else:
        yield from (_Source(str(file), *read(file)) for file in files_in(source))


def _load(sources: Iterable[_Source], **options: Any) -> RuleSet:
    rules: list[Rule] = []
    findings: list[Finding] = []
    files = 0
    with documents.paused_gc():
        taken: dict[str, str] = {}
        links = Links()
        for source in sources:
            files += 1
            if source.finding is not None:
                findings.append(source.finding)
                links.miss()
                continue
            part, found = parse(source.text, source.name, taken=taken, links=links, **options)
            rules += part
            findings += found
        findings += links.findings()
    findings.sort(key=lambda finding: (finding.file, finding.line, finding.column))
    return RuleSet(rules=tuple(rules), findings=tuple(findings), files=files)


def parse(  # noqa: PLR0913 - each of them is of use without the others
    text: str | bytes,
    file: str,
    *,
    channels: Collection[str] | None = None,
    taken: dict[str, str] | None = None,
    links: Links | None = None,
    check_url: Callable[[str], str] | None = None,
    intervals: Mapping[str, float] | None = None,
    ensembles: Collection[str] | None = None,
    allowed: Allowed = ALL,
) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    """The rules in one text, named `file` to people, and all findings, sorted; no rules where one is an error.

    `channels` are the names that actions may use (None: not checked); with the channels behind them there is advice.
    `check_url` gets each literal URL and returns why it cannot be used, or an empty text. `intervals` are the seconds
    between samples, of families that are not at their usual cadence, `ensembles` the names of those that the
    configuration knows (None: not checked). Where the file is one of several, `taken` holds
    the names that rules of other files have, with their `file:line`, and `links` what they say of each other; those of
    this file are added. Without `links` the file has to stand for itself.
    """
    together = Links() if links is None else links
    document, findings = documents.parse(text, file, "rules")
    if findings:
        together.miss()
        return (), findings
    if document.data is None:
        return (), (document.finding((), "empty", "no rules in this file", level=Level.ADVICE),)
    report = Report(document, intervals, ensembles)
    actions = Actions(report, channels, check_url, allowed)
    rules, findings = _judge(document, report, actions, {} if taken is None else taken, together)
    return _alone(rules, findings, together) if links is None else (rules, findings)


def parse_document(document: documents.Document) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    """As `parse`, of a document of the kind `rules` that was read already; it has to stand for itself."""
    links = Links()
    report = Report(document)
    rules, findings = _judge(document, report, Actions(report, None), {}, links)
    return _alone(rules, findings, links)


def _alone(
    rules: tuple[Rule, ...], findings: tuple[Finding, ...], links: Links
) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    """What came of a file without others beside it: what its rules say of each other is known by now."""
    findings = _sorted([*findings, *links.findings()])
    return () if any(finding.level is Level.ERROR for finding in findings) else rules, findings


def _judge(
    document: documents.Document, report: Report, actions: Actions, taken: dict[str, str], links: Links
) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    findings, places = documents.judge(document)
    if not findings:
        return Meaning(report, actions, taken, links).rules()
    # Rules that the schema has nothing to say of may still be wrong, and the user wants to hear all at once.
    if not all(len(place) > 1 and place[0] == "rules" for place in places):
        links.miss()
        return (), findings
    skipped = frozenset(place[1] for place in places)
    for index in skipped:
        _name(document.data["rules"][index], links)
    more = Meaning(report, actions, taken, links, skipped).rules()[1]
    return (), _sorted({*findings, *more})


def _name(raw: Any, links: Links) -> None:
    """Make the name of a faulty rule known, so that the rules that speak of it are not called wrong too."""
    name = raw.get("name") if isinstance(raw, dict) else None
    if isinstance(name, str):
        links.name(name)
    else:
        links.miss()


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (finding.line, finding.column, finding.code)))


def files_in(path: Path, *, configs: bool = False, tests: bool = False) -> Iterator[Path]:
    """The file itself, or all rule files below a folder, sorted; hidden ones are left out.

    So is zkalert.yaml, unless `configs`. With `tests` the files with tests of rules (*.test.yaml, *.test.yml) are
    meant in place of the others. A folder that was reached before, as by a link to its own parent, is not
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
            is_ours = is_ours and name.endswith(_TEST_NAMES) is tests
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


def is_test_name(path: Path) -> bool:
    """Whether a file holds tests of rules by its name."""
    return path.name.endswith(_TEST_NAMES)


def is_config_name(path: Path) -> bool:
    """Whether a file is a configuration by its name."""
    return path.name in _CONFIG_NAMES
