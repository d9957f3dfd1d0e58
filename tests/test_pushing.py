"""Metrics of applications: pushed by every way that is documented, judged by a real engine, refused with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kazoo.client import KazooClient

from tests.acceptance.stage import Stage
from tests.acceptance.stage import stage as stage  # noqa: PLC0414 - a fixture
from tests.helpers import HttpReceiver, Relay, lose_connection, wait_for
from zkalert import Pusher, documents, push, rulefile
from zkalert.metrics import FAMILIES
from zkalert.model import HostInfo, Level, Problem, Sample, UsageError, ZkalertError, ZookeeperSettings
from zkalert.pushing import sample_of
from zkalert.sampler.presence import myself
from zkalert.sampler.publish import Publisher
from zkalert.store.hosts import forget_host
from zkalert.tree import Push, Tree, decode_push, decode_sample, encode_host, encode_push, encode_sample
from zkalert.zk import Client

ORDERS_WAIT = """
rules:
  - name: orders-wait
    metric: orders.depth
    comparator: ">"
    threshold: 1000
    severity: critical
    {more}
"""


@pytest.fixture
def web1(client: Client, tree: Tree) -> str:
    """A host that a sampler has published as."""
    client.create(tree.host("web1"), encode_host(HostInfo(name="web1")), makepath=True)
    return "web1"


@pytest.fixture
def pusher(settings: ZookeeperSettings, web1: str) -> Iterator[Pusher]:
    with Pusher(host=web1, zookeeper=settings) as made:
        yield made


def stands(client: Client, tree: Tree, family: str = "orders", host: str = "web1") -> Sample:
    sample = decode_sample(family, client.get(tree.family(host, family))[0])
    assert isinstance(sample, Sample)
    return sample


# Every way in ---------------------------------------------------------------------------------------------------------


def test_a_push_is_a_sample_of_its_host(pusher: Pusher, client: Client, tree: Tree) -> None:
    pusher.push("orders", depth=42, state="open", is_late=True, max_age=60)
    found = stands(client, tree)
    assert (found.values, found.max_age) == ({"depth": 42, "state": "open", "is_late": 1}, 60)
    pusher.push("orders", instances={"eu": {"depth": 3}}, labels={"eu": {"region": "europe"}})
    found = stands(client, tree)
    assert (found.values, found.instances, found.labels) == ({}, {"eu": {"depth": 3}}, {"eu": {"region": "europe"}})


def test_the_configuration_says_where_a_push_goes(
    settings: ZookeeperSettings, web1: str, client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKALERT_ZOOKEEPER", settings.hosts)
    monkeypatch.setenv("ZKALERT_ROOT", settings.root)
    monkeypatch.setenv("ZKALERT_HOST", web1)
    push("orders", depth=42)
    assert stands(client, tree).values == {"depth": 42}


def test_names_that_python_does_not_take_go_into_a_mapping(pusher: Pusher, client: Client, tree: Tree) -> None:
    pusher.push("orders", {"99th": 1.5, "max_age": 3}, depth=42)
    assert stands(client, tree).values == {"99th": 1.5, "max_age": 3, "depth": 42}


def put(settings: ZookeeperSettings, *words: str, host: str = "web1") -> subprocess.CompletedProcess[str]:
    where = ["--zookeeper", settings.hosts, "--root", settings.root, "--host", host]
    command = [sys.executable, "-m", "zkalert", "put", *words, *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done


def test_put_tells_what_it_wrote(settings: ZookeeperSettings, web1: str, client: Client, tree: Tree) -> None:
    done = put(settings, "orders", "depth=42", "rate=1.5e1", 'release="1.10"', "state=open\x1b", "--max-age", "26h")
    assert done.returncode == 0
    assert done.stderr == (f'orders of {web1}: depth 42, rate 15.0, release "1.10", state "open\\u001b"; for 1d2h\n')
    assert stands(client, tree).values == {"depth": 42, "rate": 15.0, "release": "1.10", "state": "open\x1b"}


def test_puts_of_several_jobs_stand_beside_each_other(
    settings: ZookeeperSettings, web1: str, client: Client, tree: Tree
) -> None:
    assert put(settings, "orders", "depth=42").returncode == 0
    assert put(settings, "orders", "depth=3", "--instance", "eu", "--label", "region=europe").returncode == 0
    assert put(settings, "orders", "depth=39", "--instance", "us").returncode == 0
    found = stands(client, tree)
    assert (found.values, found.instances) == ({"depth": 42}, {"eu": {"depth": 3}, "us": {"depth": 39}})
    assert found.labels == {"eu": {"region": "europe"}}
    assert put(settings, "orders", "depth=1", "--instance", "us", "--replace").returncode == 0
    assert stands(client, tree).instances == {"us": {"depth": 1}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["orders", "depth"], 'found "depth"; expected FIELD=VALUE'),
        (["orders", "=1"], 'found "=1"; expected FIELD=VALUE'),
        (["orders", "depth=1", "depth=2"], "depth= is given twice"),
        (["orders", "depth=nan"], "depth=nan is no finite number"),
        (["orders", "depth=1e999"], "depth=1e999 is no finite number"),
        (["orders", 'depth="1'], "begins with a quote"),
        (["orders", "depth=1", "--label", "a=b"], "name that with --instance NAME"),
        (["orders", "depth=1", "--max-age", "0s"], "expected more than 0s"),
        (["Orders", "depth=1"], '"Orders" is no name of a family'),
        (["memory_usage", "percent=1"], '"memory_usage" is a family of zkalert\'s own'),
        (["orders"], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_put_is_usage(settings: ZookeeperSettings, web1: str, words: list[str], said: str) -> None:
    done = put(settings, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_host_without_a_sampler_gets_no_metrics(settings: ZookeeperSettings, web1: str, client: Client) -> None:
    done = put(settings, "orders", "depth=1", host="wbe1")
    assert done.returncode == 1
    assert f'no sampler has published as host "wbe1" below {settings.root}; did you mean web1?' in done.stderr
    assert client.get_children(f"{settings.root}/hosts") == ["web1"]


def test_a_zookeeper_that_is_not_there_is_an_error_of_one_line() -> None:
    nobody = ZookeeperSettings(hosts="127.0.0.1:1", session_timeout=0.5)
    with (
        pytest.raises(ZkalertError, match=r"^ZooKeeper at 127\.0\.0\.1:1 does not answer \(Connection refused\)$"),
        Pusher(host="web1", zookeeper=nobody),
    ):
        pass


# Rules ----------------------------------------------------------------------------------------------------------------


def test_a_rule_on_a_pushed_metric_fires_and_resolves(stage: Stage, http_receiver: HttpReceiver) -> None:
    stage.host("web1")
    stage.engine(ORDERS_WAIT.format(more=""), {"ops": (http_receiver.url("/hook", "webhook"),)}).wait_owner()
    with Pusher(host="web1", zookeeper=stage.zookeeper) as pusher:
        pusher.push("orders", depth=10)
        pusher.push("orders", depth=2000)
        (alert,) = stage.wait_states("firing")
        assert (alert.host, alert.value) == ("web1", 2000)
        http_receiver.wait(1)
        pusher.push("orders", depth=3)
        stage.wait_states()


def test_an_instance_that_any_client_writes_is_judged_with_its_labels(
    stage: Stage, http_receiver: HttpReceiver
) -> None:
    """The document of docs/push.md, by a client that knows nothing of zkalert."""
    stage.host("web1")
    rules = ORDERS_WAIT.format(more='instances: "*"\n    summary: "{{ instance }} in {{ instance.region }}"')
    stage.engine(rules, {"ops": (http_receiver.url("/hook", "webhook"),)}).wait_owner()
    document = {
        "v": 1,
        "time": 0,
        "interval": 60,
        "max_age": 300,
        "values": {"depth": 42, "state": "open"},
        "instances": {"eu": {"depth": 1001}, "us": {"depth": 39}},
        "labels": {"eu": {"region": "europe"}},
    }
    raw = KazooClient(stage.zookeeper.hosts)
    raw.start()
    raw.create(f"{stage.zookeeper.root}/hosts/web1/metrics/orders", json.dumps(document).encode())
    raw.stop()
    raw.close()
    (alert,) = stage.wait_states("firing")
    assert (alert.instance, alert.value) == ("eu", 1001)
    (request,) = http_receiver.wait(1)
    assert request.json["alerts"][0]["summary"] == "eu in europe"


def test_a_push_that_ends_with_its_session_leaves_no_alert_behind(stage: Stage) -> None:
    stage.host("web1")
    stage.engine(ORDERS_WAIT.format(more="no_data: {after: 1s, then: resolve}")).wait_owner()
    raw = KazooClient(stage.zookeeper.hosts)
    raw.start()
    payload = encode_sample(Sample(family="orders", at=0.0, interval=5, max_age=15, values={"depth": 2000}))
    raw.create(stage.tree.family("web1", "orders"), payload, ephemeral=True)
    stage.wait_states("firing")
    raw.stop()
    raw.close()
    stage.wait_states(timeout=20)


# Others at work -------------------------------------------------------------------------------------------------------


def test_pushers_of_one_family_lose_nothing_of_each_other(
    settings: ZookeeperSettings, web1: str, client: Client, tree: Tree
) -> None:
    """Each writes its own instance again and again, all at once; the last of each stands in the end."""

    def work(name: str) -> None:
        with Pusher(host=web1, zookeeper=settings) as one:
            for depth in range(20):
                one.push("orders", instances={name: {"depth": depth}}, merge=True)

    threads = [threading.Thread(target=work, args=(f"queue-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert stands(client, tree).instances == {f"queue-{number}": {"depth": 19} for number in range(4)}


def test_one_pusher_serves_many_threads(pusher: Pusher, client: Client, tree: Tree) -> None:
    names = [f"family_{number}" for number in range(8)]
    threads = [threading.Thread(target=pusher.push, args=(name, {"value": 1})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(client.get_children(tree.metrics("web1"))) == names


def test_a_part_that_nobody_pushes_any_more_is_dropped(pusher: Pusher, client: Client, tree: Tree) -> None:
    pusher.push("orders", instances={"eu": {"depth": 3}, "us": {"depth": 4}}, depth=7)
    path = tree.family("web1", "orders")
    found = decode_push("orders", client.get(path)[0])
    assert isinstance(found, Push)
    aged = {**found.parts, "eu": found.parts["eu"] - 301, "": found.parts[""] - 301}
    client.set(path, encode_push(Push(found.sample, aged)))
    pusher.push("orders", instances={"asia": {"depth": 5}}, merge=True)
    assert (stands(client, tree).values, set(stands(client, tree).instances)) == ({}, {"us", "asia"})


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"v": 9}', b"x" * 70_000])
def test_what_cannot_be_merged_with_is_replaced(pusher: Pusher, client: Client, tree: Tree, data: bytes) -> None:
    client.create(tree.family("web1", "orders"), data, makepath=True)
    pusher.push("orders", depth=1, merge=True)
    assert stands(client, tree).values == {"depth": 1}


def test_a_push_outlives_its_connection(pusher: Pusher, client: Client, tree: Tree) -> None:
    pusher.push("orders", depth=1)
    lose_connection(pusher._client)
    pusher.push("orders", depth=2)
    assert stands(client, tree).values == {"depth": 2}


def test_a_push_waits_for_a_zookeeper_that_comes_back(
    settings: ZookeeperSettings, web1: str, client: Client, tree: Tree
) -> None:
    relay = Relay(settings.hosts)
    patient = ZookeeperSettings(hosts=relay.hosts, root=settings.root, session_timeout=8.0)
    try:
        with Pusher(host=web1, zookeeper=patient) as one:
            relay.cut()
            wait_for(lambda: not one._client.connected, "the client to notice")
            pushing = threading.Thread(target=one.push, args=("orders", {"depth": 5}))
            pushing.start()
            relay.mend()
            pushing.join(15)
            assert stands(client, tree).values == {"depth": 5}
            relay.cut()
            wait_for(lambda: not one._client.connected, "the client to notice")
            leaving = threading.Timer(0.3, one.close)
            leaving.start()
            with pytest.raises(ZkalertError, match="could not be written to ZooKeeper in time"):
                one.push("orders", depth=6)
            leaving.join()
    finally:
        relay.close()


def test_a_sampler_goes_on_beside_pushes_and_takes_them_along_when_it_leaves(
    settings: ZookeeperSettings, client: Client, tree: Tree
) -> None:
    publisher = Publisher(client, tree, HostInfo(name="web1", machine="m"), myself("m"))
    publisher.claim()
    publisher.publish({"memory_usage": b"{}"})
    with Pusher(host="web1", zookeeper=settings) as one:
        one.push("orders", depth=1)
        publisher.claim()
        publisher.publish({"memory_usage": b"[]", "cpu_usage": b"{}"})
        assert stands(client, tree).values == {"depth": 1}
        client.delete(tree.alive("web1"))
        assert forget_host(client, tree, "web1") == 5
        with pytest.raises(ZkalertError, match="no sampler has published as host"):
            one.push("orders", depth=2)
    assert client.exists(tree.host("web1")) is None


def test_rights_that_are_missing_are_told(settings: ZookeeperSettings, client: Client, tree: Tree) -> None:
    owner = ZookeeperSettings(hosts=settings.hosts, root=settings.root, digest="zkalert:secret")
    with Pusher(host="web1", zookeeper=owner) as one:
        one._client.create(tree.host("web1"), b"{}", makepath=True)
        one.push("orders", depth=1)
    with (
        Pusher(host="web1", zookeeper=settings) as stranger,
        pytest.raises(ZkalertError, match=r"refused \(NoAuthError\); check zookeeper.auth"),
    ):
        stranger.push("orders", depth=2)


# What is refused ------------------------------------------------------------------------------------------------------


def checked(family: Any = "orders", values: Any = None, **rest: Any) -> Sample:
    given = {"instances": {}, "labels": {}, "max_age": 60.0, "at": 1.0, **rest}
    return sample_of(family, {"depth": 1} if values is None else values, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"family": ""}, "is no name of a family"),
        ({"family": None}, "is no name of a family"),
        ({"family": "../x"}, "is no name of a family"),
        ({"family": "a" * 65}, "is no name of a family"),
        ({"family": "memory_usages"}, "rules would take"),
        ({"family": "cpu_usage"}, "which its samplers publish"),
        ({"values": {}}, "nothing to publish"),
        ({"values": {"": 1}}, "no rule can name the field"),
        ({"values": {"a\nb": 1}}, "no rule can name the field"),
        ({"values": {3: 1}}, "the name of a field is int"),
        ({"values": {"a" * 300: 1}}, "300 characters; expected at most 256"),
        ({"values": {"depth": float("nan")}}, "orders.depth is nan; expected a finite number"),
        ({"values": {"depth": float("-inf")}}, "orders.depth is -inf"),
        ({"values": {"depth": 2**70}}, "expected a finite number from"),
        ({"values": {"depth": None}}, "orders.depth is NoneType; expected a number or a text"),
        ({"values": {"depth": [1]}}, "orders.depth is list"),
        ({"values": {"depth": "x" * 257}}, "a text has 257 characters"),
        ({"max_age": 0}, "max_age is 0"),
        ({"max_age": float("inf")}, "max_age is inf"),
        ({"max_age": "5m"}, "max_age is '5m'"),
        ({"instances": {"": {"depth": 1}}}, "the name of an instance is empty"),
        ({"instances": {1: {"depth": 1}}}, "the name of an instance is int"),
        ({"instances": {str(n): {"depth": 1} for n in range(257)}}, "257 instances; expected at most 256"),
        ({"labels": {"eu": {"a": "b"}}}, "which is no instance of this push"),
        ({"instances": {"eu": {"depth": 1}}, "labels": {"eu": {"a": 1}}}, "the label a is int"),
        ({"instances": {"eu": {"depth": 1}}, "labels": {"eu": {"a b": "c"}}}, "is no name of a label"),
        ({"values": {f"f{n}": "x" * 250 for n in range(300)}}, "bytes in all; expected at most 65536"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_rule_could_use_is_refused_before_it_is_written(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(**given)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_family_of_zkalert_can_be_pushed(family: str) -> None:
    with pytest.raises(UsageError, match="expected a name of your own"):
        checked(family)


# The schema -----------------------------------------------------------------------------------------------------------

SCHEMA = jsonschema.Draft202012Validator(json.loads(documents.schema_bytes("sample")))
_TEXTS = st.text(max_size=20)
_VALUES = st.dictionaries(
    _TEXTS, st.integers(-(2**63), 2**64) | st.floats(-1e18, 1e18) | st.text(max_size=256), max_size=4
)
_SAMPLES = st.builds(
    Sample,
    family=st.just("orders"),
    at=st.floats(0, 4e9),
    interval=st.floats(0.1, 1e6),
    max_age=st.floats(0.1, 1e6),
    values=_VALUES,
    instances=st.dictionaries(_TEXTS, _VALUES, max_size=3),
    labels=st.dictionaries(_TEXTS, st.dictionaries(_TEXTS, _TEXTS, max_size=2), max_size=2),
    errors=st.lists(_TEXTS, max_size=2).map(tuple),
)


@given(_SAMPLES)
def test_what_is_encoded_fits_the_schema_and_comes_back(sample: Sample) -> None:
    for payload in (encode_sample(sample), encode_push(Push(sample, {"": 1.0, "eu": 2.0}))):
        assert list(SCHEMA.iter_errors(json.loads(payload))) == []
        found = decode_sample("orders", payload)
        assert isinstance(found, Sample)
        assert (found.values, found.instances, found.labels) == (sample.values, sample.instances, sample.labels)


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
_ANY = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=8
)
_FITTING = st.fixed_dictionaries(
    {"v": st.sampled_from([1, 1, 1, 2, "1"]), "time": st.just(0) | _PLAIN, "interval": st.just(5) | _PLAIN}
    | {"max_age": st.just(15) | _PLAIN},
    optional={"values": _VALUES | _ANY, "instances": st.dictionaries(_TEXTS, _VALUES, max_size=2) | _ANY}
    | {"labels": st.dictionaries(_TEXTS, st.dictionaries(_TEXTS, _TEXTS), max_size=2) | _ANY, "errors": _ANY},
)


@given(_FITTING)
@hypothesis_settings(max_examples=500, deadline=None)
def test_what_fits_the_schema_is_read(document: dict[str, Any]) -> None:
    if SCHEMA.is_valid(document):
        assert isinstance(decode_sample("orders", json.dumps(document).encode()), Sample)


GOOD = {"v": 1, "time": 0, "interval": 5, "max_age": 15, "values": {"depth": 1}}


@pytest.mark.parametrize(
    "change",
    [
        *({"v": 2}, {"time": "now"}, {"interval": 0}, {"max_age": -1}, {"values": []}, {"values": {"depth": None}}),
        *({"values": {"depth": True}}, {"values": {"depth": "x" * 257}}, {"values": {"depth": [1]}}),
        *({"instances": {"eu": 1}}, {"instances": {"x" * 257: {}}}, {"instances": {str(n): {} for n in range(257)}}),
        *({"labels": {"eu": {"a": 1}}}, {"errors": [1]}, {"values": {"depth": 2**65}}),
    ],
    ids=lambda change: str(change)[:30],
)
def test_what_is_refused_does_not_fit_the_schema(change: dict[str, Any]) -> None:
    document = {**GOOD, **change}
    assert isinstance(decode_sample("orders", json.dumps(document).encode()), Problem)
    assert not SCHEMA.is_valid(document)
    assert SCHEMA.is_valid(GOOD)


PAGE = Path(__file__).parents[1] / "docs" / "source" / "push.md"


def block(language: str) -> str:
    """The first block of code of the page in this language."""
    return PAGE.read_text(encoding="utf-8").partition(f"```{language}\n")[2].partition("```")[0]


def test_the_documented_rules_can_be_used() -> None:
    rules, findings = rulefile.parse(block("yaml"), "orders.yaml")
    assert len(rules) == 1
    assert {(finding.code, finding.level) for finding in findings} == {("pushed-family", Level.ADVICE)}


def test_the_documented_payload_fits_the_schema() -> None:
    text = block("json")
    assert SCHEMA.is_valid(json.loads(text))
    assert isinstance(decode_sample("orders", text.encode()), Sample)


# Its price ------------------------------------------------------------------------------------------------------------


def test_importing_zkalert_loads_no_client() -> None:
    code = "import sys, zkalert; print('kazoo' in sys.modules); zkalert.push; print('kazoo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_slip_is_an_attribute_error() -> None:
    import zkalert  # noqa: PLC0415

    slip = "psuh"
    with pytest.raises(AttributeError, match="module 'zkalert' has no attribute 'psuh'"):
        getattr(zkalert, slip)
