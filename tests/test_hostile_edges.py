"""What lies at the edges of a host and of a tree may be anybody's: it must not hang, spoil or outlive zkalert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import Relay, is_gone, pid_in, wait_for
from tests.receivers import certificate
from zkalert import Pusher, agent, survey, zk
from zkalert.config import Config
from zkalert.metrics import parse_pattern
from zkalert.model import (
    CheckEntry,
    EnsembleSettings,
    HostInfo,
    ProcessEntry,
    Run,
    Sample,
    TlsSettings,
    ZookeeperSettings,
)
from zkalert.process import capture
from zkalert.rulefile import parse
from zkalert.sampler import Sampler, systemd
from zkalert.sampler.processes import Processes
from zkalert.sampler.proctable import ProcTable
from zkalert.sampler.systemd import Units
from zkalert.survey.glimpse import matches_of
from zkalert.survey.reading import Reader
from zkalert.tls import TlsError, context_of
from zkalert.tree import Tree, encode_host
from zkalert.zk import Client

linux = pytest.mark.skipif(not psutil.LINUX, reason="reads what only Linux has")


# Processes of others --------------------------------------------------------------------------------------------------


def test_a_pipe_in_the_place_of_a_pid_file_holds_nobody_up(tmp_path: Path) -> None:
    pipe = tmp_path / "app.pid"
    os.mkfifo(pipe)
    entries = {"app": ProcessEntry(pid_file=str(pipe))}
    readings: list[Any] = []
    reading = threading.Thread(target=lambda: readings.append(Processes(entries, 0.0)(1.0)), daemon=True)
    reading.start()
    reading.join(5)
    assert readings, "it hangs"
    assert readings[0].errors == (f"app: {pipe}: holds no process id",)


@pytest.fixture
def named() -> Iterator[Callable[[str], int]]:
    """Starts a process that calls itself so."""
    started = []
    code = "import sys, time; open('/proc/self/comm', 'w', newline='').write(sys.argv[1]); print(flush=True)"
    code += "; time.sleep(99)"

    def begin(name: str) -> int:
        process = subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@linux
@pytest.mark.parametrize("break_", ["\r", "\x0b", "\x1c", "\x85"], ids=repr)
def test_a_process_cannot_name_itself_into_the_lines_of_another_user(
    break_: str, named: Callable[[str], int], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    file.write_text(str(named(f"a{break_}Uid:\t9 9 9")), encoding="ascii")
    me = str(os.geteuid())
    entries = {user: ProcessEntry(user=user, pid_file=str(file)) for user in (me, "9")}
    assert {user: values["count"] for user, values in Processes(entries, 0.0)(1.0).instances.items()} == {me: 1, "9": 0}


@linux
def test_a_name_that_looks_like_half_a_line_spoils_no_reading(named: Callable[[str], int]) -> None:
    named("a\rUid:")
    reading = Processes({"mine": ProcessEntry(user=str(os.geteuid()))}, 0.0)(1.0)
    assert int(reading.instances["mine"]["count"]) >= 1


def test_digits_of_other_writings_are_the_name_of_a_user() -> None:
    reading = Processes({"one": ProcessEntry(user="\u00b2")}, 0.0)(1.0)
    assert reading.errors == ("one: there is no user \u00b2 here",)


def lay_out(root: Path, pid: int, groups: str) -> None:
    """A process as proc(5) has it."""
    folder = root / str(pid)
    folder.mkdir()
    numbers = "1 1 1 0 -1 4194560 0 0 0 0 20 10 0 0 20 0 3 0 500 5000000 100 18446744073709551615 1 1 0"
    (folder / "stat").write_text(f"{pid} (nginx) S {numbers}\n")
    (folder / "cgroup").write_text(groups)


OF_OTHERS = {
    "a container of systemd's": "0::/machine.slice/systemd-nspawn@c1.service/payload/system.slice/nginx.service\n",
    "a container of LXC's": "0::/lxc.payload.c1/system.slice/nginx.service\n",
    "a container in version 1": "1:name=systemd:/system.slice/docker-4f.scope/system.slice/nginx.service\n",
    "a user's own": "0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service\n",
    "a group whose name breaks lines": "0::/user.slice/user-1000.slice/user@1000.service/a\r0::/nginx.service\n",
}


@linux
@pytest.mark.parametrize("groups", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_unit_of_a_container_or_a_user_is_not_the_systems(groups: str, tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("1000.00 3900.10\n")
    lay_out(tmp_path, 1, "0::/init.scope\n")
    lay_out(tmp_path, 10, groups)
    reader = Processes({"nginx": ProcessEntry(unit="nginx")}, 0.0, ProcTable(str(tmp_path)))
    assert reader(1.0).instances["nginx"] == {"count": 0}


@linux
@pytest.mark.parametrize("top", ["", "/docker/4f3a", "/../.."], ids=["own top", "shown from outside", "from inside"])
def test_within_a_container_units_begin_where_its_manager_does(top: str, tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("1000.00 3900.10\n")
    lay_out(tmp_path, 1, f"12:pids:{top}/init.scope\n1:name=systemd:{top}/init.scope\n")
    lay_out(tmp_path, 10, f"12:pids:/x\n1:name=systemd:{top}/system.slice/nginx.service\n")
    reader = Processes({"nginx": ProcessEntry(unit="nginx")}, 0.0, ProcTable(str(tmp_path)))
    assert reader(1.0).instances["nginx"]["count"] == 1


# Commands at the end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "timeout"),
    [
        ("exec >&- 2>&-; echo $$ > {file}; exec sleep 60", 60.0),
        ("trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done", 0.5),
    ],
    ids=["its outputs are closed", "it is asked to end, and does not listen"],
)
def test_a_stop_ends_a_command_at_once_whatever_it_does(line: str, timeout: float, tmp_path: Path) -> None:
    stopped = threading.Event()
    run = Run(command=line.format(file=tmp_path / "pid"), timeout=timeout)
    running = threading.Thread(target=capture, args=(run, {}, None, stopped.is_set), daemon=True)
    began_at = time.monotonic()
    running.start()
    pid = pid_in(tmp_path / "pid")
    wait_for(lambda: timeout > 1 or time.monotonic() > began_at + timeout + 0.1, "its time to be over")
    stopped.set()
    stopped_at = time.monotonic()
    running.join(5)
    assert time.monotonic() - stopped_at < 2
    assert is_gone(pid)


def test_one_that_closed_its_outputs_is_still_given_up_in_time() -> None:
    found = capture(Run(command="exec >&- 2>&-; sleep 60", timeout=0.4), {}, None)
    assert (found.detail, found.exit_code) == ("timed out after 400ms; killed", None)
    assert capture(Run(command="exec >&- 2>&-; sleep 0.3; exit 2", timeout=10), {}, None).exit_code == 2


def test_no_command_outlives_an_agent_whose_step_hangs(
    settings: ZookeeperSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where ZooKeeper has gone silent: the process ends before the step does."""
    released = threading.Event()

    def hang(_sampler: Sampler, now: float) -> float:
        released.wait(30)
        return now + 1

    monkeypatch.setattr(Sampler, "step", hang)
    entry = CheckEntry(run=Run(command=f"echo $$ > {tmp_path}/pid; exec sleep 60", timeout=60), interval=1.0)
    config = Config(host="web1", state_dir=tmp_path / "state", zookeeper=settings, commands={"c": entry}, may_run=True)
    stop = threading.Event()
    running = threading.Thread(target=agent.run, args=(config, stop), daemon=True)
    running.start()
    try:
        pid = pid_in(tmp_path / "pid")
        stop.set()
        running.join(10)
        assert is_gone(pid), "the command runs on"
    finally:
        released.set()
        wait_for(lambda: not [t for t in threading.enumerate() if t.name == "sampler"], "the step to end")


def test_a_systemd_that_never_answers_is_told_in_the_same_words_at_each_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each other error would be another line in the log."""
    monkeypatch.setattr(systemd, "_TIMEOUT", 0.3)
    monkeypatch.setattr(systemd, "_PATIENCE", 0.1)
    read = Units(("sleep", "60"), booted=str(tmp_path))
    found = set()
    for _ in range(3):
        for _ in range(2):
            reading = read(0)
            assert reading is not None
            found.add(reading.errors)
        wait_for(lambda: "systemd" not in [thread.name for thread in threading.enumerate()], "the question to end")
    assert found == {("systemd does not answer",)}


# Servers and znodes ---------------------------------------------------------------------------------------------------


def locked_files(folder: Path) -> tuple[Path, Path]:
    """A certificate with its key in one file, and the key with a pass phrase in another."""
    plain, locked = certificate(folder), folder / "locked.pem"
    lock = ["openssl", "pkey", "-in", str(plain), "-aes128", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)
    return plain, locked


def test_a_key_with_a_pass_phrase_is_told_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    plain, locked = locked_files(tmp_path)
    tls = {"ca": str(plain), "cert": str(plain), "key": str(locked)}
    path = tmp_path / "zkalert.yaml"
    path.write_text(json.dumps({"zookeeper": {"hosts": "localhost:1", "session_timeout": "1s", "tls": tls}}))
    command = [sys.executable, "-m", "zkalert", "alerts", "--config", str(path)]
    done = subprocess.run(
        command, input="\n", capture_output=True, text=True, timeout=60, check=False, start_new_session=True
    )  # without a terminal, so that it would be asked for here
    why = f"{locked} under tls is locked with a pass phrase, which nobody is asked for"
    assert done.stderr == f"zkalert: error: ZooKeeper at localhost:1 does not answer ({why})\n"


def test_files_of_tls_that_cannot_be_used_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain, locked = locked_files(tmp_path)
    other, none, text = tmp_path / "other", tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("no certificate")
    other.mkdir()
    alien = certificate(other)
    for ca, key, said in (
        (none, plain, f"{none} under tls cannot be read: No such file or directory"),
        (other, plain, f"{other} under tls cannot be read: Is a directory"),
        (text, plain, f"{text} under tls holds no certificate in PEM"),
        (plain, text, f"{plain} and {text} under tls are no certificate and its key in PEM"),
        (plain, alien, f"{plain} and {alien} under tls are no certificate and its key in PEM"),
        (plain, locked, f"{locked} under tls is locked with a pass phrase, which nobody is asked for"),
    ):
        with pytest.raises(TlsError) as caught:
            context_of(TlsSettings(ca=str(ca), cert=str(plain), key=str(key)))
        assert str(caught.value) == said
    assert capfd.readouterr() == ("", "")
    context_of(TlsSettings(ca=str(plain), cert=str(plain), key=str(plain)))


class Counting(Reader):
    """Knows of how many znodes it held the data at once."""

    most = 0

    def answers(self, ask: Callable[[str], Any], paths: Iterable[str]) -> dict[str, Any]:
        found = super().answers(ask, paths)
        if ask == self.client.get_async:
            self.most = max(self.most, len(found))
        return found


def test_a_look_at_many_znodes_holds_the_data_of_few(client: Client, settings: ZookeeperSettings) -> None:
    """Each can have a mebibyte, and there can be ten thousand."""
    top = f"{settings.root}-app"
    client.ensure_path(top)
    for reply in [client.create_async(f"{top}/{number}", b"%d" % number) for number in range(250)]:
        reply.get(10)
    pattern, reader = parse_pattern(f"znode:{top}/*"), Counting(client, Tree(settings.root), 10.0)
    peeked = survey.peek(pattern, None, reader, 500)
    assert [one.values["value"] for one in peeked.seen] == [int(one.path.rpartition("/")[2]) for one in peeked.seen]
    assert len(peeked.seen) == len(matches_of(pattern, reader)[0]) == 250
    text = f"rules:\n  - {{name: r, metric: 'znode:{top}/*#value', comparator: '>', threshold: 1}}\n"
    own = {"zookeeper": EnsembleSettings(zookeeper=settings)}
    seen = survey.with_ensembles(reader.read([]), reader, parse(text, "rules.yaml")[0], own)
    sample = seen.hosts["zookeeper"].samples[f"znode:{top}/*"][0].sample
    assert isinstance(sample, Sample)
    assert {path: values["value"] for path, values in sample.instances.items()} == {
        f"{top}/{number}": number for number in range(250)
    }
    assert reader.most <= 100


def test_a_push_does_not_wait_for_ever_where_zookeeper_goes_in_between(
    settings: ZookeeperSettings, client: Client, tree: Tree
) -> None:
    client.create(tree.host("web1"), encode_host(HostInfo(name="web1")), makepath=True)
    relay = Relay(settings.hosts)
    near = ZookeeperSettings(hosts=relay.hosts, root=settings.root, session_timeout=1.0)
    try:
        with Pusher(host="web1", zookeeper=near) as one:
            relay.cut()
            wait_for(lambda: not one._client.connected, "the client to notice")
            began_at = time.monotonic()
            with pytest.raises(zk.UNCERTAIN):
                one._create(tree.family("web1", "orders"), b"{}")
            assert time.monotonic() - began_at < 5
    finally:
        relay.close()


def test_wrong_usage_of_put_is_wrong_whether_zookeeper_answers_or_not(tmp_path: Path) -> None:
    for words in (["cpu_usage", "percent=1"], ["Orders", "depth=1"], ["orders", "depth=99999999999999999999"]):
        command = [sys.executable, "-m", "zkalert", "put", *words, "--zookeeper", "127.0.0.1:1", "--host", "web1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "does not answer" not in done.stderr


def test_an_expression_that_python_only_warns_of_is_a_finding_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text('processes:\n  app: {command: "[[a]"}\nrules: []\n')
    tmp_path.chmod(0o700)
    command = [sys.executable, "-m", "zkalert", "validate", "--config", "zkalert.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "zkalert.yaml:2:18: error: no regular expression: Possible nested set" in done.stdout
    assert "Warning" not in done.stderr
