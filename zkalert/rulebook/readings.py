"""What host and instance say of themselves when an effect comes to be: its message may be sent when they are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from zkalert.metrics import is_znode, znode_labels
from zkalert.model import EMPTY, Effect, HostInfo, Rule, Sample, Value


def with_facts(rule: Rule, effect: Effect, info: HostInfo | None, latest: Callable[[str], Sample | None]) -> Effect:
    """An effect with the labels of its host and instance, and what its rule's texts read.

    `info` is what the host said of itself; `latest` gives its last sample of a family. None where there is none.
    """
    alert = effect.alert
    own = latest(alert.metric.family)
    labels = EMPTY if own is None or alert.instance is None else own.labels.get(alert.instance, EMPTY)
    if not labels and alert.instance is not None and is_znode(alert.metric.family):
        labels = znode_labels(alert.metric.family, alert.instance)  # a match that is gone is told of with its names
    host_labels = EMPTY if info is None else info.labels
    return replace(
        effect, host_labels=host_labels, instance_labels=labels, readings=_readings(rule, alert.instance, latest)
    )


def _readings(rule: Rule, instance: str | None, latest: Callable[[str], Sample | None]) -> Mapping[str, Value]:
    readings: dict[str, Value] = {}
    for metric in rule.reads:
        sample = latest(metric.family)
        if sample is not None:
            values = sample.instances.get(instance or "") or sample.values
            if metric.field in values:
                readings[str(metric)] = values[metric.field]
    return readings
