"""What a sampler reads because its configuration names it, and what it leaves alone otherwise."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from zkalert.agent.configured import Configured
from zkalert.config import Config
from zkalert.model import CheckEntry, FileEntry, ProcessEntry, Run
from zkalert.sampler import Collector

FAMILIES = ("process", "file", "command")


def config(folder: Path, *, may_run: bool = True) -> Config:
    return Config(
        host="web1",
        state_dir=folder,
        processes={"me": ProcessEntry(name="python*")},
        files={"here": FileEntry(paths=(str(folder),))},
        commands={"check": CheckEntry(run=Run(command=("true",)))},
        may_run=may_run,
    )


def test_what_is_named_is_read(tmp_path: Path) -> None:
    configured = Configured(config(tmp_path), "machine")
    collector = Collector(time.monotonic(), configured.readers)
    found = {family: collector.read(family, time.monotonic()) for family in FAMILIES}
    assert found["process"] is not None
    assert set(found["process"].instances) == {"me"}
    assert found["file"] is not None
    assert found["file"].instances["here"]["exists"] == 1
    assert found["command"] is not None
    assert found["command"].instances == {}, "nothing runs before it is started"


def test_without_names_there_are_no_samples_of_these_families(tmp_path: Path) -> None:
    configured = Configured(Config(host="web1", state_dir=tmp_path), "machine")
    assert configured.readers == {}
    collector = Collector(time.monotonic(), configured.readers)
    assert [collector.read(family, time.monotonic()) for family in FAMILIES] == [None, None, None]


def test_where_no_command_may_run_none_is_looked_at(tmp_path: Path) -> None:
    configured = Configured(config(tmp_path, may_run=False), "machine")
    configured.start()
    configured.stop()
    assert set(configured.readers) == {"process", "file"}


def test_a_host_that_names_nothing_loads_nothing_for_it() -> None:
    code = "import sys, zkalert.agent; print([name for name in sys.modules if name.startswith('zkalert.sampler.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout
    assert "zkalert.sampler.tick" in loaded
    for name in ("checks", "plugins", "processes", "proctable", "files"):
        assert f"zkalert.sampler.{name}'" not in loaded
