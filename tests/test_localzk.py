"""The local ZooKeeper: found or asked for in one sentence, started, kept, and gone with whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.helpers import is_gone, wait_for
from zkalert.localzk import LocalEnsemble, LocalServer, find_zookeeper, local_password
from zkalert.localzk.install import install_hint
from zkalert.localzk.process import LOG_LIMIT, ServerProcess
from zkalert.localzk.server import LOOPBACK, ask, free_ports
from zkalert.model import ServerUnavailable, ZookeeperSettings
from zkalert.zk import make_client

APT = "sudo apt-get install --no-install-recommends"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# A server -----------------------------------------------------------------------------------------------------------


def test_what_was_written_is_there_after_a_restart_on_the_same_port(own_zookeeper: LocalServer) -> None:
    client = make_client(ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=4.0))
    client.start(timeout=15)
    try:
        client.create("/kept", b"yes")
        first, hosts = own_zookeeper.pid, own_zookeeper.hosts
        own_zookeeper.restart()
        assert own_zookeeper.hosts == hosts
        assert own_zookeeper.pid != first
        wait_for(lambda: client.connected, "the client to be back")
        assert client.get("/kept")[0] == b"yes"
    finally:
        client.stop()
        client.close()


def test_a_server_that_was_killed_starts_again(own_zookeeper: LocalServer) -> None:
    own_zookeeper.kill()
    assert not own_zookeeper.is_running
    assert own_zookeeper.mode() == ""
    own_zookeeper.start()
    assert own_zookeeper.mode() == "standalone"


def test_stop_leaves_neither_the_server_nor_its_guard(own_zookeeper: LocalServer) -> None:
    pid = own_zookeeper.pid
    assert pid is not None
    family = [pid, *(child.pid for child in psutil.Process(pid).children())]
    assert len(family) == 2, "the server and the guard that waits for our end"
    own_zookeeper.stop()
    for member in family:
        wait_for(lambda member=member: is_gone(member), f"the end of process {member}")  # type: ignore[misc]
    own_zookeeper.stop()  # twice is no error


def test_a_server_ends_with_the_process_that_started_it_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from zkalert.localzk import LocalServer\n"
        "server = LocalServer(pathlib.Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert not is_gone(server)
        parent.send_signal(signal.SIGKILL)
        wait_for(lambda: is_gone(server), "the end of the server")


def test_lines_of_zoo_cfg_go_before_ours(tmp_path: Path) -> None:
    with LocalServer(tmp_path, settings={"4lw.commands.whitelist": "srvr", "maxClientCnxns": "7"}) as server:
        assert "because it is not in the whitelist" in ask(server.port, "mntr")
    settings = (tmp_path / "zoo.cfg").read_text().splitlines()
    assert [line for line in settings if line.startswith(("4lw", "maxClient"))] == [
        "maxClientCnxns=7",
        "4lw.commands.whitelist=srvr",
    ]


def test_a_server_may_be_started_by_a_thread_that_ends(tmp_path: Path) -> None:
    server = LocalServer(tmp_path)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert server.mode() == "standalone"
    finally:
        server.stop()


def test_ctrl_c_at_the_terminal_does_not_reach_the_server(zookeeper: LocalServer) -> None:
    assert zookeeper.pid is not None
    assert os.getsid(zookeeper.pid) != os.getsid(0)


def test_two_servers_never_share_a_folder(own_zookeeper: LocalServer) -> None:
    other = LocalServer(own_zookeeper.data_dir)
    with pytest.raises(ServerUnavailable, match="another process runs a ZooKeeper in"):
        other.start()
    assert own_zookeeper.mode() == "standalone"


def test_folders_and_log_are_for_their_owner_alone(own_zookeeper: LocalServer) -> None:
    folders = [own_zookeeper.data_dir, *(path for path in own_zookeeper.data_dir.rglob("*") if path.is_dir())]
    assert {mode_of(folder) for folder in folders} == {0o700}
    assert own_zookeeper.log_path.is_file()
    assert mode_of(own_zookeeper.log_path) == 0o600


def test_a_port_that_is_taken_is_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        server = LocalServer(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(ServerUnavailable, match=r"ended while starting.*server\.log(?s:.*)Address already in use"):
            server.start()
    assert not server.is_running


def test_another_port_is_chosen_where_somebody_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        offers = iter([(taken.getsockname()[1],), free_ports(1)])
        monkeypatch.setattr("zkalert.localzk.server.free_ports", lambda _count: next(offers))
        with LocalServer(tmp_path) as server:
            assert server.port != taken.getsockname()[1]
            assert server.mode() == "standalone"


def test_a_start_that_takes_too_long_leaves_no_server(tmp_path: Path) -> None:
    server = LocalServer(tmp_path)
    with pytest.raises(ServerUnavailable, match=r"did not serve within 0\.01 s"):
        server.start(timeout=0.01)
    assert server.pid is None


def test_free_ports_are_distinct() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20


# An ensemble --------------------------------------------------------------------------------------------------------


def test_an_ensemble_elects_a_leader_and_survives_its_death(ensemble: LocalEnsemble) -> None:
    leader = ensemble.leader()
    assert leader is not None
    assert len(ensemble.followers()) == 2
    client = make_client(ZookeeperSettings(hosts=ensemble.hosts, session_timeout=8.0))
    client.start(timeout=15)
    try:
        client.ensure_path("/survivor")
        ensemble.kill(leader)
        wait_for(lambda: ensemble.leader() not in (None, leader), "another leader", timeout=20)
        wait_for(lambda: client.connected, "the client to be connected", timeout=20)
        assert client.exists("/survivor")
        ensemble.start(leader)
        assert ensemble.servers[leader].mode() == "follower"
    finally:
        client.stop()
        client.close()
        ensemble.start()


# The log ------------------------------------------------------------------------------------------------------------


def test_the_log_is_bounded(tmp_path: Path) -> None:
    log_path = tmp_path / "server.log"
    flood = f"import sys\nfor number in range({LOG_LIMIT // 40}): print('line', number, 'x' * 200)"
    process = ServerProcess([sys.executable, "-c", flood], folder=tmp_path, log_path=log_path)
    assert process.ended.wait(30)
    kept = [log_path.stat().st_size, log_path.with_name("server.log.1").stat().st_size]
    assert max(kept) < LOG_LIMIT + 1000
    assert f"line {LOG_LIMIT // 40 - 1} " in process.recent_output()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    process = ServerProcess([sys.executable, "-c", deaf], folder=tmp_path, log_path=tmp_path / "log")
    wait_for(process.recent_output, "the first line")
    process.stop(grace=0.1)
    assert is_gone(process.pid)


# What is missing ----------------------------------------------------------------------------------------------------


def fake_jar(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """A folder for PATH in which there is a java."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "java").touch(mode=0o755)
    return folder


@pytest.mark.parametrize(
    ("jar", "variable"),
    [
        pytest.param("home/lib/zookeeper-3.9.4.jar", True, id="unpacked release"),
        pytest.param("home/zookeeper-3.4.14.jar", True, id="unpacked release of old"),
        pytest.param("usr/share/java/zookeeper.jar", False, id="Debian"),
        pytest.param("opt/homebrew/opt/zookeeper/libexec/lib/zookeeper-3.9.4.jar", False, id="Homebrew"),
        pytest.param("usr/local/opt/zookeeper/libexec/lib/zookeeper-3.9.4.jar", False, id="Homebrew on Intel"),
    ],
)
def test_a_server_is_found_where_each_system_keeps_it(tmp_path: Path, java: Path, jar: str, variable: bool) -> None:
    fake_jar(tmp_path / jar)
    environ = {"PATH": str(java)} | ({"ZOOKEEPER_HOME": str(tmp_path / "home")} if variable else {})
    found = find_zookeeper(environ, tmp_path)
    assert found.java == str(java / "java")
    folder = str((tmp_path / jar).parent)
    assert any(part in (f"{folder}/*", str(tmp_path / jar)) for part in found.class_path.split(":"))


def test_zookeeper_home_wins_and_is_not_guessed_around(tmp_path: Path, java: Path) -> None:
    fake_jar(tmp_path / "usr/share/java/zookeeper.jar")
    with pytest.raises(ServerUnavailable, match="ZOOKEEPER_HOME is /nowhere, but there is no zookeeper-"):
        find_zookeeper({"PATH": str(java), "ZOOKEEPER_HOME": "/nowhere"}, tmp_path)


def test_java_home_wins_over_path(tmp_path: Path, java: Path) -> None:
    fake_jar(tmp_path / "usr/share/java/zookeeper.jar")
    fake_jar(tmp_path / "jdk/bin/java")
    found = find_zookeeper({"PATH": str(java), "JAVA_HOME": str(tmp_path / "jdk")}, tmp_path)
    assert found.java == str(tmp_path / "jdk/bin/java")


@pytest.mark.parametrize(
    ("system", "names", "java_only", "command"),
    [
        pytest.param("Linux", {"debian"}, False, f"{APT} libzookeeper-java default-jre-headless", id="Debian"),
        pytest.param("Linux", {"ubuntu", "debian"}, True, f"{APT} default-jre-headless", id="Ubuntu, Java"),
        pytest.param("Linux", {"fedora"}, False, "sudo dnf install java-21-openjdk-headless, unpack", id="Fedora"),
        pytest.param("Linux", {"rocky", "rhel"}, True, "sudo dnf install java-21-openjdk-headless", id="Rocky, Java"),
        pytest.param("Linux", {"arch"}, False, "bin.tar.gz and set ZOOKEEPER_HOME", id="another Linux"),
        pytest.param("Linux", set(), True, "install Java 11 or newer", id="unknown, Java"),
        pytest.param("Darwin", set(), False, "brew install zookeeper", id="macOS"),
        pytest.param("Darwin", set(), True, "brew install openjdk", id="macOS, Java"),
    ],
)
def test_the_hint_names_the_command_for_this_system(
    system: str, names: set[str], java_only: bool, command: str
) -> None:
    assert command in install_hint(system, frozenset(names), java_only=java_only)


def test_a_machine_without_a_server_is_told_in_one_line_what_to_install(tmp_path: Path, java: Path) -> None:
    fake_jar(tmp_path / "etc/os-release")
    (tmp_path / "etc/os-release").write_text('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n')
    with pytest.raises(ServerUnavailable) as caught:
        find_zookeeper({"PATH": str(java)}, tmp_path)
    message = str(caught.value)
    assert message.startswith("no ZooKeeper server was found on this machine; ")
    assert "--zookeeper" in message
    assert "\n" not in message
    if sys.platform == "linux":
        assert f"{APT} libzookeeper-java default-jre-headless" in message


def test_a_machine_without_java_is_told_to_install_only_that(tmp_path: Path) -> None:
    fake_jar(tmp_path / "usr/share/java/zookeeper.jar")
    with pytest.raises(ServerUnavailable, match="no Java to run it") as caught:
        find_zookeeper({}, tmp_path)
    assert "libzookeeper-java" not in str(caught.value)


# The password -------------------------------------------------------------------------------------------------------


def test_the_password_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    password = local_password(tmp_path / "state")
    assert len(password) >= 24
    assert local_password(tmp_path / "state") == password
    assert mode_of(tmp_path / "state/zookeeper/password") == 0o600
    assert mode_of(tmp_path / "state") == mode_of(tmp_path / "state/zookeeper") == 0o700
    assert [path.name for path in (tmp_path / "state/zookeeper").iterdir()] == ["password"]


def test_processes_that_make_the_password_together_agree_on_one(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[str] = []

    def read() -> None:
        barrier.wait()
        found.append(local_password(tmp_path))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
