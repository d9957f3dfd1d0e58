"""Processes that the configuration names: which belong to an entry, and what is told of them."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import wait_for
from zkalert.metrics import FAMILIES
from zkalert.model import ProcessEntry, Value
from zkalert.sampler.processes import Processes
from zkalert.sampler.proctable import ProcTable, PsutilTable, Table

linux = pytest.mark.skipif(not psutil.LINUX, reason="reads what only Linux has")
both = pytest.mark.parametrize(
    "table", [pytest.param(ProcTable, marks=linux), PsutilTable], ids=["of /proc", "of psutil"]
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `sleep` under a command line of its own, or any Python text; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(
        mark: str, text: str = "import time; time.sleep(300)", program: str = sys.executable, **options: Any
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([program, "-c", text, mark], **options)
        started.append(process)
        wait_for(lambda: mark in " ".join(psutil.Process(process.pid).cmdline()), f"{mark} to run")
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def named(start: Start, tmp_path: Path) -> Start:
    """Starts a program of this name."""

    def begin(name: str) -> subprocess.Popen[bytes]:
        program = tmp_path / name
        program.symlink_to(sys.executable)
        return start(name, program=str(program))

    return begin


def read(entries: dict[str, ProcessEntry], table: Table | None = None) -> dict[str, dict[str, Value]]:
    reader = Processes(entries, time.monotonic(), table)
    return {name: dict(values) for name, values in reader(time.monotonic()).instances.items()}


def by(command: str, table: Table | None = None, **more: str) -> dict[str, Value]:
    return read({"one": ProcessEntry(command=command, **more)}, table)["one"]


# Which belong together ----------------------------------------------------------------------------------------------


@both
def test_all_whose_command_line_fits_are_counted(table: Callable[[], Table], start: Start) -> None:
    for _ in range(3):
        start("zk-worker-a")
    start("zk-worker-b")
    assert by("zk-worker-a$", table())["count"] == 3
    assert by("zk-worker-[ab]", table())["count"] == 4


@both
def test_an_entry_without_processes_says_so_and_nothing_else(table: Callable[[], Table]) -> None:
    assert by("no-such-command-line-anywhere-here", table()) == {"count": 0}


@both
def test_a_name_may_be_a_glob(table: Callable[[], Table], start: Start) -> None:
    name = psutil.Process(start("zk-named").pid).name()
    assert by("zk-named", table(), name=name)["count"] == 1
    assert by("zk-named", table(), name=name[:3] + "*")["count"] == 1
    assert by("zk-named", table(), name=name[1:]) == {"count": 0}


@both
def test_a_name_that_the_kernel_cuts_fits_whole_and_cut(table: Callable[[], Table], named: Start) -> None:
    named("a-very-long-name-of-a-daemon")
    assert by("a-very-long-name", table(), name="a-very-long-name-of-a-daemon")["count"] == 1
    assert by("a-very-long-name", table(), name="a-very-long-n*")["count"] == 1


@both
def test_a_user_is_a_name_or_a_number(table: Callable[[], Table], start: Start) -> None:
    start("zk-user")
    me, other = os.geteuid(), next(user for user in pwd.getpwall() if user.pw_uid != os.geteuid())
    assert by("zk-user", table(), user=str(me))["count"] == 1
    assert by("zk-user", table(), user=pwd.getpwuid(me).pw_name)["count"] == 1
    assert by("zk-user", table(), user=other.pw_name) == {"count": 0}


def test_a_user_that_is_not_known_here_is_an_error() -> None:
    reading = Processes({"one": ProcessEntry(user="no-such-user")}, 0.0)(1.0)
    assert reading.instances == {"one": {"count": 0}}
    assert reading.errors == ("one: there is no user no-such-user here",)


@both
def test_a_pid_file_names_one_process(table: Callable[[], Table], start: Start, tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    entries = {"app": ProcessEntry(pid_file=str(path))}
    reader = Processes(entries, time.monotonic(), table())
    assert reader(time.monotonic()).instances == {"app": {"count": 0}}
    assert reader(time.monotonic()).errors == (), "a daemon that is stopped has no pid file"
    process = start("zk-pid")
    path.write_text(f"{process.pid}\n")
    assert reader(time.monotonic()).instances["app"]["count"] == 1
    process.kill()
    process.wait()
    assert reader(time.monotonic()).instances["app"]["count"] == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [("", "holds no process id"), ("running\n", "holds no process id"), (None, "Is a directory")],
)
def test_a_pid_file_without_an_id_is_an_error(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    reading = Processes({"app": ProcessEntry(pid_file=str(path))}, 0.0)(1.0)
    assert reading.instances == {"app": {"count": 0}}
    assert reading.errors == (f"app: {path}: {problem}",)


@both
def test_one_that_has_ended_but_was_not_collected_does_not_count(table: Callable[[], Table], named: Start) -> None:
    """By its name, which the kernel keeps of it."""
    process = named("zk-zombie")
    found = ProcessEntry(name="zk-zombie")
    assert read({"one": found}, table())["one"]["count"] == 1
    process.kill()
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "it to end")
    assert psutil.Process(process.pid).name() == "zk-zombie"
    assert read({"one": found}, table())["one"]["count"] == 0


# What is told of them -----------------------------------------------------------------------------------------------


@linux
def test_every_field_of_the_table_is_told(start: Start) -> None:
    start("zk-fields")
    reader = Processes({"one": ProcessEntry(command="zk-fields")}, time.monotonic())
    values = reader(time.monotonic() + 1).instances["one"]
    assert set(values) == set(FAMILIES["process"].fields)


@both
def test_memory_threads_age_and_files_are_those_of_the_process(table: Callable[[], Table], start: Start) -> None:
    text = (
        "import sys, threading, time; held = bytearray(50_000_000); files = [open(sys.executable) for _ in range(40)]\n"
        "threading.Thread(target=time.sleep, args=(300,), daemon=True).start(); print(flush=True); time.sleep(300)"
    )
    process = start("zk-details", text, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    values, psutils = by("zk-details", table()), psutil.Process(process.pid)
    process.stdout.close()
    assert values["threads"] == 2
    assert values["rss"] == pytest.approx(psutils.memory_info().rss, rel=0.1)
    assert float(values["rss"]) > 50e6
    assert values["open_files"] == psutils.num_fds()
    assert float(values["open_files"]) >= 43
    assert values["age"] == pytest.approx(time.time() - psutils.create_time(), abs=1)
    if table is ProcTable:
        soft, _ = psutils.rlimit(psutil.RLIMIT_NOFILE)
        assert values["open_files_percent"] == pytest.approx(100 * float(values["open_files"]) / soft, abs=0.01)


@both
def test_what_a_process_started_counts_in_the_total_once(table: Callable[[], Table], start: Start) -> None:
    child = "import time; held = bytearray(30_000_000); print(flush=True); time.sleep(300)"
    text = (
        "import subprocess, sys, time\n"
        f"kids = [subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE) for _ in range(2)]\n"
        "[kid.stdout.readline() for kid in kids]; print(flush=True)\n"
        "try: time.sleep(300)\nfinally: [kid.kill() for kid in kids]"
    )
    process = start("zk-parent", text, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    children = psutil.Process(process.pid).children()
    try:
        values = by("zk-parent", table())
        assert (values["count"], values["children"]) == (1, 2)
        assert float(values["total_rss"]) > float(values["rss"]) + 60e6
        both = by("zk-parent|held = bytearray", table())
        assert (both["count"], both["children"]) == (3, 0)
        assert both["rss"] == both["total_rss"]
    finally:
        for kid in children:
            kid.kill()
        process.stdout.close()


@both
def test_processor_time_is_of_the_time_since_the_last_reading(table: Callable[[], Table], start: Start) -> None:
    reader = Processes({"busy": ProcessEntry(command="zk-busy")}, began := time.monotonic(), table())
    process = start("zk-busy", "while True: pass")
    wait_for(lambda: psutil.Process(process.pid).cpu_times().user > 0.3, "it to work")
    # It was started since the look before: all that it spent counts.
    passed = time.monotonic() - began
    values = reader(began + passed).instances["busy"]
    spent = sum(psutil.Process(process.pid).cpu_times()[:2])
    assert float(values["cpu_percent"]) == pytest.approx(100 * spent / passed, rel=0.3)
    process.kill()
    process.wait()
    idle = start("zk-busy-no-more")
    reader(time.monotonic())
    values = reader(time.monotonic() + 10).instances["busy"]
    assert float(values["cpu_percent"]) < 20
    assert idle.poll() is None


@both
def test_another_oldest_is_a_restart_and_another_worker_is_none(table: Callable[[], Table], start: Start) -> None:
    reader = Processes({"app": ProcessEntry(command="zk-restarts")}, time.monotonic(), table())

    def restarts() -> Value | None:
        return reader(time.monotonic()).instances["app"].get("restarts")

    assert restarts() is None, "nobody saw it run yet"
    first = start("zk-restarts")
    assert restarts() == 0
    second = start("zk-restarts")
    assert restarts() == 0
    first.kill()
    first.wait()
    assert restarts() == 1
    second.kill()
    second.wait()
    assert reader(time.monotonic()).instances["app"] == {"count": 0, "restarts": 1}
    start("zk-restarts")
    assert restarts() == 2


# Of systems that are not here ---------------------------------------------------------------------------------------


def lay_out(
    root: Path,
    pid: int,
    name: str,
    *,
    groups: str = "",
    uid: int = 0,
    parent: int = 1,
    state: str = "S",
    started: int = 500,
) -> None:
    """A process as proc(5) has it; the numbers are user time 20, system time 10, 3 threads, 100 pages."""
    folder = root / str(pid)
    (folder / "fd").mkdir(parents=True)
    numbers = f"{parent} 1 1 0 -1 4194560 0 0 0 0 20 10 0 0 20 0 3 0 {started} 5000000 100 18446744073709551615 1 1 0"
    (folder / "stat").write_text(f"{pid} ({name}) {state} {numbers}\n")
    (folder / "cmdline").write_bytes(f"/usr/sbin/{name}\0-k\0start\0".encode())
    (folder / "cgroup").write_text(groups)
    (folder / "status").write_text(f"Name:\t{name}\nUid:\t{uid}\t{uid + 1}\t{uid}\t{uid}\n")
    (folder / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max open files            4                    4096                 files     \n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "uptime").write_text("1000.00 3900.10\n")
    lay_out(tmp_path, 1, "systemd", parent=0)
    return tmp_path


@linux
def test_a_unit_is_found_in_both_versions_of_control_groups(proc: Path) -> None:
    lay_out(proc, 10, "nginx", groups="0::/system.slice/nginx.service\n")
    lay_out(proc, 11, "nginx", groups="12:pids:/x\n1:name=systemd:/system.slice/nginx.service\n", parent=10)
    lay_out(proc, 12, "app", groups="0::/system.slice/system-app.slice/app@1.service/worker\n")
    lay_out(proc, 13, "other", groups="0::/system.slice/not-nginx.service\n")
    entries = {unit: ProcessEntry(unit=unit) for unit in ("nginx", "nginx.service", "app@1.service", "system.slice")}
    found = {name: values["count"] for name, values in read(entries, ProcTable(str(proc))).items()}
    assert found == {"nginx": 2, "nginx.service": 2, "app@1.service": 1, "system.slice": 4}


@linux
def test_numbers_are_read_as_the_kernel_writes_them(proc: Path) -> None:
    lay_out(proc, 10, "odd) (name", uid=33, started=50_000)
    for descriptor in range(3):
        (proc / "10" / "fd" / str(descriptor)).touch()
    values = read({"one": ProcessEntry(name="odd*", user="34")}, ProcTable(str(proc)))["one"]
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert values.pop("cpu_percent") == 0
    assert values == {
        "count": 1, "rss": 100 * os.sysconf("SC_PAGE_SIZE"), "total_rss": 100 * os.sysconf("SC_PAGE_SIZE"),
        "children": 0, "threads": 3, "open_files": 3, "open_files_percent": 75.0, "restarts": 0,
        "age": round(1000 - 50_000 * tick, 2),
    }  # fmt: skip


@linux
def test_one_that_ends_while_it_is_looked_at_spoils_nothing(proc: Path) -> None:
    for pid in (10, 11):
        lay_out(proc, pid, "app")
        (proc / str(pid) / "fd" / "0").touch()
    table = ProcTable(str(proc))
    reader = Processes({"one": ProcessEntry(name="app")}, 0.0, table)
    listed = table.processes()
    table.processes = lambda: listed  # type: ignore[method-assign]
    for file in ("fd/0", "limits", "stat"):
        (proc / "11" / file).unlink()
    (proc / "11" / "fd").rmdir()
    values = reader(1.0).instances["one"]
    assert (values["count"], values["open_files"], values["open_files_percent"]) == (2, 1, 25.0)


@linux
def test_where_others_are_hidden_that_is_told(proc: Path) -> None:
    lay_out(proc, 10, "app")
    (proc / "1").rename(proc / "hidden")
    reading = Processes({"one": ProcessEntry(name="app")}, 0.0, ProcTable(str(proc)))(1.0)
    assert reading.instances["one"]["count"] == 1
    assert reading.errors == ("processes of others are hidden from this user (hidepid)",)


@linux
def test_a_look_at_300_processes_costs_little(proc: Path) -> None:
    for pid in range(100, 400):
        lay_out(proc, pid, "worker", groups="0::/system.slice/other.service\n")
    entries = {f"e{n}": ProcessEntry(command=f"number{n}") for n in range(20)}
    reader = Processes(entries, 0.0, ProcTable(str(proc)))
    started = time.process_time()
    for now in range(1, 6):
        assert reader(now).instances["e0"] == {"count": 0}
    assert (time.process_time() - started) / 5 < 0.05, "seconds; once in 5 s that is a percent of a core"
