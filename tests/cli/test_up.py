"""`zkalert up` as a newcomer runs it: the demo on a terminal, and log lines without one."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers import wait_for
from zkalert.localzk import LocalServer

DEMO = Path(__file__).parents[2] / "examples" / "demo"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of its own; `text` is all that it drew, without the escape codes."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "45"}
        command = [sys.executable, "-m", "zkalert", *words]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ)
        os.close(slave)
        self._drawn = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how Linux tells that the other end was closed
            while data := os.read(self._master, 4096):
                self._drawn += data

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self._drawn.decode("utf-8", "replace"))

    def wait(self, text: str, timeout: float) -> None:
        wait_for(lambda: text in self.text, f'"{text}" on the terminal:\n{self.text[-3000:]}', timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(10)
        os.close(self._master)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Terminal]:
    """The demo with a state folder of its own."""
    terminal = Terminal("up", "--config", str(DEMO / "zkalert.yaml"), "--state-dir", str(tmp_path / "state"))
    yield terminal
    terminal.close()


def servers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if "java" in child.name()]


def test_the_demo_trips_within_15_seconds_resolves_and_ends_within_3(demo: Terminal) -> None:
    demo.wait("[warning] demo-memory on demo: memory at", 15)
    demo.wait("[critical] demo-zombies on demo", 15)
    demo.wait("[info] demo-znode on zookeeper: alerts of demo-zombies in ZooKeeper: 1", 15)
    demo.wait("ran for", 20)
    demo.wait("[resolved] demo-zombies on demo", 20)
    demo.wait("[resolved] demo-znode on zookeeper", 20)
    for text in ("hosts", "alive", "alerts", "firing", "notifications:", "commands: 1 run"):
        demo.wait(text, 5)
    (server,) = servers_of(demo.process)
    asked = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(10) == 0
    assert time.monotonic() - asked < 3
    assert not server.is_running(), "the server ended too"
    assert "Traceback" not in demo.text


def test_a_second_up_on_the_same_folder_is_refused(demo: Terminal, tmp_path: Path) -> None:
    demo.wait("watching", 15)
    second = subprocess.run(
        [sys.executable, "-m", "zkalert", "up", "--no-ui", "--state-dir", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert str(tmp_path / "state") in second.stderr


def test_without_a_terminal_it_logs_and_takes_the_shipped_rules(zookeeper: LocalServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["up", "--zookeeper", zookeeper.hosts, "--root", "/up", "--state-dir", str(tmp_path / "state")]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "zkalert", *words, "--log-format", "json"], stdout=stream, stderr=stream
        )
    try:
        wait_for(lambda: '"publishing as' in log.read_text(), "the sampler to publish", 15)
        assert servers_of(process) == [], "hosts are configured, so no server is started"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    assert "Traceback" not in log.read_text()


def test_bad_rules_are_told_before_anything_is_started(tmp_path: Path) -> None:
    rules = tmp_path / "bad.yaml"
    rules.write_text('rules: [{name: x, metric: memry_usage, comparator: ">", threshold: 1}]')
    state = tmp_path / "state"
    words = ["up", "--no-ui", "--rules", str(rules), "--state-dir", str(state)]
    result = subprocess.run(
        [sys.executable, "-m", "zkalert", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1
    assert "did you mean memory_usage?" in result.stderr
    assert not (state / "zookeeper").exists()


def test_where_no_zookeeper_is_found_one_message_says_so(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "zkalert", "up", "--no-ui", "--state-dir", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"ZOOKEEPER_HOME": str(tmp_path)},
    )
    assert result.returncode == 1
    assert result.stderr.count("zkalert: error:") == 1
    assert "ZOOKEEPER_HOME" in result.stderr
    assert "Traceback" not in result.stderr


def test_its_own_zookeeper_is_started_again_when_it_dies(tmp_path: Path) -> None:
    log = tmp_path / "log"
    rules = tmp_path / "rules.yaml"
    rules.write_text('rules: [{name: always, metric: uptime, comparator: ">", threshold: 0}]')
    words = ["up", "--no-ui", "--rules", str(rules), "--state-dir", str(tmp_path / "state")]
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "zkalert", *words], stdout=stream, stderr=stream)
    try:
        wait_for(lambda: "firing always" in log.read_text(), "the first alert", 20)
        (server,) = servers_of(process)
        server.kill()
        wait_for(lambda: "ended; starting it again" in log.read_text(), "the end to be noticed", 10)
        wait_for(lambda: "ZooKeeper is back" in log.read_text(), "the server to be back", 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    assert "Traceback" not in log.read_text()
    assert log.read_text().count("firing always") == 1


def test_a_state_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ["up", "--no-ui", "--state-dir", str(tmp_path / "file")]
    result = subprocess.run(
        [sys.executable, "-m", "zkalert", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "choose another folder with --state-dir" in result.stderr
