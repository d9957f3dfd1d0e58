"""The packs against trees that their examples plant: what is broken is told, and what is healthy is not."""

from __future__ import annotations

import importlib.util
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hearing import start
from tests.acceptance.stage import Stage
from tests.helpers import wait_for
from zkalert.engine import matches
from zkalert.localzk import LocalEnsemble
from zkalert.model import EnsembleSettings, ZookeeperSettings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "packs"

Plant = Callable[[str, str], None]

FIRES = {
    "kafka": {
        "kafka-controller-missing kafka",
        "kafka-isr-notifications-pile-up kafka",
        "kafka-log-dir-failures-unhandled kafka",
        "kafka-partitions-offline kafka",
    },
    "locks-and-queues": {
        "election-without-candidates kafka,/elections/scheduler",
        "lock-crowded kafka,/locks/nightly",
        "lock-without-session kafka,/locks/nightly/CONTENDER",
        "queue-long kafka,/queues/mails",
        "znodes-world-writable kafka",
    },
}
"""Of what is broken, what is told without waiting: rule and series. `kafka` is how the ensemble is named."""

SEEN = {
    "kafka": '  - {name: seen, metric: "kafka:/controller#exists", comparator: "==", threshold: 1}\n',
    "locks-and-queues": (
        '  - {name: seen, metric: "kafka:/locking-queues/jobs/taken#children", comparator: "==", threshold: 1}\n'
    ),
}
"""A rule that fires on what is planted last, where all is healthy."""


def hasty(pack: str) -> str:
    """A pack about the ensemble `kafka`, as its first comment bids, that waits for nothing to last."""
    text = (ROOT / "rules" / f"{pack}.yaml").read_text(encoding="utf-8").replace("znode:/", "kafka:/")
    return re.sub(r",? duration: \w+(?= })|\n {4}duration: \w+", "", text)


@pytest.fixture
def planted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ZookeeperSettings, Plant]]:
    """An empty place of an ensemble, and what plants a shape of an example there in place of the last one."""
    monkeypatch.setattr(matches, "ACL_EVERY", 0.2)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    place = f"/example-{secrets.token_hex(4)}"
    stage.client.ensure_path(place)
    settings = replace(stage.zookeeper, hosts=stage.zookeeper.hosts + place)
    plots: list[Any] = []

    def uproot() -> None:
        while plots:
            plots.pop().close()

    def plant(pack: str, shape: str) -> None:
        uproot()
        tree = _load(EXAMPLES / pack / "tree.py")
        plot = tree.Plot(settings.hosts, tree.TOPS)
        plots.append(plot)
        plot.begin()
        getattr(tree, shape)(plot)

    yield settings, plant
    uproot()


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def fires(stage: Stage) -> set[str]:
    """Rule and series of all alerts that fire; contenders of locks have names by chance."""
    found = (
        f"{alert.rule} {alert.host}{',' * bool(alert.instance)}{alert.instance or ''}"
        for alert in stage.alerts()
        if alert.state.value == "firing"
    )
    return {re.sub(r"[0-9a-f]{32}__lock__\d{10}", "CONTENDER", series) for series in found}


@pytest.mark.parametrize("pack", FIRES)
def test_a_healthy_tree_is_quiet_and_a_broken_one_is_told_of_until_it_is_healthy_again(
    pack: str, stage: Stage, planted: tuple[ZookeeperSettings, Plant]
) -> None:
    zookeeper, plant = planted
    plant(pack, "healthy")
    rules = stage.settings(hasty(pack) + SEEN[pack])
    start(stage, replace(rules, ensembles={"kafka": EnsembleSettings(zookeeper=zookeeper)}))
    wait_for(lambda: fires(stage) >= {"seen kafka"}, "the tree to be seen", timeout=20)
    assert fires(stage) == {"seen kafka"}
    plant(pack, "broken")
    wait_for(lambda: fires(stage) == FIRES[pack], f"{FIRES[pack]}, have {fires(stage)}", timeout=20)
    plant(pack, "healthy")
    wait_for(lambda: fires(stage) == {"seen kafka"}, "the end of all alerts", timeout=20)


def test_a_server_that_is_killed_is_told_of_with_what_it_means_for_the_quorum(
    stage: Stage, ensemble: LocalEnsemble
) -> None:
    zookeeper = replace(stage.zookeeper, hosts=ensemble.hosts)
    seen = '  - {name: seen, metric: zookeeper.synced, comparator: "==", threshold: 2}\n'
    rules = stage.settings(hasty("zookeeper") + seen)
    start(stage, replace(rules, ensembles={"kafka": EnsembleSettings(zookeeper=zookeeper)}))
    wait_for(lambda: fires(stage) >= {"seen kafka"}, "the ensemble to be seen", timeout=20)
    assert fires(stage) == {"seen kafka"}
    index = ensemble.followers()[0]
    down = {"zookeeper-quorum-at-risk kafka", f"zookeeper-server-down kafka,{ensemble.servers[index].hosts}"}
    ensemble.kill(index)
    try:
        wait_for(lambda: fires(stage) == down, f"{down}", timeout=20)
    finally:
        ensemble.start(index)
    wait_for(lambda: fires(stage) == {"seen kafka"}, "the end of all alerts", timeout=20)


def grow(pack: str, *arguments: str) -> subprocess.Popen[str]:
    """An example's script, as people run it."""
    command = [sys.executable, "-B", str(EXAMPLES / pack / "tree.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("pack", ["kafka", "locks-and-queues"])
def test_a_script_keeps_its_tree_until_it_is_interrupted(
    pack: str, stage: Stage, planted: tuple[ZookeeperSettings, Plant]
) -> None:
    zookeeper, _ = planted
    place = zookeeper.hosts.partition("/")[2]
    with grow(pack, zookeeper.hosts, "healthy") as script:
        assert script.stdout is not None
        assert script.stdout.readline().startswith("healthy: /")
        assert len(stage.client.get_children(place)) > 1
        script.send_signal(signal.SIGINT)
        try:
            assert script.wait(10) == 0
        finally:
            script.kill()
    assert stage.client.get_children(place) == []


def test_a_script_touches_nothing_that_is_not_its_own(stage: Stage, planted: tuple[ZookeeperSettings, Plant]) -> None:
    zookeeper, _ = planted
    place = "/" + zookeeper.hosts.partition("/")[2]
    stage.client.create(f"{place}/brokers/ids/1", b"real", makepath=True)
    with grow("kafka", zookeeper.hosts, "broken") as script:
        _, said = script.communicate(timeout=20)
    assert script.returncode == 1
    assert said == f"/brokers is in use here, and not by an example; name another place: {zookeeper.hosts}/example\n"
    assert stage.client.get_children(place) == ["brokers"]
    assert stage.client.get(f"{place}/brokers/ids/1")[0] == b"real"


@pytest.mark.parametrize("arguments", [(), ("127.0.0.1:1",), ("127.0.0.1:1", "ill")])
def test_a_script_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    with grow("kafka", *arguments) as script:
        said = script.communicate(timeout=20)
    assert script.returncode == 2
    assert said[1].startswith("usage: tree.py HOSTS healthy|broken")
