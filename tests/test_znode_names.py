"""Metrics of znodes by name: what a pattern says, and what is told of one that says nothing."""

from __future__ import annotations

import pytest

from zkalert.metrics import Kind, MetricError, Unit, family_of, field_of, is_pushed, parse_metric, parse_pattern
from zkalert.model import Metric


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("znode:/brokers/ids#children", Metric("znode:/brokers/ids", "children")),
        ("kafka:/brokers/ids/*", Metric("kafka:/brokers/ids/*", "exists")),
        ("znode:/#children", Metric("znode:/", "children")),
        ("znode:/a.b/c#/x.y/0", Metric("znode:/a.b/c", "/x.y/0")),
        ("znode:/a#~v=([0-9]+)", Metric("znode:/a", "~v=([0-9]+)")),
        ("orders.depth", Metric("orders", "depth")),
    ],
)
def test_a_name_says_which_metric_it_is_and_the_metric_says_its_name(text: str, metric: Metric) -> None:
    assert parse_metric(text) == metric
    assert Metric.of(str(metric)) == metric
    assert parse_metric(str(metric)) == metric


def test_open_parts_have_labels_and_make_instances() -> None:
    pattern = parse_pattern("znode:/brokers/topics/{topic}/partitions/*/state")
    assert pattern.ensemble == "zookeeper"
    assert pattern.labels == ("topic", "2")
    assert pattern.path(len(pattern.parts), ("orders", "0")) == "/brokers/topics/orders/partitions/0/state"
    assert pattern.names_in("/brokers/topics/orders/partitions/0/state") == ("orders", "0")
    assert pattern.names_in("/brokers/topics/orders/partitions/0") is None
    assert pattern.names_in("/consumers/topics/orders/partitions/0/state") is None
    assert pattern.labelled(("orders", "0")) == {"topic": "orders", "2": "0"}
    family = family_of("znode:/brokers/topics/{topic}/partitions/*/state")
    assert (family.has_whole, family.of_hosts, family.is_open) == (False, False, True)


def test_a_path_without_open_parts_has_a_whole_value_alone() -> None:
    family = family_of("kafka:/controller")
    assert (family.has_whole, family.instance_kind, parse_pattern("kafka:/controller").ensemble) == (
        True,
        None,
        "kafka",
    )


@pytest.mark.parametrize(
    ("text", "message", "expected"),
    [
        ("znode:/a*#exists", '"a*" in /a* is no name of a znode', "whole names"),
        ("znode:/a//b", "/a//b has an empty part", "whole names"),
        ("znode:/a/../b", '".." in /a/../b is no name', "whole names"),
        ("znode:/a/", "/a/ has an empty part", "whole names"),
        ("znode:/{x}/{x}", "{x} in /{x}/{x} stands there twice", "each once"),
        ("znode:/{X y}", "{X y} in /{X y} is no label", "letters, digits and _"),
        ("zookeeper:/a", "the own ensemble is called znode", "znode:/a"),
        ("znode:/a#childen", '"childen" after # is no such field', "exists, children"),
        ("znode:/a#", '"" after # is no such field', "exists, children"),
        ("znode:/a#~(", "not a regular expression", "~ and a regular expression"),
        ("znode:/a#~", "an empty regular expression", "~ and a regular expression"),
        ("orders", 'unknown metric "orders"', "one of"),
        ("orders.", 'unknown metric "orders."', "one of"),
        ("Orders.depth", 'unknown metric "Orders.depth"', "one of"),
    ],
)
def test_a_name_that_says_nothing_is_told_with_what_would(text: str, message: str, expected: str) -> None:
    with pytest.raises(MetricError) as told:
        parse_metric(text)
    assert message in str(told.value)
    assert expected in told.value.expected


def test_the_nearest_field_is_named() -> None:
    with pytest.raises(MetricError) as told:
        parse_metric("kafka:/brokers/ids#childrn")
    assert told.value.hint == "kafka:/brokers/ids#children"


@pytest.mark.parametrize("text", ["memory.percent", "memory_usge.percent", "disk.used", "cpu_usages.user"])
def test_a_family_that_resembles_one_of_the_table_is_no_pushed_one(text: str) -> None:
    with pytest.raises(MetricError) as told:
        parse_metric(text)
    assert told.value.hint


def test_fields_of_open_families_may_be_numbers_or_texts() -> None:
    for text in ("znode:/a#value", "znode:/a#/x", "orders.depth", "command.load1"):
        field = field_of(parse_metric(text))
        assert (field.kind, field.unit) == (Kind.ANY, Unit.ANY)
    assert is_pushed("orders")
    assert not is_pushed("znode:/a")
    assert not is_pushed("memory_usage")
