"""What servers of several versions say of themselves becomes fields, and what they should not say becomes none."""

from __future__ import annotations

import base64
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert.metrics import FAMILIES, ZOOKEEPER_FAMILY
from zkalert.servers import answers
from zkalert.servers.answers import Answer, Reply, merged
from zkalert.servers.certificate import expires_at


def mntr(version: str, *lines: str) -> str:
    return "".join(f"zk_{line.replace(' ', chr(9), 1)}\n" for line in (f"version {version}", *lines))


# In the form that these versions print it, with the lines that matter here; test_servers.py asks a real one.
MNTR_3_4_LEADER = mntr(
    "3.4.14-4c25d480e66aadd371de8bd2fd8da255ac140bcf, built on 03/06/2019 16:18 GMT",
    "avg_latency 1",
    "max_latency 33",
    "min_latency 0",
    "packets_received 70",
    "packets_sent 69",
    "num_alive_connections 2",
    "outstanding_requests 0",
    "server_state leader",
    "znode_count 4",
    "watch_count 3",
    "ephemerals_count 1",
    "approximate_data_size 27",
    "open_file_descriptor_count 27",
    "max_file_descriptor_count 1024",
    "fsync_threshold_exceed_count 0",
    "followers 4",
    "synced_followers 3",
    "pending_syncs 1",
    "last_proposal_size -1",
)
MNTR_3_6_LEADER = mntr(
    "3.6.3--6401e4ad2087061bc6b9f80dec2d69f2e3c8660a, built on 04/08/2021 16:35 GMT",
    "server_state leader",
    "peer_state leading - broadcast",
    "ephemerals_count 1",
    "avg_latency 0.1736",
    "num_alive_connections 1",
    "packets_sent 10432",
    "packets_received 10431",
    "synced_followers 2",
    "synced_observers 1",
    "learners 3",
    "quorum_size 3",
    "uptime 65612622",
    "open_file_descriptor_count -1",
    "max_file_descriptor_count -1",
)
MNTR_3_8_OBSERVER = mntr(
    "3.8.4-9316c2a7a97e1666d8f4593f34dd6fc36ecc436c, built on 2024-02-12 22:16 UTC",
    "server_state observer",
    "peer_state observing - broadcast",
    "observer_master_id 2",
    "packets_sent 8736002036",
    "max_file_descriptor_count 500000",
    "open_file_descriptor_count 500",
)
MNTR_3_9_FOLLOWER = mntr(
    "3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 23:21 UTC",
    "server_state follower",
    "peer_state following - broadcast",
    "sum_fsynctime 1500",
    "cnt_fsynctime 300",
    "max_fsynctime 40",
    "p99_readlatency 2",
    "p99_updatelatency 8",
    "p99_propagation_latency 5",
)
SRVR_3_4 = """\
Zookeeper version: 3.4.14-4c25d480e66aadd371de8bd2fd8da255ac140bcf, built on 03/06/2019 16:18 GMT
Latency min/avg/max: 0/1/33
Received: 26
Sent: 25
Connections: 1
Outstanding: 2
Zxid: 0x500000021
Mode: follower
Node count: 4
"""
SRVR_3_9 = """\
Zookeeper version: 3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 23:21 UTC
Latency min/avg/max: 0/0.2151/12
Received: 5
Sent: 6
Connections: 1
Outstanding: 0
Zxid: 0x100000000
Mode: leader
Node count: 5
Proposal sizes last/min/max: -1/-1/-1
"""


def answered(reply: Answer | Reply) -> Answer:
    assert isinstance(reply, Answer)
    return reply


def test_mntr_of_3_4_gives_all_that_it_has() -> None:
    answer = answered(answers.monitored(MNTR_3_4_LEADER))
    assert (answer.role, answer.zxid, answer.voters) == ("leader", None, None)
    assert answer.values == {
        "version": "3.4.14",
        "latency_avg": 0.001,
        "latency_max": 0.033,
        "latency_min": 0.0,
        "received": 70,
        "sent": 69,
        "connections": 2,
        "outstanding": 0,
        "znodes": 4,
        "watches": 3,
        "ephemerals": 1,
        "data_size": 27,
        "open_fds": 27,
        "max_fds": 1024,
        "open_fds_percent": pytest.approx(2.637, abs=0.001),
        "followers": 4,
        "synced_followers": 3,
        "pending_syncs": 1,
    }


def test_observers_are_no_followers_and_minus_one_is_no_number() -> None:
    answer = answered(answers.monitored(MNTR_3_6_LEADER))
    assert answer.voters == 3
    assert (answer.values["followers"], answer.values["synced_followers"]) == (2, 2)
    assert answer.values["uptime"] == pytest.approx(65612.622)
    assert not {"open_fds", "max_fds", "open_fds_percent"} & set(answer.values)


def test_an_observer_says_that_it_is_one() -> None:
    answer = answered(answers.monitored(MNTR_3_8_OBSERVER))
    assert (answer.role, answer.values["open_fds_percent"], answer.values["sent"]) == ("observer", 0.1, 8736002036)


def test_times_of_3_9_are_seconds() -> None:
    values = answered(answers.monitored(MNTR_3_9_FOLLOWER)).values
    names = ("fsync_time", "fsyncs", "fsync_max", "read_p99", "update_p99", "commit_p99")
    assert [values[name] for name in names] == [1.5, 300, 0.04, 0.002, 0.008, 0.005]


@pytest.mark.parametrize(
    ("text", "role", "zxid", "expected"),
    [
        pytest.param(
            SRVR_3_4,
            "follower",
            0x500000021,
            {"version": "3.4.14", "latency_max": 0.033, "received": 26, "outstanding": 2, "znodes": 4},
            id="3.4",
        ),
        pytest.param(
            SRVR_3_9,
            "leader",
            0x100000000,
            {"version": "3.9.3", "latency_avg": pytest.approx(0.0002151), "sent": 6, "connections": 1},
            id="3.9",
        ),
    ],
)
def test_srvr_tells_the_zxid_beside_the_rest(text: str, role: str, zxid: int, expected: dict[str, object]) -> None:
    answer = answered(answers.served(text))
    assert (answer.role, answer.zxid) == (role, zxid)
    assert {name: answer.values[name] for name in expected} == expected


def test_the_admin_server_says_the_same_in_json() -> None:
    monitor = {"version": "3.8.0-x, built on", "server_state": "leader", "avg_latency": 0.5, "learners": 2}
    stats = {"server_stats": {"last_processed_zxid": 0x300000007, "server_state": "leader"}, "node_count": 5}
    said = (
        answered(answers.monitored_by_admin(json.dumps({**monitor, "command": "monitor", "error": None}).encode())),
        answered(answers.served_by_admin(json.dumps({**stats, "version": "3.8.0", "error": None}).encode())),
    )
    assert merged(said) == Answer(
        values={"version": "3.8.0", "latency_avg": 0.0005, "followers": 2, "znodes": 5}, role="leader", zxid=0x300000007
    )


def test_a_version_that_was_built_from_sources_is_one_still() -> None:
    answer = answered(answers.monitored(mntr("3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC")))
    assert answer.values == {"version": "3.8.0"}
    beta = answered(answers.monitored(mntr("3.5.3-beta-8ce24f9e675cbefffb8f21a47e06b42864475a60, built on 04/03/2017")))
    assert beta.values == {"version": "3.5.3-beta"}
    assert answered(answers.monitored(mntr("\x1b[31mred"))).values == {}


def test_an_answer_that_was_cut_loses_only_its_last_line() -> None:
    answer = answered(answers.monitored(MNTR_3_4_LEADER[: MNTR_3_4_LEADER.index("33")] + "3"))
    assert answer.values == {"version": "3.4.14", "latency_avg": 0.001}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mntr is not executed because it is not in the whitelist.\n", Reply.REFUSED),
        ("\n isro is not executed because it is not in the whitelist.\n", Reply.REFUSED),
        ("This ZooKeeper instance is not currently serving requests\n", Reply.NOT_SERVING),
        ("", Reply.SILENT),
        (" \n", Reply.SILENT),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Reply.STRANGE),
        ("zk_avg_latency\t1\n", Reply.STRANGE),
        ("220 mail.example.org ESMTP\r\n", Reply.STRANGE),
    ],
)
def test_what_is_no_answer_is_told_apart(text: str, expected: Reply) -> None:
    assert answers.monitored(text) is expected
    assert answers.served(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rw", Answer()),
        ("ro", Answer(role="read-only")),
        ("null", Reply.NOT_SERVING),
        ("", Reply.SILENT),
        ("what?", Reply.STRANGE),
        (" isro is not executed because it is not in the whitelist.", Reply.REFUSED),
    ],
)
def test_isro(text: str, expected: Answer | Reply) -> None:
    assert answers.read_only(text) == expected


def test_imok_is_said_by_servers_that_do_not_serve_too() -> None:
    assert answers.fine("imok") is Reply.NOT_SERVING
    assert answers.fine("imok?") is Reply.STRANGE


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Reply.STRANGE),
        (b"<html>", Reply.STRANGE),
        (b"[1]", Reply.STRANGE),
        (b"[" * 100_000, Reply.STRANGE),
        (b'{"version": "3.8.0"}', Reply.STRANGE),
        (b'{"error": "Unknown command: monitor"}', Reply.STRANGE),
        (b'{"error": "This ZooKeeper instance is not currently serving requests"}', Reply.NOT_SERVING),
    ],
)
def test_json_of_something_else_is_no_answer(body: bytes, expected: Reply) -> None:
    assert answers.monitored_by_admin(body) is expected
    assert answers.served_by_admin(body) is expected


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "true", '"12x"', "1e400", '"' + "9" * 400 + '"', "[1]"])
def test_what_is_no_number_is_left_out(number: str) -> None:
    body = f'{{"version": "3.8.0", "server_state": "king", "watch_count": {number}, "znode_count": 5}}'
    assert answered(answers.monitored_by_admin(body.encode())) == Answer(values={"version": "3.8.0", "znodes": 5})


@given(st.text())
def test_no_text_is_too_much(text: str) -> None:
    for parse in (answers.monitored, answers.served, answers.read_only, answers.fine):
        parse(text)
    answers.monitored("zk_version\t" + text)
    answers.served("Zookeeper version: " + text)


ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.lists(st.none())
KEYS = st.sampled_from(["version", "server_stats", "server_state", "error", "learners", "watch_count"])


@given(st.dictionaries(KEYS, ANYTHING | st.dictionaries(KEYS, ANYTHING)))
def test_no_json_is_too_much(found: dict[str, object]) -> None:
    body = json.dumps(found).encode()
    answers.monitored_by_admin(body)
    answers.served_by_admin(body)


def test_every_field_that_can_be_read_is_in_the_table() -> None:
    known = set(FAMILIES[ZOOKEEPER_FAMILY].fields)
    texts = (MNTR_3_4_LEADER, MNTR_3_6_LEADER, MNTR_3_8_OBSERVER, MNTR_3_9_FOLLOWER)
    for answer in (*map(answers.monitored, texts), answers.served(SRVR_3_4)):
        assert set(answered(answer).values) <= known


# Made by `openssl req -x509 -newkey ed25519 -nodes -subj /CN=a`, for a year and for a century.
UNTIL_2027 = (
    "MIIBLDCB36ADAgECAhQrn41XgmQkyHiHR2filoJb5ydQWzAFBgMrZXAwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjQwMjI1MjdaFw0y"
    "NzExMjQwMjI1MjdaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQB/F7+oPJhRJ7wdgVk5tXlfA+w8XhmFepyIJ/esu8z+xaNTMFEw"
    "HQYDVR0OBBYEFDic5T/Jn+nDNJ49JtPx4CXQ615DMB8GA1UdIwQYMBaAFDic5T/Jn+nDNJ49JtPx4CXQ615DMA8GA1UdEwEB/wQF"
    "MAMBAf8wBQYDK2VwA0EAdey3wlr3FVNWbTnTzH/YAjoL+v4pCOtZsg8ldZEenya+LVvhUaxY5RXCblegbQ8hFKIf0ARXEsYPAQ9P"
    "p2R0AA=="
)
UNTIL_2126 = (
    "MIIBLjCB4aADAgECAhQK7Gmjlp5LTaUYCu7DpEyOFvGo8TAFBgMrZXAwDDEKMAgGA1UEAwwBYTAgFw0yNjExMjQwMjI1MjdaGA8y"
    "MTI2MTAzMTAyMjUyN1owDDEKMAgGA1UEAwwBYTAqMAUGAytlcAMhAJQoipzpedwjVRMbjo9+OevMjcBRlaAdIvh5TYGQpwGjo1Mw"
    "UTAdBgNVHQ4EFgQUux5GpbMlYoxKlXF0tvrYsjpC3xswHwYDVR0jBBgwFoAUux5GpbMlYoxKlXF0tvrYsjpC3xswDwYDVR0TAQH/"
    "BAUwAwEB/zAFBgMrZXADQQCPgOmh/XsHgG+sH/EkHaSI15C4B9jH6Ypr9Eerg/V13GGt5XSV4hI/ivGPGYteZTLHrEWl3FfoDbJj"
    "jhagAEQI"
)


@pytest.mark.parametrize(
    ("certificate", "end"), [(UNTIL_2027, "2027-11-24T02:25:27+00:00"), (UNTIL_2126, "2126-10-31T02:25:27+00:00")]
)
def test_a_certificate_says_when_it_ends(certificate: str, end: str) -> None:
    """Until 2049 in one notation of time, from then on in another."""
    assert expires_at(base64.b64decode(certificate)) == datetime.fromisoformat(end).timestamp()


@pytest.mark.parametrize("der", [b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"0\x03\x02\x01\x01", b"\x00" * 64])
def test_what_is_no_certificate_has_no_end(der: bytes) -> None:
    assert expires_at(der) is None


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_certificate_is_too_much(der: bytes, place: int) -> None:
    whole = base64.b64decode(UNTIL_2027)
    expires_at(der)
    expires_at(whole[:place] + der + whole[place + len(der) :])
    assert expires_at(whole[: min(place, 250)]) is None
