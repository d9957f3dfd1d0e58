"""Fixtures: real ZooKeepers, a root and a client for each test, receivers of what is sent."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers import HttpReceiver, SmtpReceiver
from zkalert.localzk import LocalEnsemble, LocalServer
from zkalert.model import ZookeeperSettings
from zkalert.tree import Tree
from zkalert.zk import Client, make_client, open_tree

LOG_LINES = 40
_SERVERS: dict[str, Sequence[LocalServer]] = {}  # by fixture, for the logs in reports


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the configuration or the state of whoever runs it, nor asks a proxy for loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ZKALERT_")]:
            patch.delenv(name)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session", autouse=True)
def usual_signals() -> None:
    """What tests start hears Ctrl-C and SIGHUP: a shell in the background, and nohup, make what is below them deaf."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The server that all tests share; who stops one takes `own_zookeeper`."""
    with LocalServer(tmp_path_factory.mktemp("zookeeper")) as server:
        _SERVERS["zookeeper"] = (server,)
        yield server


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEnsemble]:
    """Three servers; who kills one starts it again."""
    with LocalEnsemble(tmp_path_factory.mktemp("ensemble")) as servers:
        _SERVERS["ensemble"] = servers.servers
        yield servers


@pytest.fixture
def own_zookeeper(tmp_path: Path) -> Iterator[LocalServer]:
    """A server of the test's own, to stop, kill and start again."""
    with LocalServer(tmp_path / "zookeeper") as server:
        _SERVERS["own_zookeeper"] = (server,)
        yield server


@pytest.fixture
def settings(zookeeper: LocalServer) -> ZookeeperSettings:
    """The shared server, and a root that no other test has."""
    return ZookeeperSettings(hosts=zookeeper.hosts, root=f"/t-{secrets.token_hex(6)}", session_timeout=4.0)


@pytest.fixture
def client(settings: ZookeeperSettings) -> Iterator[Client]:
    client = make_client(settings)
    client.start(timeout=15)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def tree(client: Client, settings: ZookeeperSettings) -> Tree:
    """The paths below the test's root, which is there."""
    tree = Tree(settings.root)
    open_tree(client, tree)
    return tree


@pytest.fixture
def http_receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def smtp_receiver() -> Iterator[SmtpReceiver]:
    receiver = SmtpReceiver()
    yield receiver
    receiver.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the servers' logs beside a failure of a test that used them."""
    report = yield
    if report.failed:
        for name in set(getattr(item, "fixturenames", ())) & _SERVERS.keys():
            for server in _SERVERS[name]:
                report.sections.append((f"log of {name} at {server.hosts}", _tail(server.log_path)))
    return report


def _tail(path: Path) -> str:
    if not path.exists():
        return "(empty)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
