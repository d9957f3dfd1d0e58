"""YAML with positions: what is read, where it stands, and that no text whatever does harm."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from zkalert import documents
from zkalert.documents import masking
from zkalert.metrics import FAMILIES, OWN_ENSEMBLE, SAMPLED, parse_metric, parse_pattern
from zkalert.model import Metric

LIMIT = 5.0  # seconds of processor time for the worst text; each takes a fraction of it


def value(text: str) -> Any:
    document, findings = documents.parse(text, "a.yaml", "rules")
    assert findings == ()
    return document.data


def code(text: str | bytes, kind: str = "rules") -> str:
    """The code of the first finding of a text, of the reading or of the schema."""
    document, findings = documents.parse(text, "a.yaml", kind)
    return (findings or documents.check(document))[0].code


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("on", "on"),
        ("no", "no"),
        ("True", "True"),
        ("~", "~"),
        ("1:30", "1:30"),
        ("012", "012"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        (".5", ".5"),
        ("+5", "+5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2026-11-23", "2026-11-23"),
        ("=", "="),
        ('"5"', "5"),
        ("'true'", "true"),
        (">\n  a\n  b", "a b\n"),
    ],
)
def test_plain_values_are_texts_json_numbers_true_false_and_null(written: str, expected: object) -> None:
    found = value(f"a: {written}\n")["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert value("on: 1\n5: 2\ntrue: 3\nnull: 4\n") == {"on": 1, "5": 2, "true": 3, "null": 4}


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    document, findings = documents.parse(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "a.yaml", "rules")
    assert (document.data, findings) == ({"a": 1, "b": 2}, ())
    assert document.line(("b",)) == 2


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON writes what is beyond the first plane as two halves, which YAML refuses.
    | st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef \u00e9", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
@settings(max_examples=200, deadline=None)
def test_json_is_read_as_json(document: object) -> None:
    assert value(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (2, 1)),
        (("rules",), (3, 3)),
        (("rules", 0), (3, 5)),
        (("rules", 0, "labels", "b"), (4, 23)),
        (("rules", 1, "name"), (5, 11)),
        (("rules", 1, "missing"), (5, 5)),
        (("rules", 7), (3, 3)),
    ],
    ids=str,
)
def test_a_finding_stands_where_its_path_leads(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    text = "# first\nrules:\n  - name: a\n    labels: {a: b, b: c}\n  - name: c\n"
    document, _ = documents.parse(text, "a.yaml", "rules")
    finding = document.finding(path, "code", "message")
    assert (finding.line, finding.column) == place
    assert finding.text == text.splitlines()[place[0] - 1]


def test_all_findings_of_a_document_come_at_once_and_in_order() -> None:
    text = "rules:\n  - name: A\n    metric: 5\n    foo: 1\n  - 7\n  - metric: x\n    severity: y\n"
    document, _ = documents.parse(text, "a.yaml", "rules")
    found = [(finding.line, finding.column, finding.code) for finding in documents.check(document)]
    assert found == [
        (2, 11, "wrong-value"),
        (3, 13, "wrong-type"),
        (4, 5, "unknown-key"),
        (5, 5, "wrong-type"),
        (6, 5, "missing-key"),
        (7, 15, "wrong-value"),
    ]


def bomb() -> str:
    """Nine lists of the one before, nineteen times: 10^18 values."""
    lines = [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 20)]
    return "\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x]", *lines])


HOSTILE: list[tuple[str, str | bytes, str]] = [
    ("open brackets", "[" * 200_000, "too-deep"),
    ("open braces", "{" * 200_000, "too-deep"),
    ("dashes", "- " * 100_000, "too-deep"),
    ("question marks", "? " * 100_000, "too-deep"),
    ("alias bomb", bomb(), "too-many-nodes"),
    ("a loop of aliases", "rules: &a [*a]", "too-deep"),
    ("a chain of aliases", "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200)), "too-deep"),
    ("too many values", "[" + "a," * 1_100_000 + "]", "too-many-nodes"),
    ("17 MiB", b"a" * (17 * 2**20), "too-large"),
    ("binary", random.Random(5).randbytes(100_000), "not-utf8"),
    ("UTF-16", "rules: []".encode("utf-16"), "not-utf8"),
    ("a NUL", "rules: \0", "control-character"),
    ("an escaped NUL", 'rules: "\\0"', "control-character"),
    ("half a surrogate", "rules: \ud800", "control-character"),
    ("an escape sequence", "rules: \x1b[31m", "control-character"),
    ("a number of 5000 digits", "rules: " + "9" * 5000, "not-finite"),
    ("a list as a key", "? [a]\n: b", "wrong-key"),
    ("a tag that would run code", "rules: !!python/object/apply:os.system [id]", "tag"),
    ("a repeated anchor", "a: &x 1\nb: &x 2", "yaml-syntax"),
    ("50,000 unknown keys", "\n".join(f"key{n}: 1" for n in range(50_000)), "missing-key"),
    ("a key of 2 MB", f"? {'x' * 2_000_000}\n: 1", "missing-key"),
    ("nothing", "", "wrong-type"),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_text_is_a_finding_soon(text: str | bytes, expected: str) -> None:
    started = time.process_time()
    assert code(text) == expected
    assert time.process_time() - started < LIMIT


@given(st.text("ab:-[]{}&*!|>'\"%@`#,?\n \t", max_size=60) | st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_text_raises(text: str | bytes) -> None:
    for kind in ("rules", "config"):
        document, findings = documents.parse(text, "a.yaml", kind)
        for finding in findings or documents.check(document):
            assert finding.line >= 1
            assert finding.column >= 1
            assert finding.message


def test_the_garbage_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    code("rules: [")
    assert gc.isenabled()


def test_more_findings_than_anybody_reads_are_cut_and_that_is_said() -> None:
    document, _ = documents.parse("rules: [" + "1," * 5000 + "]", "a.yaml", "rules")
    found = documents.check(document)
    assert len(found) == 1001
    assert found[-1].code == "too-many"


@pytest.mark.parametrize("kind", ["rules", "config"])
def test_the_schemas_are_schemas_with_words_for_editors(kind: str) -> None:
    schema = json.loads(documents.schema_bytes(kind))
    Draft202012Validator.check_schema(schema)

    def walk(place: dict[str, Any], path: str) -> None:
        for name, inside in place.get("properties", {}).items():
            if "$ref" not in inside:
                assert inside.get("title"), f"{path}.{name}"
                assert inside.get("description"), f"{path}.{name}"
            walk(inside, f"{path}.{name}")
        if place.get("type") == "object" and "properties" in place:
            assert place["additionalProperties"] is False, path

    walk(schema, "")
    for name, inside in schema["$defs"].items():
        walk(inside, f"$defs.{name}")


def places(place: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each mapping in a schema with its path."""
    if isinstance(place, dict):
        yield path, place
        for key, inside in place.items():
            if key not in ("examples", "default", "x-slips", "x-refused"):
                yield from places(inside, f"{path}/{key}")
    elif isinstance(place, list):
        for index, inside in enumerate(place):
            yield from places(inside, f"{path}/{index}")


@pytest.mark.parametrize("kind", ["rules", "config"])
def test_examples_and_defaults_are_what_their_own_place_allows(kind: str) -> None:
    whole = documents_schema(kind)
    for path, place in places(whole):
        validator = Draft202012Validator({"$defs": whole["$defs"], **place})
        for example in [*place.get("examples", ()), *([place["default"]] if "default" in place else ())]:
            assert validator.is_valid(example), f"{path}: {example}"


@pytest.mark.parametrize("kind", ["rules", "config"])
def test_what_a_slip_is_said_to_mean_exists_and_what_is_refused_does_not(kind: str) -> None:
    whole = documents_schema(kind)
    for path, place in places(whole):
        known = place.get("properties", {})
        validator = Draft202012Validator({"$defs": whole["$defs"], **place})
        for slip, meant in place.get("x-slips", {}).items():
            is_key, is_value = meant in known, "type" not in place or place["type"] != "object"
            assert is_key or (is_value and (validator.is_valid(meant) or meant.startswith("{"))), f"{path}: {slip}"
        assert known.keys().isdisjoint(place.get("x-refused", {})), path


def test_the_defaults_have_every_key_of_a_rule_but_its_name() -> None:
    schema = json.loads(documents.schema_bytes("rules"))
    rule = schema["$defs"]["rule"]["properties"]
    assert set(schema["properties"]["defaults"]["properties"]) == set(rule) - {"name"}


def test_jsonschema_is_imported_only_where_something_is_wrong() -> None:
    script = (
        "import sys; from zkalert import documents;"
        "check = lambda text: documents.check(documents.parse(text, 'a', 'rules')[0]);"
        "assert not check('rules: []'); assert 'jsonschema' not in sys.modules;"
        "assert check('rules: 5'); assert 'jsonschema' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"channels: {{ops: {{urls: 'mailto://u:{SECRET}@h'}}}}",
        f"channels: {{ops: {{urls: ['mailto://u:{SECRET}@h', 5], foo: 1}}}}",
        f"channels: {{ops: {{urls: {{'{SECRET}:x': 1}}}}}}",
        f"channels: {SECRET}",
        f"chanels: {{ops: {{urls: ['{SECRET}']}}}}",
        f"urls: [{SECRET}]",
        f"zookeeper: {{auth: {SECRET}}}",
        f"zookeeper: {{digest: '{SECRET}'}}",
        f"zookeeper: {{auth: {{digest: [{SECRET}], foo: {SECRET}}}}}",
        f"zookeeper: {{auth: {{digset: {SECRET}}}}} # {SECRET}",
        f"zookeeper:\n  auth:\n    digest: {SECRET}\n   foo: bar",
        f"zookeeper: {{auth: {{digest: {SECRET}, digest: {SECRET}}}}}",
        f"zookeeper: {{auth: {{digest: >\n  {SECRET}\n  }}",
        f"password: !secret {SECRET}",
        f"password: {SECRET}\x00",
        f"host: *{SECRET}",
        f"- {SECRET}",
        f"{SECRET}://x",
        f"zookeeper: {SECRET}",
        f"host: [{SECRET}]",
        f"sampler: {{intervals: {SECRET}}}",
        f"rules: {SECRET}",
    ],
)
def test_a_configuration_s_secrets_are_in_no_finding(text: str) -> None:
    document, findings = documents.parse(text, "zkalert.yaml", "config")
    findings = findings or documents.check(document)
    assert findings
    assert SECRET not in repr(findings)


def test_a_configuration_s_harmless_values_are_shown() -> None:
    document, _ = documents.parse("zookeeper: {session_timeout: fast}\n", "zkalert.yaml", "config")
    [finding] = documents.check(document)
    assert finding.message == 'session_timeout: found text "fast"'
    assert finding.text == "zookeeper: {session_timeout: fast}"


def test_editors_are_offered_every_metric_and_family_there_is() -> None:
    rules = documents_schema("rules")["$defs"]["rule"]["properties"]["metric"]["examples"]
    named = {str(Metric(family.name, field)) for family in FAMILIES.values() for field in family.fields}
    of_table = [name for name in rules if ":" not in name]
    assert set(of_table) == named | {family.name for family in FAMILIES.values() if family.main}
    assert len(of_table) == len(set(of_table))
    intervals = documents_schema("config")["properties"]["sampler"]["properties"]["intervals"]
    assert tuple(intervals["examples"][0]) == SAMPLED


@pytest.mark.parametrize("kind", ["rules", "tests"])
def test_editors_are_shown_how_znodes_are_named(kind: str) -> None:
    found = [place.get("examples", ()) for path, place in places(documents_schema(kind)) if path.endswith("/metric")]
    examples = [name for names in found for name in names if ":" in name]
    metrics = [parse_metric(example) for example in examples]
    patterns = [parse_pattern(metric.family) for metric in metrics]
    assert {OWN_ENSEMBLE, "kafka"} == {pattern.ensemble for pattern in patterns}
    assert any(pattern.is_open for pattern in patterns)
    assert any(metric.field.startswith("/") for metric in metrics)


def documents_schema(kind: str) -> Any:
    return json.loads(documents.schema_bytes(kind))


@pytest.mark.parametrize(
    "written",
    [
        "json://user:pa}SECRET@host",
        '"json://user:pa]SECRET and SECRET@host"',
        "'json ://user:SECRET@host'",
        "json:/user:SECRET@host",
        "mailto:user:SECRET@example.org",
        "[json://user:p]SECRET@host",
    ],
)
def test_a_password_is_covered_however_its_url_is_written(written: str) -> None:
    covered = masking.urls(f"    action: {written}")
    assert "SECRET" not in covered
    assert len(covered) == len(f"    action: {written}")


def test_what_is_no_url_is_shown() -> None:
    for text in ("mailto:ops@example.org", "at: foo@bar", "metric: znode:/brokers/ids#children"):
        assert masking.urls(text) == text
