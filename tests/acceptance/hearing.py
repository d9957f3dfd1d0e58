"""What the acceptance tests of quiet, people and actions share: who heard what, and what the journal says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.acceptance.stage import RunningEngine, Stage
from tests.cli.saying import run
from tests.helpers import HttpReceiver, wait_for
from zkalert.engine import EngineSettings
from zkalert.journal import JOURNAL_NAME, JournalReader, Kind, Record, Wanted
from zkalert.model import Silence
from zkalert.store import Facts


def channels(receiver: HttpReceiver, *names: str) -> dict[str, tuple[str, ...]]:
    """A web channel for each name, below a path of its own."""
    return {name: (receiver.url(f"/{name}", "webhook"),) for name in names}


def heard(receiver: HttpReceiver, name: str = "ops") -> list[str]:
    """Rule, series and phase of each alert that a channel was told of, in order; those of digests each on its own."""
    keys = [alert["key"].partition("/") for request in receiver.at(f"/{name}") for alert in request.json["alerts"]]
    parts = [(rule, *rest.rsplit("/", 2)) for rule, _, rest in keys]  # a series may be a path
    return [f"{rule} {series} {phase}" for rule, series, _, phase in parts]


def wait_heard(receiver: HttpReceiver, *expected: str, name: str = "ops", timeout: float = 15) -> None:
    """Wait until a channel has been told exactly this."""
    wait_for(
        lambda: len(heard(receiver, name)) >= len(expected),
        f"{expected} at {name}, have {heard(receiver, name)}",
        timeout,
    )
    assert heard(receiver, name) == list(expected)


def start(stage: Stage, settings: EngineSettings, **more: Any) -> RunningEngine:
    """An engine in this process with a journal in its state folder, once it owns the tree."""
    journal = stage.folder / "state" / JOURNAL_NAME
    running = RunningEngine(replace(settings, journal=journal, **more))
    stage._engines.append(running)
    return running.wait_owner()


def hastened(settings: EngineSettings, times: float = 20) -> EngineSettings:
    """The same, with reminders and escalations so many times sooner than rules may ask for."""
    rules = (
        replace(
            rule,
            repeat=tuple(span / times for span in rule.repeat),
            escalate=tuple(replace(one, after=one.after / times) for one in rule.escalate),
        )
        for rule in settings.rules
    )
    return replace(settings, rules=tuple(rules))


def engine(stage: Stage, rules: str, urls: Mapping[str, tuple[str, ...]] | None = None, **more: Any) -> RunningEngine:
    """One whose reminders and escalations are `hastened`."""
    return start(stage, hastened(stage.settings(rules, urls)), **more)


def records(stage: Stage, *kinds: Kind) -> list[Record]:
    """What the journal has of these kinds, in the order of the ensemble."""
    path = stage.folder / "state" / JOURNAL_NAME
    if not path.exists():
        return []
    reader = JournalReader(path)
    try:
        return [entry.record for entry in reader.read(Wanted(kinds=kinds))]
    finally:
        reader.close()


def wait_record(stage: Stage, kind: Kind, is_it: Callable[[Record], object] = lambda record: True) -> Record:
    """Wait for a record of the journal."""
    return wait_for(lambda: [one for one in records(stage, kind) if is_it(one)], f"a record of {kind.value}")[0]


def wait_withheld(stage: Stage, rule: str, phase: str = "firing", why: str = "") -> Record:
    """Wait until the journal says that a message is withheld, and why."""
    return wait_record(
        stage,
        Kind.WITHHELD,
        lambda record: record.rule == rule and record.phase == phase and why in record.reason,
    )


def log_lines(stage: Stage, *words: str) -> list[dict[str, Any]]:
    """What `zkalert log --format json` says of that journal."""
    state = str(stage.folder / "state")
    done = run(stage.zookeeper, "log", "--format", "json", "--state-dir", state, "--lines", "500", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def silence(stage: Stage, seconds: float = 3600, **matchers: Any) -> Silence:
    """Somebody adds a silence; returns once the engine knows of it."""
    facts = Facts(stage.client, stage.tree)
    now = facts.open()
    fields: dict[str, Any] = {"starts_at": now, "ends_at": now + seconds} | matchers
    made = facts.add_silence(Silence(id="", **fields), now).silence
    wait_record(stage, Kind.SILENCE, lambda record: record.data["id"] == made.id)
    return made


def expire(stage: Stage, made: Silence) -> None:
    facts = Facts(stage.client, stage.tree)
    facts.expire_silence(made.id, facts.open())
