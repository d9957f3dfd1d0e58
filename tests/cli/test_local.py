"""Commands that ask ZooKeeper find the server that `zkalert up` runs, and no other."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_validate import zkalert
from zkalert.localzk import LocalServer, running_hosts


def test_a_running_local_server_is_asked_where_none_is_configured(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "zookeeper"):
        asked = zkalert("metrics", "--host", "web1", "--state-dir", str(tmp_path), cwd=tmp_path)
        configured = zkalert(
            *("metrics", "--host", "web1", "--state-dir", str(tmp_path), "--zookeeper", "127.0.0.1:1"), cwd=tmp_path
        )
    assert asked.stderr == 'zkalert: error: no host "web1" below /zkalert; nobody publishes there\n'
    assert configured.stderr == "zkalert: error: ZooKeeper at 127.0.0.1:1 does not answer (Connection refused)\n"


def test_a_server_that_has_ended_is_not_asked(tmp_path: Path) -> None:
    folder = tmp_path / "zookeeper"
    assert running_hosts(folder) == ""
    with LocalServer(folder) as server:
        assert running_hosts(folder) == server.hosts
    assert running_hosts(folder) == ""
    done = zkalert("metrics", "--host", "web1", "--state-dir", str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr.split(":")[2]) == (2, " no ZooKeeper is configured")


def test_a_local_server_is_judged_by_the_usual_packs_where_no_rules_are_configured(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "zookeeper"):
        usual = zkalert("explain", "zookeeper-no-leader", "--state-dir", str(tmp_path), cwd=tmp_path)
        other = zkalert("explain", "zookeper-no-leader", "--state-dir", str(tmp_path), cwd=tmp_path)
        configured = zkalert(
            *("explain", "zookeeper-no-leader", "--state-dir", str(tmp_path), "--zookeeper", "127.0.0.1:1"),
            cwd=tmp_path,
        )
    assert (usual.returncode, usual.stdout.splitlines()[0]) == (0, "zookeeper-no-leader  pack:zookeeper:15")
    assert other.returncode == 2
    assert other.stderr == (
        'zkalert: error: no rule "zookeper-no-leader" in pack:host and pack:zookeeper; --rules PATH takes others; '
        "did you mean zookeeper-no-leader?\n"
    )
    assert (configured.returncode, configured.stderr.split(":")[2]) == (2, " no rules")
