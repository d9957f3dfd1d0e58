"""`zkalert hold` around real commands: exit codes, signals, and a hold that lives for as long as they do."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.saying import command, environ, firing, run, silences, write_alerts
from tests.helpers import Relay, wait_for
from zkalert import zk
from zkalert.cli import hold
from zkalert.model import Silence, ZookeeperSettings
from zkalert.store import Facts
from zkalert.tree import Tree
from zkalert.zk import Client, make_client


@contextlib.contextmanager
def holding(settings: ZookeeperSettings, *words: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A hold that runs while the test does something."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    process = subprocess.Popen(command(settings, "hold", *words), env=environ(), text=True, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def the_hold(client: Client, tree: Tree) -> Silence:
    return wait_for(lambda: list(silences(client, tree).values()), "a hold in the tree")[0]


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137)])
def test_the_exit_code_is_that_of_the_command(
    client: Client, tree: Tree, settings: ZookeeperSettings, script: str, code: int
) -> None:
    assert run(settings, "hold", "host=db3", "--", "sh", "-c", script).returncode == code
    assert the_hold(client, tree).ends_at < time.time() + 5, "it is over"


def test_a_hold_stands_while_the_command_runs_and_ends_with_it(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    write_alerts(client, tree, firing(host="db3"))
    script = "echo out; echo err >&2; read line; echo got $line"
    with holding(
        settings, "host=db3", "rule=disk-*", "--comment", "patch", "--", "sh", "-c", script, stdin=-1
    ) as process:
        made = the_hold(client, tree)
        assert (made.host, made.rule, made.is_hold, made.comment) == ("db3", "disk-*", True, "patch")
        assert made.ends_at - made.starts_at == hold.HELD
        out, err = process.communicate("x\n", timeout=20)
    assert (process.returncode, out) == (0, "out\ngot x\n"), "the command has our files"
    assert err == f"zkalert: hold {made.id} keeps quiet: rule=disk-* host=db3\nerr\n"
    ended = silences(client, tree)[made.id]
    assert ended.starts_at < ended.ends_at < made.ends_at


def test_it_lingers_if_that_is_asked_for(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    assert run(settings, "hold", "host=db3", "--linger", "10m", "--", "true").returncode == 0
    made = the_hold(client, tree)
    assert 600 <= made.ends_at - made.starts_at < 620
    assert made.comment == "hold: true"


# A child that says when it is ready, and which signals it hears; TERM and INT end it with a code of its own.
LISTENER = """
import os, signal, sys, time
def heard(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, heard)
print("ready, pid", os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
while True:
    time.sleep(0.05)
"""


def test_signals_are_passed_on_and_the_command_says_how_it_ends(
    client: Client, tree: Tree, settings: ZookeeperSettings
) -> None:
    with holding(settings, "host=db3", "--", sys.executable, "-c", LISTENER) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("ready"), "it runs"
        assert first.endswith("set()\n"), "and hears all signals"
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            process.send_signal(number)
            assert process.stdout.readline() == f"{number.name}\n"
        assert process.wait(20) == 7
    assert the_hold(client, tree).ends_at < time.time() + 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_a_signal_ends_gives_its_number(
    client: Client, tree: Tree, settings: ZookeeperSettings, number: signal.Signals, code: int
) -> None:
    with holding(settings, "host=db3", "--", "sh", "-c", "echo ready; exec sleep 100") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(20) == code
    assert the_hold(client, tree).ends_at < time.time() + 5


@pytest.mark.skipif(sys.platform != "linux", reason="a terminal of its own takes util-linux")
def test_ctrl_c_on_a_terminal_reaches_the_command_once(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    master, slave = pty.openpty()
    words = command(settings, "hold", "host=db3", "--", sys.executable, "-c", LISTENER)
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words], stdin=slave, stdout=slave, stderr=slave, env=environ()
    )
    os.close(slave)
    said = b""

    def has_said(text: bytes) -> bool:
        nonlocal said
        if text not in said:
            with contextlib.suppress(OSError):  # the terminal is gone once all have left it
                said += os.read(master, 65536)
        return text in said

    try:
        # All of its line, since Ctrl-C takes what nobody has read yet from a terminal.
        wait_for(lambda: has_said(b"set()"), "the command")
        os.write(master, b"\x03")
        wait_for(lambda: has_said(b"SIGINT"), "the signal")
        made = the_hold(client, tree)
        assert made.ends_at > time.time() + 20
        child = int(said.split(b"pid ")[1].split()[0])
        os.kill(child, signal.SIGTERM)
        assert process.wait(20) == 7
        wait_for(lambda: has_said(b"SIGTERM"), "the end")
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert said.count(b"SIGINT") == 1


def test_without_zookeeper_nothing_is_run_unless_told_so(tmp_path: Path) -> None:
    nobody = ZookeeperSettings(hosts="127.0.0.1:1", root="/zkalert")
    (tmp_path / "zkalert.yaml").write_text("zookeeper: {hosts: '127.0.0.1:1', session_timeout: 1s}\n")
    config = str(tmp_path / "zkalert.yaml")
    mark = tmp_path / "ran"
    done = run(nobody, "hold", "host=a", "--config", config, "--", "touch", str(mark))
    said = "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert not mark.exists()
    done = run(nobody, "hold", "host=a", "--config", config, "--anyway", "--", "touch", str(mark))
    why = "ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)"
    expected = f"zkalert: {why}; the command is run without a hold for now\n"
    assert (done.returncode, done.stderr) == (0, expected)
    assert mark.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["host=a"], 2, "no command; write it behind --, as in: zkalert hold host=db3 -- ./patch.sh"),
        (["host=a", "--"], 2, "no command"),
        (["--", "true"], 2, "this matches every alert"),
        (["host=a", "--linger", "2d", "--", "true"], 2, "--linger: found 2d; expected at most 1d"),
        (["host=a", "--", "no-such-command"], 127, 'no command "no-such-command" is there to be run'),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    client: Client, tree: Tree, settings: ZookeeperSettings, words: list[str], code: int, message: str
) -> None:
    done = run(settings, "hold", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert silences(client, tree) == {}


def test_what_the_system_cannot_run_ends_the_hold(
    client: Client, tree: Tree, settings: ZookeeperSettings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    done = run(settings, "hold", "host=a", "--", str(broken))
    assert done.returncode == 126
    assert f'error: "{broken}" cannot be run: Exec format error' in done.stderr
    assert the_hold(client, tree).ends_at < time.time() + 5


def test_options_behind_the_dashes_are_the_commands(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    done = run(settings, "hold", "host=a", "--", "echo", "--help", "--", "--linger", "x")
    assert (done.returncode, done.stdout) == (0, "--help -- --linger x\n")


# The keeper, at a quicker pace.


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "HELD", 3.0)
    monkeypatch.setattr(hold, "RENEW_EVERY", 0.1)
    monkeypatch.setattr(hold, "_AGAIN", 0.1)


@contextlib.contextmanager
def connected(settings: ZookeeperSettings) -> Iterator[Client]:
    own = make_client(settings)
    own.start(timeout=15)
    try:
        yield own
    finally:
        zk.leave(own, 5)


WANTED = Silence(id="", host="db3", starts_at=0.0, ends_at=0.0, is_hold=True)


@pytest.mark.usefixtures("quick")
def test_it_is_renewed_for_as_long_as_it_is_kept(client: Client, tree: Tree) -> None:
    keeper = hold.Keeper(client, tree, WANTED)
    keeper.begin()
    first = the_hold(client, tree)
    keeper.start()
    wait_for(lambda: the_hold(client, tree).ends_at > first.ends_at + 0.5, "renewals")
    keeper.end(0.0)
    last = the_hold(client, tree)
    assert last.id == first.id
    assert last.ends_at < first.ends_at + 3
    assert not keeper._thread.is_alive()


@pytest.mark.usefixtures("quick")
def test_one_that_somebody_ended_stays_ended(client: Client, tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    keeper = hold.Keeper(client, tree, WANTED)
    keeper.begin()
    keeper.start()
    made = the_hold(client, tree)
    facts = Facts(client, tree)
    facts.expire_silence(made.id, facts.open())
    wait_for(lambda: "was ended by somebody; the command goes on" in caplog.text, "the keeper to notice")
    keeper.end(60.0)
    assert the_hold(client, tree).ends_at < made.ends_at


@pytest.mark.usefixtures("quick")
def test_it_goes_on_once_zookeeper_is_back(
    client: Client, tree: Tree, settings: ZookeeperSettings, caplog: pytest.LogCaptureFixture
) -> None:
    relay = Relay(settings.hosts)
    with connected(ZookeeperSettings(hosts=relay.hosts, root=settings.root, session_timeout=4.0)) as own:
        keeper = hold.Keeper(own, tree, WANTED)
        keeper.begin()
        keeper.start()
        made = the_hold(client, tree)
        relay.cut()
        wait_for(lambda: "the hold is not renewed: ZooKeeper" in caplog.text, "a failed renewal")
        wait_for(lambda: the_hold(client, tree).ends_at < time.time(), "the hold to lapse")
        relay.mend()
        wait_for(lambda: the_hold(client, tree).ends_at > time.time() + 1, "a renewal", 20)
        assert "the hold is renewed again" in caplog.text
        keeper.end(0.0)
    relay.close()
    assert list(silences(client, tree)) == [made.id]
    assert the_hold(client, tree).ends_at < time.time() + 1


@pytest.mark.usefixtures("quick")
def test_a_hold_that_was_cleared_away_is_made_anew(client: Client, tree: Tree) -> None:
    keeper = hold.Keeper(client, tree, WANTED)
    keeper.begin()
    made = the_hold(client, tree)
    client.delete(tree.silence(made.id))
    keeper.start()
    wait_for(lambda: set(silences(client, tree)) - {made.id}, "another hold")
    keeper.end(0.0)


def test_an_end_that_cannot_be_written_is_said(
    client: Client,
    tree: Tree,
    settings: ZookeeperSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(hold, "_PATIENCE", 0.5)
    relay = Relay(settings.hosts)
    with connected(ZookeeperSettings(hosts=relay.hosts, root=settings.root, session_timeout=4.0)) as own:
        keeper = hold.Keeper(own, tree, WANTED)
        keeper.begin()
        keeper.start()
        relay.cut()
        wait_for(lambda: not own.connected, "the connection to go")
        keeper.end(0.0)
    relay.close()
    assert "could not be ended; it ends by itself at 20" in capsys.readouterr().err
