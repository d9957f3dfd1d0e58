"""Reads the families of this host that have no devices, and knows the readers of all.

Comes in: a family's name and the monotonic time. Goes out: a Reading. A field that the system lacks is absent, and
what fails is an error in its own family's reading: no reader stops another.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import psutil

from zkalert import clock
from zkalert.metrics import FAMILIES
from zkalert.model import Value
from zkalert.sampler import devices, hardware, kernel
from zkalert.sampler.reading import Reading
from zkalert.sampler.systemd import Units
from zkalert.tree import MAX_TEXT

Reader = Callable[[float], "Reading | None"]
"""Of a family, at the monotonic time; None where the system has nothing of it, and so no sample."""

_FAILURES = (psutil.Error, OSError, ValueError, LookupError, ArithmeticError, RuntimeError)
"""What psutil and the kernel's files answer with where they cannot answer (NotImplementedError among them)."""


class Collector:
    """The readers of all families; those that tell a share of the last interval remember the reading before.

    Making one takes the first of these readings, so that the first sample is no rate since boot. `configured` are the
    readers of families that only the configuration asks for. Shares of processor time are those of the last
    `processor_span` seconds, however often they are read.
    """

    def __init__(
        self,
        now: float,
        configured: Mapping[str, Reader] = MappingProxyType({}),
        *,
        processor_span: float = FAMILIES["cpu_usage"].interval,
    ) -> None:
        self._readers: dict[str, Reader] = {
            "memory_usage": _memory,
            "cpu_usage": Processors(now, processor_span),
            "disk_usage": devices.FileSystems(),
            "process_number": _processes,
            "swap_usage": _swap,
            "load_average": _load,
            "disk_io": devices.Disks(now),
            "network_io": devices.Interfaces(now),
            "host": _host,
            "uptime": _uptime,
            "pressure": kernel.pressure,
            "kernel": kernel.kernel,
            "file_descriptors": kernel.file_descriptors,
            "conntrack": kernel.conntrack,
            "raid": hardware.raid,
            "bonding": hardware.bonding,
            "edac": hardware.edac,
            "systemd": Units(),
            "temperature": hardware.temperature,
            "sampler": self._of_ourselves,
            **configured,
        }
        self._last: dict[str, dict[str, Value]] = {}  # by family that was found: `ok` and `seconds` of its last reading

    def has(self, family: str) -> bool:
        """Whether there is a reader of a family; those of the configuration alone may have none."""
        return family in self._readers

    def read(self, family: str, now: float) -> Reading | None:
        """What the system says of `family` at `now` (monotonic seconds); never raises for what the system does.

        None where there is nothing of the kind here. Where there was, what is gone is said by an empty reading.
        """
        began = clock.monotonic()
        try:
            reading = self._readers.get(family, _nothing)(now)
        except _FAILURES as error:
            reading = Reading(errors=(f"cannot be read: {str(error) or type(error).__name__}",))
        if reading is None:
            if family not in self._last:
                return None
            reading = Reading()
        self._last[family] = {"ok": int(not reading.errors), "seconds": round(clock.monotonic() - began, 6)}
        return reading

    def _of_ourselves(self, _now: float) -> Reading:
        families = {family: values for family, values in self._last.items() if family != "sampler"}
        ok = all(values["ok"] for values in families.values())
        seconds = sum(float(values["seconds"]) for values in families.values())
        return Reading(values={"ok": int(ok), "seconds": round(seconds, 6)}, instances=families)


def _nothing(_now: float) -> None:
    """Of a family that the configuration would have to ask for."""


def fields_of(family: str, source: object, names: Sequence[str] = ()) -> dict[str, Value]:
    """Those fields of a psutil tuple that the metric table has too (`names`: of these alone)."""
    return {
        name: value for name in names or FAMILIES[family].fields if (value := getattr(source, name, None)) is not None
    }


def _memory(_now: float) -> Reading:
    return Reading(values=fields_of("memory_usage", psutil.virtual_memory()))


def _swap(_now: float) -> Reading:
    # psutil warns where the kernel does not count swapping (some containers), and says 0: then there is no such field.
    with warnings.catch_warnings(record=True) as uncounted:
        warnings.simplefilter("always")
        swap = psutil.swap_memory()
    values = fields_of("swap_usage", swap, ("percent", "total", "used", "free"))
    if not uncounted:
        values |= {"in": swap.sin, "out": swap.sout}
    return Reading(values=values)


def _load(_now: float) -> Reading:
    cores = psutil.cpu_count() or 1
    values: dict[str, Value] = {}
    for name, load in zip(("1m", "5m", "15m"), psutil.getloadavg(), strict=True):
        values[name] = round(load, 2)
        values[f"{name}_per_cpu"] = round(load / cores, 3)
    return Reading(values=values)


def _uptime(_now: float) -> Reading:
    boot = psutil.boot_time()
    return Reading(values={"seconds": round(max(0.0, clock.wall() - boot), 1), "boot_time": round(boot, 1)})


def _host(_now: float) -> Reading:
    system = platform.uname()
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:  # it has no such file
        release = ""
    texts = {"kernel": f"{system.system} {system.release}", "os": release or f"{system.system} {system.version}"}
    return Reading(values={name: text[:MAX_TEXT] for name, text in texts.items()})


# Processes ----------------------------------------------------------------------------------------------------------

_RUNNING, _SLEEPING, _ZOMBIE = b"R", b"SDI", b"Z"


def _processes(_now: float) -> Reading:
    return _linux_processes() if psutil.LINUX else _other_processes()


def _linux_processes() -> Reading:
    # One read of one file each: a seventh of what psutil.process_iter costs, which keeps an object per process.
    pids = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - Path objects cost more than the read
    counts = dict.fromkeys(("count", "running", "sleeping", "zombie", "threads"), 0)
    are_hidden = "1" not in pids
    for pid in pids:
        try:
            descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        except PermissionError:
            are_hidden = True
            continue
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        try:
            line = os.read(descriptor, 1024)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)
        # The name stands in parentheses and may hold any character, parentheses too: count from the last one.
        fields = line[line.rindex(b")") + 2 :].split(b" ", 18)
        state = fields[0]
        counts["count"] += 1
        counts["running"] += state in _RUNNING
        counts["sleeping"] += state in _SLEEPING
        counts["zombie"] += state in _ZOMBIE
        counts["threads"] += int(fields[17])
    limits = [limit for name in ("pid_max", "threads-max") if (limit := _kernel_limit(name)) is not None]
    values: dict[str, Value] = {**counts, **({"limit": min(limits)} if limits else {})}
    errors = ("processes of others are hidden from this user (hidepid)",) if are_hidden else ()
    return Reading(values=values, errors=errors)


def _kernel_limit(name: str) -> int | None:
    text = devices.read_text(f"/proc/sys/kernel/{name}")
    return int(text) if text.isdigit() else None


def _other_processes() -> Reading:
    counts = dict.fromkeys(("count", "running", "sleeping", "zombie", "threads"), 0)
    kinds = {
        psutil.STATUS_RUNNING: "running",
        psutil.STATUS_SLEEPING: "sleeping",
        psutil.STATUS_DISK_SLEEP: "sleeping",
        psutil.STATUS_IDLE: "sleeping",
        psutil.STATUS_ZOMBIE: "zombie",
    }
    for process in psutil.process_iter(["status", "num_threads"]):
        counts["count"] += 1
        kind = kinds.get(process.info["status"])
        if kind is not None:
            counts[kind] += 1
        counts["threads"] += process.info["num_threads"] or 0
    return Reading(values=counts)


# Processors ---------------------------------------------------------------------------------------------------------

_NEARLY = 0.98  # ticks are not punctual
_MOST_READINGS = 50


class Processors:
    """Shares of processor time over the last `over` seconds, of each core and of all.

    Asked less often than that, it tells of the time since it was asked last. What is asked for between two ticks is no
    spike of a moment, but as smooth as a tick's.
    """

    def __init__(self, now: float, over: float) -> None:
        self._over = over
        self._readings: deque[tuple[float, list[Any]]] = deque([(now, psutil.cpu_times(percpu=True))])

    def __call__(self, now: float) -> Reading:
        times: list[Any] = psutil.cpu_times(percpu=True)
        readings = self._readings
        while len(readings) > 1 and readings[1][0] <= now - _NEARLY * self._over:
            readings.popleft()
        before = readings[0][1]
        if len(before) != len(times):
            readings.clear()
        if not readings or now - readings[-1][0] >= self._over / _MOST_READINGS:
            readings.append((now, times))
        cores: dict[str, Value] = {"cores": len(times)}
        if len(before) != len(times):
            return Reading(values=cores, errors=("the number of cores changed since the last reading",))
        # A core that was off for a while counts from anew, and iowait may step back: no share is negative.
        spent = [
            [max(0.0, after - until) for after, until in zip(core, then, strict=True)]
            for core, then in zip(times, before, strict=True)
        ]
        names = times[0]._fields
        whole = [sum(column) for column in zip(*spent, strict=True)]
        return Reading(
            values=_shares(names, whole) | cores,
            instances={str(core): shares for core, row in enumerate(spent) if (shares := _shares(names, row))},
        )


def _shares(names: Sequence[str], spent: Sequence[float]) -> dict[str, Value]:
    """Percent of the time that passed; empty where none did."""
    seconds = dict(zip(names, spent, strict=True))
    # The kernel counts the time of guests within user and nice as well.
    passed = sum(spent) - seconds.get("guest", 0.0) - seconds.get("guest_nice", 0.0)
    if passed <= 0:
        return {}
    shares: dict[str, Value] = {
        name: _percent(part, passed) for name, part in seconds.items() if name in FAMILIES["cpu_usage"].fields
    }
    idle = seconds.get("idle", 0.0) + seconds.get("iowait", 0.0)
    return {"percent": _percent(passed - idle, passed)} | shares


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2)
