"""Log lines: for people or for machines, and never with what other libraries would give away."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from zkalert.cli import logs


@pytest.fixture
def set_up() -> Iterator[Callable[[str, str], io.StringIO]]:
    """Set logging up to a buffer; everything is as it was afterwards."""
    names = ("", "zkalert", "kazoo", "apprise", "urllib3")
    before = [
        (logger, logger.level, logger.propagate, logger.handlers[:])
        for logger in (logging.getLogger(name or None) for name in names)
    ]

    def start(level: str, form: str) -> io.StringIO:
        stream = io.StringIO()
        logs.setup(level, form, stream)
        return stream

    yield start
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


def test_a_line_for_people_has_the_time_the_level_who_and_what(set_up: Callable[[str, str], io.StringIO]) -> None:
    stream = set_up("info", "text")
    logging.getLogger("zkalert.zookeeper").warning("lost %s\nfor good", "web1")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} warning zookeeper: lost web1\\x0afor good\n", stream.getvalue()
    )


def test_a_line_for_machines_is_one_json_object(set_up: Callable[[str, str], io.StringIO]) -> None:
    stream = set_up("info", "json")
    try:
        int("broken")
    except ValueError:
        logging.getLogger("zkalert.engine").exception("failed", extra={"rule": "a", "place": {1}})
    [line] = stream.getvalue().splitlines()
    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document.pop("time"))
    assert document.pop("exception").endswith("base 10: 'broken'")
    assert document == {"level": "error", "logger": "engine", "message": "failed", "rule": "a", "place": "{1}"}


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_told(set_up: Callable[[str, str], io.StringIO], level: str, count: int) -> None:
    stream = set_up(level, "text")
    for told in logs.LEVELS.values():
        logging.getLogger("zkalert.engine").log(told, "x")
    assert len(stream.getvalue().splitlines()) == count


@pytest.mark.parametrize("level", ["info", "debug"])
def test_libraries_that_print_secrets_are_never_heard(set_up: Callable[[str, str], io.StringIO], level: str) -> None:
    stream = set_up(level, "text")
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).error("POST /services/T1/B2/hunter2")
    assert stream.getvalue() == ""


def test_kazoo_is_heard_only_at_debug(set_up: Callable[[str, str], io.StringIO]) -> None:
    stream = set_up("info", "text")
    logging.getLogger("kazoo.client").warning("Connection dropped")
    assert stream.getvalue() == ""
    stream = set_up("debug", "text")
    logging.getLogger("kazoo.client").warning("Connection dropped")
    assert stream.getvalue().endswith("warning kazoo.client: Connection dropped\n")
