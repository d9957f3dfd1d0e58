"""The families of hosts that not every system tells, and those that the configuration asks for."""

from __future__ import annotations

from collections.abc import Iterator

from zkalert.metrics.kinds import Family, Field, Kind, Unit, family

_P, _S, _N, _F, _T = Unit.PERCENT, Unit.SECONDS, Unit.NUMBER, Unit.FLAG, Unit.TEXT
_C = Kind.COUNTER

# What the kernel and the system's services tell, where they do.

_WAITED_FOR = {"cpu": "a processor", "memory": "memory", "io": "disks"}
_STALLS = {"some": "some task", "full": "every task that had work to do"}


def _pressure() -> Iterator[Field]:
    """The kernel has `full` for processors too, always 0: of a whole system it would mean nothing."""
    for resource, thing in _WAITED_FOR.items():
        for stall, who in _STALLS.items():
            if (resource, stall) == ("cpu", "full"):
                continue
            for seconds in (10, 60, 300):
                text = f"Share of the last {seconds} s in which {who} waited for {thing}."
                yield Field(f"{resource}_{stall}_avg{seconds}", _P, text)
            yield Field(f"{resource}_{stall}_total", _S, f"Time since boot in which {who} waited for {thing}.", _C)


DEEPER_FAMILIES: tuple[Family, ...] = (
    family(
        "pressure",
        "Time lost to waiting for processors, memory and disks (PSI of Linux 4.20 and later).",
        *_pressure(),
        interval=10.0,
    ),
    family(
        "kernel",
        "What the Linux kernel counts, and how it thinks of its clock.",
        Field("oom_kills", _N, "Processes that the kernel killed for want of memory, since boot.", _C),
        Field("context_switches", _N, "Changes of a processor from one task to another, since boot.", _C),
        Field("major_faults", _N, "Page faults that had to read from a disk, since boot.", _C),
        Field("clock_synchronised", _F, "1 while something such as chrony or ntpd keeps the clock right."),
        Field(
            "clock_offset",
            _S,
            "What the kernel still has to correct its clock by; negative where it is ahead.",
            is_signed=True,
        ),
        Field("clock_max_error", _S, "How wrong the clock may be at most; it grows while nobody corrects it."),
        interval=10.0,
    ),
    family(
        "file_descriptors",
        "Open files of all processes together.",
        Field("percent", _P, "In use, of what the kernel allows."),
        Field("used", _N, "In use."),
        Field("limit", _N, "How many the kernel allows (fs.file-max)."),
        main="percent",
        interval=10.0,
    ),
    family(
        "conntrack",
        "Connections that the firewall keeps track of; a full table drops packets of new ones.",
        Field("percent", _P, "Entries in use, of the table's size."),
        Field("used", _N, "Entries in use."),
        Field("limit", _N, "The table's size (nf_conntrack_max)."),
        main="percent",
        interval=10.0,
    ),
    family(
        "raid",
        "Software RAID of Linux (md); an instance per array.",
        Field("degraded", _N, "Disks that the array lacks."),
        Field("failed", _N, "Disks that are marked as failed, and not yet taken out."),
        Field("disks", _N, "Disks of the array when it is whole."),
        Field("sync_percent", _P, "How far a rebuild or check has come; absent where none runs."),
        Field("state", _T, "As the kernel names it: clean, active, inactive, readonly and others.", Kind.TEXT),
        Field("action", _T, "What runs on it: idle, recover, resync, check, repair or reshape.", Kind.TEXT),
        main="degraded",
        instance_kind="array",
        has_whole=False,
        interval=30.0,
    ),
    family(
        "bonding",
        "Bonds of network interfaces; an instance per bond.",
        Field("degraded", _N, "Interfaces of the bond whose link is not up."),
        Field("slaves", _N, "Interfaces of the bond."),
        Field("up", _N, "Interfaces of the bond whose link is up."),
        Field("active", _T, "The interface in use, where the mode uses one at a time.", Kind.TEXT),
        main="degraded",
        instance_kind="bond",
        has_whole=False,
        interval=10.0,
    ),
    family(
        "edac",
        "Errors of memory with error correction; an instance per memory controller.",
        Field("correctable", _N, "Errors that were corrected, since boot or reset.", _C),
        Field("uncorrectable", _N, "Errors that were not, since boot or reset.", _C),
        instance_kind="controller",
        has_whole=False,
        interval=30.0,
    ),
    family(
        "systemd",
        "Units of systemd; an instance per service that runs or is enabled, and per other unit that failed.",
        Field("failed", _N, "Units that failed; of one unit 1 or 0."),
        Field("active", _N, "Services that are active; of one unit 1 or 0."),
        Field("restarts", _N, "Times that systemd restarted the service since somebody started it.", _C),
        Field("state", _T, "active, reloading, inactive, failed, activating or deactivating.", Kind.TEXT),
        main="failed",
        instance_kind="unit",
        interval=30.0,
    ),
    family(
        "temperature",
        "Sensors of the machine, in degrees Celsius; an instance per sensor.",
        Field("current", _N, "The temperature.", is_signed=True),
        Field("high", _N, "Where its maker says it is too warm."),
        Field("critical", _N, "Where its maker says it is in danger."),
        main="current",
        instance_kind="sensor",
        has_whole=False,
        interval=30.0,
    ),
    family(
        "sampler",
        "The sampler's own work; an instance per family that it reads.",
        Field("ok", _F, "1 where the last reading had no errors; of the whole: no reading had."),
        Field("seconds", _S, "How long the last reading took; of the whole: all last readings together."),
        main="ok",
        instance_kind="family",
        interval=30.0,
    ),
)

# What the configuration names: processes, files, check commands.

CONFIGURED_FAMILIES: tuple[Family, ...] = (
    family(
        "process",
        "Processes that the configuration names; an instance per entry of processes.",
        Field(
            "count",
            Unit.NUMBER,
            "Processes that fit and have not ended; without any, all but restarts is absent.",
        ),
        Field("cpu_percent", Unit.PERCENT, "Processor time of all that fit since the last reading, of one core."),
        Field("rss", Unit.BYTES, "Memory of all that fit; what they share counts for each."),
        Field("total_rss", Unit.BYTES, "The same with all processes below them."),
        Field("children", Unit.NUMBER, "Processes below them that do not fit themselves."),
        Field("threads", Unit.NUMBER, "Threads of all that fit."),
        Field("open_files", Unit.NUMBER, "File descriptors of all that fit; absent where this user may not look."),
        Field("open_files_percent", Unit.PERCENT, "Of its soft limit, of the process that is nearest to it."),
        Field("restarts", Unit.NUMBER, "How often another process became the oldest that fits.", Kind.COUNTER),
        Field("age", Unit.SECONDS, "Time since the oldest was started."),
        main="count",
        instance_kind="process",
        has_whole=False,
    ),
    family(
        "file",
        "Files and folders that the configuration names; an instance per entry of files, or per file.",
        Field("exists", Unit.FLAG, "1 where it is there; where it is not, all else is absent."),
        Field("size", Unit.BYTES, "Its size."),
        Field("age", Unit.SECONDS, "Time since its content changed; of a folder, since a name in it did."),
        Field("mode", Unit.TEXT, "Its rights in octal digits, such as 0644.", Kind.TEXT),
        Field("owner", Unit.TEXT, "The user that it belongs to.", Kind.TEXT),
        Field("group", Unit.TEXT, "The group that it belongs to.", Kind.TEXT),
        Field("sha256", Unit.TEXT, "The digest of its content, of 1 MiB at most, where asked for.", Kind.TEXT),
        Field("entries", Unit.NUMBER, "Of a folder: how many names are in it."),
        main="exists",
        instance_kind="file",
        has_whole=False,
        interval=30.0,
    ),
    family(
        "command",
        "What check commands say; an instance per entry of commands. Their performance data are fields too.",
        Field("status", Unit.NUMBER, "0 OK, 1 WARNING, 2 CRITICAL; absent where it said neither."),
        Field("unknown", Unit.FLAG, "1 where it said UNKNOWN, took too long or could not be run."),
        Field("seconds", Unit.SECONDS, "How long it ran."),
        Field("output", Unit.TEXT, "The first line of what it said.", Kind.TEXT),
        main="status",
        instance_kind="command",
        has_whole=False,
        is_open=True,
    ),
)
