"""The sampler against a real ZooKeeper: what it writes, and what it does when the tree or the connection changes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import expire_session, wait_for
from tests.readings import families_here
from zkalert import agent, zk
from zkalert.config import Config
from zkalert.journal import HistoryError, HistoryReader
from zkalert.localzk import LocalServer
from zkalert.metrics import SAMPLED
from zkalert.model import Alive, HostInfo, HostNameTaken, LayoutTooNew, Sample, UsageError, ZookeeperSettings
from zkalert.sampler import Sampler
from zkalert.sampler.publish import Publisher, _batches
from zkalert.tree import MAX_PAYLOAD, Tree, decode_alive, decode_host, decode_sample, encode_alive
from zkalert.zk import Client, Create, Set, make_client

HOST = "web1"


class Bench:
    """A sampler whose time the test turns: `tick` makes every family due."""

    def __init__(self, client: Client, tree: Tree, *, machine: str = "here", host: str = HOST) -> None:
        self.kept: list[Sequence[Sample]] = []
        self.now = time.monotonic()
        self.sampler = Sampler(
            client=client,
            tree=tree,
            host=host,
            labels={"role": "web"},
            machine=machine,
            intervals=dict.fromkeys(SAMPLED, 5.0),
            keep=self.kept.append,
        )
        self.sampler.step(self.now)

    def tick(self) -> None:
        self.now += 5
        self.sampler.step(self.now)


@pytest.fixture
def bench(client: Client, tree: Tree) -> Bench:
    return Bench(client, tree)


@pytest.fixture
def other(settings: ZookeeperSettings) -> Iterator[Client]:
    """A second session."""
    client = make_client(settings)
    client.start(timeout=15)
    yield client
    client.stop()
    client.close()


def stats(client: Client, tree: Tree) -> dict[str, Any]:
    return {child: client.exists(f"{tree.metrics(HOST)}/{child}") for child in client.get_children(tree.metrics(HOST))}


def alive(client: Client, tree: Tree) -> Alive:
    found = decode_alive(client.get(tree.alive(HOST))[0])
    assert isinstance(found, Alive)
    return found


# One tick -----------------------------------------------------------------------------------------------------------


def test_all_families_of_a_tick_are_one_transaction(bench: Bench, client: Client, tree: Tree) -> None:
    transactions = []
    for _ in range(3):
        bench.tick()
        found = stats(client, tree)
        assert set(found) == families_here()
        transactions.append({stat.mzxid for stat in found.values()})
    assert [len(zxids) for zxids in transactions] == [1, 1, 1]
    assert len(set.union(*transactions)) == 3


def test_each_znode_holds_a_sample_with_its_interval(bench: Bench, client: Client, tree: Tree) -> None:
    bench.tick()
    kept = {sample.family: sample for sample in bench.kept[-1]}
    for family in families_here():
        sample = decode_sample(family, client.get(tree.family(HOST, family))[0])
        assert isinstance(sample, Sample), sample
        assert (sample.interval, sample.max_age) == (5.0, 15.0)
        assert sample == replace(kept[family], at=round(kept[family].at, 3))


def test_the_host_says_who_and_what_it_is(bench: Bench, client: Client, tree: Tree) -> None:
    data, stat = client.get(tree.host(HOST))
    info = decode_host(data)
    assert isinstance(info, HostInfo)
    assert (info.name, info.labels) == (HOST, {"role": "web"})
    assert info.platform.startswith(os.uname().sysname)
    assert stat.ephemeralOwner == 0
    assert client.exists(tree.alive(HOST)).ephemeralOwner == client.client_id[0]
    assert alive(client, tree).pid == os.getpid()


def test_no_transaction_passes_the_bounds() -> None:
    many = [Set(f"/{n}", b"") for n in range(250)]
    large = [Create(f"/{n}", b"x" * MAX_PAYLOAD) for n in range(9)]
    cases: list[list[Create | Set]] = [list(many), list(large)]
    for operations in cases:
        batches = list(_batches(operations))
        assert list(itertools.chain(*batches)) == operations
        assert all(len(batch) < zk.MOST_OPERATIONS for batch in batches), "and one more checks the name"
        assert all(sum(len(operation.data) for operation in batch) <= zk.MOST_BYTES for batch in batches)
    assert len(list(_batches(many[:99]))) == 1


# The tree changes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["family", "metrics", "alive", "host"])
def test_what_somebody_deleted_is_made_again(missing: str, bench: Bench, client: Client, tree: Tree) -> None:
    bench.tick()
    path = {
        "family": tree.family(HOST, "cpu_usage"),
        "metrics": tree.metrics(HOST),
        "alive": tree.alive(HOST),
        "host": tree.host(HOST),
    }[missing]
    client.delete(path, recursive=True)
    bench.tick()
    assert len({stat.mzxid for stat in stats(client, tree).values()}) == 1
    assert set(stats(client, tree)) == families_here()
    assert isinstance(decode_host(client.get(tree.host(HOST))[0]), HostInfo)
    assert alive(client, tree).pid == os.getpid()


def test_a_sampler_that_starts_again_finds_its_znodes(bench: Bench, client: Client, tree: Tree) -> None:
    bench.tick()
    made = {name: stat.czxid for name, stat in stats(client, tree).items()}
    again = Bench(client, tree)
    again.tick()
    assert {name: stat.czxid for name, stat in stats(client, tree).items()} == made
    assert {stat.version for stat in stats(client, tree).values()} == {1}


# The name -----------------------------------------------------------------------------------------------------------


def leave_behind(client: Client, tree: Tree, found: Alive, host: str = HOST) -> None:
    client.ensure_path(tree.host(host))
    client.create(tree.alive(host), encode_alive(found), ephemeral=True)


def test_what_the_configuration_had_once_is_withdrawn_and_what_others_push_stays(
    bench: Bench, client: Client, tree: Tree
) -> None:
    for family in ("command", "orders"):
        client.create(tree.family(HOST, family), b"old")
    again = Bench(client, tree)
    again.tick()
    assert client.exists(tree.family(HOST, "command")) is None
    assert client.get(tree.family(HOST, "orders"))[0] == b"old"


def test_a_leftover_of_this_machine_is_replaced_at_once(client: Client, other: Client, tree: Tree) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    leave_behind(other, tree, Alive(machine="here", pid=ended.pid, started_at=time.time() - 60))
    seen: list[str] = []
    other.exists(tree.alive(HOST), watch=lambda event: seen.append(event.type))
    Bench(client, tree)
    assert alive(client, tree).pid == os.getpid()
    assert client.exists(tree.alive(HOST)).ephemeralOwner == client.client_id[0]
    wait_for(lambda: seen == ["DELETED"], "watchers to hear of the change")


@pytest.mark.parametrize("machine", ["here", "there"])
def test_a_name_that_another_one_has_is_refused_with_both_named(
    machine: str, client: Client, other: Client, tree: Tree
) -> None:
    parent = psutil.Process(os.getppid())
    leave_behind(other, tree, Alive(machine=machine, pid=parent.pid, started_at=parent.create_time()))
    where = "this machine" if machine == "here" else "machine there"
    with pytest.raises(HostNameTaken) as caught:
        Bench(client, tree)
    message = str(caught.value)
    assert f'publishes as host "web1": pid {parent.pid} on {where}, since 20' in message
    assert f"this is pid {os.getpid()} on machine here" in message
    assert "--host NAME" in message
    assert alive(client, tree).pid == parent.pid
    assert client.get_children(tree.host(HOST)) == ["alive"]


def test_a_name_that_is_marked_illegibly_is_not_taken_over(client: Client, other: Client, tree: Tree) -> None:
    other.ensure_path(tree.host(HOST))
    other.create(tree.alive(HOST), b"?", ephemeral=True)
    with pytest.raises(HostNameTaken, match="its mark cannot be read"):
        Bench(client, tree)


def test_a_tree_of_a_newer_layout_is_refused(client: Client, tree: Tree) -> None:
    client.set(tree.layout, b'{"version": 99}')
    with pytest.raises(LayoutTooNew, match="version 99"):
        Bench(client, tree)


# The connection changes ---------------------------------------------------------------------------------------------


def test_the_ephemeral_is_made_again_after_the_session_expired(bench: Bench, client: Client, tree: Tree) -> None:
    bench.tick()
    before = client.client_id[0]
    expire_session(client)
    assert client.exists(tree.alive(HOST)) is None
    bench.tick()
    assert client.client_id[0] != before
    assert client.exists(tree.alive(HOST)).ephemeralOwner == client.client_id[0]
    assert {stat.version for stat in stats(client, tree).values()} == {1}


def test_a_name_lost_with_the_session_is_logged_once_and_taken_back_when_it_is_free(
    bench: Bench, client: Client, other: Client, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    bench.tick()
    expire_session(client)
    leave_behind(other, tree, Alive(machine="there", pid=1, started_at=0.0))
    for _ in range(3):
        bench.tick()
    assert len([record for record in caplog.records if "has stopped" in record.getMessage()]) == 1
    assert len(bench.kept) == 4, "the history goes on"
    assert {stat.version for stat in stats(client, tree).values()} == {0}
    other.delete(tree.alive(HOST))
    bench.tick()
    assert alive(client, tree).pid == os.getpid()
    assert {stat.version for stat in stats(client, tree).values()} == {1}
    assert "publishing goes on" in caplog.text


def test_who_lost_the_name_writes_nothing_more(client: Client, other: Client, tree: Tree) -> None:
    mine = Alive(machine="here", pid=os.getpid(), started_at=time.time())
    publisher = Publisher(client, tree, HostInfo(name=HOST), mine)
    publisher.claim()
    publisher.publish({"uptime": b"1"})
    client.delete(tree.alive(HOST))
    leave_behind(other, tree, Alive(machine="there", pid=1, started_at=0.0))
    with pytest.raises(HostNameTaken):
        publisher.publish({"uptime": b"2"})
    assert client.get(tree.family(HOST, "uptime"))[0] == b"1"


@contextmanager
def running(config: Config) -> Iterator[threading.Event]:
    """The agent in a thread, as a command runs it; ends within five seconds, also on a machine under load."""
    stop = threading.Event()
    thread = threading.Thread(target=agent.run, args=(config, stop), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()


def kept(config: Config) -> int:
    """How many ticks are in the history, which may not have begun yet."""
    try:
        reader = HistoryReader(config.state_dir / "history.db")
    except HistoryError:
        return 0
    try:
        return len(list(reader.rows(families=["memory_usage"])))
    finally:
        reader.close()


def test_while_the_server_is_away_samples_go_to_the_history_and_then_to_the_server_again(
    own_zookeeper: LocalServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(
        host=HOST,
        state_dir=tmp_path / "state",
        zookeeper=ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=2.0),
        intervals=dict.fromkeys(SAMPLED, 0.5),
    )
    own_zookeeper.stop()
    with running(config):
        wait_for(lambda: "does not answer; waiting" in caplog.text, "word that the server is absent")
        own_zookeeper.start()
        watcher = make_client(ZookeeperSettings(hosts=own_zookeeper.hosts))
        watcher.start(timeout=15)
        tree = Tree()

        def published() -> int:
            stat = watcher.exists(tree.family(HOST, "memory_usage")) if watcher.connected else None
            return int(stat.version) if stat else -1

        try:
            wait_for(lambda: published() >= 1, "samples in the tree")
            own_zookeeper.stop()
            wait_for(lambda: "samples are kept in the history alone" in caplog.text, "word that the server is gone")
            ticks = kept(config)
            wait_for(lambda: kept(config) >= ticks + 3, "samples in the history alone")
            own_zookeeper.start()
            wait_for(lambda: watcher.connected, "the test's own connection", timeout=20)
            before = published()
            wait_for(lambda: published() >= before + 2, "samples in the tree again", timeout=20)
            wait_for(lambda: watcher.exists(tree.alive(HOST)), "the ephemeral", timeout=20)
        finally:
            watcher.stop()
            watcher.close()
    assert caplog.text.count("samples are kept in the history alone") == 1


def test_at_its_end_the_ephemeral_goes_at_once(
    settings: ZookeeperSettings, client: Client, tree: Tree, tmp_path: Path
) -> None:
    config = Config(host=HOST, state_dir=tmp_path, zookeeper=settings)
    with running(config):
        wait_for(lambda: client.exists(tree.family(HOST, "uptime")), "the first samples")
        assert client.exists(tree.alive(HOST))
    assert client.exists(tree.alive(HOST)) is None
    assert client.exists(tree.family(HOST, "uptime"))


def test_a_server_that_has_gone_silent_does_not_hold_up_the_end(own_zookeeper: LocalServer, tmp_path: Path) -> None:
    config = Config(
        host=HOST,
        state_dir=tmp_path / "state",
        zookeeper=ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=2.0),
        intervals=dict.fromkeys(SAMPLED, 0.5),
    )
    pid = own_zookeeper.pid
    assert pid is not None
    try:
        with running(config):
            wait_for(lambda: kept(config) > 1, "the first ticks")
            os.kill(pid, signal.SIGSTOP)
            ticks = kept(config)
            wait_for(lambda: kept(config) > ticks, "a tick that nobody answers")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_without_any_zookeeper_the_error_names_the_ways_to_configure_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--zookeeper HOST:PORT.*ZKALERT_ZOOKEEPER.*zookeeper\.hosts"):
        agent.run(Config(host=HOST, state_dir=tmp_path), threading.Event())


# Real processes -----------------------------------------------------------------------------------------------------


@contextmanager
def start(settings: ZookeeperSettings, state: Path) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end of the block if it still runs."""
    command = [sys.executable, "-m", "zkalert", "sampler", "--host", HOST, "--log-format", "json"]
    command += ["--zookeeper", settings.hosts, "--root", settings.root, "--state-dir", str(state)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=state.parent) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_second_sampler_with_the_same_name_ends_with_1_and_says_why(
    settings: ZookeeperSettings, client: Client, tree: Tree, tmp_path: Path
) -> None:
    for name in ("one", "two"):  # a machine without an id of its own, as containers are, is known by this one
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "machine-id").write_text("ab" * 16)
    with start(settings, tmp_path / "one") as first:
        wait_for(lambda: client.exists(tree.alive(HOST)), "the first sampler")
        with start(settings, tmp_path / "two") as second:
            _, said = second.communicate(timeout=20)
        assert second.returncode == 1
        assert f'another sampler publishes as host "web1": pid {first.pid} on this machine' in said
        assert "Traceback" not in said
        assert alive(client, tree).pid == first.pid
        # Killed, it cannot clean up: its ephemeral is still there when the next one starts.
        first.kill()
        with start(settings, tmp_path / "one") as third:
            wait_for(lambda: alive(client, tree).pid == third.pid, "the leftover to be replaced")
            third.terminate()
            _, said = third.communicate(timeout=20)
        assert third.returncode == 0
        assert [json.loads(line)["level"] for line in said.splitlines()] == ["info"]
        assert client.exists(tree.alive(HOST)) is None
