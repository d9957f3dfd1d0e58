"""A sample as hosts publish it, made of the metric table alone: what its payload weighs is what a real one weighs.

Comes in: a family, and how many instances it has. Goes out: a sample with every field, in values of usual length.
"""

from __future__ import annotations

from collections.abc import Mapping

from zkalert.metrics import Family, Kind, Unit
from zkalert.model import Counts, Sample, Value

_GAUGES: Mapping[Unit, Value] = {
    Unit.PERCENT: 41.37,
    Unit.BYTES: 8_123_456_789,
    Unit.SECONDS: 4312.62,
    Unit.NUMBER: 421,
    Unit.FLAG: 1,
    Unit.EPOCH: 1_763_900_000.5,
    Unit.BYTES_PER_SECOND: 125_000_000,
    Unit.PER_SECOND: 12.34,
    Unit.RATIO: 0.123,
    Unit.TEXT: "Linux 6.1.0-37-amd64",
    Unit.ANY: 42.5,
}
_COUNTERS: Mapping[Unit, Value] = {Unit.BYTES: 812_345_678_901, Unit.SECONDS: 81_234.56, Unit.NUMBER: 12_345_678}
_NAMES: Mapping[str, str] = {
    "core": "",
    "mount": "/var/lib/data-",
    "device": "nvme0n",
    "interface": "enp3s",
    "unit": "kafka-broker.service-",
}
_LABELS: Mapping[str, Mapping[str, str]] = {
    "mount": {"fstype": "ext4", "device": "/dev/mapper/vg0-data"},
    "unit": {"sub_state": "running"},
}
_OTHER_NAME = "instance-"


def typical_sample(family: Family, instances: int, *, interval: float, may_rest: bool = False) -> Sample:
    """A full sample of `family` with so many `instances`; `interval` as published (seconds).

    A whole has all fields too, where the family has one. One that `may_rest` says what its counters were before.
    """
    values = {
        field.name: _COUNTERS[field.unit] if field.kind is Kind.COUNTER else _GAUGES[field.unit]
        for field in family.fields.values()
    }
    prefix = _NAMES.get(family.instance_kind or "", _OTHER_NAME)
    names = [f"{prefix}{number}" for number in range(instances)]
    labels = _LABELS.get(family.instance_kind or "", {})
    counts = {name: float(values[name]) for name, field in family.fields.items() if field.kind is Kind.COUNTER}
    before = Counts(span=interval, values=counts if family.has_whole else {}, instances=dict.fromkeys(names, counts))
    return Sample(
        family=family.name,
        at=1_763_900_000.123,
        interval=interval,
        max_age=max(3 * interval, 10.0),
        values=values if family.has_whole else {},
        instances=dict.fromkeys(names, values),
        labels=dict.fromkeys(names, labels) if labels else {},
        before=before if may_rest and counts else None,
    )
