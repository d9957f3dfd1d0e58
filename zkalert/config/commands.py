"""The commands that a host offers to run for its own alerts.

Comes in: the key `actions` of a document that its schema has passed. Goes out: Runs by name, and findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zkalert.config.written import Place, Written
from zkalert.model import Run

MAX_TIMEOUT = 86400.0


def actions(written: Written) -> dict[str, Run]:
    """The commands by name. Their texts stand as they are: `${NAME}` in a line is the shell's business."""
    return {name: _run(written, raw, ("actions", name)) for name, raw in written.data.get("actions", {}).items()}


def _run(written: Written, raw: str | Sequence[str] | Mapping[str, Any], place: Place) -> Run:
    if not isinstance(raw, Mapping):
        return Run(command=command_of(written, raw, place))
    timeout = written.span(raw.get("timeout", "30s"), (*place, "timeout"), least=0.001, most=MAX_TIMEOUT)
    return Run(
        command=command_of(written, raw["run"], (*place, "run")),
        timeout=timeout,
        user=written.text(raw["user"], (*place, "user")) if "user" in raw else None,
        cwd=str(written.folder / written.text(raw["cwd"], (*place, "cwd"))) if "cwd" in raw else None,
        umask=int(raw["umask"], 8) if "umask" in raw else None,
        is_clean=raw.get("environment") == "clean",
    )


def command_of(written: Written, raw: str | Sequence[str], place: Place) -> str | tuple[str, ...]:
    first = raw if isinstance(raw, str) else raw[0]
    if not first.strip():
        expected = "a line for the shell" if isinstance(raw, str) else "a list that begins with a command"
        written.add(place, "wrong-value", "no command: an empty text", expected=expected)
    return raw if isinstance(raw, str) else tuple(raw)
