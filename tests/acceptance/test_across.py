"""A number made of many hosts, against a real tree: an engine that has seen only some of them says nothing."""

from __future__ import annotations

from tests.acceptance.stage import RunningEngine, Stage
from tests.helpers import wait_for
from zkalert.model import Alive, Phase
from zkalert.tree import encode_alive

FEW_ALIVE = """
rules:
  - {name: few, metric: host.alive, across: {of: hosts, stat: sum}, comparator: "<", threshold: 3}
"""
LITTLE_MEMORY = """
rules:
  - {name: little, metric: memory_usage.free, across: {of: hosts, stat: sum}, comparator: "<", threshold: 30}
"""
HOSTS = ("kafka1", "kafka2", "kafka3")


def live(stage: Stage) -> None:
    for number, host in enumerate(HOSTS):
        stage.host(host)
        alive = Alive(machine=f"m{number}", pid=1, started_at=0.0)
        stage.client.create(stage.tree.alive(host), encode_alive(alive), ephemeral=True)


def wait_seen(running: RunningEngine, samples: int) -> None:
    def are_seen() -> bool:
        last = running.witness.last
        if last is None or not last.is_owner:
            return False
        return sum(host.is_alive for host in last.hosts) == len(HOSTS) and last.samples >= samples

    wait_for(are_seen, "all hosts to be seen")


def test_an_engine_that_starts_counts_the_living_only_once_it_knows_all_hosts(stage: Stage) -> None:
    live(stage)
    running = stage.engine(FEW_ALIVE)
    wait_seen(running, 0)
    stage.client.delete(stage.tree.alive("kafka2"))
    wait_for(lambda: running.witness.effects, "the loss of a host to be told")
    (effect,) = running.witness.effects
    assert (effect.phase, effect.alert.value, effect.alert.members) == (Phase.FIRING, 2, (3, 0))


def test_a_rule_that_comes_with_a_reload_counts_all_hosts_at_once(stage: Stage) -> None:
    live(stage)
    running = stage.engine(LITTLE_MEMORY)
    wait_seen(running, 0)
    running.engine.reload(stage.settings(LITTLE_MEMORY + FEW_ALIVE.removeprefix("\nrules:\n")))
    wait_for(lambda: running.witness.last and running.witness.last.rules == 2, "the new rule")
    stage.client.delete(stage.tree.alive("kafka2"))
    wait_for(lambda: running.witness.effects, "the loss of a host to be told")
    assert [effect.alert.value for effect in running.witness.effects] == [2]


def test_samples_that_come_one_by_one_are_no_sum_before_the_last_has_come(stage: Stage) -> None:
    live(stage)
    running = stage.engine(LITTLE_MEMORY)
    wait_seen(running, 0)
    for host in HOSTS:
        stage.publish(20, host=host, field="free")
    wait_seen(running, 3)
    assert running.witness.effects == []
    stage.publish(5, host="kafka1", field="free")
    wait_seen(running, 4)
    stage.publish(4, host="kafka2", field="free")
    wait_for(lambda: running.witness.effects, "the sum to be told")
    assert [(effect.phase, effect.alert.value) for effect in running.witness.effects] == [(Phase.FIRING, 29)]
