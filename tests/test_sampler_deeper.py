"""What the sampler reads where the system tells it: the files of /proc and /sys as real systems have them."""

from __future__ import annotations

import ctypes
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.readings import found
from zkalert.metrics import FAMILIES
from zkalert.sampler import Collector, devices, hardware, kernel
from zkalert.sampler.reading import Reading

linux = pytest.mark.skipif(not psutil.LINUX, reason="asks the kernel of Linux")


def lay_out(top: Path, files: dict[str, str]) -> str:
    """Files below `top`, each with the line break that the kernel ends them with."""
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return str(top)


# The kernel ---------------------------------------------------------------------------------------------------------

PRESSURE = {  # Linux 6.1
    "pressure/cpu": "some avg10=0.03 avg60=0.49 avg300=0.82 total=5062557837\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "pressure/memory": "some avg10=12.50 avg60=3.20 avg300=0.90 total=7501234\n"
    "full avg10=9.25 avg60=2.00 avg300=0.50 total=5000000",
    "pressure/io": "some avg10=0.09 avg60=0.97 avg300=0.96 total=244558239\n"
    "full avg10=0.09 avg60=0.94 avg300=0.93 total=106389383",
}


def test_pressure_is_percent_and_seconds(tmp_path: Path) -> None:
    values = found(kernel.pressure(0, proc=lay_out(tmp_path, PRESSURE))).values
    assert set(values) == set(FAMILIES["pressure"].fields)
    assert (values["cpu_some_avg300"], values["memory_full_avg10"], values["io_some_avg60"]) == (0.82, 9.25, 0.97)
    assert (values["memory_some_total"], values["memory_full_total"]) == (7.501234, 5.0)


def test_pressure_of_a_kernel_without_one_of_its_files_is_what_the_others_say(tmp_path: Path) -> None:
    files = {"pressure/memory": PRESSURE["pressure/memory"]}
    values = found(kernel.pressure(0, proc=lay_out(tmp_path, files))).values
    assert {name.partition("_")[0] for name in values} == {"memory"}


KERNEL = {
    "vmstat": "nr_free_pages 5898765\npgfault 6273321\npgmajfault 39742\noom_kill 3\nunevictable_pgs_culled 0",
    "stat": "cpu  10 0 20 30 0 0 0 0 0 0\nintr 182 0 9 0\nctxt 182290106\nbtime 1795452558\nprocesses 26467",
}


def timex(**fields: int) -> kernel.Timex:
    return kernel.Timex(**fields)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (timex(offset=-1500, maxerror=250_000, status=0x2001), (1, -1.5e-6, 0.25)),
        (timex(offset=-1500, maxerror=250_000, status=0x0001), (1, -1.5e-3, 0.25)),
        (timex(offset=0, maxerror=16_000_000, status=0x0040), (0, 0, 16.0)),
    ],
    ids=["kept right, in nanoseconds", "kept right, in microseconds", "nobody keeps it right"],
)
def test_the_kernel_counts_and_says_how_it_thinks_of_its_clock(
    said: kernel.Timex, expected: tuple[float, float, float], tmp_path: Path
) -> None:
    values = found(kernel.kernel(0, proc=lay_out(tmp_path, KERNEL), clock=lambda: said)).values
    assert set(values) == set(FAMILIES["kernel"].fields)
    assert (values["oom_kills"], values["major_faults"], values["context_switches"]) == (3, 39742, 182290106)
    assert tuple(values[name] for name in ("clock_synchronised", "clock_offset", "clock_max_error")) == expected


def test_a_clock_that_may_not_be_asked_leaves_the_counters(tmp_path: Path) -> None:
    values = found(kernel.kernel(0, proc=lay_out(tmp_path, KERNEL), clock=lambda: None)).values
    assert set(values) == {"oom_kills", "major_faults", "context_switches"}


@linux
def test_the_clock_of_this_kernel_is_asked_and_not_touched() -> None:
    said = kernel.adjtimex()
    if said is None:
        pytest.skip("this kernel does not let us ask")
    assert said.modes == 0
    assert said.maxerror >= 0
    assert ctypes.sizeof(said) >= 208, "what glibc's struct timex takes on 64 bits: the kernel writes all of it"


def test_file_descriptors_are_told_with_their_limit(tmp_path: Path) -> None:
    proc = lay_out(tmp_path, {"sys/fs/file-nr": "9248\t0\t102400"})
    assert found(kernel.file_descriptors(0, proc=proc)).values == {"percent": 9.03, "used": 9248, "limit": 102400}


@pytest.mark.parametrize(
    ("count", "limit", "values"),
    [
        ("240000", "262144", {"percent": 91.55, "used": 240000, "limit": 262144}),
        ("17", "0", {"used": 17, "limit": 0}),
    ],
    ids=["a table", "no limit"],
)
def test_tracked_connections_are_a_share_of_their_table(
    count: str, limit: str, values: dict[str, float], tmp_path: Path
) -> None:
    folder = "sys/net/netfilter/nf_conntrack_"
    proc = lay_out(tmp_path, {f"{folder}count": count, f"{folder}max": limit})
    assert found(kernel.conntrack(0, proc=proc)).values == values


# What wears out -----------------------------------------------------------------------------------------------------


def array(name: str, level: str, members: dict[str, str], **files: str) -> dict[str, str]:
    folder = f"block/{name}/md"
    return (
        {f"{folder}/level": level, f"{folder}/raid_disks": "2", f"{folder}/array_state": "clean"}
        | {f"{folder}/dev-{member}/state": state for member, state in members.items()}
        | {f"{folder}/{file}": text for file, text in files.items()}
    )


HEALTHY = {"sda1": "in_sync", "sdb1": "in_sync"}
IDLE = {"degraded": "0", "sync_action": "idle", "sync_completed": "none"}


@pytest.mark.parametrize(
    ("files", "values"),
    [
        (
            array("md0", "raid1", HEALTHY, **IDLE),
            {"degraded": 0, "failed": 0, "disks": 2, "state": "clean", "action": "idle"},
        ),
        (
            array("md0", "raid1", {"sda1": "in_sync", "sdb1": "faulty"}, **{**IDLE, "degraded": "1"}),
            {"degraded": 1, "failed": 1, "disks": 2, "state": "clean", "action": "idle"},
        ),
        (
            array(
                *("md0", "raid1", {"sda1": "in_sync", "sdc1": "spare"}),
                degraded="1",
                sync_action="recover",
                sync_completed="7687168 / 30748672",
            ),
            {"degraded": 1, "failed": 0, "disks": 2, "state": "clean", "action": "recover", "sync_percent": 25.0},
        ),
        (
            array("md0", "raid1", HEALTHY, **{**IDLE, "sync_action": "check", "sync_completed": "delayed"}),
            {"degraded": 0, "failed": 0, "disks": 2, "state": "clean", "action": "check"},
        ),
        (array("md0", "raid0", HEALTHY), {"failed": 0, "disks": 2, "state": "clean"}),
    ],
    ids=["whole", "a disk failed", "rebuilding", "a check that waits for another", "without redundancy"],
)
def test_an_array_says_what_it_lacks(files: dict[str, str], values: dict[str, float], tmp_path: Path) -> None:
    sys = lay_out(tmp_path, {"block/sda/size": "1000", **files})
    reading = found(hardware.raid(0, sys=sys))
    assert reading.instances == {"md0": values}
    assert reading.labels == {"md0": {"level": files["block/md0/md/level"]}}
    assert set(values) <= set(FAMILIES["raid"].fields)


def test_a_container_of_arrays_is_no_array(tmp_path: Path) -> None:
    container = array("md127", "container", {"sda": "spare", "sdb": "spare"})
    sys = lay_out(tmp_path, {**container, **array("md126", "raid1", HEALTHY, **IDLE)})
    assert list(found(hardware.raid(0, sys=sys)).instances) == ["md126"]


def test_a_bond_says_which_of_its_links_are_up(tmp_path: Path) -> None:
    net = "class/net"
    sys = lay_out(
        tmp_path,
        {
            f"{net}/bonding_masters": "bond0 bond1",
            f"{net}/bond0/bonding/mode": "active-backup 1",
            f"{net}/bond0/bonding/slaves": "eth0 eth1",
            f"{net}/bond0/bonding/active_slave": "eth0",
            f"{net}/eth0/bonding_slave/mii_status": "up",
            f"{net}/eth1/bonding_slave/mii_status": "going down",
            f"{net}/bond1/bonding/mode": "802.3ad 4",
            f"{net}/bond1/bonding/slaves": "eth2",
            f"{net}/bond1/bonding/active_slave": "",
            f"{net}/eth2/bonding_slave/mii_status": "up",
        },
    )
    reading = found(hardware.bonding(0, sys=sys))
    assert reading.instances == {
        "bond0": {"degraded": 1, "slaves": 2, "up": 1, "active": "eth0"},
        "bond1": {"degraded": 0, "slaves": 1, "up": 1},
    }
    assert reading.labels == {"bond0": {"mode": "active-backup"}, "bond1": {"mode": "802.3ad"}}


def test_memory_errors_are_counted_by_controller(tmp_path: Path) -> None:
    mc = "devices/system/edac/mc/mc0"
    files = {f"{mc}/ce_count": "12", f"{mc}/ue_count": "1", f"{mc}/mc_name": "Skylake Socket#0 IMC#0"}
    sys = lay_out(tmp_path, {**files, "devices/system/edac/mc/power/control": "auto"})
    reading = found(hardware.edac(0, sys=sys))
    assert reading.instances == {"mc0": {"correctable": 12, "uncorrectable": 1}}
    assert reading.labels == {"mc0": {"model": "Skylake Socket#0 IMC#0"}}


class Sensor(NamedTuple):
    """As psutil tells of one."""

    label: str
    current: float
    high: float | None = None
    critical: float | None = None


def test_a_sensor_is_named_by_chip_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake: virtual machines have no sensors. The numbers are those of a laptop."""
    chips = {
        "coretemp": [Sensor("Package id 0", 51.0, 100.0, 100.0), Sensor("Core 0", 48.0, 100.0, 100.0)],
        "nvme": [Sensor("Composite", 38.9, 81.8, 84.8), Sensor("Composite", 40.9, 65261.85, 65261.85)],
        "acpitz": [Sensor("", 27.8)],
    }

    def read() -> dict[str, list[Sensor]]:
        warnings.warn("ignoring OSError(5) for file '/sys/class/hwmon/hwmon4/temp1_input'", stacklevel=2)
        return chips

    monkeypatch.setattr(psutil, "sensors_temperatures", read, raising=False)
    assert found(hardware.temperature(0)).instances == {
        "coretemp/Package id 0": {"current": 51.0, "high": 100.0, "critical": 100.0},
        "coretemp/Core 0": {"current": 48.0, "high": 100.0, "critical": 100.0},
        "nvme/Composite": {"current": 38.9, "high": 81.8, "critical": 84.8},
        "nvme/Composite 2": {"current": 40.9},
        "acpitz/1": {"current": 27.8},
    }


# Disks --------------------------------------------------------------------------------------------------------------


class Counters(NamedTuple):
    """As psutil tells of a disk; times are milliseconds."""

    read_count: int
    write_count: int
    read_time: int
    write_time: int
    busy_time: int
    read_bytes: int = 0
    write_bytes: int = 0


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Counters(150, 300, 1750, 900, 6000), (0.015, 0.004, 50.0)),
        (Counters(100, 100, 1000, 100, 1000), (0, 0, 0.0)),
        (Counters(110, 100, 1200, 100, 11_500), (0.02, 0, 100.0)),
        (Counters(3, 0, 10, 0, 10), (None, None, None)),
    ],
    ids=["both", "idle", "busy all the time", "plugged in again"],
)
def test_a_disk_says_how_long_its_work_took(
    after: Counters, expected: tuple[float | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake disk, whose work can be set."""
    counters = iter(({"sda": Counters(100, 100, 1000, 100, 1000)}, {"sda": after}))
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: next(counters))
    values = devices.Disks(100.0)(110.0).instances["sda"]
    assert tuple(values.get(name) for name in ("read_await", "write_await", "busy_percent")) == expected
    assert values["reads"] == after.read_count


# What is not here ---------------------------------------------------------------------------------------------------


def test_a_system_that_has_none_of_it_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = str(tmp_path / "nowhere")
    of_proc = (kernel.pressure, kernel.file_descriptors, kernel.conntrack)
    of_sys = (hardware.raid, hardware.bonding, hardware.edac)
    assert [read(0, proc=nowhere) for read in of_proc] == [None] * 3
    assert [read(0, sys=nowhere) for read in of_sys] == [None] * 3
    assert kernel.kernel(0, proc=nowhere, clock=lambda: None) is None
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert hardware.temperature(0) is None
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert hardware.temperature(0) is None


def test_a_bond_module_without_bonds_and_a_machine_without_arrays_say_nothing(tmp_path: Path) -> None:
    sys = lay_out(tmp_path, {"class/net/bonding_masters": "", "block/sda/size": "1000"})
    assert hardware.bonding(0, sys=sys) is None
    assert hardware.raid(0, sys=sys) is None


def test_what_was_here_and_is_gone_is_an_empty_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its instances are seen to be gone: without a sample they would only be out of sight."""
    collector = Collector(time.monotonic())
    sensors = {"acpitz": [Sensor("", 27.8)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert collector.read("temperature", 0) is None
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert found(collector.read("temperature", 0)).instances
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert collector.read("temperature", 0) == Reading()


# The sampler itself -------------------------------------------------------------------------------------------------


def test_the_sampler_says_what_each_family_took(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector(time.monotonic())
    assert found(collector.read("sampler", 0)).instances == {}
    collector.read("memory_usage", 0)
    collector.read("uptime", 0)
    reading = found(collector.read("sampler", 0))
    assert set(reading.instances) == {"memory_usage", "uptime"}
    assert (reading.values["ok"], reading.instances["uptime"]["ok"]) == (1, 1)
    assert reading.values["seconds"] == pytest.approx(
        sum(float(values["seconds"]) for values in reading.instances.values()), abs=1e-5
    )

    def fail() -> float:
        raise RuntimeError("line 'btime' was not found in /proc/stat")

    monkeypatch.setattr(psutil, "boot_time", fail)
    collector.read("uptime", 0)
    reading = found(collector.read("sampler", 0))
    assert {name: values["ok"] for name, values in reading.instances.items()} == {"memory_usage": 1, "uptime": 0}
    assert reading.values["ok"] == 0
