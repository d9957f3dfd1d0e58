"""Receivers that not every test needs: mail by TLS and with a login, a desktop to show notifications on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.helpers import wait_for
from zkalert.model import EMPTY

_DESKTOP_PROGRAMS = ("Xvfb", "dbus-daemon", "dunst", "dunstctl", "notify-send", "import")


def certificate(folder: Path, days: int = 2) -> Path:
    """A certificate for `localhost` that signs itself, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: there is no certificate to test with")
    file = folder / "localhost.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-addext", names, "-keyout", file, "-out", folder / "cert"], check=True, capture_output=True
    )
    file.write_bytes(file.read_bytes() + (folder / "cert").read_bytes())
    return file


def server_tls(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def only(user: str, password: str) -> Any:
    """What an SMTP server asks about logins: this one alone may send."""

    def check(
        _server: object, _session: object, _envelope: object, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        is_known = (login.login.decode(), login.password.decode()) == (user, password)
        return AuthResult(success=is_known, handled=False)

    return check


class Desktop:
    """A display with a notification daemon, of its own: nothing is shown on the screen of who runs the tests."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def _run(self, *command: str) -> bytes:
        environ = {**os.environ, **self.environ}
        return subprocess.run(command, env=environ, check=True, capture_output=True, timeout=20).stdout

    def displayed(self) -> int:
        return int(self._run("dunstctl", "count", "displayed"))

    def pixels(self) -> bytes:
        """What is on the screen now, as PPM."""
        return self._run("import", "-window", "root", "ppm:-")

    def screenshot(self, file: Path, before: bytes) -> None:
        """Keep a picture, once the screen shows something else than `before`."""
        wait_for(lambda: self.pixels() != before, "the notification to be drawn")
        self._run("import", "-window", "root", str(file))

    def history(self) -> list[dict[str, Any]]:
        """What was shown, after closing all of it: the last first."""
        self._run("dunstctl", "close-all")
        wait_for(lambda: self.displayed() == 0, "the notifications to close")
        (shown,) = json.loads(self._run("dunstctl", "history"))["data"]
        return [{name: value["data"] for name, value in one.items()} for one in shown]


@contextlib.contextmanager
def desktop(folder: Path) -> Iterator[Desktop]:
    """Start one. Skips the test, with its reason, where a program for that is missing."""
    missing = [program for program in _DESKTOP_PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no desktop to test with; not installed: {', '.join(missing)}")
    with contextlib.ExitStack() as stack:

        def start(*command: str, environ: Mapping[str, str] = EMPTY, fds: tuple[int, ...] = ()) -> None:
            with (folder / f"{command[0]}.log").open("wb") as log:
                process = subprocess.Popen(
                    command, env={**os.environ, **environ}, pass_fds=fds, stdout=subprocess.DEVNULL, stderr=log
                )
            stack.callback(process.wait)
            stack.callback(process.terminate)

        reader, writer = os.pipe()
        start("Xvfb", "-displayfd", str(writer), "-screen", "0", "900x500x24", "-nolisten", "tcp", fds=(writer,))
        os.close(writer)
        with os.fdopen(reader) as said:
            display = ":" + said.readline().strip()
        bus = folder / "bus"
        start("dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}")
        wait_for(bus.exists, "the session bus")
        environ = {"DISPLAY": display, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "LC_ALL": "C.UTF-8"}
        start("dunst", environ=environ)
        shown = Desktop(environ)

        def is_up() -> bool:
            with contextlib.suppress(subprocess.SubprocessError):
                return shown.displayed() == 0
            return False

        wait_for(is_up, "the notification daemon")
        yield shown
