"""What tests share: bounded waits, broken connections, and receivers of real mail and real requests."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from kazoo.protocol.connection import _CONNECTION_DROP
from kazoo.protocol.serialization import Connect
from kazoo.protocol.states import KazooState

from zkalert.localzk.server import free_ports
from zkalert.zk import Client

T = TypeVar("T")
_PARSER = BytesParser(EmailMessage, policy=default)


def wait_for(predicate: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """Ask `predicate` every 10 ms until it gives something true, and hand that back; fail naming `what`."""
    deadline = time.monotonic() + timeout
    while not (result := predicate()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s in vain for {what}; last seen: {result!r}")
        time.sleep(0.01)
    return result


# Processes -----------------------------------------------------------------------------------------------------------


def is_gone(pid: int) -> bool:
    """Whether no such process runs; one that nobody collected yet does not run."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_in(path: Path) -> int:
    """The number that somebody writes to this file."""
    return int(wait_for(lambda: path.exists() and path.read_text().strip(), f"{path}"))


# ZooKeeper ----------------------------------------------------------------------------------------------------------


def lose_connection(client: Client) -> None:
    """Drop the client's socket; return once it was suspended and is connected again."""
    _break(client, KazooState.SUSPENDED, lambda: client._call(_CONNECTION_DROP, None))


def expire_session(client: Client) -> None:
    """End the client's session in the server; return once the client lost it and has another."""
    _break(client, KazooState.LOST, lambda: end_session(client))


def _break(client: Client, expected: str, act: Callable[[], object]) -> None:
    lost, safe = threading.Event(), threading.Event()

    def listen(state: str) -> bool:
        if state == expected:
            lost.set()
        elif lost.is_set() and state == KazooState.CONNECTED:
            safe.set()
        return safe.is_set()  # true takes the listener away

    client.add_listener(listen)
    act()
    assert lost.wait(10), f"the client was not told that it is {expected}"
    assert safe.wait(20), "the client did not connect again"


def end_session(client: Client, server: str = "") -> None:
    """Take over the client's session by its id and password, and close it: what its own `stop` would send.

    `server` (`host:port`) is asked where the client itself cannot reach one.
    """
    session_id, password = client._session_id, client._session_passwd  # `client_id` is None while it is cut off
    hello = bytes(Connect(0, 0, 10_000, session_id, password, False).serialize())
    goodbye = struct.pack("!ii", 1, -11)
    host, _, port = server.rpartition(":")
    with socket.create_connection((host, int(port)) if server else client.hosts[0], 5) as connection:
        connection.sendall(b"".join(struct.pack("!i", len(part)) + part for part in (hello, goodbye)))
        while connection.recv(4096):
            pass


class Relay:
    """A TCP relay on loopback in front of a server, that a test can cut and mend: the cable between the two."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.hosts = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop what is connected, and let nobody in."""
        self._is_cut = True
        self._drop()

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            if self._is_cut:
                near.close()
                far.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


# Requests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came; `json` is None where the body is not JSON, `at` is monotonic time."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    json: Any
    at: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How to answer: after `delay` seconds, and with `hang` not before `release` is called."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    hang: bool = False


class HttpReceiver:
    """An HTTP server on loopback that keeps what it is sent. Unscripted paths are answered 200 `ok`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._script: dict[str, list[Answer]] = {}
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="http-receiver")
        self._thread.start()

    def url(self, path: str = "/", scheme: str = "http") -> str:
        """The address of `path`; `scheme` may be one of apprise's, such as `json`."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def answer(self, path: str, *answers: Answer) -> None:
        """Answer requests to `path` so: one after the other, and the last from then on."""
        with self._changed:
            self._script[path] = list(answers)

    def release(self) -> None:
        """Let the requests that hang have their answers."""
        self._released.set()

    def at(self, path: str) -> list[Request]:
        """What came to `path` so far."""
        with self._changed:
            return [request for request in self.requests if request.path == path]

    def wait(self, count: int, timeout: float = 10.0, path: str | None = None) -> list[Request]:
        """Wait for `count` requests (to `path`, if given), and hand back what came; fail where fewer do."""

        def seen() -> list[Request]:
            return [request for request in self.requests if path in (None, request.path)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(seen()) >= count, timeout):
                pytest.fail(f"{len(seen())} of {count} requests came to {path or 'the receiver'} in {timeout:g} s")
            return seen()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def respond(self, request: Request) -> Answer:
        """Keep a request; the answer to it, once it is due."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            script = self._script.get(request.path, [Answer()])
            answer = script.pop(0) if len(script) > 1 else script[0]
        if answer.hang:
            self._released.wait()
        elif answer.delay:
            self._released.wait(answer.delay)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the last request

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are part of the tests."""


def _handler(receiver: HttpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            answer = receiver.respond(
                Request(
                    method=self.command,
                    path=path,
                    query=query,
                    headers=dict(self.headers.items()),
                    body=body,
                    json=_parsed(body),
                    at=time.monotonic(),
                )
            )
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    return Handler


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


# Mail ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail as it came: the envelope, the message, and monotonic time."""

    sender: str
    recipients: Sequence[str]
    message: EmailMessage
    at: float

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """The plain text, or whatever there is instead."""
        part = self.message.get_body(("plain", "html"))
        return "" if part is None else str(part.get_content())


class SmtpReceiver:
    """An SMTP server on loopback that keeps what it is sent.

    `reply` is the answer to each message; set to `451 4.7.1 try later`, nothing is kept. `refused` are recipients
    that get a 550. `options` are those of aiosmtpd's Controller: TLS and logins.
    """

    def __init__(self, **options: Any) -> None:
        self.mails: list[Mail] = []
        self.reply = "250 OK"
        self.refused: set[str] = set()
        self.attempts = 0
        self._changed = threading.Condition()
        self.port = free_ports(1)[0]
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def url(self, recipient: str = "ops@example.org") -> str:
        """An apprise URL that mails to `recipient`."""
        return f"mailto://127.0.0.1:{self.port}?from=zkalert@example.org&to={recipient}"

    def wait(self, count: int, timeout: float = 10.0) -> list[Mail]:
        """Wait for `count` mails, and hand back what came; fail where fewer do."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.mails) >= count, timeout):
                pytest.fail(f"{len(self.mails)} of {count} mails came in {timeout:g} s")
            return list(self.mails)

    def close(self) -> None:
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd looks for
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        with self._changed:
            self.attempts += 1
            if self.reply.startswith("250"):
                self.mails.append(
                    Mail(
                        sender=envelope.mail_from or "",
                        recipients=tuple(envelope.rcpt_tos),
                        message=_PARSER.parsebytes(envelope.original_content or b""),
                        at=time.monotonic(),
                    )
                )
            self._changed.notify_all()
        return self.reply
