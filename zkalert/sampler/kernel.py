"""Reads what the kernel tells of itself: pressure, counters, its clock, and tables that all processes share.

Comes in: where /proc is. Goes out: a Reading, or None where this kernel does not tell: it is an older one, was built
without, or is none of Linux.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from zkalert.metrics import FAMILIES
from zkalert.model import Value
from zkalert.sampler.devices import read_text
from zkalert.sampler.reading import Reading


def pressure(_now: float, *, proc: str = "/proc") -> Reading | None:
    """Pressure stall information.

    The kernel's lines are `some avg10=0.12 avg60=0.05 avg300=0.01 total=1234`: percent, and microseconds since boot.
    """
    known = FAMILIES["pressure"].fields
    values: dict[str, Value] = {}
    for resource in ("cpu", "memory", "io"):
        for line in read_text(f"{proc}/pressure/{resource}").splitlines():
            stall, *pairs = line.split()
            for name, _, number in (pair.partition("=") for pair in pairs):
                field = f"{resource}_{stall}_{name}"
                if field in known:
                    values[field] = int(number) / 1e6 if name == "total" else float(number)
    return Reading(values=values) if values else None


def file_descriptors(_now: float, *, proc: str = "/proc") -> Reading | None:
    """Of `file-nr`, which says: handed out, of those unused (0 since Linux 2.6), and the limit."""
    counts = read_text(f"{proc}/sys/fs/file-nr").split()
    if len(counts) != 3:
        return None
    handed_out, unused, limit = (int(count) for count in counts)
    return _table(handed_out - unused, limit)


def conntrack(_now: float, *, proc: str = "/proc") -> Reading | None:
    """The files are there while the firewall's module is loaded."""
    counts = [read_text(f"{proc}/sys/net/netfilter/nf_conntrack_{name}") for name in ("count", "max")]
    if not all(count.isdigit() for count in counts):
        return None
    used, limit = (int(count) for count in counts)
    return _table(used, limit)


def _table(used: int, limit: int) -> Reading:
    values: dict[str, Value] = {"used": used, "limit": limit}
    return Reading(values={"percent": round(100.0 * used / limit, 2), **values} if limit else values)


# Counters and the clock ---------------------------------------------------------------------------------------------

_COUNTERS = {
    "oom_kills": ("vmstat", re.compile(r"^oom_kill (\d+)$", re.MULTILINE)),
    "major_faults": ("vmstat", re.compile(r"^pgmajfault (\d+)$", re.MULTILINE)),
    "context_switches": ("stat", re.compile(r"^ctxt (\d+)$", re.MULTILINE)),
}
_STA_UNSYNC, _STA_NANO = 0x0040, 0x2000


class Timex(ctypes.Structure):
    """The head of the kernel's `struct timex`, and room for the tail of any system's: see adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("tail", ctypes.c_long * 64),
    )


def adjtimex() -> Timex | None:
    """How the kernel thinks of its clock; None where it may not be asked. Asking changes nothing: no mode is set."""
    ask = _adjtimex()
    timex = Timex()
    return None if ask is None or ask(ctypes.byref(timex)) < 0 else timex


@cache
def _adjtimex() -> Callable[[Any], int] | None:
    ask: Callable[[Any], int] | None = getattr(ctypes.CDLL(None), "adjtimex", None)
    return ask


def kernel(_now: float, *, proc: str = "/proc", clock: Callable[[], Timex | None] = adjtimex) -> Reading | None:
    """Counters since boot, and the clock."""
    texts = {name: read_text(f"{proc}/{name}") for name in {name for name, _ in _COUNTERS.values()}}
    values: dict[str, Value] = {
        field: int(found[1]) for field, (name, line) in _COUNTERS.items() if (found := line.search(texts[name]))
    }
    timex = clock()
    if timex is not None:
        values |= _clock(timex)
    return Reading(values=values) if values else None


def _clock(timex: Timex) -> Mapping[str, Value]:
    return {
        "clock_synchronised": int(not timex.status & _STA_UNSYNC),
        "clock_offset": timex.offset / (1e9 if timex.status & _STA_NANO else 1e6),
        "clock_max_error": timex.maxerror / 1e6,
    }
