"""The trees of examples/packs: in health all rules of the pack are quiet, and what is broken is told of as it says."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from tests.packs.layout import RULES
from zkalert.model import ZookeeperSettings
from zkalert.zk import Client, make_client

EXAMPLES = RULES.parent / "examples" / "packs"
PACKS = ("clickhouse", "hadoop-ha", "hbase", "solr")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@pytest.fixture
def chroot(client: Client, settings: ZookeeperSettings) -> ZookeeperSettings:
    """A place where the paths of real systems are free."""
    path = f"/t-{secrets.token_hex(6)}"
    client.create(path)
    return ZookeeperSettings(hosts=settings.hosts + path, session_timeout=4.0)


@contextmanager
def _tree(pack: str, hosts: str, shape: str) -> Iterator[None]:
    """The tree while its script runs."""
    with subprocess.Popen(
        [sys.executable, EXAMPLES / pack / "tree.py", hosts, shape], stdout=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout is not None
        try:
            assert script.stdout.readline().startswith(f"{shape}: ")
            yield
        finally:
            script.send_signal(signal.SIGINT)
            assert script.wait(20) == 0


@contextmanager
def _firing(rules: str, chroot: ZookeeperSettings, folder: Path) -> Iterator[Stage]:
    client = make_client(chroot)
    client.start(timeout=15)
    stage = Stage(chroot, client, folder)
    try:
        stage.engine(rules).wait_owner()
        yield stage
    finally:
        stage.close()
        client.stop()
        client.close()


def _hurried(pack: str, *keys: str) -> str:
    """A pack with spans below these keys cut to a second at most, the longer ones still the longer ones."""
    text = (RULES / f"{pack}.yaml").read_text(encoding="utf-8")

    def cut(found: re.Match[str]) -> str:
        return f"{found[1]}: {min(1000, 100 + int(found[2]) * SECONDS[found[3]])}ms"

    return re.sub(rf"({'|'.join(keys)}): (\d+)([smhd])\b", cut, text)


def _names(stage: Stage) -> set[str]:
    return {alert.rule for alert in stage.alerts() if alert.state.value == "firing"}


@pytest.mark.parametrize("pack", PACKS)
def test_a_healthy_tree_is_quiet_and_goes_without_a_trace(
    pack: str, chroot: ZookeeperSettings, client: Client, tmp_path: Path
) -> None:
    rules = _hurried(pack, "duration")
    probe = "\n  - {name: probe, metric: 'znode:/probe#exists', comparator: '==', threshold: 1, severity: info}\n"
    with _tree(pack, chroot.hosts, "healthy"), _firing(rules + probe, chroot, tmp_path) as stage:
        wait_for(lambda: stage.client.exists(stage.tree.engines), "the engine")
        stage.client.create("/probe")
        wait_for(lambda: "probe" in _names(stage), "the engine to have seen it all")
        with pytest.raises(pytest.fail.Exception, match="in vain"):
            wait_for(lambda: _names(stage) - {"probe"}, "an alert", timeout=1.5)
    top = chroot.hosts.partition("/")[2]
    assert set(client.get_children(f"/{top}")) == {"probe", "zkalert"}


@pytest.mark.parametrize("pack", PACKS)
def test_what_is_broken_is_told_of_as_the_example_says(pack: str, chroot: ZookeeperSettings, tmp_path: Path) -> None:
    rules = _hurried(pack, "duration", "threshold")
    rows = [line for line in (EXAMPLES / pack / "README.md").read_text(encoding="utf-8").splitlines() if "| `" in line]
    told = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[2])}
    assert told
    with _tree(pack, chroot.hosts, "broken"), _firing(rules, chroot, tmp_path) as stage:
        wait_for(lambda: told <= _names(stage), f"{sorted(told)}", timeout=20)
