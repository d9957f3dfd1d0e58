"""Five thousand series cross within a second: somebody hears of it at once, of all of it, and at the channel's rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.storm import HOSTS, INSTANCES, RATE, storm
from zkalert.localzk import LocalServer

SERIES = HOSTS * INSTANCES


@pytest.mark.timeout(240)
@pytest.mark.parametrize("hold", [0, 4])
def test_a_storm_is_told_at_once_in_digests_at_the_rate_of_its_channel_and_in_bounded_memory(
    own_zookeeper: LocalServer, tmp_path: Path, hold: int
) -> None:
    found = storm(own_zookeeper.hosts, tmp_path, hold=f"{hold}s")
    assert SERIES == 5000
    for wave in (found.up, found.down):
        assert wave.published < 1, "all crossed within a second"
        assert hold <= wave.first < hold + 1, "and within a second of that somebody heard"
        assert wave.told == SERIES
        assert wave.messages < 5 + SERIES / 500 * 2, "in digests"
    alerts = [alert for request in found.requests for alert in request.json["alerts"]]
    assert {(alert["host"], alert["instance"], alert["state"]) for alert in alerts} == {
        (f"host-{host}", f"/srv/volume-{instance:03}", state)
        for host in range(HOSTS)
        for instance in range(INSTANCES)
        for state in ("firing", "resolved")
    }
    assert found.doubled == 0
    assert found.most_within(1.0) <= RATE + 1, "one may be late by as long as it takes to write it"
    assert found.growth < 200e6
