"""Reads the families of devices: file systems, disks and network interfaces.

Comes in: the monotonic time. Goes out: a Reading with an instance per device. What a device does not tell is absent.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import psutil

from zkalert import clock
from zkalert.model import Value
from zkalert.sampler.reading import Reading

# File systems -------------------------------------------------------------------------------------------------------

_READ_ONLY_KINDS = frozenset({"squashfs", "iso9660", "erofs", "cramfs", "romfs"})
"""Always full, since nobody can write there: each snap is such a mount."""
_PATIENCE = 1.0


class FileSystems:
    """Space and inodes of local file systems.

    Only what psutil calls physical is looked at, so that no network mount is ever touched. A local device can hang
    too (a dying disk, FUSE): each mount is read in a thread of its own, all together have a second, and one that
    does not come back is not asked again until it did. The tick loop never waits longer.
    """

    def __init__(self) -> None:
        self._hanging: dict[str, threading.Thread] = {}

    def __call__(self, _now: float) -> Reading:
        mounts = _mounts(psutil.disk_partitions(all=False))
        found = self._read_all([mount.mountpoint for mount in mounts])
        instances: dict[str, dict[str, Value]] = {}
        labels: dict[str, dict[str, str]] = {}
        errors = []
        for mount in mounts:
            name = mount.mountpoint
            values = found.get(name, TimeoutError("does not answer"))
            if isinstance(values, OSError):
                errors.append(f"{name}: {values.strerror or values}")
                values = {"error": 1}
            if values:
                instances[name] = values
                labels[name] = {"fstype": mount.fstype, "device": mount.device}
        return Reading(instances=instances, labels=labels, errors=tuple(errors))

    def _read_all(self, mounts: Sequence[str]) -> dict[str, dict[str, Value] | OSError]:
        self._hanging = {mount: thread for mount, thread in self._hanging.items() if thread.is_alive()}
        found: dict[str, dict[str, Value] | OSError] = {}
        threads = {
            mount: threading.Thread(target=_read_mount, args=(mount, found), daemon=True)
            for mount in mounts
            if mount not in self._hanging
        }
        deadline = clock.monotonic() + _PATIENCE
        for thread in threads.values():
            thread.start()
        for mount, thread in threads.items():
            thread.join(max(0.0, deadline - clock.monotonic()))
            if thread.is_alive():
                self._hanging[mount] = thread
        return dict(found)


class _UnlistedRoot(NamedTuple):
    """The root where the system does not list it as a mount: in a chroot."""

    device: str = "unknown"
    mountpoint: str = "/"
    fstype: str = "unknown"


def _mounts(partitions: Sequence[Any]) -> list[Any]:
    """One mount for each device, the one with the shortest path; and the root, whatever it stands on."""
    if not any(mount.mountpoint == "/" for mount in partitions):
        # In a container the root is an overlay, which psutil does not call physical; it can fill up all the same.
        roots = [mount for mount in psutil.disk_partitions(all=True) if mount.mountpoint == "/"]
        found: list[Any] = [*roots[-1:]] or [_UnlistedRoot()]
        partitions = [*partitions, *found]
    shortest: dict[str, Any] = {}
    for mount in partitions:
        if mount.fstype in _READ_ONLY_KINDS:
            continue
        known = shortest.get(mount.device)
        if known is None or len(mount.mountpoint) < len(known.mountpoint):
            shortest[mount.device] = mount
    return list(shortest.values())


def _read_mount(mount: str, found: dict[str, dict[str, Value] | OSError]) -> None:
    try:
        found[mount] = _usage(mount)
    except OSError as error:
        found[mount] = error


def _usage(mount: str) -> dict[str, Value]:
    """Empty for what has no space of its own: a single file that a container mounts."""
    stat = os.statvfs(mount)
    if not stat.f_blocks or not os.path.isdir(mount):  # noqa: PTH112 - one call in a thread that may hang
        return {}
    space = psutil.disk_usage(mount)
    values: dict[str, Value] = {"percent": space.percent, "total": space.total, "used": space.used, "free": space.free}
    if stat.f_files:  # file systems such as btrfs make inodes as they need them
        values["inodes_percent"] = round(100.0 * (stat.f_files - stat.f_ffree) / stat.f_files, 1)
        values["inodes_total"] = stat.f_files
        values["inodes_free"] = stat.f_ffree
    return values | {"readonly": int(bool(stat.f_flag & os.ST_RDONLY)), "error": 0}


# Disks --------------------------------------------------------------------------------------------------------------

_NO_DISK = re.compile(r"(?:loop|ram|zram)\d+")


class Disks:
    """Work of disks: counters as the kernel has them, and what the last interval makes of them.

    A device that was plugged in again starts its counters anew: rates know that, and nothing is told of that interval.
    """

    def __init__(self, now: float) -> None:
        self._before: dict[str, dict[str, float]] = {}
        self._before_at = now
        self(now)

    def __call__(self, now: float) -> Reading:
        queues = _queues()
        passed, self._before_at = now - self._before_at, now
        before, self._before = self._before, {}
        instances: dict[str, dict[str, Value]] = {}
        for name, io in (psutil.disk_io_counters(perdisk=True, nowrap=False) or {}).items():
            if _NO_DISK.fullmatch(name):
                continue
            counters: dict[str, float] = {
                "reads": io.read_count,
                "writes": io.write_count,
                "read_bytes": io.read_bytes,
                "write_bytes": io.write_bytes,
            }
            for field, source in (("read_time", "read_time"), ("write_time", "write_time"), ("busy", "busy_time")):
                if (milliseconds := getattr(io, source, None)) is not None:
                    counters[field] = milliseconds / 1000
            values: dict[str, Value] = {**counters}
            if name in before and passed > 0:
                values |= _work(before[name], counters, passed)
            if name in queues:
                values["queue"] = queues[name]
            self._before[name] = counters
            instances[name] = values
        return Reading(instances=instances)


def _work(before: dict[str, float], after: dict[str, float], passed: float) -> dict[str, Value]:
    """How long reads and writes took on average, and for which share of the time there was any."""
    spent = {name: count - before.get(name, count) for name, count in after.items()}
    if any(count < 0 for count in spent.values()):
        return {}
    values: dict[str, Value] = {}
    for field, time, number in (("read_await", "read_time", "reads"), ("write_await", "write_time", "writes")):
        if time in spent:
            values[field] = round(spent[time] / spent[number], 6) if spent[number] else 0
    if "busy" in spent:
        values["busy_percent"] = round(min(100.0, 100.0 * spent["busy"] / passed), 2)
    return values


def _queues() -> dict[str, int]:
    """Requests in hand by device, where the system tells (Linux)."""
    rows = [line.split() for line in read_text("/proc/diskstats").splitlines()]
    return {row[2]: int(row[11]) for row in rows if len(row) > 11}


# Network interfaces -------------------------------------------------------------------------------------------------

_COUNTERS = {
    "rx_bytes": "bytes_recv",
    "tx_bytes": "bytes_sent",
    "rx_packets": "packets_recv",
    "tx_packets": "packets_sent",
    "rx_errors": "errin",
    "tx_errors": "errout",
    "rx_dropped": "dropin",
    "tx_dropped": "dropout",
}
_UP = ("up", "unknown")  # drivers that do not watch their link say unknown
_IFF_UP = 1


class Interfaces:
    """Traffic of the interfaces that lead out of this host.

    Left out are `lo` and, on Linux, virtual ones (bridges, pairs of containers, tunnels), unless the default route
    goes through one: in a container the only way out is virtual, and so is a bond.
    """

    def __init__(self, now: float) -> None:
        self._before: dict[str, tuple[float, float]] = {}
        self._before_at = now
        self(now)

    def __call__(self, now: float) -> Reading:
        counters = psutil.net_io_counters(pernic=True, nowrap=False) or {}
        chosen = _chosen(counters)
        links = _linux_links(chosen) if psutil.LINUX else _other_links(chosen)
        passed, self._before_at = now - self._before_at, now
        before, self._before = self._before, {}
        instances: dict[str, dict[str, Value]] = {}
        for name in chosen:
            values: dict[str, Value] = {field: getattr(counters[name], key) for field, key in _COUNTERS.items()}
            values |= links.get(name, {})
            traffic = (counters[name].bytes_recv, counters[name].bytes_sent)
            speed = values.get("speed")
            if name in before and passed > 0 and isinstance(speed, float):
                for field, after, until in zip(("rx_share", "tx_share"), traffic, before[name], strict=True):
                    if after >= until:  # else it was plugged in again meanwhile
                        values[field] = round(100.0 * (after - until) / passed / speed, 2)
            self._before[name] = traffic
            instances[name] = values
        labels = {name: {"virtual": virtual} for name, virtual in chosen.items() if virtual}
        return Reading(instances=instances, labels=labels)


def _chosen(names: Sequence[str] | dict[str, Any]) -> dict[str, str]:
    """The interfaces to publish, each with `yes` or `no` for virtual; an empty text where nobody knows."""
    if not psutil.LINUX:
        return {name: "" for name in names if not re.fullmatch(r"lo\d*", name)}
    routes = _default_routes()
    virtual = {name: not os.path.exists(f"/sys/class/net/{name}/device") for name in names if name != "lo"}  # noqa: PTH110
    return {name: "yes" if virtual[name] else "no" for name in virtual if not virtual[name] or name in routes}


def _default_routes() -> frozenset[str]:
    """The interfaces that a default route goes through, in either protocol."""
    four = [line.split() for line in read_text("/proc/net/route").splitlines()[1:]]
    six = [line.split() for line in read_text("/proc/net/ipv6_route").splitlines()]
    zero = "0" * 32
    return frozenset(
        [row[0] for row in four if len(row) > 7 and row[1] == row[7] == "00000000"]
        + [row[9] for row in six if len(row) > 9 and row[0] == zero and row[1] == "00"]
    )


def _linux_links(names: Sequence[str] | dict[str, str]) -> dict[str, dict[str, Value]]:
    """From /sys, for the chosen alone: psutil asks every interface, and a host of containers has hundreds."""
    links: dict[str, dict[str, Value]] = {}
    for name in names:
        folder = f"/sys/class/net/{name}"
        state, flags = read_text(f"{folder}/operstate"), read_text(f"{folder}/flags")
        values: dict[str, Value] = {"up": int(state in _UP and bool(int(flags or "0", 16) & _IFF_UP))}
        for field, file in (("rx_fifo", "rx_fifo_errors"), ("tx_fifo", "tx_fifo_errors")):
            count = read_text(f"{folder}/statistics/{file}")
            if count.isdigit():
                values[field] = int(count)
        megabits = read_text(f"{folder}/speed")  # -1, or no answer, where the driver does not know
        if megabits.isdigit() and int(megabits):
            values["speed"] = int(megabits) * 1e6 / 8
        links[name] = values
    return links


def _other_links(names: Sequence[str] | dict[str, str]) -> dict[str, dict[str, Value]]:
    links: dict[str, dict[str, Value]] = {}
    for name, stats in psutil.net_if_stats().items():
        if name in names:
            links[name] = {"up": int(stats.isup), **({"speed": stats.speed * 1e6 / 8} if stats.speed else {})}
    return links


def read_text(path: str) -> str:
    """A small file of the kernel, stripped; an empty text where it does not exist or does not answer."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - read many times a minute
            return file.read().strip()
    except OSError:
        return ""
