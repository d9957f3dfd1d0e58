"""`zkalert sampler`, as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.helpers import wait_for
from tests.readings import families_here
from zkalert.metrics import FAMILIES
from zkalert.model import Sample, ZookeeperSettings
from zkalert.tree import Tree, decode_sample
from zkalert.zk import Client


@contextmanager
def start(settings: ZookeeperSettings, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end of the block if it still runs."""
    command = [sys.executable, "-m", "zkalert", "sampler", "--zookeeper", settings.hosts, "--root", settings.root]
    command += ["--state-dir", str(folder / "state"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_publishes_every_family_within_two_seconds_until_a_signal(
    number: signal.Signals, settings: ZookeeperSettings, client: Client, tree: Tree, tmp_path: Path
) -> None:
    with start(settings, tmp_path, "--host", "web1") as process:
        wait_for(lambda: client.exists(tree.alive("web1")), "the host")
        found = wait_for(
            lambda: client.exists(tree.metrics("web1")) and client.get_children(tree.metrics("web1")), "samples", 2
        )
        assert set(found) == families_here()
        intervals = {}
        for family in families_here():
            sample = decode_sample(family, client.get(tree.family("web1", family))[0])
            assert isinstance(sample, Sample), sample
            intervals[family] = sample.interval
        assert intervals == {family.name: family.interval for family in [FAMILIES[name] for name in families_here()]}
        process.send_signal(number)
        out, said = process.communicate(timeout=5)
    assert process.returncode == 0
    assert out == ""
    assert said.endswith('info sampler: publishing as host "web1"\n')
    assert said.count("\n") == 1
    assert client.exists(tree.alive("web1")) is None


def test_intervals_and_labels_come_from_the_configuration(
    settings: ZookeeperSettings, client: Client, tree: Tree, tmp_path: Path
) -> None:
    (tmp_path / "zkalert.yaml").write_text(
        "host: db3\nlabels: {role: database}\nsampler:\n  intervals: {cpu_usage: 1s}\n", encoding="utf-8"
    )
    with start(settings, tmp_path) as process:
        path = tree.family("db3", "cpu_usage")
        wait_for(lambda: (stat := client.exists(path)) and stat.version >= 1, "the second sample")
        sample = decode_sample("cpu_usage", client.get(path)[0])
        assert isinstance(sample, Sample), sample
        assert (sample.interval, sample.max_age) == (1.0, 10.0)
        assert sample.values["cores"] == psutil.cpu_count()
        assert b'"role":"database"' in client.get(tree.host("db3"))[0]
        assert client.exists(tree.family("db3", "memory_usage")).version == 0
        process.terminate()
        process.communicate(timeout=5)
    assert process.returncode == 0


def test_it_stays_small_once_its_configuration_was_found_valid(
    settings: ZookeeperSettings, client: Client, tree: Tree, tmp_path: Path
) -> None:
    (tmp_path / "zkalert.yaml").write_text("host: web1\n", encoding="utf-8")
    for _ in range(2):
        with start(settings, tmp_path) as process:
            wait_for(lambda: client.exists(tree.family("web1", "uptime")), "samples")
            found = psutil.Process(process.pid)
            size = found.memory_info().rss
            libraries = " ".join(mapping.path for mapping in found.memory_maps()) if psutil.LINUX else ""
            process.terminate()
            process.communicate(timeout=5)
            client.delete(tree.host("web1"), recursive=True)
    assert size <= 34 * 2**20, "with its history open"
    assert "rpds" not in libraries, "the part of jsonschema that is a shared library"


def test_without_zookeeper_it_is_a_usage_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zkalert", "sampler", "--state-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=20)
    assert done.returncode == 2
    assert "no ZooKeeper is configured" in done.stderr
    assert "Traceback" not in done.stderr
