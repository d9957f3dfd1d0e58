"""Reads the units of systemd, by asking `systemctl`.

Comes in: nothing. Goes out: a Reading, or None where the system was not booted with systemd.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence

from zkalert.model import Value
from zkalert.sampler.reading import Reading

_BOOTED = "/run/systemd/system"  # what sd_booted(3) looks for
_KINDS = ("service", "mount", "socket", "timer", "path", "swap", "automount")  # devices and slices do not fail
_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NRestarts")
COMMAND = (
    *("systemctl", "show", "--all", "--no-pager"),
    *(f"--type={','.join(_KINDS)}", f"--property={','.join(_PROPERTIES)}", "*"),
)
"""One question about all units that are loaded, in the form that systemctl has for programs."""

_TIMEOUT = 10.0
_PATIENCE = 0.5  # how long the tick loop waits; the answer takes half a millisecond for each unit
_SILENT = Reading(errors=("systemd does not answer",))


class Units:
    """The units that failed, and the services that somebody means to run.

    systemd may take its time on a busy system, and nothing else is to wait for it: the question is asked in a thread
    of its own, and an answer that comes late is the next reading.
    """

    def __init__(self, command: Sequence[str] = COMMAND, *, booted: str = _BOOTED) -> None:
        self._command = tuple(command)
        self._booted = booted
        self._late: _Question | None = None

    def __call__(self, _now: float) -> Reading | None:
        if not os.path.isdir(self._booted):  # noqa: PTH112 - one call, no object
            return None
        question = self._late or _Question(self._command)
        question.thread.join(_PATIENCE)
        self._late = question if question.thread.is_alive() else None
        return _SILENT if self._late else question.reading


class _Question:
    """One run of the command; `reading` is the answer once the thread ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self.reading: Reading | None = None
        self._command = command
        self.thread = threading.Thread(target=self._ask, name="systemd", daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
                env=os.environ | {"LC_ALL": "C"},
            )
        except FileNotFoundError:
            return
        except subprocess.TimeoutExpired:
            self.reading = _SILENT  # in the words of the reading before, which did not wait so long
            return
        except OSError as error:
            self.reading = Reading(errors=(f"systemctl cannot be run: {error}",))
            return
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            self.reading = Reading(errors=(f"systemctl: {said or f'exit code {done.returncode}'}",))
        else:
            self.reading = parse(done.stdout.decode("utf-8", "replace"))


def parse(text: str) -> Reading:
    """What `systemctl show` says: a block of `Property=value` lines for each unit, with empty lines between."""
    instances: dict[str, dict[str, Value]] = {}
    failed = active = 0
    for unit in _blocks(text):
        name, state = unit.get("Id", ""), unit.get("ActiveState", "")
        is_service, has_failed = name.endswith(".service"), state == "failed"
        failed += has_failed
        if not has_failed and not (is_service and unit.get("LoadState") == "loaded"):
            continue
        is_active = state in ("active", "reloading")
        active += is_active
        if state == "inactive" and not unit.get("UnitFileState", "").startswith("enabled"):
            continue
        values: dict[str, Value] = {"failed": int(has_failed), "active": int(is_active), "state": state}
        restarts = unit.get("NRestarts", "")
        instances[name] = {**values, "restarts": int(restarts)} if restarts.isdigit() else values
    return Reading(values={"failed": failed, "active": active}, instances=instances)


def _blocks(text: str) -> Iterator[Mapping[str, str]]:
    for block in text.split("\n\n"):
        yield {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}
