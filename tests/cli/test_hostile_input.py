"""`zkalert validate` on what was made to break it: one clear message, in bounded time and memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_validate import BAD, GOOD, ROOT, zkalert

BOMB = [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 20)]
HOSTILE = {
    "open brackets": b"[" * 200_000,
    "deep lists": b"rules: " + b"[" * 100_000 + b"]" * 100_000,
    "deep mappings": b"{a: " * 100_000 + b"1" + b"}" * 100_000,
    "deep dashes": b"- " * 100_000 + b"a",
    "an alias to itself": b"rules: &a [*a]",
    "many keys": b"rules:\n" + b"".join(b"  a%d: 1\n" % number for number in range(100_000)),
    "many wrong rules": b"rules:\n" + b"  - 1\n" * 100_000,
    "UTF-16 with a byte order mark": BAD.encode("utf-16"),
    "UTF-16 without one": BAD.encode("utf-16-le"),
    "Latin-1": BAD.replace("memory", "m\xfcll").encode("latin-1"),
    "an overlong escape": b"rules: \xc0\xaf",
    "a surrogate": b"rules: \xed\xa0\x80",
    "alias bomb": "\n".join(["a0: &a0 [x]", *BOMB]).encode(),
    "17 MiB": b"x" * (17 * 2**20),
    "binary": bytes(range(256)) * 100,
    "infinite threshold": BAD.replace("90", ".inf").replace("memory", "memory_usage").encode(),
    "huge threshold": BAD.replace("90", "1e999").encode(),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_a_finding(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(text)
    done = zkalert("validate", "a.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert re.match(r"a\.yaml:\d+:\d+: error: ", done.stdout)


def test_of_a_huge_file_no_more_is_read_than_a_document_may_have(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(100 * 2**30)
    done = zkalert("validate", "a.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "a.yaml:1:1: error: more than 16 MiB")


def test_standard_input_without_an_end_is_a_finding(tmp_path: Path) -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [sys.executable, "-m", "zkalert", "validate", "-"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=endless,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "<stdin>:1:1: error: more than 16 MiB")


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


SPECIAL: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "a pipe": (_make_fifo, 1, "x.yaml: error: not a regular file\n"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), 1, "x.yaml: error: not a regular file\n"),
    "a link to itself": (_make_loop, 2, "zkalert: error: x.yaml: no such file or folder\n"),
    "a link to nothing": (lambda path: path.symlink_to("gone"), 2, "zkalert: error: x.yaml: no such file or folder\n"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused_by_name_and_left_out_of_folders(tmp_path: Path, kind: str) -> None:
    make, code, said = SPECIAL[kind]
    make(tmp_path / "x.yaml")
    (tmp_path / "good.yaml").write_text(GOOD.replace("NAME", "a"))
    done = zkalert("validate", "x.yaml", cwd=tmp_path)
    assert done.returncode == code
    assert (done.stdout + done.stderr).startswith(said)
    assert zkalert("validate", ".", cwd=tmp_path).stdout == "1 rule in 1 file: no errors\n"


def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.yaml").write_text(GOOD.replace("NAME", name))
        (tmp_path / name / "over").symlink_to(tmp_path / other)
        (tmp_path / name / "up").symlink_to(tmp_path)
    assert zkalert("validate", ".", cwd=tmp_path).stdout == "2 rules in 2 files: no errors\n"


def test_what_the_shell_hands_over_as_a_file_is_read(tmp_path: Path) -> None:
    rules = GOOD.replace("NAME", "a")
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -m zkalert validate <(printf %s "$RULES")'],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RULES": rules},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 rule in 1 file: no errors\n", "")
