"""What the sampler reads of this host, within which bounds it hands it on, and when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.readings import found
from zkalert.metrics import FAMILIES, SAMPLED
from zkalert.metrics.host import HOST_FAMILIES
from zkalert.model import Alive, Sample
from zkalert.sampler import Collector, devices, machine_id, presence
from zkalert.sampler.band import max_age
from zkalert.sampler.reading import Reading, fit
from zkalert.sampler.tick import Cadence, first_delay
from zkalert.tree import MAX_INSTANCES, MAX_PAYLOAD, decode_sample

linux = pytest.mark.skipif(not psutil.LINUX, reason="reads what only Linux has")

OF_THE_DRIVER = {"speed", "rx_share", "tx_share"}
"""Fields of an interface that many drivers of virtual machines do not tell."""

EVERYWHERE = {family.name for family in HOST_FAMILIES}
"""The families that every Linux has; the others are there where the system or its configuration has them."""


@pytest.fixture(scope="module")
def readings() -> dict[str, Reading]:
    """Every family, read once, a moment after the first look."""
    collector = Collector(time.monotonic())
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:  # busy, so that there is processor time to measure
        pass
    read = {family: collector.read(family, time.monotonic()) for family in SAMPLED}
    return {family: reading for family, reading in read.items() if reading is not None}


# Reading ------------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("family", [FAMILIES[name] for name in SAMPLED], ids=lambda family: family.name)
def test_every_field_of_the_table_is_read_where_the_system_has_it(family: Any, readings: dict[str, Reading]) -> None:
    if family.name not in readings and family.name not in EVERYWHERE:
        pytest.skip("this system has nothing of the kind")
    reading = readings[family.name]
    assert reading.errors == ()
    if family.name not in EVERYWHERE:
        assert set(reading.values) <= set(family.fields)
        assert all(set(values) <= set(family.fields) for values in reading.instances.values())
        return
    if family.has_whole:
        assert set(reading.values) == set(family.fields) - {"alive", "clock_skew"}  # of these the engine tells
        found = [set(values) for values in reading.instances.values()]
    else:
        assert not reading.values
        found = [set(values) for values in reading.instances.values()]
    if family.instance_kind is None:
        assert not found
    lacking = OF_THE_DRIVER | {"cores", "inodes_percent", "inodes_total", "inodes_free"}
    for fields in found:
        assert fields <= set(family.fields)
        assert set(family.fields) - fields <= lacking


def test_memory_is_what_psutil_says(readings: dict[str, Reading]) -> None:
    values, psutils = readings["memory_usage"].values, psutil.virtual_memory()
    assert values["total"] == psutils.total
    assert values["percent"] == pytest.approx(psutils.percent, abs=10)


def test_processor_shares_are_of_the_time_since_the_last_reading(readings: dict[str, Reading]) -> None:
    reading = readings["cpu_usage"]
    cores = psutil.cpu_count() or 1
    assert reading.values["cores"] == cores
    assert set(reading.instances) == {str(core) for core in range(cores)}
    # The fixture kept one core busy for the whole of it.
    percent = reading.values["percent"]
    assert isinstance(percent, float)
    assert 60 / cores < percent <= 100
    shares = [value for name, value in reading.values.items() if name not in ("percent", "cores", "guest")]
    assert sum(float(share) for share in shares) == pytest.approx(100, abs=1)


def test_the_root_file_system_is_read_with_its_kind_and_device(readings: dict[str, Reading]) -> None:
    root, stat = readings["disk_usage"].instances["/"], os.statvfs("/")
    assert root["total"] == stat.f_blocks * stat.f_frsize
    assert root["percent"] == pytest.approx(psutil.disk_usage("/").percent, abs=1)
    assert root["error"] == 0
    assert set(readings["disk_usage"].labels["/"]) == {"fstype", "device"}


def test_processes_are_counted_by_state() -> None:
    collector = Collector(time.monotonic())
    zombies = found(collector.read("process_number", 0)).values["zombie"]
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            os.sched_yield()
        values = found(collector.read("process_number", 0)).values
    finally:
        child.wait()
    assert values["zombie"] == int(zombies) + 1
    assert values["count"] == pytest.approx(len(psutil.pids()), rel=0.2)
    assert int(values["threads"]) >= int(values["count"])


def test_load_is_told_per_processor_too(readings: dict[str, Reading]) -> None:
    values, cores = readings["load_average"].values, psutil.cpu_count() or 1
    assert float(values["5m_per_cpu"]) == pytest.approx(float(values["5m"]) / cores, abs=0.01)


def test_uptime_goes_back_to_boot(readings: dict[str, Reading]) -> None:
    values = readings["uptime"].values
    assert float(values["seconds"]) + float(values["boot_time"]) == pytest.approx(time.time(), abs=5)


def test_counters_of_devices_only_grow() -> None:
    collector = Collector(time.monotonic())
    before = found(collector.read("disk_io", time.monotonic())).instances
    after = found(collector.read("disk_io", time.monotonic())).instances
    assert all(float(after[name]["read_bytes"]) >= float(values["read_bytes"]) for name, values in before.items())
    assert not [name for name in after if name.startswith(("loop", "ram", "zram"))]


@linux
def test_the_way_out_of_this_host_is_an_interface_and_lo_is_none(readings: dict[str, Reading]) -> None:
    reading = readings["network_io"]
    assert "lo" not in reading.instances
    routes = (devices._default_routes() - {"lo"}) & set(psutil.net_io_counters(pernic=True))
    assert routes <= set(reading.instances)
    assert {labels["virtual"] for labels in reading.labels.values()} <= {"yes", "no"}


def test_shares_of_a_link_are_of_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake link: few machines have one whose speed is known and whose traffic can be set."""

    class Counters(NamedTuple):
        bytes_recv: int
        bytes_sent: int
        packets_recv: int = 0
        packets_sent: int = 0
        errin: int = 0
        errout: int = 0
        dropin: int = 0
        dropout: int = 0

    counters = iter(({"eth9": Counters(0, 0)}, {"eth9": Counters(12_500_000, 125_000_000)}))
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: next(counters))
    monkeypatch.setattr(devices, "_chosen", lambda _names: {"eth9": "no"})
    link = {"eth9": {"up": 1, "speed": 1000 * 1e6 / 8}}
    monkeypatch.setattr(devices, "_linux_links", lambda _names: link)
    monkeypatch.setattr(devices, "_other_links", lambda _names: link)
    interfaces = devices.Interfaces(100.0)
    values = interfaces(110.0).instances["eth9"]
    assert (values["rx_share"], values["tx_share"]) == (1.0, 10.0)


# Trouble ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "function", "error"),
    [
        ("memory_usage", "virtual_memory", psutil.AccessDenied()),
        ("disk_io", "disk_io_counters", OSError(5, "Input/output error")),
        ("load_average", "getloadavg", NotImplementedError()),
        ("uptime", "boot_time", RuntimeError("line 'btime' was not found")),
    ],
    ids=["access denied", "input/output error", "not implemented", "unreadable"],
)
def test_a_family_that_fails_is_reported_in_its_own_sample_alone(
    family: str, function: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake: a system that refuses cannot be had here."""

    def fail(*_args: object, **_options: object) -> None:
        raise error

    collector = Collector(time.monotonic())
    monkeypatch.setattr(psutil, function, fail)
    reading = collector.read(family, time.monotonic())
    assert reading is not None
    assert not reading.values
    assert not reading.instances
    assert len(reading.errors) == 1
    assert reading.errors[0].startswith("cannot be read: ")
    assert len(reading.errors[0]) > len("cannot be read: ")
    assert found(collector.read("swap_usage", time.monotonic())).values


def test_swapping_that_is_not_counted_is_absent_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake: this is how psutil speaks where /proc/vmstat lacks the lines."""
    swap = psutil.swap_memory()

    def uncounted() -> object:
        warnings.warn("'sin' and 'sout' swap memory stats couldn't be determined", RuntimeWarning, stacklevel=2)
        return swap

    collector = Collector(time.monotonic())
    monkeypatch.setattr(psutil, "swap_memory", uncounted)
    assert set(found(collector.read("swap_usage", 0)).values) == {"percent", "total", "used", "free"}


class Partition(NamedTuple):
    device: str
    mountpoint: str
    fstype: str = "ext4"
    opts: str = "rw"


def test_a_device_is_listed_once_and_kinds_that_are_always_full_not_at_all() -> None:
    mounts = devices._mounts(
        [
            Partition("/dev/sda1", "/"),
            Partition("/dev/sdb1", "/data/volumes/one"),
            Partition("/dev/sdb1", "/data"),
            Partition("/dev/loop3", "/snap/core/42", "squashfs"),
            Partition("/dev/sr0", "/media/cd", "iso9660"),
        ]
    )
    assert [mount.mountpoint for mount in mounts] == ["/", "/data"]


def test_the_root_is_read_though_it_is_no_physical_file_system() -> None:
    assert [mount.mountpoint for mount in devices._mounts([])] == ["/"]


def test_a_mount_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = str(tmp_path / "gone")
    monkeypatch.setattr(
        psutil, "disk_partitions", lambda **_: [Partition("/dev/sdx1", gone), Partition("/dev/sda1", "/")]
    )
    reading = devices.FileSystems()(0)
    assert reading.instances[gone] == {"error": 1}
    assert reading.instances["/"]["error"] == 0
    assert reading.errors == (f"{gone}: No such file or directory",)


@contextmanager
def hanging_mount(monkeypatch: pytest.MonkeyPatch, mount: str) -> Iterator[list[str]]:
    """A fake for a device that no longer answers: the read of `mount` does not return until the end."""
    usage, release, asked = devices._usage, threading.Event(), []

    def hang(path: str) -> Any:
        asked.append(path)
        if path == mount:
            release.wait(30)
        return usage(path)

    monkeypatch.setattr(devices, "_usage", hang)
    monkeypatch.setattr(devices, "_PATIENCE", 0.1)
    yield asked
    release.set()


def test_a_mount_that_hangs_stops_no_other_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = str(tmp_path)
    partitions = [Partition("/dev/sdx1", hung), Partition("/dev/sda1", "/")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: partitions)
    file_systems = devices.FileSystems()
    with hanging_mount(monkeypatch, hung) as asked:
        for _ in range(3):
            reading = file_systems(0)
            assert reading.instances[hung] == {"error": 1}
            assert reading.instances["/"]["error"] == 0
            assert reading.errors == (f"{hung}: does not answer",)
        assert asked.count(hung) == 1
        assert asked.count("/") == 3
    file_systems._hanging[hung].join(10)
    assert file_systems(0).instances[hung]["error"] == 0


# Bounds -------------------------------------------------------------------------------------------------------------


def sample(family: str = "network_io", **given: Any) -> Sample:
    return Sample(family=family, at=1.0, interval=5.0, max_age=15.0, **given)


def test_of_too_many_instances_the_largest_stay_and_the_cut_is_named() -> None:
    instances = {f"veth{n}": {"rx_bytes": n, "tx_bytes": n} for n in range(300)}
    labels = {name: {"virtual": "no"} for name in instances}
    bounded, payload = fit(sample(instances=instances, labels=labels))
    assert list(bounded.instances) == [f"veth{n}" for n in range(300 - MAX_INSTANCES, 300)]
    assert set(bounded.labels) == set(bounded.instances)
    assert bounded.errors == ("300 instances: only the 256 largest are here",)
    assert decode_sample("network_io", payload) == bounded


def test_a_payload_keeps_within_64_kib_by_fewer_instances() -> None:
    fields = FAMILIES["network_io"].fields
    instances = {f"interface-with-a-long-name-{n}": dict.fromkeys(fields, 2**63 + n) for n in range(256)}
    bounded, payload = fit(sample(instances=instances))
    assert len(payload) <= MAX_PAYLOAD
    assert 64 < len(bounded.instances) < 256
    assert bounded.errors == (f"256 instances: only the {len(bounded.instances)} largest are here",)


def test_whatever_a_system_says_can_be_read_by_the_engine() -> None:
    long, odd = "/mnt/" + "x" * 300, "/mnt/caf\udce9"
    bounded, payload = fit(
        sample(
            family="disk_usage",
            values={"nan": float("nan"), "infinite": float("inf"), "huge": 2**70, "text": "t" * 1000, "good": 1.5},
            instances={long: {"percent": 1}, odd: {"percent": 2}, "/": {"percent": float("nan"), "total": 3}},
            labels={long: {"device": "a"}, odd: {"device": "d" * 300}},
            errors=tuple("e" * 2000 for _ in range(40)),
        )
    )
    assert bounded.values == {"text": "t" * 256, "good": 1.5}
    assert bounded.instances == {"/mnt/caf\ufffd": {"percent": 2}, "/": {"total": 3}}
    assert bounded.labels == {"/mnt/caf\ufffd": {"device": "d" * 256}}
    assert len(bounded.errors) == 16
    assert bounded.errors[-1] == "and 26 more"
    assert decode_sample("disk_usage", payload) == bounded


# Time ---------------------------------------------------------------------------------------------------------------


def test_families_that_are_due_together_are_read_together_each_at_its_own_cadence() -> None:
    cadence = Cadence({"quick": 5.0, "slow": 30.0}, 100.0)
    ticks = []
    while cadence.next_at <= 140:
        now = cadence.next_at
        ticks.append((now, cadence.take(now)))
    assert ticks == [(at, ["quick", "slow"] if at in (100, 130) else ["quick"]) for at in range(100, 141, 5)]


def test_missed_ticks_are_skipped() -> None:
    cadence = Cadence({"quick": 5.0}, 100.0)
    cadence.take(100.0)
    assert cadence.take(123.0) == ["quick"]
    assert cadence.take(123.0) == []
    assert cadence.next_at == 125.0


@pytest.mark.parametrize("shortest", [0.1, 0.5, 1.0, 5.0], ids=str)
def test_the_first_tick_comes_within_a_second_or_an_interval_but_not_at_once(shortest: float) -> None:
    delays = [first_delay({"a": shortest, "b": 30.0}, f"machine-{n}") for n in range(50)]
    assert all(0.2 <= delay <= max(0.2, min(1.0, shortest)) for delay in delays)
    if shortest > 0.2:
        assert len(set(delays)) > 40, "hosts are spread"


@pytest.mark.parametrize(("interval", "expected"), [(1.0, 10.0), (3.0, 10.0), (5.0, 15.0), (30.0, 90.0)], ids=str)
def test_a_sample_speaks_for_three_intervals_and_ten_seconds_at_least(interval: float, expected: float) -> None:
    assert max_age(interval) == expected


# The name -----------------------------------------------------------------------------------------------------------


def test_a_machine_has_one_id_of_16_hex_digits(tmp_path: Path) -> None:
    machine = machine_id(tmp_path)
    assert len(machine) == 16
    assert int(machine, 16) >= 0
    assert machine_id(tmp_path) == machine


def test_a_machine_without_an_id_keeps_a_random_one_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_MACHINE_FILES", ())
    state = tmp_path / "state"
    machine = machine_id(state)
    assert machine_id(state) == machine
    assert machine_id(tmp_path / "other") != machine
    assert (state / "machine-id").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


def test_only_what_a_process_of_this_machine_left_behind_is_a_leftover() -> None:
    mine = presence.myself("here")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started_at = psutil.Process(other.pid).create_time()
        running = Alive(machine="here", pid=other.pid, started_at=started_at)
        assert not presence.is_leftover(running, mine)
        assert presence.is_leftover(Alive(machine="here", pid=other.pid, started_at=started_at - 60), mine), (
            "pid reused"
        )
        assert not presence.is_leftover(Alive(machine="there", pid=other.pid, started_at=0), mine)
        other.kill()
        deadline = time.monotonic() + 10
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            os.sched_yield()
        assert presence.is_leftover(running, mine), "killed, not yet collected"
    assert presence.is_leftover(running, mine), "ended"
    assert presence.is_leftover(mine, mine)


# Weight -------------------------------------------------------------------------------------------------------------


def test_the_agent_loads_nothing_that_only_rules_and_messages_need() -> None:
    code = "import sys, zkalert.agent, zkalert.cli.sampler; print(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"kazoo", "psutil", "sqlite3"} <= loaded
    assert not loaded & {"apprise", "jinja2", "jsonschema", "markdown", "requests", "rich", "asyncio"}
