"""Inputs to a check, each within bounds of time and memory; of what fails, the smallest that fails in the same way."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeAlias

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

TIME_LIMIT = 5.0
"""Seconds for one input."""
MEMORY_LIMIT = 512 * 2**20
"""Bytes that one input may add to what the process ever held."""
MAX_DEFECTS = 20

_HARD_LIMIT = 30.0
_BATCH = 100
_SHRINK_SECONDS = 20.0
_REPOSITORY = str(Path(__file__).parents[2])
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

Check: TypeAlias = Callable[[bytes], str]
"""Raises whatever is wrong; hands back one word for what became of the input, to count by."""


@dataclass(frozen=True, slots=True)
class Target:
    """One loader: inputs for it, and what has to hold of each of them."""

    name: str
    inputs: st.SearchStrategy[bytes]
    check: Check


@dataclass(frozen=True, slots=True)
class Defect:
    """One way to fail: `identity` tells it from others, `trace` is for people, `data` the smallest input."""

    identity: str
    trace: str
    data: bytes


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    defects: dict[str, Defect] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        return sum(self.outcomes.values())


class TookTooLong(BaseException):
    """Past the time limit; no `except Exception` in the code under test takes it."""


def fuzz(target: Target, *, seconds: float, first_seed: int, folder: Path, most: int | None = None) -> Tally:
    """Feed a target for so many seconds, or with `most` inputs.

    The input at work stands in `<folder>/<target>.running`, for whoever finds the process killed; the smallest of
    each way to fail in `<folder>/<target>-<n>`, and beside it the traceback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    running = folder / f"{target.name}.running"
    deadline = time.monotonic() + seconds
    number = first_seed
    with running.open("wb", buffering=0) as note:

        def is_on() -> bool:
            return (
                time.monotonic() < deadline
                and len(tally.defects) < MAX_DEFECTS
                and (most is None or tally.inputs < most)
            )

        def once(data: bytes) -> None:
            if is_on():
                os.ftruncate(note.fileno(), 0)
                os.pwrite(note.fileno(), data, 0)
                _judge(target, data, tally)

        while is_on():
            _batch(target.inputs, number, once)
            number += 1
        os.ftruncate(note.fileno(), 0)
    for identity, defect in tally.defects.items():
        smallest = shrink(target.check, defect.data, identity)
        again, trace = attempt(target.check, smallest)
        if again == identity:
            tally.defects[identity] = replace(defect, data=smallest, trace=trace)
    running.unlink()
    for number, defect in enumerate(tally.defects.values(), 1):
        path = folder / f"{target.name}-{number}"
        path.write_bytes(defect.data)
        path.with_suffix(".txt").write_text(
            f"{defect.identity}\n\n{defect.trace}", encoding="utf-8", errors="backslashreplace"
        )
    return tally


def _batch(inputs: st.SearchStrategy[bytes], number: int, once: Callable[[bytes], None]) -> None:
    @seed(number)
    @settings(
        max_examples=_BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(data: bytes) -> None:
        once(data)

    run()


def _judge(target: Target, data: bytes, tally: Tally) -> None:
    began = time.monotonic()
    outcome, trace = attempt(target.check, data)
    tally.slowest = max(tally.slowest, time.monotonic() - began)
    tally.outcomes["failed" if trace else outcome] += 1
    if trace and outcome not in tally.defects:
        tally.defects[outcome] = Defect(identity=outcome, trace=trace, data=data)


def attempt(check: Check, data: bytes) -> tuple[str, str]:
    """The outcome and an empty text; or how it failed and the traceback."""
    before = _peak()
    try:
        with _limited():
            outcome = check(data)
    except (Exception, TookTooLong) as error:  # noqa: BLE001 - finding those is what this is for
        trace = "".join(traceback.format_exception(error, limit=-12))
        return _identity(error), trace
    if _peak() - before > MEMORY_LIMIT:
        return "TookTooMuchMemory", f"{(_peak() - before) / 2**20:.0f} MiB more than ever before"
    return outcome, ""


def _peak() -> int:
    """The most memory (bytes) that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


@contextmanager
def _limited() -> Iterator[None]:
    """Raise TookTooLong after a while; where no Python code runs any more, end the process with its stack."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    faulthandler.dump_traceback_later(_HARD_LIMIT, exit=True, file=2)  # the real one, whatever stands for it now
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def _identity(error: BaseException) -> str:
    """What went wrong where, of frames in this repository; a line of a deep or endless walk says nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_REPOSITORY) and "/.venv/" not in frame.filename]
    name = type(error).__name__
    if isinstance(error, (RecursionError, TookTooLong)) or not ours:
        return name
    place = ours[-1]
    return f"{name} at {os.path.relpath(place.filename, _REPOSITORY)}:{place.lineno}"


def shrink(check: Check, data: bytes, identity: str) -> bytes:
    """The smallest input found in time that fails in the same way: first without lines, then without characters."""
    deadline = time.monotonic() + _SHRINK_SECONDS

    def fails(candidate: bytes) -> bool:
        outcome, trace = attempt(check, candidate)
        return bool(trace) and outcome == identity

    for split in (_lines, _characters):
        parts = split(data)
        size = max(1, len(parts) // 2)
        while parts:
            start = 0
            is_smaller = False
            while start < len(parts):
                if time.monotonic() > deadline:
                    return b"".join(parts)
                candidate = parts[:start] + parts[start + size :]
                if fails(b"".join(candidate)):
                    parts, is_smaller = candidate, True
                else:
                    start += size
            if size == 1 and not is_smaller:
                break
            size = max(1, size // 2)
        data = b"".join(parts)
    return data


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _characters(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]
