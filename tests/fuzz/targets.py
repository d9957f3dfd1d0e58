"""One check for each loader: what has to hold, whatever it is fed with."""

from __future__ import annotations

import functools
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator

from tests.fuzz import corpus, mutate, payloads, running, templates
from tests.fuzz.corpus import DIGEST_SECRET, FILE_SECRET, URL_SECRET, VARIABLE_SECRET
from tests.fuzz.harness import Target
from zkalert import backtest, config, documents, rulefile, ruletest, tree
from zkalert.backtest import show
from zkalert.cli import findings as output
from zkalert.documents import accepting, plain
from zkalert.model import (
    Alert,
    Finding,
    Level,
    OutboxEntry,
    Problem,
    Rule,
    Sample,
    UsageError,
    ZkalertError,
)
from zkalert.render import template_problem, template_reads

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_SAMPLES = re.compile(rb"# samples (\d{1,9})")  # a mark in a comment stays the same while the input gets smaller
_MAX_MESSAGE = 500
_MAX_EXPECTED = 3000
_MAX_VALUES = 2000
_MAX_TESTS = 10
_MAX_END = 2 * 86400.0
_SECRET_PLACES = re.compile(r"zookeeper\.(auth|password)(\..*)?|channels\..*")


def all_targets(folder: Path) -> tuple[Target, ...]:
    """Every target; `folder` is for the files that a configuration names."""
    (folder / "secret.txt").write_text(f"json://{FILE_SECRET}@example.org\n", encoding="utf-8")
    rules, configs, tests = corpus.rules(), corpus.configs(), corpus.tests()
    return (
        Target("rules", mutate.documents(rules), check_rules),
        Target("config", mutate.documents(configs), functools.partial(check_config, folder)),
        Target("tests", mutate.documents(tests), check_tests),
        Target("payloads", payloads.payloads(), check_payload),
        Target("templates", templates.templates(), check_template),
        Target("history", payloads.histories(), check_history),
    )


# Documents ------------------------------------------------------------------------------------------------------------


def _text(data: bytes) -> bytes | str:
    """Bytes as a file has them; what is no UTF-8 also as a text with surrogates, as the command line could."""
    return data.decode("utf-8", "surrogateescape") if data[:1] >= b"\x80" else data


def check_shortcuts(text: bytes | str, kind: str) -> None:
    """What is read and accepted the short way is so the thorough way too."""
    short, _ = documents.parse(text, "a.yaml", kind)
    with mock.patch.object(plain, "read", return_value=None):
        thorough, findings = documents.parse(text, "a.yaml", kind)
    assert json.dumps(short.data) == json.dumps(thorough.data), "two readers, two documents"
    if isinstance(short.data, dict) and not findings:
        places = [
            (key, index) for key, some in short.data.items() if isinstance(some, list) for index in range(len(some))
        ]
        assert [short.line(place) for place in places] == [thorough.line(place) for place in places]
    if not findings:
        accepts, judge = _judges(kind)
        is_good = judge.is_valid(short.data)
        assert is_good or not accepts(short.data), "accepted, though the schema refuses it"


@functools.cache
def _judges(kind: str) -> tuple[Callable[[object], bool], Draft202012Validator]:
    schema = json.loads(documents.schema_bytes(kind))
    return accepting.compiled(schema), Draft202012Validator(schema)


def check_findings(data: bytes, findings: Sequence[Finding]) -> None:
    """Each finding has a place within the text, a code, one line of words; all writers can show it."""
    lines = _BREAK.split(data.decode("utf-8-sig", "replace"))
    is_utf8 = all(finding.code != "not-utf8" for finding in findings)
    for finding in findings:
        assert 1 <= finding.line <= len(lines), f"{finding} lies outside {len(lines)} lines"
        width = len(lines[finding.line - 1]) if is_utf8 else len(data)
        assert 1 <= finding.column <= width + 1, f"{finding} lies outside a line of {width}"
        assert re.fullmatch(r"[a-z0-9-]+", finding.code), f"{finding} has no code"
        for text, most in (
            (finding.message, _MAX_MESSAGE),
            (finding.hint, _MAX_MESSAGE),
            (finding.expected, _MAX_EXPECTED),
            (finding.text, _MAX_EXPECTED),
        ):
            assert not _BREAK.search(text), f"{finding} has several lines"
            assert len(text) <= most, f"{finding} is too long"
        assert finding.message, f"{finding} says nothing"
    report = output.Report(files=1, rules=0, findings=tuple(findings))
    for write in output.WRITERS.values():
        stream = io.StringIO()
        write(report, stream)
        stream.getvalue().encode()


def _check_one_line(error: ZkalertError) -> None:
    assert not _BREAK.search(str(error)), error


def check_rules(data: bytes) -> str:
    """Rules or findings; what is accepted runs, and means the same when it is written anew."""
    text = _text(data)
    check_shortcuts(text, "rules")
    rules, findings = rulefile.parse(text, "rules.yaml")
    check_findings(data, findings)
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    assert not (errors and rules), "rules of a file with errors"
    whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
    if _are_in_urls(whole):
        assert not _says(findings, URL_SECRET), "a finding says a URL's password"
    if errors:
        return "refused"
    _check_again(text, rules)
    rulefile.digest(rules)
    samples = _SAMPLES.search(data)
    told = running.replay(rules, Random(int(samples[1]) if samples else 0))
    return "ran" if told else "accepted"


def _check_again(text: str | bytes, rules: Sequence[Rule]) -> None:
    tree_ = documents.parse(text, "rules.yaml", "rules")[0].data
    if tree_ is None:
        return
    written = mutate.dump(tree_)
    again, findings = rulefile.parse(written, "rules.yaml")
    assert [replace(rule, source="") for rule in again] == [replace(rule, source="") for rule in rules], (
        "other rules once they were written anew",
        [finding.message for finding in findings],
    )


def check_config(folder: Path, data: bytes) -> str:
    """A configuration or findings; neither says what is secret."""
    environ = {
        "HOME": "/root",
        "HOSTS": f"zk1:2181/{VARIABLE_SECRET}",
        "SECRET": VARIABLE_SECRET,
        "FOLDER": f"/etc/{VARIABLE_SECRET}",
        "URL": f"json://{VARIABLE_SECRET}@example.org",
        "ZKALERT_PASSWORD": VARIABLE_SECRET,
    }
    text = _text(data)
    check_shortcuts(text, "config")
    try:
        found, findings = config.read(text, folder / "zkalert.yaml", environ=environ, name="zkalert.yaml")
    except UsageError as error:
        _check_one_line(error)
        return "refused"
    check_findings(data, findings)
    assert not _says(findings, VARIABLE_SECRET), "a finding says what a variable holds"
    assert not _says(findings, FILE_SECRET), "a finding says what stands in a file with a secret"
    whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
    is_hidden = _are_in_secret_places(text, (URL_SECRET, DIGEST_SECRET))
    if is_hidden or _are_in_urls(whole):
        assert not _says(findings, URL_SECRET), "a finding says a URL's password"
    if is_hidden:
        assert not _says(findings, DIGEST_SECRET), "a finding says the password for ZooKeeper"
    if found is None:
        return "refused"
    if is_hidden:
        for secret in (URL_SECRET, DIGEST_SECRET, FILE_SECRET):
            assert secret not in repr(found), "a configuration shows a secret"
    return "accepted"


def _says(findings: Sequence[Finding], secret: str) -> bool:
    return any(secret in part for one in findings for part in (one.message, one.expected, one.hint, one.text))


def _are_in_urls(text: str) -> bool:
    """Whether secrets stand only in URLs, wherever these stand."""
    return text.count(URL_SECRET) == len(re.findall(rf"[a-z]://[\w:.-]*{URL_SECRET}", text))


def _are_in_secret_places(text: str | bytes, secrets: Sequence[str]) -> bool:
    """Whether secrets stand only where a configuration has them: elsewhere nobody could know them for such."""
    found = documents.parse(text, "zkalert.yaml", "config")[0].data
    places: list[str] = []
    _places(found, "", secrets, places)
    return all(_SECRET_PLACES.fullmatch(place) for place in places)


def _places(tree_: Any, path: str, secrets: Sequence[str], places: list[str]) -> None:
    if isinstance(tree_, dict):
        for key, value in tree_.items():
            if any(secret in key for secret in secrets):
                places.append("as a key")
            _places(value, f"{path}.{key}".lstrip("."), secrets, places)
    elif isinstance(tree_, list):
        for value in tree_:
            _places(value, path, secrets, places)
    elif isinstance(tree_, str) and any(secret in tree_ for secret in secrets):
        places.append(path)


def check_tests(data: bytes) -> str:
    """Tests of rules or findings; what is accepted runs, and says what is not as expected at its place."""
    text = _text(data)
    check_shortcuts(text, "tests")
    suite, findings = ruletest.parse(text, "a.test.yaml")
    check_findings(data, findings)
    if suite is None:
        assert findings, "refused without a word"
        return "refused"
    linked = ruletest.link(suite, suite.rules)
    check_findings(data, linked)
    if linked or suite.files:
        return "linked"
    for test in suite.tests[:_MAX_TESTS]:
        if sum(len(one.values) for one in test.series) <= _MAX_VALUES and test.end <= _MAX_END:
            result = ruletest.run(suite, test, suite.rules)
            check_findings(data, [failure.finding for failure in result.failures])
            again = ruletest.run(suite, test, suite.rules)
            assert again == result, "the same test ends in two ways"
    return "ran"


# Payloads -------------------------------------------------------------------------------------------------------------


def check_payload(data: bytes) -> str:
    """A value or a Problem; a value is the same once it was stored again, and can be put to use."""
    outcomes = [_check_round_trip(decode, encode, data) for decode, encode in _CODECS]
    for decode in (tree.decode_layout, tree.decode_engine, tree.decode_seen):
        _check_problem(decode(data))
    return next((outcome for outcome in outcomes if outcome), "refused")


def _check_round_trip(decode: Any, encode: Any, data: bytes) -> str:
    value = decode(data)
    if isinstance(value, Problem):
        _check_problem(value)
        return ""
    stored = encode(value)
    again = decode(stored)
    assert not isinstance(again, Problem), again
    assert encode(again) == stored, f"{type(value).__name__} is another one once it was stored"
    if isinstance(value, OutboxEntry):
        running.check_message(value.effect)
    elif isinstance(value, Alert):
        payloads.check_restored(value)
    elif isinstance(value, Sample):
        payloads.check_judged(value)
    return type(value).__name__


def _check_problem(value: object) -> None:
    if isinstance(value, Problem):
        assert re.fullmatch(r"[a-z0-9-]+", value.code), value
        assert 0 < len(value.message) <= _MAX_MESSAGE, value


_CODECS: tuple[tuple[Any, Any], ...] = (
    (tree.decode_entry, tree.encode_entry),
    (tree.decode_alert, tree.encode_alert),
    (functools.partial(tree.decode_sample, "memory_usage"), tree.encode_sample),
    (tree.decode_alive, tree.encode_alive),
    (tree.decode_host, tree.encode_host),
)


# Templates ------------------------------------------------------------------------------------------------------------


def check_template(data: bytes) -> str:
    """A sentence that says what is wrong, or a text that can be filled in; a message in both cases."""
    text = data.decode("utf-8", "surrogatepass")
    problem = template_problem(text)
    if problem is not None:
        assert 0 < len(problem) <= _MAX_MESSAGE
    assert len(template_reads(text)) <= 16
    for effect in payloads.EFFECTS:
        running.check_message(replace(effect, summary=text, description=text, runbook=text))
    return "accepted" if problem is None else "refused"


# History --------------------------------------------------------------------------------------------------------------


def check_history(data: bytes) -> str:
    """Samples, and a word of each line that is damaged; whatever they are, a backtest can show them."""
    rules = payloads.shipped_rules()
    choice = backtest.Choice(needs=backtest.needs_of(rules))
    source = backtest.Source(name="a.jsonl")
    run = backtest.Backtest(rules, channels=backtest.stand_ins(rules))
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
    last = -math.inf
    try:
        for past in backtest.from_text(lines, choice, source):
            assert past.at >= last, "the past goes back"
            last = past.at
            run.play(past)
    except ZkalertError as error:
        _check_one_line(error)
        return "refused"
    result = show.Result(report=run.report(), sources=(source,))
    for line in show.as_text(result, is_long=True):
        assert line.isprintable(), line
        line.encode()
    json.dumps(show.as_json(result), allow_nan=False)
    assert show.damage(source).isprintable()
    return "played" if source.samples else "nothing"
