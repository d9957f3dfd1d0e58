"""What the sampler reads of systemd, and what it does where systemd does not answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import wait_for
from zkalert.metrics import FAMILIES
from zkalert.sampler import systemd
from zkalert.sampler.reading import Reading
from zkalert.sampler.systemd import COMMAND, Units

# As systemd 252 answers: a unit of each kind that is told apart.
SAID = """\
NRestarts=0
Id=runs.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

NRestarts=0
Id=done.service
LoadState=loaded
ActiveState=inactive
UnitFileState=static

NRestarts=0
Id=stopped.service
LoadState=loaded
ActiveState=inactive
UnitFileState=enabled

NRestarts=3
Id=flap.service
LoadState=loaded
ActiveState=activating
UnitFileState=static

NRestarts=0
Id=bad.service
LoadState=loaded
ActiveState=failed
UnitFileState=static

NRestarts=0
Id=removed.service
LoadState=not-found
ActiveState=failed
UnitFileState=

NRestarts=0
Id=syslog.service
LoadState=not-found
ActiveState=inactive
UnitFileState=

Id=var-tmp-data.mount
LoadState=loaded
ActiveState=failed
UnitFileState=static

Id=-.mount
LoadState=loaded
ActiveState=active
UnitFileState=

Id=done.timer
LoadState=loaded
ActiveState=active
UnitFileState=static
"""


def test_units_that_failed_and_services_that_somebody_means_to_run_are_told(tmp_path: Path) -> None:
    (tmp_path / "said").write_text(SAID, encoding="ascii")
    reading = Units(("cat", str(tmp_path / "said")), booted=str(tmp_path))(0)
    assert reading is not None
    assert reading.values == {"failed": 3, "active": 1}
    assert reading.instances == {
        "runs.service": {"failed": 0, "active": 1, "state": "active", "restarts": 0},
        "stopped.service": {"failed": 0, "active": 0, "state": "inactive", "restarts": 0},
        "flap.service": {"failed": 0, "active": 0, "state": "activating", "restarts": 3},
        "bad.service": {"failed": 1, "active": 0, "state": "failed", "restarts": 0},
        "removed.service": {"failed": 1, "active": 0, "state": "failed", "restarts": 0},
        "var-tmp-data.mount": {"failed": 1, "active": 0, "state": "failed"},
    }
    assert all(set(values) <= set(FAMILIES["systemd"].fields) for values in reading.instances.values())


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="asks systemctl")
def test_systemctl_takes_the_question() -> None:
    """Where nothing was booted with systemd it answers that alone; of an option it does not know it would say so."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode:
        assert "bus" in done.stderr, done.stderr
    else:
        assert done.stdout.count("Id=") > 1


def test_a_system_without_systemd_says_nothing(tmp_path: Path) -> None:
    assert Units(("false",), booted=str(tmp_path / "nowhere"))(0) is None
    assert Units(("systemctl-that-nobody-installed",), booted=str(tmp_path))(0) is None


def command_of(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import sys; sys.exit('Failed to connect to bus: Host is down')", "Failed to connect to bus: Host is down"),
        ("import sys; sys.exit(4)", "exit code 4"),
    ],
    ids=["with a reason", "without a word"],
)
def test_what_systemctl_complains_of_is_the_error(code: str, error: str, tmp_path: Path) -> None:
    read = Units(command_of(code), booted=str(tmp_path))
    reading = answered(read)
    assert (reading.errors, reading.instances) == ((f"systemctl: {error}",), {})


def answered(read: Callable[[float], Reading | None]) -> Reading:
    """The first reading that is an answer: an interpreter may take longer to start than a reader has patience."""
    late = ("systemd does not answer",)

    def ask() -> Reading | None:
        reading = read(0)
        return None if reading is None or reading.errors == late else reading

    reading = wait_for(ask, "an answer", 20)
    assert reading is not None
    return reading


def test_a_system_that_is_slow_to_answer_is_heard_at_the_next_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_PATIENCE", 0.05)
    pipe = tmp_path / "answer"
    os.mkfifo(pipe)
    read = Units(("cat", str(pipe)), booted=str(tmp_path))
    started_at = time.monotonic()
    for _ in range(3):
        assert read(0) == Reading(errors=("systemd does not answer",))
    assert time.monotonic() - started_at < 2
    assert sum(thread.name == "systemd" for thread in threading.enumerate()) == 1, "it is not asked anew"
    pipe.write_text("Id=nginx.service\nLoadState=loaded\nActiveState=failed\n", encoding="ascii")
    assert answered(read).instances == {"nginx.service": {"failed": 1, "active": 0, "state": "failed"}}


def test_a_system_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_TIMEOUT", 0.1)
    assert Units(("sleep", "1000"), booted=str(tmp_path))(0) == Reading(errors=("systemd does not answer",))
    wait_for(lambda: "systemd" not in [thread.name for thread in threading.enumerate()], "the question to end")
