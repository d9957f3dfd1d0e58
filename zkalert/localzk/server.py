"""One ZooKeeper server below one folder: its settings, its port, its start and its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from zkalert import clock
from zkalert.localzk.install import Installation, find_zookeeper
from zkalert.localzk.process import ServerProcess
from zkalert.model import ServerUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = "127.0.0.1"
_PORTS = range(20000, 32000)
_PORT_TRIES = 5
_IN_USE = "Address already in use"

_SETTINGS = """\
dataDir={folder}/data
clientPort={port}
clientPortAddress={address}
tickTime={tick_ms}
initLimit=20
syncLimit=10
minSessionTimeout=1000
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
preAllocSize=1024
snapCount=20000
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
"""

# Warnings go to standard error, whichever of its three logging libraries this ZooKeeper came with; but not a page for
# every client that goes without taking its leave.
_TALKATIVE = "org.apache.zookeeper.server.NIOServerCnxn"
_LOGGING = {
    "log4j.properties": f"""\
log4j.rootLogger=WARN, stderr
log4j.logger.{_TALKATIVE}=ERROR
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d{{ISO8601}} %p %c{{1}}: %m%n
""",
    "logback.xml": f"""\
<configuration>
  <appender name="STDERR" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%d{{ISO8601}} %p %logger{{0}}: %m%n</pattern></encoder>
  </appender>
  <logger name="{_TALKATIVE}" level="ERROR"/>
  <root level="WARN"><appender-ref ref="STDERR"/></root>
</configuration>
""",
}
_JAVA_OPTIONS = (
    # A start in a third of a second counts for more here than the last bit of throughput.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    f"-Dorg.slf4j.simpleLogger.log.{_TALKATIVE}=error",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showShortLogName=true",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A server's place in an ensemble: its number, and the `server.N=` lines that all members share."""

    number: int
    lines: tuple[str, ...]


class LocalServer:
    """A server with its data below `data_dir`, standalone unless `member` says otherwise.

    Without `port` a free one is chosen at the first start and kept from then on. `heap` is Java's -Xmx, `tick_ms`
    the server's tick in milliseconds; the shortest session timeout is two ticks, at least a second. `settings` are
    lines of zoo.cfg, in place of ours or beside them.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        heap: str = "128m",
        port: int | None = None,
        tick_ms: int = 500,
        member: Member | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log_path = self.data_dir / "server.log"
        self._heap = heap
        self._tick_ms = tick_ms
        self._member = member
        self._settings = settings or {}
        self._port = port
        self._is_port_fixed = port is not None
        self._process: ServerProcess | None = None
        self._folder_lock: int | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to. Raises RuntimeError before the first start has chosen one."""
        if self._port is None:
            raise RuntimeError("the server has no port before its first start")
        return self._port

    @property
    def hosts(self) -> str:
        """`127.0.0.1:PORT`, as clients want it."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The id of the server's process while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and not self._process.ended.is_set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = 30.0) -> None:
        """Start it, unless it runs, and wait until it serves; at most `timeout` seconds.

        Raises ServerUnavailable with the end of the server's log where it does not come to serve.
        """
        deadline = clock.monotonic() + timeout
        for tries_left in reversed(range(_PORT_TRIES)):
            self.launch()
            if self.wait_until_serving(deadline):
                return
            if self._is_port_fixed or not self.lost_its_port or not tries_left:
                break
            self._port = None
        raise self.failure(timeout)

    def launch(self) -> None:
        """Start it, unless it runs, without waiting until it serves. Raises ServerUnavailable."""
        if self.is_running:
            return
        installation = find_zookeeper(os.environ)
        try:
            self._lock_folder()
            if self._port is None:
                self._port = free_ports(1)[0]
            self._write_settings()
            self._process = ServerProcess(self._command(installation), folder=self.data_dir, log_path=self.log_path)
        except OSError as error:
            self._unlock_folder()
            raise ServerUnavailable(f"the local ZooKeeper in {self.data_dir} cannot be started: {error}") from error

    def wait_until_serving(self, deadline: float) -> bool:
        """Wait until it answers that it serves; False where it ended or the `deadline` (monotonic) passed first."""
        process = self._process
        while process is not None and not process.ended.is_set():
            if self.mode():
                self._is_port_fixed = True
                return True
            left = deadline - clock.monotonic()
            if left <= 0:
                return False
            clock.wait(process.ended, min(0.03, left))
        return False

    def mode(self) -> str:
        """`standalone`, `leader` or `follower`; empty while it does not serve."""
        if not self.is_running:
            return ""
        lines = ask(self.port, "srvr").splitlines()
        return next((line.removeprefix("Mode:").strip() for line in lines if line.startswith("Mode:")), "")

    def stop(self) -> None:
        """Stop it in order, within seconds; its data and port stay for the next start."""
        if self._process is not None:
            self._process.stop()
        self._unlock_folder()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
        self._unlock_folder()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def lost_its_port(self) -> bool:
        """Whether it ended because another program had its port."""
        return not self.is_running and self._process is not None and _IN_USE in self._process.recent_output()

    def failure(self, timeout: float) -> ServerUnavailable:
        """Stop what is left of a start that failed; the error that tells of it."""
        what = f"did not serve within {timeout:g} s" if self.is_running else "ended while starting"
        self.stop()
        output = self._process.recent_output().strip() if self._process is not None else ""
        tail = "\n".join(f"  {line}" for line in output.splitlines()) or "  (it printed nothing)"
        return ServerUnavailable(
            f"the local ZooKeeper {what}; the last lines of its log, {self.log_path}:\n{tail}",
        )

    def _command(self, installation: Installation) -> Sequence[str]:
        return (
            installation.java,
            f"-Xmx{self._heap}",
            *_JAVA_OPTIONS,
            "-cp",
            f"{self.data_dir}:{installation.class_path}",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.data_dir / "zoo.cfg"),
        )

    def _write_settings(self) -> None:
        data = self.data_dir / "data"
        make_folder(data)
        ours = _SETTINGS.format(folder=self.data_dir, port=self.port, address=LOOPBACK, tick_ms=self._tick_ms)
        lines = {key: value for key, _, value in (line.partition("=") for line in ours.splitlines())}
        lines.update(self._settings)
        settings = "".join(f"{key}={value}\n" for key, value in lines.items())
        if self._member is not None:
            settings += "\n".join(self._member.lines) + "\n"
            (data / "myid").write_text(f"{self._member.number}\n", encoding="ascii")
        (self.data_dir / "zoo.cfg").write_text(settings, encoding="utf-8")
        for name, text in _LOGGING.items():
            (self.data_dir / name).write_text(text, encoding="utf-8")

    def _lock_folder(self) -> None:
        """Two servers on the same data would ruin it, and nothing in ZooKeeper prevents that."""
        self._unlock_folder()
        make_folder(self.data_dir)
        descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ServerUnavailable(
                f"another process runs a ZooKeeper in {self.data_dir}; stop it, or choose another --state-dir"
            ) from None
        self._folder_lock = descriptor

    def _unlock_folder(self) -> None:
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None


def running_hosts(data_dir: Path) -> str:
    """`127.0.0.1:PORT` of the server that another process runs in `data_dir`; empty where none does."""
    with contextlib.suppress(OSError):
        with (data_dir / "lock").open("rb") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""  # nobody holds it, and whoever has that port now is a stranger
        port = re.search(r"^clientPort=(\d+)$", (data_dir / "zoo.cfg").read_text(encoding="utf-8"), re.MULTILINE)
        return f"{LOOPBACK}:{port[1]}" if port else ""
    return ""


def make_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter, also where it was there with other rights."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)


def ask(port: int, word: str, timeout: float = 0.5) -> str:
    """The answer of a server on loopback to one of ZooKeeper's four-letter words; empty where it gives none.

    One that is asked while it still reads its data may never answer on that connection: ask again.
    """
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout) as connection:
        connection.sendall(word.encode("ascii"))
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode("utf-8", "replace")
    return ""


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct ports of loopback that nobody listens on.

    They lie below those that systems give to outgoing connections: a client that keeps trying to reach a stopped
    server in that range is given the server's own port sooner or later, connects to itself, and holds it.
    """
    with contextlib.ExitStack() as taken:
        ports: list[int] = []
        while len(ports) < count:
            probe = taken.enter_context(socket.socket())
            port = _PORTS[secrets.randbelow(len(_PORTS))]
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                ports.append(port)
        return tuple(ports)
