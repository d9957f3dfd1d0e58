"""One command as an action, beside the engine: what an alert says is handed to it, and it is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zkalert.model import Effect, Message, Run, SendResult, Where
from zkalert.process import Handout, execute
from zkalert.render import fields_of, severity_of, subject


class RunSender:
    """Runs one command for effects. `cwd` is the folder that relative commands start from.

    Raises ValueError for the name of an action of a host: here it is no command.
    """

    def __init__(self, run: Run, cwd: Path | None = None) -> None:
        if run.where is Where.HOST:
            raise ValueError(f"{run.command!r} is run by the host")
        self._run = run
        self._cwd = cwd

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - the dispatcher calls all senders alike; a command is never repeated
        """Run the command once and wait for it; never raises. See `execute` for what counts as done."""
        (effect,) = effects
        return execute(self._run, handout(effect, message), self._cwd)


def handout(effect: Effect, message: Message) -> Handout:
    """What a command learns of an effect."""
    return Handout(fields_of(effect), _document(effect, message))


def _document(effect: Effect, message: Message) -> dict[str, Any]:
    """What a command reads on standard input. Keys are only ever added.

    `threshold` and `clear` are a number, a list of two, a text or null; `values` has those of all conditions of a rule
    that has several.
    """
    alert = effect.alert
    members, silent = alert.members or (None, None)
    return {
        "version": 1,
        "id": alert.id,
        "key": effect.key,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance,
        "state": effect.phase.value,
        "phase": effect.name or effect.phase.value,
        "reason": effect.reason.value,
        "severity": severity_of(effect).value,
        "metric": str(alert.metric),
        "subject": subject(alert),
        "unit": alert.unit,
        "value": alert.value,
        "values": alert.values,
        "comparator": alert.comparator.value,
        "threshold": alert.threshold,
        "clear": alert.clear,
        "members": members,
        "silent_hosts": silent,
        "peak": alert.peak,
        "since": alert.since,
        "at": effect.at,
        "title": message.title,
        "body": message.body,
        "runbook": message.fields.get("runbook", ""),
        "labels": dict(effect.labels),
        "host_labels": dict(effect.host_labels),
        "instance_labels": dict(effect.instance_labels),
    }
