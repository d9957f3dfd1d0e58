"""The servers of an ensemble are asked how they are: real ones, and what else may listen at their address."""

from __future__ import annotations

import logging
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers import HttpReceiver, wait_for
from tests.receivers import certificate, server_tls
from zkalert import metrics
from zkalert.localzk import LocalEnsemble, LocalServer
from zkalert.localzk.server import free_ports
from zkalert.model import EnsembleSettings, Members, Sample, TlsSettings, Value, ZookeeperSettings
from zkalert.servers import Servers, ServersSeen
from zkalert.zk import Client

NO_ADMIN = Members(admin_port=None)
REFUSAL = b"%b is not executed because it is not in the whitelist.\n"


def settings(hosts: str, members: Members = NO_ADMIN, tls: TlsSettings | None = None) -> EnsembleSettings:
    return EnsembleSettings(zookeeper=ZookeeperSettings(hosts=hosts, tls=tls), members=members)


def asker(hosts: str, members: Members = NO_ADMIN, tls: TlsSettings | None = None) -> Servers:
    return Servers("kafka", settings(hosts, members, tls), lambda _: None, lambda: True)


def ask(hosts: str, members: Members = NO_ADMIN, tls: TlsSettings | None = None) -> Sample:
    return asker(hosts, members, tls).step().sample


def one(sample: Sample) -> dict[str, Value]:
    (values,) = sample.instances.values()
    return dict(values)


# Real servers -------------------------------------------------------------------------------------------------------


def test_an_ensemble_that_is_well(ensemble: LocalEnsemble) -> None:
    sample = ask(ensemble.hosts)
    assert sample.errors == ()
    assert (sample.family, sample.interval, sample.max_age) == ("zookeeper", 5.0, 15.0)
    expected = {"servers": 3, "serving": 3, "quorum": 100.0, "leaders": 1, "has_leader": 1, "versions": 1}
    assert {name: sample.values[name] for name in expected} == expected
    wait_for(lambda: ask(ensemble.hosts).values["synced"] == 2, "both followers to be in sync")
    assert set(sample.instances) == set(ensemble.hosts.split(","))
    roles = sorted(str(values["role"]) for values in sample.instances.values())
    assert roles == ["follower", "follower", "leader"]


def test_each_field_of_a_server_is_read(zookeeper: LocalServer, client: Client) -> None:
    """All but those of a leader and of TLS; the client has a session, a watch and znodes."""
    client.create("/servers-test", ephemeral=True)
    client.exists("/servers-test", watch=lambda _: None)
    sample = ask(zookeeper.hosts)
    values = one(sample)
    of_whole = {"quorum", "servers", "leaders", "has_leader", "synced", "versions"}
    of_others = {"followers", "synced_followers", "pending_syncs", "certificate_expires"}
    assert set(values) | set(sample.values) | of_others == set(metrics.FAMILIES["zookeeper"].fields)
    assert set(sample.values) >= of_whole
    assert values["role"] == "standalone"
    for name in ("uptime", "sent", "received", "connections", "znodes", "watches", "ephemerals", "data_size"):
        assert isinstance(value := values[name], (int, float)), name
        assert value > 0, name
    client.delete("/servers-test")


def test_what_one_version_of_zookeeper_says_is_in_the_table(ensemble: LocalEnsemble) -> None:
    sample = ask(ensemble.hosts)
    told = {name for values in (sample.values, *sample.instances.values()) for name in values}
    assert told <= set(metrics.FAMILIES["zookeeper"].fields)
    assert {"synced_followers", "pending_syncs", "followers"} <= told


def test_a_killed_member_costs_a_third_of_the_quorum_until_it_is_back(ensemble: LocalEnsemble) -> None:
    servers = asker(ensemble.hosts)
    leader = ensemble.leader()
    assert leader is not None
    killed = ensemble.servers[leader].hosts
    try:
        ensemble.kill(leader)

        def healed() -> Sample | None:
            sample = servers.step().sample
            return sample if sample.values.get("leaders") == 1 and sample.values["serving"] == 2 else None

        sample = wait_for(healed, "another leader", 20)
        assert sample is not None
        assert sample.values["quorum"] == pytest.approx(66.667, abs=0.001)
        assert sample.values["has_leader"] == 1
        assert (sample.instances[killed]["ok"], sample.instances[killed]["serving"]) == (0, 0)
        assert sample.errors == (f"{killed}: nothing listens there",)
    finally:
        ensemble.start(leader)
    wait_for(lambda: servers.step().sample.values.get("quorum") == 100.0, "the quorum to be whole again", 20)


def test_the_last_member_is_there_and_serves_nobody(ensemble: LocalEnsemble) -> None:
    servers = asker(ensemble.hosts)
    try:
        ensemble.kill(0)
        ensemble.kill(1)
        wait_for(lambda: servers.step().sample.values["quorum"] == 0.0, "the last one to notice", 20)
        sample = servers.step().sample
        assert (sample.values["has_leader"], sample.values["leaders"], sample.values["servers"]) == (0, 0, 3)
        last = sample.instances[ensemble.servers[2].hosts]
        assert (last["ok"], last["serving"], last["refused"]) == (1, 0, 0)
        assert "role" not in last
    finally:
        ensemble.start(0)
        ensemble.start(1)
    wait_for(lambda: servers.step().sample.values.get("quorum") == 100.0, "the quorum to be whole again", 20)


def test_a_single_member_that_is_named_speaks_for_all_while_it_leads(ensemble: LocalEnsemble) -> None:
    leader = ensemble.leader()
    assert leader is not None
    wait_for(lambda: ask(ensemble.servers[leader].hosts).values.get("quorum") == 100.0, "the leader to know all", 10)
    follower = ask(ensemble.servers[ensemble.followers()[0]].hosts)
    assert "quorum" not in follower.values
    assert "name all under servers" in follower.errors[0]


def test_a_whitelist_without_mntr_leaves_what_srvr_tells_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As ZooKeeper comes since 3.5.3."""
    with LocalServer(tmp_path, settings={"4lw.commands.whitelist": "srvr"}) as server:
        servers = asker(server.hosts)
        with caplog.at_level(logging.WARNING, "zkalert.servers"):
            sample = servers.step().sample
            assert servers.step().sample.errors == sample.errors
        values = one(sample)
        assert (sample.values["quorum"], values["role"], values["refused"]) == (100.0, "standalone", 1)
        assert "watches" not in values
        (error,) = sample.errors
        assert error.startswith(f"{server.hosts}: refuses mntr: put 4lw.commands.whitelist=mntr,ruok,isro,srvr into")
        assert len(caplog.messages) == 1, "said once"
        server.kill()
        sample = servers.step().sample
        assert (one(sample)["ok"], one(sample)["refused"], sample.values["quorum"]) == (0, 0, 0.0)
        server.start()
        assert servers.step().sample.values["quorum"] == 100.0


@pytest.fixture(scope="module")
def with_admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalServer, int]]:
    """A server with an AdminServer that refuses nearly all words, and the port of that."""
    (port,) = free_ports(1)
    lines = {
        "admin.enableServer": "true",
        "admin.serverPort": str(port),
        "admin.serverAddress": "127.0.0.1",
        "4lw.commands.whitelist": "srvr",
    }
    with LocalServer(tmp_path_factory.mktemp("admin"), settings=lines) as server:
        yield server, port


def test_the_admin_server_says_what_words_may_not(with_admin: tuple[LocalServer, int]) -> None:
    server, port = with_admin
    sample = ask(server.hosts, Members(admin_port=port))
    values = one(sample)
    assert sample.errors == ()
    assert (values["refused"], values["role"]) == (1, "standalone")
    assert {"watches", "open_fds_percent", "fsyncs", "lag"} <= set(values)


def test_an_admin_server_that_is_configured_is_asked_alone(with_admin: tuple[LocalServer, int]) -> None:
    server, port = with_admin
    sample = ask(server.hosts, Members(admin_port=port, prefers_admin=True))
    values = one(sample)
    assert sample.errors == ()
    assert (values["refused"], values["serving"], values["zxid_percent"]) == (0, 1, 0.0)
    assert {"watches", "open_fds_percent", "fsyncs", "connections"} <= set(values)


def test_words_are_asked_where_the_configured_admin_server_is_not(zookeeper: LocalServer) -> None:
    (port,) = free_ports(1)
    sample = ask(zookeeper.hosts, Members(admin_port=port, prefers_admin=True))
    assert {"watches", "lag"} <= set(one(sample))
    assert sample.errors == (f"{zookeeper.hosts}: its AdminServer at port {port}: nothing listens there",)


def test_an_admin_port_where_something_else_answers_by_http(
    zookeeper: LocalServer, http_receiver: HttpReceiver
) -> None:
    sample = ask(zookeeper.hosts, Members(admin_port=http_receiver.port, prefers_admin=True))
    assert (one(sample)["serving"], sample.values["quorum"]) == (1, 100.0)
    assert "what listens there is none" in sample.errors[0]


# TLS ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The TLS port of a server, and the certificate that it shows."""
    folder = tmp_path_factory.mktemp("tls")
    file = certificate(folder)
    (port,) = free_ports(1)
    lines = {
        "secureClientPort": str(port),
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.location": str(file),
        "ssl.keyStore.type": "PEM",
        "ssl.trustStore.location": str(file),
        "ssl.trustStore.type": "PEM",
        "ssl.clientAuth": "none",
    }
    with LocalServer(folder / "zookeeper", settings=lines) as server:
        wait_for(server.mode, "the server to serve")
        wait_for(lambda: is_open(port), "the port for TLS, which it opens after the other one")
        yield port, file


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_a_server_is_asked_over_tls_and_its_certificate_expires(with_tls: tuple[int, Path]) -> None:
    port, file = with_tls
    sample = ask(f"localhost:{port}", tls=TlsSettings(ca=str(file)))
    assert sample.errors == ()
    assert one(sample)["role"] == "standalone"
    left = sample.values["certificate_expires"]
    assert isinstance(left, float)
    assert 2 * 86400 - 600 < left < 2 * 86400, "it was made for two days"


def test_an_admin_server_says_all_but_when_the_certificate_expires(
    with_tls: tuple[int, Path], with_admin: tuple[LocalServer, int]
) -> None:
    (port, file), (_, admin_port) = with_tls, with_admin
    sample = ask(f"localhost:{port}", Members(admin_port=admin_port, prefers_admin=True), TlsSettings(ca=str(file)))
    assert sample.errors == ()
    assert 0 < float(sample.values["certificate_expires"]) < 2 * 86400


def test_a_certificate_of_somebody_else_is_not_accepted(with_tls: tuple[int, Path], tmp_path: Path) -> None:
    port, _ = with_tls
    sample = ask(f"localhost:{port}", tls=TlsSettings(ca=str(certificate(tmp_path))))
    assert (one(sample)["ok"], sample.values["quorum"]) == (0, 0.0)
    assert "its certificate is not accepted: self-signed certificate" in sample.errors[0].replace("self ", "self-")


def test_files_that_are_not_there_are_told(with_tls: tuple[int, Path], tmp_path: Path) -> None:
    port, none = with_tls[0], tmp_path / "none.pem"
    sample = ask(f"localhost:{port}", tls=TlsSettings(ca=str(none)))
    assert sample.errors == (f"localhost:{port}: {none} under tls cannot be read: No such file or directory",)


def test_a_certificate_that_expired_is_told_by_how_long(tmp_path: Path) -> None:
    file = expired(tmp_path)

    def shake(connection: socket.socket) -> None:
        with server_tls(file).wrap_socket(connection, server_side=True) as secure:
            secure.recv(4)

    with listener(shake) as port:
        sample = ask(f"localhost:{port}", tls=TlsSettings(ca=str(file)))
    left = sample.values["certificate_expires"]
    assert isinstance(left, float)
    assert -6 * 86400 < left < -4 * 86400, "it was made ten days ago, for five"
    assert one(sample)["ok"] == 0
    assert sample.errors == (f"localhost:{port}: its certificate is not accepted: certificate has expired",)


def expired(folder: Path) -> Path:
    """A certificate of the past with its key, made by Java's tool: not every openssl makes such."""
    if shutil.which("keytool") is None or shutil.which("openssl") is None:
        pytest.skip("keytool or openssl is not installed: there is no certificate to test with")
    store, file = folder / "expired.p12", folder / "expired.pem"
    made = "-genkeypair -alias a -keyalg RSA -dname CN=localhost -ext san=dns:localhost -startdate -10d -validity 5"
    secret = "-storetype PKCS12 -storepass secret"
    subprocess.run(["keytool", *made.split(), *secret.split(), "-keystore", store], check=True, capture_output=True)
    opened = "pkcs12 -nodes -passin pass:secret"
    subprocess.run(["openssl", *opened.split(), "-in", store, "-out", file], check=True, capture_output=True)
    return file


# What else may listen there -----------------------------------------------------------------------------------------


@contextmanager
def listener(act: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a listener that does `act` with each connection, in a thread of its own, and then closes it."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=attend, args=(connection,), daemon=True).start()

    def attend(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            act(connection)

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def says(text: bytes) -> Callable[[socket.socket], object]:
    def act(connection: socket.socket) -> None:
        connection.recv(4)
        connection.sendall(text)

    return act


def flood(connection: socket.socket) -> None:
    connection.sendall(b"zk_version\t3.8.0\n")
    while True:
        connection.sendall(b"zk_more\t1\n" * 1000)


def drip(connection: socket.socket) -> None:
    gone = threading.Event()
    while not gone.wait(0.1):
        connection.sendall(b"z")


def hang(connection: socket.socket) -> None:
    while connection.recv(100):
        pass


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff" * 100, b"\x1b[31mred\n"]
)
def test_what_is_no_zookeeper_is_called_so(text: bytes) -> None:
    with listener(says(text)) as port:
        sample = ask(f"127.0.0.1:{port}")
    assert (one(sample)["ok"], sample.values["quorum"]) == (0, 0.0)
    assert sample.errors == (f"127.0.0.1:{port}: what listens there is no ZooKeeper",)


def test_a_server_that_refuses_all_words_is_not_called_dead() -> None:
    with listener(lambda connection: connection.sendall(REFUSAL % connection.recv(4))) as port:
        sample = ask(f"127.0.0.1:{port}")
    assert one(sample).keys() == {"ok", "refused", "seconds"}
    assert (one(sample)["ok"], one(sample)["refused"]) == (1, 1)
    assert set(sample.values) == {"servers"}
    assert "refuses isro and mntr and srvr" in sample.errors[0]


def test_more_than_anybody_has_to_say_is_cut() -> None:
    with listener(flood) as port:
        assert one(ask(f"127.0.0.1:{port}"))["version"] == "3.8.0"


@pytest.mark.parametrize("act", [hang, drip])
def test_one_that_never_ends_its_answer_holds_up_nobody(
    act: Callable[[socket.socket], object], zookeeper: LocalServer
) -> None:
    began = time.monotonic()
    with listener(act) as port:
        sample = ask(f"127.0.0.1:{port},{zookeeper.hosts}")
    assert time.monotonic() - began < 3.5
    assert sample.instances[zookeeper.hosts]["serving"] == 1
    assert sample.errors == (f"127.0.0.1:{port}: did not answer within 2 s",)


def test_a_name_that_nobody_knows_is_told() -> None:
    sample = ask("no-such-host.invalid:2181")
    assert sample.errors in {
        (f"no-such-host.invalid:2181: {reason}",)
        for reason in ("its name cannot be resolved", "did not answer within 2 s")
    }


def test_seventy_servers_are_too_many() -> None:
    (port,) = free_ports(1)
    sample = ask(",".join(f"127.0.0.{number}:{port}" for number in range(1, 71)))
    assert len(sample.instances) == 64
    assert sample.errors[0] == "only the first 64 servers are asked, and 6 are not"
    assert len(sample.errors) == 16


# The poller ---------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_until_somebody_wants_to_know(zookeeper: LocalServer) -> None:
    wanted, seen = threading.Event(), queue.Queue[ServersSeen]()
    asked = threading.Event()

    def is_wanted() -> bool:
        asked.set()
        return wanted.is_set()

    servers = Servers("kafka", settings(zookeeper.hosts), seen.put, is_wanted)
    servers.start()
    assert asked.wait(5)
    assert seen.empty()
    wanted.set()
    first = seen.get(timeout=5)
    assert (first.ensemble, first.sample.values["quorum"]) == ("kafka", 100.0)
    assert time.monotonic() - 1 < first.mono <= time.monotonic()
    servers.stop()


def test_a_server_that_is_back_is_said_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    servers = asker(f"127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING, "zkalert.servers"):
        servers.step()
        servers.step()
        with LocalServer(tmp_path, port=port):
            servers.step()
            servers.step()
    assert caplog.messages == [
        f"ensemble kafka: 127.0.0.1:{port}: nothing listens there",
        f"ensemble kafka: 127.0.0.1:{port} answers again",
    ]
