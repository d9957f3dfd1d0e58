"""Files and folders that the configuration names: which instances there are, and what is told of each."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert.metrics import FAMILIES
from zkalert.model import FileEntry
from zkalert.sampler import files as module
from zkalert.sampler.files import MAX_DIGESTED, Files
from zkalert.sampler.reading import Reading
from zkalert.tree import MAX_INSTANCES


def read(has_digest: bool = False, **paths: str | Path | tuple[str | Path, ...]) -> Reading:
    """One reading of entries, each with one path or several."""
    entries = {
        name: FileEntry(
            paths=tuple(map(str, found)) if isinstance(found, tuple) else (str(found),), has_digest=has_digest
        )
        for name, found in paths.items()
    }
    return Files(entries)(0.0)


def test_a_file_is_told_with_all_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"hello")
    file.chmod(0o4640)
    os.utime(file, (1, time.time() - 3600))
    reading = read(has_digest=True, data=file)
    values = dict(reading.instances["data"])
    assert values.pop("age") == pytest.approx(3600, abs=5)
    assert values == {
        "exists": 1,
        "size": 5,
        "mode": "4640",
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(file.stat().st_gid).gr_name,
        "sha256": hashlib.sha256(b"hello").hexdigest(),
    }
    assert set(values) | {"age", "entries"} == set(FAMILIES["file"].fields)
    assert reading.labels == {"data": {"entry": "data", "path": str(file)}}
    assert reading.errors == ()


def test_a_folder_is_told_with_the_number_of_its_entries(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    values = read(has_digest=True, folder=tmp_path).instances["folder"]
    assert (values["exists"], values["entries"]) == (1, 3)
    assert "sha256" not in values


def test_what_is_missing_does_not_exist_and_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    reading = read(none=tmp_path / "none", below=tmp_path / "file" / "x", dangling=tmp_path / "dangling")
    assert reading.instances == {"none": {"exists": 0}, "below": {"exists": 0}, "dangling": {"exists": 0}}
    assert reading.errors == ()


def test_several_paths_are_an_instance_for_each_file(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).touch()
    reading = read(logs=(tmp_path / "*.log", tmp_path / "a.log", tmp_path / "missing"))
    exist = {name: values["exists"] for name, values in reading.instances.items()}
    assert exist == {str(tmp_path / "a.log"): 1, str(tmp_path / "b.log"): 1, str(tmp_path / "missing"): 0}
    assert reading.labels[str(tmp_path / "b.log")] == {"entry": "logs", "path": str(tmp_path / "b.log")}


def test_a_glob_that_nothing_fits_does_not_exist(tmp_path: Path) -> None:
    reading = read(dumps=tmp_path / "*.dump")
    assert reading.instances == {"dumps": {"exists": 0}}
    assert reading.labels == {"dumps": {"entry": "dumps", "path": f"{tmp_path}/*.dump"}}


def test_of_too_many_files_some_are_left_out_and_that_is_told(tmp_path: Path) -> None:
    for number in range(MAX_INSTANCES + 20):
        (tmp_path / f"{number}.log").touch()
    reading = read(logs=tmp_path / "*.log")
    assert len(reading.instances) == MAX_INSTANCES
    assert reading.errors == ("logs: more than 256 files, the others are left out",)


def test_a_digest_is_made_where_asked_for_of_files_up_to_a_limit(tmp_path: Path) -> None:
    small, large, pipe = tmp_path / "small", tmp_path / "large", tmp_path / "pipe"
    small.write_bytes(b"x" * MAX_DIGESTED)
    large.write_bytes(b"x" * (MAX_DIGESTED + 1))
    os.mkfifo(pipe)
    found = read(has_digest=True, small=small, large=large, pipe=pipe).instances
    assert found["small"]["sha256"] == hashlib.sha256(b"x" * MAX_DIGESTED).hexdigest()
    assert "sha256" not in found["large"]
    assert found["pipe"]["exists"] == 1
    assert "sha256" not in read(small=small).instances["small"]


def test_a_file_of_tomorrow_is_not_younger_than_new(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (time.time() + 86400,) * 2)
    assert read(file=file).instances["file"]["age"] == 0


def test_a_path_that_cannot_be_looked_at_is_an_error_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake: root may look everywhere."""
    look = os.stat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    (tmp_path / "open").touch()
    reading = read(secret=tmp_path / "secret", open=tmp_path / "open", nul="a\0b")
    assert set(reading.instances) == {"open"}
    assert reading.errors[0] == f"{tmp_path}/secret: Permission denied"
    assert reading.errors[1].startswith("nul: ")


def test_one_that_hangs_delays_no_other_and_tells_later_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake for a mount that no longer answers: looking at the file does not return until it is let go."""
    (tmp_path / "hung").touch()
    (tmp_path / "well").touch()
    look, asked, release = module._values, [], threading.Event()

    def hang(path: str, *, has_digest: bool) -> Any:
        asked.append(path)
        if path.endswith("hung"):
            release.wait(30)
        return look(path, has_digest=has_digest)

    monkeypatch.setattr(module, "_values", hang)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    reader = Files({name: FileEntry(paths=(str(tmp_path / name),)) for name in ("hung", "well")})
    for _ in range(3):
        reading = reader(0.0)
        assert set(reading.instances) == {"well"}
        assert reading.errors == ("hung: does not answer",)
    assert asked.count(str(tmp_path / "hung")) == 1
    release.set()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "file-hung"], "the read to come back")
    assert set(reader(0.0).instances) == {"hung", "well"}
