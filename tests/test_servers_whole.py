"""What single servers say, put together: quorum, leader, lag, and what cannot be known."""

from __future__ import annotations

import pytest

from zkalert.model import EnsembleSettings, Members, Value, ZookeeperSettings
from zkalert.servers.answers import Answer
from zkalert.servers.whole import Asked, Memory, servers_of, summed

EPOCH = 0x500000000


def serving(
    name: str, role: str = "follower", zxid: int | None = EPOCH + 100, voters: int | None = 3, **values: Value
) -> Asked:
    return Asked(name=name, answer=Answer(values=values, role=role, zxid=zxid, voters=voters), is_there=True)


def down(name: str, trouble: str = "nothing listens there") -> Asked:
    return Asked(name=name, trouble=trouble)


def leader(name: str = "a", **values: Value) -> Asked:
    values = {"synced_followers": 2, "followers": 2, **values}
    return Asked(name=name, answer=Answer(values=values, role="leader", zxid=EPOCH + 107, voters=3), is_there=True)


def test_a_whole_ensemble() -> None:
    found = summed((leader(version="3.8.0"), serving("b", version="3.8.0"), serving("c", version="3.9.1")))
    assert found.errors == ()
    assert found.values == {
        "servers": 3,
        "serving": 3,
        "quorum": 100.0,
        "leaders": 1,
        "has_leader": 1,
        "followers": 2,
        "synced": 2,
        "lag": 7,
        "zxid_percent": pytest.approx(2.5e-06, abs=1e-7),
        "versions": 2,
    }
    assert {name: one["lag"] for name, one in found.instances.items()} == {"a": 0, "b": 7, "c": 7}
    assert {name: (one["role"], one["is_leader"]) for name, one in found.instances.items()} == {
        "a": ("leader", 1),
        "b": ("follower", 0),
        "c": ("follower", 0),
    }


def test_a_server_that_is_down_is_an_instance_still() -> None:
    found = summed((leader(synced_followers=1), serving("b"), down("c")))
    assert found.values["quorum"] == pytest.approx(66.667, abs=0.001)
    assert found.values["serving"] == 2
    assert found.instances["c"] == {"ok": 0, "serving": 0, "is_leader": 0, "refused": 0}
    assert found.errors == ("c: nothing listens there",)


def test_servers_that_have_no_quorum_serve_nobody() -> None:
    found = summed((Asked(name="a", is_there=True), down("b"), down("c")), Memory(voters=3))
    assert [found.values[name] for name in ("quorum", "serving", "leaders", "has_leader")] == [0.0, 0, 0, 0]
    assert found.instances["a"]["ok"] == 1


def test_reads_alone_are_no_part_of_a_quorum() -> None:
    found = summed((serving("a", "read-only"), down("b"), down("c")))
    assert (found.values["quorum"], found.values["has_leader"]) == (0.0, 0)
    assert (found.instances["a"]["read_only"], found.instances["a"]["serving"]) == (1, 0)


def test_two_that_lead_are_counted() -> None:
    assert summed((leader("a"), leader("b"), serving("c"))).values["leaders"] == 2


def test_nobody_leads_where_followers_alone_are_seen_and_all_are_known() -> None:
    found = summed((serving("a"), serving("b"), down("c"))).values
    assert (found["leaders"], found["has_leader"]) == (0, 0)
    assert "lag" not in found


def test_a_server_of_its_own_is_a_whole_ensemble() -> None:
    found = summed((serving("a", "standalone", voters=None),)).values
    expected = {"servers": 1, "quorum": 100.0, "leaders": 1, "has_leader": 1, "followers": 0, "synced": 0, "lag": 0}
    assert {name: found[name] for name in expected} == expected


def test_the_leader_tells_of_servers_that_are_not_named() -> None:
    """As where the hosts string names one of three."""
    found = summed((leader("a", synced_followers=1),))
    assert (found.values["servers"], found.values["serving"]) == (3, 2)
    assert found.values["quorum"] == pytest.approx(66.667, abs=0.001)
    assert found.errors == ()


def test_the_quorum_is_left_out_where_nobody_here_knows_it() -> None:
    found = summed((serving("b"),))
    assert not {"quorum", "serving", "leaders"} & set(found.values)
    assert found.values["has_leader"] == 1
    (error,) = found.errors
    assert error.startswith("3 servers vote, and 1 of them are known here: name all under servers")


def test_how_many_vote_is_remembered_while_nobody_says_it() -> None:
    first = summed((leader("a"),))
    second = summed((down("a"),), first.memory)
    assert (second.values["servers"], second.values["quorum"]) == (3, 0.0)


def test_observers_are_no_part_of_the_quorum_even_when_they_are_down() -> None:
    asked = (leader("a"), serving("b"), serving("c"), serving("d", "observer"))
    first = summed(asked)
    assert (first.values["quorum"], first.values["serving"], first.values["servers"]) == (100.0, 4, 4)
    second = summed((*asked[:3], down("d")), first.memory)
    assert (second.values["quorum"], second.values["serving"], second.values["servers"]) == (100.0, 3, 4)
    promoted = summed((*asked[:3], serving("d", voters=4)), first.memory)
    assert promoted.memory.observers == frozenset()


def test_a_follower_of_an_earlier_epoch_lacks_what_the_new_one_has() -> None:
    """Right after an election nothing of it has happened yet, so nobody is behind."""
    new = serving("a", "leader", EPOCH + 2**32)
    assert summed((new, serving("b"))).values["lag"] == 0
    assert summed((serving("a", "leader", EPOCH + 2**32 + 5), serving("b"))).values["lag"] == 5
    assert summed((leader("a"), serving("b", zxid=EPOCH + 110))).instances["b"]["lag"] == 0


def test_the_end_of_an_epoch_comes_near() -> None:
    assert summed((serving("a", "standalone", EPOCH + 2**31),)).values["zxid_percent"] == 50.0


def test_one_that_refuses_to_tell_whether_it_serves_leaves_the_quorum_unknown() -> None:
    mute = Asked(name="c", is_there=True, is_mute=True, is_refusing=True, trouble="refuses mntr")
    found = summed((serving("a"), serving("b"), mute))
    assert "quorum" not in found.values
    assert found.instances["c"] == {"ok": 1, "refused": 1}
    assert found.errors == ("c: refuses mntr",)
    assert summed((leader("a"), serving("b"), mute)).values["quorum"] == 100.0


def test_the_first_certificate_to_expire_counts() -> None:
    asked = (Asked(name="a", expires_in=-5.0), Asked(name="b", expires_in=9.0))
    assert summed(asked).values["certificate_expires"] == -5.0


@pytest.mark.parametrize(
    ("hosts", "servers", "expected"),
    [
        ("a:2181,b:2182/kafka", (), ("a:2181", "b:2182")),
        ("a, b,a", (), ("a:2181", "b:2181")),
        ("[::1],[::1]:2182", (), ("[::1]:2181", "[::1]:2182")),
        ("vip:2181", ("a:1", "b:2"), ("a:1", "b:2")),
    ],
)
def test_who_is_asked(hosts: str, servers: tuple[str, ...], expected: tuple[str, ...]) -> None:
    settings = EnsembleSettings(zookeeper=ZookeeperSettings(hosts=hosts), members=Members(servers=servers))
    assert servers_of(settings) == expected
