"""What one reader found, and the bounds that a sample must keep before it leaves the host.

Comes in: whatever the system said. Goes out: a Sample whose payload every reader of the tree accepts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from zkalert.model import Sample, Value
from zkalert.tree import MAX_INSTANCES, MAX_PAYLOAD, MAX_TEXT, encode_sample

MAX_ERRORS = 16

_LARGEST_NUMBER = 2**64
_SIZES = {
    "cpu_usage": ("percent",),
    "disk_usage": ("total",),
    "disk_io": ("read_bytes", "write_bytes"),
    "network_io": ("rx_bytes", "tx_bytes"),
    "systemd": ("failed", "active"),
}
"""By which fields the instances of a family are large or small, where there are too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the system said of one family: as a Sample, without its times."""

    values: Mapping[str, Value] = field(default_factory=dict)
    instances: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def fit(sample: Sample) -> tuple[Sample, bytes]:
    """The sample within all bounds of the tree, and its payload.

    Numbers that are not finite are left out, texts and names made printable. Of too many instances the largest
    stay, and `errors` says how many did not.
    """
    clean = _clean(sample)
    whole = len(clean.instances)
    kept = min(whole, MAX_INSTANCES)
    while True:
        bounded = clean if kept == whole else _cut(clean, kept)
        payload = encode_sample(bounded)
        if len(payload) <= MAX_PAYLOAD or kept == 0:
            return bounded, payload
        kept = min(kept - 1, kept * MAX_PAYLOAD // len(payload))


def _cut(sample: Sample, kept: int) -> Sample:
    """Only the `kept` largest instances, in the order they had."""
    fields = _SIZES.get(sample.family, ())

    def size(name: str) -> float:
        values = sample.instances[name]
        return sum(value for key in fields if isinstance(value := values.get(key, 0), (int, float)))

    largest = set(sorted(sample.instances, key=size, reverse=True)[:kept])
    note = f"{len(sample.instances)} instances: only the {kept} largest are here"
    before = sample.before
    if before is not None:
        counts = {name: values for name, values in before.instances.items() if name in largest}
        before = replace(before, instances=counts)
    return replace(
        sample,
        before=before,
        instances={name: values for name, values in sample.instances.items() if name in largest},
        labels={name: texts for name, texts in sample.labels.items() if name in largest},
        errors=(note, *sample.errors),
    )


def _clean(sample: Sample) -> Sample:
    long = [name for name in sample.instances if len(name) > MAX_TEXT]
    errors = [printable(error) for error in sample.errors]
    errors += [f"{printable(name)[:40]}… is left out: its name is too long" for name in long]
    if len(errors) > MAX_ERRORS:
        errors[MAX_ERRORS - 1 :] = [f"and {len(errors) - MAX_ERRORS + 1} more"]
    return replace(
        sample,
        values=_sound(sample.values),
        instances={printable(name): _sound(values) for name, values in sample.instances.items() if name not in long},
        labels={
            printable(name): {key: printable(text) for key, text in texts.items()}
            for name, texts in sample.labels.items()
            if name not in long
        },
        errors=tuple(errors),
    )


def _sound(values: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: printable(value) if isinstance(value, str) else value
        for name, value in values.items()
        if isinstance(value, str) or (math.isfinite(value) and abs(value) <= _LARGEST_NUMBER)
    }


def printable(text: str) -> str:
    """At most 256 characters, all of which UTF-8 can say: file names may hold any bytes."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text[:MAX_TEXT]
