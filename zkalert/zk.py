"""The only maker of ZooKeeper clients, and the one place that knows kazoo's words.

Comes in: settings. Goes out: a client that reconnects for as long as it lives, connection states as values, and
transactions that either happened, did not, or say that nobody knows. Who needs kazoo's exceptions takes them here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import EventType, KazooState
from kazoo.retry import KazooRetry
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from zkalert import clock
from zkalert.model import LayoutTooNew, Problem, TlsSettings, ZkalertError, ZookeeperSettings
from zkalert.tls import TlsError, context_of
from zkalert.tree import LAYOUT_VERSION, Tree, decode_layout, encode_layout

__all__ = [
    "MOST_BYTES",
    "MOST_IN_FLIGHT",
    "MOST_OPERATIONS",
    "UNCERTAIN",
    "BadVersionError",
    "Check",
    "Client",
    "ConnectionState",
    "Create",
    "Delete",
    "EventType",
    "KazooException",
    "NoAuthError",
    "NoNodeError",
    "NodeExistsError",
    "NotEmptyError",
    "Operation",
    "Set",
    "TransactionFailed",
    "commit",
    "commit_over",
    "complaint",
    "connect",
    "connected",
    "last_zxid",
    "leave",
    "listen",
    "make_client",
    "open_tree",
    "read_below",
    "session",
]

log = logging.getLogger("zkalert.zookeeper")

Client: TypeAlias = KazooClient

MOST_OPERATIONS = 100
MOST_BYTES = 256 * 1024
"""Of one transaction: past `jute.maxbuffer`, about 1 MB, the server drops the connection."""

MOST_IN_FLIGHT = 256
"""Questions that are asked before the first answer has come."""

SAY_AFTER = 2.0  # seconds of waiting that are nobody's business

UNCERTAIN = (
    ConnectionLoss,
    SessionExpiredError,
    ConnectionClosedError,
    OperationTimeoutError,
    KazooTimeoutError,
)
"""After one of these a write may have been applied, and a read says nothing."""


class ConnectionState(str, Enum):
    """What may be believed of our session.

    CONNECTED: a server answers; what is submitted now is applied or refused. If SUSPENDED came before, watches set
    by hand are gone and must be set again, but ephemerals and locks of the session are still there.
    SUSPENDED: nobody answers. The session may be over already without our knowing; whoever owns something stops
    acting on it, and nothing is submitted (it would be queued, and applied seconds later).
    LOST: the session is over. Ephemerals and locks are gone, others may own what was ours; start anew from what
    stands in the tree.
    """

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    LOST = "lost"


_STATES = {
    KazooState.CONNECTED: ConnectionState.CONNECTED,
    KazooState.SUSPENDED: ConnectionState.SUSPENDED,
    KazooState.LOST: ConnectionState.LOST,
}


class Create(NamedTuple):
    path: str
    data: bytes = b""
    ephemeral: bool = False


class Set(NamedTuple):
    path: str
    data: bytes
    version: int = -1


class Delete(NamedTuple):
    path: str
    version: int = -1


class Check(NamedTuple):
    """The znode exists (and has this version, unless -1), or the whole transaction is refused."""

    path: str
    version: int = -1


Operation: TypeAlias = Create | Set | Delete | Check


class TransactionFailed(Exception):  # noqa: N818 - says what happened, as kazoo's own exceptions do
    """Nothing of a transaction was applied: `operation` was refused with `error`."""

    def __init__(self, operation: Operation, error: Exception) -> None:
        self.operation = operation
        self.error = error
        super().__init__(f"{type(operation).__name__} {operation.path}: {type(error).__name__}")


class _Ear(logging.Handler):
    """Hears what kazoo says of one client, and keeps its last complaint: it alone knows why nobody answers."""

    def __init__(self) -> None:
        super().__init__()
        self.complaint = ""

    def emit(self, record: logging.LogRecord) -> None:
        if any(type(part).__name__ == "Auth" for part in record.args or ()):
            return  # at DEBUG kazoo prints every request, the one with the password too
        if record.levelno >= logging.WARNING:
            said = record.getMessage().partition("\n")[0]
            if not said.startswith("Transition"):
                self.complaint = said.rpartition("socket connection error: ")[2][:200]
        usual = logging.getLogger(record.name)
        if usual.isEnabledFor(record.levelno):
            usual.handle(record)


def _logger() -> logging.Logger:
    """A logger for one client, outside the tree of loggers, with an ear on it."""
    usual = logging.getLogger("kazoo.client")
    logger = logging.Logger(usual.name, min(usual.getEffectiveLevel(), logging.WARNING))  # noqa: LOG001
    logger.addHandler(_Ear())
    return logger


def complaint(client: Client) -> str:
    """Why a client is not connected, as far as anybody knows."""
    if client.use_ssl:
        try:
            context_of(TlsSettings(ca=client.ca, cert=client.certfile, key=client.keyfile))
        except TlsError as error:
            return str(error)
    heard = next((ear.complaint for ear in client.logger.handlers if isinstance(ear, _Ear)), "")
    return heard or "no reply"


def make_client(settings: ZookeeperSettings) -> Client:
    """A client that is not started yet.

    It tries to connect without limit, at most a second apart: with kazoo's own back-off, which grows to an hour, a
    two-minute outage costs every session.
    """
    handler_options: dict[str, Any] = {}
    if settings.tls is not None:
        handler_options = {
            "use_ssl": True,
            "verify_certs": True,
            "check_hostname": True,
            "ca": settings.tls.ca,
            "certfile": settings.tls.cert,
            "keyfile": settings.tls.key,
            "keyfile_password": "",  # or OpenSSL would ask for one at the terminal
        }
    return KazooClient(
        hosts=settings.hosts,
        timeout=settings.session_timeout,
        connection_retry=KazooRetry(max_tries=-1, delay=0.05, backoff=2, max_jitter=0.1, max_delay=1.0),
        command_retry=KazooRetry(max_tries=1),
        auth_data=[("digest", settings.digest)] if settings.digest else None,
        # Without a default ACL kazoo leaves znodes open to the world even when it is authenticated.
        default_acl=CREATOR_ALL_ACL if settings.digest else OPEN_ACL_UNSAFE,
        logger=_logger(),
        **handler_options,
    )


def connect(client: Client, stop: threading.Event) -> bool:
    """Start `client` and wait until it is connected; False where `stop` was set first.

    Says once that it waits, and once that it goes on.
    """
    client.start_async()
    said = False
    waited_from = clock.monotonic()
    while not client.connected:
        if clock.wait(stop, 0.02):
            return False
        if not said and clock.monotonic() - waited_from > SAY_AFTER:
            said = True
            log.warning("ZooKeeper at %s does not answer; waiting for it (%s)", where(client), complaint(client))
    if said:
        log.warning("ZooKeeper at %s answers; going on", where(client))
    return True


@contextlib.contextmanager
def connected(settings: ZookeeperSettings) -> Iterator[Client]:
    """A client for a few questions; what goes wrong with ZooKeeper becomes a ZkalertError of one line.

    Connecting may take as long as a session's timeout.
    """
    client = make_client(settings)
    try:
        if not clock.wait(client.start_async(), settings.session_timeout):
            raise ZkalertError(f"ZooKeeper at {where(client)} does not answer ({complaint(client)})")
        yield client
    except UNCERTAIN as error:
        raise ZkalertError(f"ZooKeeper at {where(client)} went away ({type(error).__name__})") from error
    except KazooException as error:
        raise ZkalertError(f"ZooKeeper at {where(client)} refused to answer ({type(error).__name__})") from error
    finally:
        leave(client, 2.0)


def leave(client: Client, timeout: float) -> None:
    """End the session, so that its ephemerals go at once; `timeout` seconds at most are spent on it.

    kazoo's own stop can wait ten seconds for a server that hangs.
    """

    def end() -> None:
        client.stop()
        client.close()

    leaving = threading.Thread(target=end, name="zkalert-leave", daemon=True)
    leaving.start()
    leaving.join(timeout)


def where(client: Client) -> str:
    """The servers a client knows, for messages."""
    return ",".join(f"{host}:{port}" for host, port in client.hosts)


def listen(client: Client, hear: Callable[[ConnectionState], None]) -> None:
    """Call `hear` with every change of the connection state.

    It runs on the connection's own thread: it may put the state into a queue, and nothing else.
    """

    def listener(state: str) -> None:
        hear(_STATES[state])

    client.add_listener(listener)


def session(client: Client) -> str:
    """The id of the client's session in hexadecimal, as ZooKeeper's own tools print it; empty without one."""
    current = client.client_id
    return f"{current[0] & 0xFFFFFFFFFFFFFFFF:x}" if current and current[0] else ""


def commit(client: Client, operations: Sequence[Operation]) -> list[Any]:
    """Apply all operations or none, in one transaction; a path or a Stat for each.

    Raises TransactionFailed where it was refused, one of UNCERTAIN where nobody knows. Nothing is submitted unless
    the client is connected: kazoo would queue it, and apply it seconds later.
    """
    if not client.connected:
        raise ConnectionLoss
    transaction = client.transaction()
    for operation in operations:
        if isinstance(operation, Create):
            transaction.create(operation.path, operation.data, ephemeral=operation.ephemeral)
        elif isinstance(operation, Set):
            transaction.set_data(operation.path, operation.data, version=operation.version)
        elif isinstance(operation, Delete):
            transaction.delete(operation.path, version=operation.version)
        else:
            transaction.check(operation.path, operation.version)
    results: list[Any] = transaction.commit()
    for operation, result in zip(operations, results, strict=True):
        if isinstance(result, Exception) and not isinstance(result, (RolledBackError, RuntimeInconsistency)):
            if isinstance(result, UNCERTAIN):
                raise result
            raise TransactionFailed(operation, result)
    return results


def commit_over(client: Client, operations: Sequence[Operation]) -> list[Any]:
    """`commit` of changes in folders where nothing of ours has children.

    What somebody put below a znode that is to be deleted is deleted before: it would refuse that for ever.
    """
    for _ in operations:
        try:
            return commit(client, operations)
        except TransactionFailed as failed:
            if not isinstance(failed.error, NotEmptyError):
                raise
            path = failed.operation.path
        log.error("%s has znodes below it that nobody of us made; they are deleted", path)
        for name in client.get_children(path):
            client.delete(f"{path}/{name}", recursive=True)
    return commit(client, operations)


def last_zxid(client: Client) -> int:
    """The number of the newest transaction that this client has seen the ensemble answer with."""
    return int(client.last_zxid)


def read_below(client: Client, folder: str) -> Iterator[tuple[str, bytes | None, Any]]:
    """Path, data and Stat of each child of `folder`, read many at a time; one that vanishes meanwhile is left out.

    One that we may not read has None for its data: it must not keep us from all others.

    Raises NoNodeError where the folder is not there, one of UNCERTAIN where nobody answers.
    """
    names = client.get_children(folder)
    for start in range(0, len(names), MOST_IN_FLIGHT):
        paths = [f"{folder}/{name}" for name in names[start : start + MOST_IN_FLIGHT]]
        for path, reply in [(path, client.get_async(path)) for path in paths]:
            try:
                data, stat = reply.get()
            except NoNodeError:
                continue
            except NoAuthError:
                log.error("%s may not be read: somebody gave it an ACL of his own", path)
                data, stat = None, client.exists(path)
            if stat is not None:
                yield path, data, stat


def open_tree(client: Client, tree: Tree) -> None:
    """Make the root, and the note which layout it has.

    Raises LayoutTooNew for a tree that a newer zkalert wrote.
    """
    client.ensure_path(tree.top)
    try:
        client.create(tree.layout, encode_layout())
    except NodeExistsError:
        version = decode_layout(client.get(tree.layout)[0])
        if isinstance(version, Problem) or version > LAYOUT_VERSION:
            found = version.message if isinstance(version, Problem) else f"version {version}"
            raise LayoutTooNew(
                f"the tree at {tree.top} has a layout this zkalert does not know ({found}; "
                f"known: {LAYOUT_VERSION}); upgrade zkalert, or choose another root"
            ) from None
