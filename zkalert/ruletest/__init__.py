"""Unit tests of rules: a document of samples and of what has to become of them, run by a clock of its own.

Comes in: the text of a test document, and the rules it names, which the caller reads. Goes out: findings about the
document, and for each test what is not as expected. Rules, gate and routing are those of the engine; nothing is sent,
nothing waits, and the same test always ends the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

from zkalert import documents, rulefile
from zkalert.documents import Document
from zkalert.model import Finding, Level, Rule, State
from zkalert.ruletest.linking import completed, link
from zkalert.ruletest.meaning import MAX_SAMPLES, Meaning
from zkalert.ruletest.messages import judge_messages
from zkalert.ruletest.notation import NotationError, parse_values
from zkalert.ruletest.report import Failure
from zkalert.ruletest.running import MAX_MESSAGES, TooManyMessages, play
from zkalert.ruletest.states import judge_states
from zkalert.ruletest.suite import Path, Suite, Test
from zkalert.ruletest.words import span

__all__ = [
    "MAX_SAMPLES",
    "Failure",
    "NotationError",
    "Result",
    "Suite",
    "Test",
    "link",
    "parse",
    "parse_values",
    "run",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one test; `fired` has the names of the rules that fired in it."""

    test: Test
    failures: tuple[Failure, ...]
    fired: frozenset[str]


def parse(text: str | bytes, file: str) -> tuple[Suite | None, tuple[Finding, ...]]:
    """The tests in one text, named `file` to people; None and findings where it cannot be used.

    Names of rules are not checked yet: see `link`.
    """
    document, findings = documents.parse(text, file, "tests")
    if not findings:
        findings = documents.check(document)
    if findings:
        return None, findings
    meaning = Meaning(document)
    tests = meaning.tests()
    files, rules, about_rules = _rules(document)
    found = sorted([*meaning.findings, *about_rules], key=lambda finding: (finding.line, finding.column, finding.code))
    if any(finding.level is Level.ERROR for finding in found):
        return None, tuple(finding for finding in found if finding.level is Level.ERROR)
    return Suite(document=document, files=files, rules=rules, tests=tests), ()


def _rules(document: Document) -> tuple[tuple[tuple[str, Path], ...], tuple[Rule, ...], tuple[Finding, ...]]:
    """What stands below `rules`: files with their places, or rules."""
    items = document.data["rules"]
    files = tuple((item, ("rules", index)) for index, item in enumerate(items) if isinstance(item, str))
    if len(files) == len(items):
        return files, (), ()
    if files:
        message = "files and rules in one list"
        expected = "a list of files and folders, or a list of rules"
        return (), (), (document.finding(files[0][1], "mixed-rules", message, expected=expected),)
    inline = copy.copy(document)  # the same text and places, to be judged as a rule file
    inline.kind, inline.data = "rules", {"rules": items}
    return (), *rulefile.parse_document(inline)


def run(suite: Suite, test: Test, rules: Iterable[Rule]) -> Result:
    """Run one test of a suite that `link` had nothing to say of."""
    try:
        story = play(test, completed(suite, rules))
    except TooManyMessages as error:
        return Result(test=test, failures=(_too_many(suite, test, error),), fired=frozenset())
    fired = frozenset(change.new.rule for change in story.changes if change.new.state is State.FIRING)
    failures = (*judge_states(suite, test, story), *judge_messages(suite, test, story))
    return Result(test=test, failures=failures, fired=fired)


def _too_many(suite: Suite, test: Test, error: TooManyMessages) -> Failure:
    message = f"the test was stopped at {span(error.at)}, after {MAX_MESSAGES:,} messages"
    hint = "look for a short repeat, or moments far from the start"
    finding = suite.document.finding((*test.path, "name"), "too-many-messages", message, expected="fewer", hint=hint)
    return Failure(finding=finding)
