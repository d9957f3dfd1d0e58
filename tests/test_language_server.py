"""Editors: the real yaml-language-server completes, explains and checks files that name our schemas.

The server is installed once, by npm, into the user's cache folder. Where there is no npm, or no network for the first
install, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
VERSION = "1.25.0"
SHIPPED = sorted([*ROOT.glob("rules/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")])
SCHEMA_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")
NO_NETWORK = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED")

RULES = """\
# yaml-language-server: $schema=../../schemas/rules.schema.json
rules:
  - name: memory-high
    metric: memory_usage.percent
    comparator: ">"
    threshold: 90
"""


class LanguageServer:
    """A client of one server over its standard input and output, with documents that exist in memory alone."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}
        self._id = 0
        abilities = {
            "textDocument": {"publishDiagnostics": {}, "hover": {"contentFormat": ["plaintext"]}},
            "workspace": {"configuration": True},
        }
        self.ask("initialize", {"processId": os.getpid(), "rootUri": ROOT.as_uri(), "capabilities": abilities})
        self._tell("initialized", {})

    def close(self) -> None:
        self.ask("shutdown", None)
        self._tell("exit", None)
        self._process.communicate(timeout=10)
        self._reader.join(10)

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        """Open `text` as if it stood in `path`, which was not opened before; what the server says against it."""
        uri = path.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        return self._wait(lambda: self._diagnostics.get(uri), f"diagnostics of {path.name}")

    def at(self, method: str, path: Path, text: str, needle: str) -> Any:
        """Ask `textDocument/<method>` right behind the first `needle` of an open text."""
        before = text[: text.index(needle) + len(needle)].split("\n")
        place = {"line": len(before) - 1, "character": len(before[-1])}
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": path.as_uri()}, "position": place})

    def ask(self, method: str, params: Any) -> Any:
        self._id += 1
        number = self._id
        self._send({"id": number, "method": method, "params": params})
        replies: list[dict[str, Any]] = []

        def replied() -> dict[str, Any] | None:
            return replies[0] if replies else None

        def hear(message: dict[str, Any]) -> None:
            if message.get("id") == number and "method" not in message:
                replies.append(message)

        reply = self._wait(replied, f"reply to {method}", hear)
        assert "error" not in reply, reply
        return reply["result"]

    def _wait(
        self, done: Callable[[], T | None], what: str, hear: Callable[[dict[str, Any]], object] = lambda _message: None
    ) -> T:
        """Take what the server sends until `done` gives something; fail naming `what` after 30 s."""
        deadline = time.monotonic() + 30
        while (result := done()) is None:
            try:
                message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"the server gave no {what}")
            hear(message)
            self._answer(message)
        return result

    def _answer(self, message: dict[str, Any]) -> None:
        if message.get("method") == "textDocument/publishDiagnostics":
            self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif message.get("method") == "workspace/configuration":  # nothing from the net: our schemas alone
            wanted = {"yaml": {"schemaStore": {"enable": False}}}
            result = [wanted.get(item.get("section"), {}) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": result})
        elif "method" in message and "id" in message:
            self._send({"id": message["id"], "result": None})

    def _tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        while header := out.readline():
            length = 0
            while header.strip():
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                header = out.readline()
            self._inbox.put(json.loads(out.read(length)))


@pytest.fixture(scope="module")
def program() -> Path:
    """The server's program, installed on first use."""
    for needed in ("node", "npm"):
        if shutil.which(needed) is None:
            pytest.skip(f"there is no {needed}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "zkalert-tests")
    home = cache / f"yaml-language-server-{VERSION}"
    if not home.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _install(Path(folder))
            Path(folder, "installed").rename(home)
    return home / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"


def _install(folder: Path) -> None:
    installed = folder / "installed"
    installed.mkdir()
    done = subprocess.run(
        ["npm", "install", "--prefix", str(installed), "--no-audit", "--no-fund", f"yaml-language-server@{VERSION}"],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("npm cannot reach its registry")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(program: Path) -> Iterator[LanguageServer]:
    server = LanguageServer(program)
    yield server
    server.close()


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Path:
    """Where a rule file could stand that names the schema as RULES does; another one for each test."""
    return ROOT / "examples" / "rules" / f"{re.sub(r'[^a-z]+', '-', request.node.name)}.yaml"


def test_a_good_file_is_left_alone(server: LanguageServer, path: Path) -> None:
    assert server.open(path, RULES) == []


@pytest.mark.parametrize(
    ("key", "offered"),
    [
        ("comparator: ", {">", ">=", "<", "<=", "==", "!="}),
        ("severity: ", {"info", "warning", "critical"}),
        ("enabled: ", {"true", "false"}),
    ],
    ids=lambda value: value.strip() if isinstance(value, str) else "",
)
def test_values_are_completed(server: LanguageServer, path: Path, key: str, offered: set[str]) -> None:
    text = RULES.replace('    comparator: ">"\n', "") + f"    {key}"
    server.open(path, text)
    found = {item["label"].strip('"') for item in server.at("completion", path, text, key)["items"]}
    assert offered <= found


def test_keys_are_completed(server: LanguageServer, path: Path) -> None:
    text = RULES + "    "
    server.open(path, text)
    found = {item["label"] for item in server.at("completion", path, text, "threshold: 90\n    ")["items"]}
    assert {"duration", "severity", "action"} <= found
    assert "threshold" not in found


@pytest.mark.parametrize("key", ["metric", "comparator", "threshold"])
def test_a_key_explains_itself(server: LanguageServer, path: Path, key: str) -> None:
    server.open(path, RULES)
    hover = server.at("hover", path, RULES, f"    {key}"[:-1])
    schema = json.loads((ROOT / "schemas" / "rules.schema.json").read_text())
    described = schema["$defs"]["rule"]["properties"][key]["description"]
    assert described[:30] in hover["contents"]["value"]


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (("threshold: 90", "treshold: 90"), "treshold"),
        (('comparator: ">"', 'comparator: "=>"'), "accepted"),
        (("name: memory-high", "name: [memory-high]"), "type"),
        (("threshold: 90", "threshold: 90\n    duration: 5 minutes"), "pattern"),
    ],
    ids=["key", "value", "type", "form"],
)
def test_a_slip_is_underlined(server: LanguageServer, path: Path, slip: tuple[str, str], said: str) -> None:
    found = server.open(path, RULES.replace(*slip))
    assert [item for item in found if said in item["message"]], found


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_shipped_files_name_their_schema(file: Path) -> None:
    line = SCHEMA_LINE.fullmatch(file.read_text().partition("\n")[0])
    assert line is not None
    kind = "config" if file.name == "zkalert.yaml" else "tests" if file.name.endswith(".test.yaml") else "rules"
    assert (file.parent / line[1]).resolve() == ROOT / "schemas" / f"{kind}.schema.json"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_shipped_files_are_explained_and_without_slips(server: LanguageServer, file: Path) -> None:
    """An empty list alone would not do: without a schema nothing is said either."""
    text = file.read_text()
    assert server.open(file, text) == []
    key = re.search(r"^([a-z_]+):", text, re.MULTILINE)
    assert key is not None
    at = text[: key.end(1) - 1]
    hover = server.at("hover", file, text, at)
    assert "Source" in json.dumps(hover["contents"])
