"""What the acceptance tests of znodes share: a folder beside zkalert's tree, rules about it, what an engine knows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.utils import AsyncResult

from tests.acceptance.hearing import channels, start
from tests.acceptance.stage import RunningEngine, Stage
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine.ensembles import Ensembles
from zkalert.metrics import OWN_ENSEMBLE
from zkalert.zk import MOST_IN_FLIGHT, Client


def folder(stage: Stage) -> str:
    """A folder of the test's own, which is there, in the ensemble that zkalert's tree is in."""
    path = f"{stage.tree.top}-znodes"
    stage.client.ensure_path(path)
    return path


def rules(*ones: Mapping[str, Any]) -> str:
    """A file of rules, each above 0 unless it says otherwise, that tell `ops`."""
    plain = {"action": "ops", "comparator": ">", "threshold": 0}
    given = ({"action": "ops"} if "comparator" in one else plain for one in ones)
    return json.dumps({"rules": [{**before, **one} for before, one in zip(given, ones, strict=True)]})


def watch(stage: Stage, receiver: HttpReceiver, *ones: Mapping[str, Any]) -> RunningEngine:
    """An engine in this process with these rules, once it has read all that they are about."""
    running = start(stage, stage.settings(rules(*ones), channels(receiver, "ops")))
    wait_known(running)
    return running


def ensembles(running: RunningEngine) -> Ensembles:
    return running.engine._ensembles


def wait_known(running: RunningEngine, timeout: float = 20) -> None:
    """Wait until an engine has read all znodes of the own ensemble that its rules are about, and judges them."""

    def are_known() -> bool:
        matches = ensembles(running)._ensembles[OWN_ENSEMBLE].matches.values()
        return running.engine._evaluator.is_active and all(one.is_known and not one._changed for one in matches)

    wait_for(are_known, "the znodes to be read", timeout)


def series(path: str, ensemble: str = OWN_ENSEMBLE) -> str:
    """A match of a pattern as keys of messages have it."""
    return f"{ensemble},{path}"


def texts(receiver: HttpReceiver, name: str = "ops") -> list[str]:
    """The summary of each alert that a channel was told of, in order."""
    return [alert["summary"] for request in receiver.at(f"/{name}") for alert in request.json["alerts"]]


@contextlib.contextmanager
def session(hosts: str, timeout: float = 10.0) -> Iterator[Client]:
    """Somebody else's session."""
    client = KazooClient(hosts, timeout=timeout)
    client.start(15)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def all_of(questions: Iterable[Any]) -> None:
    """Ask many things, a bounded number of them on the way, and wait until all are done; `questions` are callables."""
    waiting: list[AsyncResult] = []
    for ask in questions:
        waiting.append(ask())
        if len(waiting) >= MOST_IN_FLIGHT:
            waiting.pop(0).get(timeout=30)
    for one in waiting:
        one.get(timeout=30)


def process_channels(receiver: HttpReceiver, name: str = "ops") -> str:
    """The channel as `zkalert.yaml` of an engine process has it."""
    url = receiver.url(f"/{name}", "webhook")
    return f'channels:\n  {name}:\n    group_interval: 0s\n    rate: 1000/s\n    urls: ["{url}"]\n'
