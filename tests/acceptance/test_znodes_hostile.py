"""Rules about znodes whose owners mean no good, or nothing: they are bounded, said once, and harm no other series."""

from __future__ import annotations

import json
import logging
from functools import partial

import pytest
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from tests.acceptance.hearing import heard, wait_heard
from tests.acceptance.stage import Stage
from tests.acceptance.watching import all_of, ensembles, folder, series, texts, wait_known, watch
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine import matches

CLOSED = [make_digest_acl("app", "secret", all=True)]
BAD = {
    "large": b"9" * (64 * 1024 + 1),
    "binary": bytes(range(256)) * 16,
    "deep": b"[" * 60_000,
    "deeper": b'{"a":' * 10_000 + b"20" + b"}" * 10_000,
    "endless": b'{"load": 1e999}',
    "none": b'{"load": NaN}',
    "digits": b'{"load": ' + b"9" * 5000 + b"}",
    "text": json.dumps({"load": "20; \x1b[31m\n" + "x" * 5000}).encode(),
    "null": b'{"load": null}',
    "list": b'{"load": []}',
    "empty": b"",
    "half": b'{"load": 2',
    "utf-16": json.dumps({"load": 20}).encode("utf-16"),
}


def test_what_is_no_number_is_none_and_the_others_are_judged_on(
    stage: Stage, http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    top = folder(stage)
    for name, data in BAD.items():
        stage.client.create(f"{top}/{name}", data)
    stage.client.create(f"{top}/good", b'{"load": 20}')
    running = watch(
        stage,
        http_receiver,
        {"name": "load", "metric": f"znode:{top}/*#/load", "threshold": 9},
        {"name": "length", "metric": f"znode:{top}/*#length", "threshold": 64 * 1024},
        {"name": "value", "metric": f"znode:{top}/*#value", "threshold": 9},
        {"name": "part", "metric": f"znode:{top}/*#~load.: ([0-9]+)", "threshold": 100},
    )
    wait_for(lambda: len(heard(http_receiver)) >= 2, "what is as it should be")
    stage.client.set(f"{top}/good", b'{"load": 2}')
    wait_for(lambda: f"load {series(f'{top}/good')} resolved" in heard(http_receiver), "the end")
    told = set(heard(http_receiver))
    assert told == {
        f"load {series(f'{top}/good')} firing",
        f"load {series(f'{top}/good')} resolved",
        f"length {series(f'{top}/large')} firing",
    }
    said = [record for record in caplog.records if "does not fit" in record.getMessage()]
    assert 0 < len(said) <= matches.MOST_PROBLEMS
    assert all(one.is_known for one in ensembles(running)._own.matches.values())
    assert not any("could not be" in record.getMessage() for record in caplog.records)


def test_a_text_of_anybody_is_cleaned_before_it_is_told(stage: Stage, http_receiver: HttpReceiver) -> None:
    top = folder(stage)
    stage.client.create(f"{top}/state", b"fine")
    watch(
        stage,
        http_receiver,
        {"name": "state", "metric": f"znode:{top}/state#value", "comparator": "!=", "threshold": "fine"}
        | {"summary": "it is {{ value }}"},
    )
    stage.client.set(f"{top}/state", "bad\x1b[31m\r\nX: \u202e<script>{{ 7 * 7 }} @everyone ".encode() + b"y" * 3000)
    wait_heard(http_receiver, "state zookeeper firing")
    (told,) = texts(http_receiver)
    assert told.isprintable()
    assert "{{ 7 * 7 }}" in told
    assert len(told) < 600


@pytest.mark.parametrize("pattern", ["*#value", "{app}/*#value"], ids=["a znode", "a folder in the middle"])
def test_what_nobody_may_read_is_said_once_and_judged_once_it_may_be_read(
    stage: Stage,
    http_receiver: HttpReceiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
) -> None:
    monkeypatch.setattr(matches, "ACL_EVERY", 0.3)
    top, below = folder(stage), "/one" if "/" in pattern else ""
    for name in ("open", "other", "secret"):
        stage.client.create(f"{top}/{name}{below}", b"1", makepath=True)
    stage.client.add_auth("digest", "app:secret")
    stage.client.set(f"{top}/secret{below}", b"20")
    stage.client.set_acls(f"{top}/secret", CLOSED)
    running = watch(stage, http_receiver, {"name": "high", "metric": f"znode:{top}/{pattern}", "threshold": 9})
    stage.client.set(f"{top}/open{below}", b"20")
    one, two, three = (series(f"{top}/{name}{below}") for name in ("open", "other", "secret"))
    wait_heard(http_receiver, f"high {one} firing")
    stage.client.set(f"{top}/other{below}", b"20")
    wait_for(lambda: len(heard(http_receiver)) == 2, "the other")
    stage.client.delete(f"{top}/other", recursive=True)
    wait_for(lambda: len(heard(http_receiver)) == 3, "its end, though not all can be read")
    assert heard(http_receiver)[1:] == [f"high {two} firing", f"high {two} resolved"]
    (pattern_there,) = ensembles(running)._own.matches.values()
    assert pattern_there.problems == 1
    stage.client.set_acls(f"{top}/secret", OPEN_ACL_UNSAFE)
    wait_for(lambda: len(heard(http_receiver)) == 4, "what may be read now")
    assert heard(http_receiver)[3:] == [f"high {three} firing"]
    assert pattern_there.problems == 0
    assert sum("may not be read" in record.getMessage() for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_path_that_is_too_long_is_left_out_and_said(
    stage: Stage, http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    top = folder(stage)
    stage.client.create(f"{top}/{'x' * 1100}", b"20")
    stage.client.create(f"{top}/{'y' * 500}", b"20")
    running = watch(stage, http_receiver, {"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9})
    wait_for(lambda: len(heard(http_receiver)) == 1, "the one that is short enough")
    assert stage.alerts()[0].instance == f"{top}/{'y' * 500}"
    (pattern,) = ensembles(running)._own.matches.values()
    assert pattern.problems == 1
    assert sum("left out" in record.getMessage() for record in caplog.records) == 1
    stage.client.delete(f"{top}/{'y' * 500}")
    wait_for(lambda: len(heard(http_receiver)) == 2, "its end")
    stage.client.delete(f"{top}/{'x' * 1100}")
    wait_for(lambda: pattern.problems == 0, "nothing to be left out")


def test_children_beyond_the_most_are_left_out_said_once_and_taken_in_once_there_is_room(
    stage: Stage, http_receiver: HttpReceiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matches, "MOST_MATCHES", 50)
    top = folder(stage)
    all_of(partial(stage.client.create_async, f"{top}/n{number:03}", b"1") for number in range(55))
    stage.client.set(f"{top}/n054", b"20")
    running = watch(stage, http_receiver, {"name": "high", "metric": f"znode:{top}/*#value", "threshold": 9})
    (pattern,) = ensembles(running)._own.matches.values()
    assert (len(pattern), pattern.problems) == (50, 1)
    stage.client.create(f"{top}/n055")
    stage.client.set(f"{top}/n000", b"20")
    wait_heard(http_receiver, f"high {series(f'{top}/n000')} firing")
    all_of(partial(stage.client.delete_async, f"{top}/n{number:03}") for number in range(10))
    wait_for(lambda: len(heard(http_receiver)) == 3, "one that goes, and one that was left out", 5)
    assert set(heard(http_receiver)[1:]) == {
        f"high {series(f'{top}/n000')} resolved",
        f"high {series(f'{top}/n054')} firing",
    }
    wait_known(running)
    assert (len(pattern), pattern.problems) == (46, 0)
    assert sum("left out" in record.getMessage() for record in caplog.records) == 1
