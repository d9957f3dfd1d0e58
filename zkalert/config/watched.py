"""What this host's sampler looks at because the configuration names it: processes, files, check commands.

Comes in: the keys `processes`, `files` and `commands` of a document that its schema has passed. Goes out: entries by
name, and findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zkalert.config.commands import command_of
from zkalert.config.written import Place, Written
from zkalert.documents.patterns import pattern_problem
from zkalert.model import CheckEntry, FileEntry, ProcessEntry, Run

MAX_INTERVAL = 86400.0
MAX_TIMEOUT = 3600.0


def processes(written: Written) -> dict[str, ProcessEntry]:
    """The entries by name."""
    return {
        name: _process(written, raw, ("processes", name)) for name, raw in written.data.get("processes", {}).items()
    }


def _process(written: Written, raw: Mapping[str, str], place: Place) -> ProcessEntry:
    given = {key: written.text(raw[key], (*place, key)) for key in ("name", "unit", "user") if key in raw}
    if "pid_file" in raw:
        given["pid_file"] = str(written.folder / written.text(raw["pid_file"], (*place, "pid_file")))
    if "command" in raw:
        given["command"] = raw["command"]  # as it stands: ${ means something in a regular expression
        problem = pattern_problem(raw["command"], is_searched=True)
        if problem is not None:
            expected = "a regular expression for the command line"
            written.add((*place, "command"), "wrong-value", problem, expected=expected)
    return ProcessEntry(**given)


def files(written: Written) -> dict[str, FileEntry]:
    """The entries by name; paths that are relative begin at the folder of the configuration."""
    return {name: _file(written, raw, ("files", name)) for name, raw in written.data.get("files", {}).items()}


def _file(written: Written, raw: str | Sequence[str] | Mapping[str, Any], place: Place) -> FileEntry:
    if not isinstance(raw, Mapping):
        return FileEntry(paths=_paths(written, raw, place))
    return FileEntry(paths=_paths(written, raw["path"], (*place, "path")), has_digest=raw.get("sha256", False))


def _paths(written: Written, raw: str | Sequence[str], place: Place) -> tuple[str, ...]:
    if isinstance(raw, str):
        return (str(written.folder / written.text(raw, place)),)
    paths = [str(written.folder / written.text(text, (*place, index))) for index, text in enumerate(raw)]
    return tuple(dict.fromkeys(paths))


def commands(written: Written) -> dict[str, CheckEntry]:
    """The entries by name; a finding where there are some and no command may run here."""
    raw = written.data.get("commands", {})
    if raw and not written.data.get("shell_actions", True):
        message = "check commands cannot run: shell_actions is false"
        written.add(("commands",), "shell-off", message, expected="shell_actions: true, or no commands", at_key=True)
    return {name: _check(written, entry, ("commands", name)) for name, entry in raw.items()}


def _check(written: Written, raw: str | Sequence[str] | Mapping[str, Any], place: Place) -> CheckEntry:
    if not isinstance(raw, Mapping):
        return CheckEntry(run=Run(command=command_of(written, raw, place), timeout=10.0))
    timeout = written.span(raw.get("timeout", "10s"), (*place, "timeout"), least=0.1, most=MAX_TIMEOUT)
    return CheckEntry(
        run=Run(
            command=command_of(written, raw["command"], (*place, "command")),
            timeout=timeout,
            user=written.text(raw["user"], (*place, "user")) if "user" in raw else None,
            cwd=str(written.folder / written.text(raw["cwd"], (*place, "cwd"))) if "cwd" in raw else None,
        ),
        interval=written.span(raw.get("interval", "60s"), (*place, "interval"), least=1.0, most=MAX_INTERVAL),
        environment={name: written.text(text, (*place, "env", name)) for name, text in raw.get("env", {}).items()},
    )
