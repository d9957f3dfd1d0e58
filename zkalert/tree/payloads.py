"""Payloads of hosts and engines: each encoder beside its decoder.

Comes in: values, or bytes that anybody may have written. Goes out: bytes, or a value, or a `Problem` that says why
there is none. Decoding never raises: what comes from ZooKeeper is input.
"""

from __future__ import annotations

from typing import Any

from zkalert.model import Alive, Counts, EngineInfo, HostInfo, Problem, Sample, Seen
from zkalert.tree.codec import MAX_RECORD, BadPayload, dump, guarded, number, text_of, texts_of, values_of, whole

LAYOUT_VERSION = 1
MAX_INSTANCES = 256


def encode_sample(sample: Sample) -> bytes:
    """The payload of a family's znode. Raises ValueError for a number that is not finite."""
    document: dict[str, Any] = {
        "v": 1,
        "time": round(sample.at, 3),
        "interval": sample.interval,
        "max_age": sample.max_age,
        "values": dict(sample.values),
    }
    if sample.instances:
        document["instances"] = {name: dict(values) for name, values in sample.instances.items()}
    if sample.labels:
        document["labels"] = {name: dict(labels) for name, labels in sample.labels.items()}
    if sample.errors:
        document["errors"] = list(sample.errors)
    if sample.before is not None:
        document["before"] = _encode_counts(sample.before)
    return dump(document)


def decode_sample(family: str, data: bytes | None) -> Sample | Problem:
    """The sample in a family's znode, or why there is none."""

    def parse(document: dict[str, Any]) -> Sample:
        if document.get("v") != 1:
            raise BadPayload("version", f"version {str(document.get('v'))[:20]} is not known here")
        instances = document.get("instances")
        if instances:
            if type(instances) is not dict or len(instances) > MAX_INSTANCES:
                raise BadPayload("wrong-shape", f"instances is no object of at most {MAX_INSTANCES}")
            for name, values in instances.items():
                values_of(values, text_of(name, "the name of an instance")[:40])
        labels = document.get("labels") or {}
        max_age = number(document["max_age"], "max_age")
        interval = number(document["interval"], "interval")
        if max_age <= 0 or interval <= 0:
            raise BadPayload("wrong-shape", "interval and max_age are spans above 0")
        before = document.get("before")
        return Sample(
            family=family,
            at=number(document["time"], "time"),
            interval=interval,
            max_age=max_age,
            values=values_of(document.get("values", {}), "values"),
            instances=instances or {},
            labels={text_of(name, "labels"): texts_of(texts, "labels") for name, texts in labels.items()}
            if labels
            else {},
            errors=tuple(text_of(error, "errors", 1024) for error in document.get("errors", ())),
            before=None if before is None else _counts_of(before),
        )

    return guarded(parse, data)


def _encode_counts(counts: Counts) -> dict[str, Any]:
    document: dict[str, Any] = {"span": counts.span}
    if counts.values:
        document["values"] = dict(counts.values)
    if counts.instances:
        document["instances"] = {name: dict(values) for name, values in counts.instances.items()}
    return document


def _counts_of(document: dict[str, Any]) -> Counts:
    span = number(document["span"], "before.span")
    instances = document.get("instances", {})
    if span <= 0 or type(instances) is not dict or len(instances) > MAX_INSTANCES:
        raise BadPayload("wrong-shape", f"before is no span above 0 with at most {MAX_INSTANCES} instances")
    return Counts(
        span=span,
        values=_numbers_of(document.get("values", {})),
        instances={text_of(name, "before"): _numbers_of(values) for name, values in instances.items()},
    )


def _numbers_of(values: dict[str, Any]) -> dict[str, float]:
    return {text_of(name, "before"): number(value, "before") for name, value in values.items()}


def encode_layout() -> bytes:
    return dump({"version": LAYOUT_VERSION})


def decode_layout(data: bytes | None) -> int | Problem:
    """The version of the tree's layout."""
    return guarded(lambda document: whole(document["version"], "version"), data)


def encode_host(host: HostInfo) -> bytes:
    return dump(
        {
            "v": 1,
            "name": host.name,
            "labels": dict(host.labels),
            "platform": host.platform,
            "version": host.version,
            "machine": host.machine,
        }
    )


def decode_host(data: bytes | None) -> HostInfo | Problem:
    def parse(document: dict[str, Any]) -> HostInfo:
        return HostInfo(
            name=text_of(document["name"], "name"),
            labels=texts_of(document.get("labels", {}), "labels"),
            platform=text_of(document.get("platform", ""), "platform"),
            version=text_of(document.get("version", ""), "version"),
            machine=text_of(document.get("machine", ""), "machine"),
        )

    return guarded(parse, data, MAX_RECORD)


def encode_alive(alive: Alive) -> bytes:
    return dump({"v": 1, "machine": alive.machine, "pid": alive.pid, "started": round(alive.started_at, 3)})


def decode_alive(data: bytes | None) -> Alive | Problem:
    def parse(document: dict[str, Any]) -> Alive:
        return Alive(
            machine=text_of(document["machine"], "machine"),
            pid=whole(document["pid"], "pid"),
            started_at=number(document["started"], "started"),
        )

    return guarded(parse, data)


def encode_engine(engine: EngineInfo) -> bytes:
    return dump({"v": 1, "version": engine.version, "rules": engine.rules, "host": engine.host, "pid": engine.pid})


def decode_engine(data: bytes | None) -> EngineInfo | Problem:
    def parse(document: dict[str, Any]) -> EngineInfo:
        return EngineInfo(
            host=text_of(document["host"], "host"),
            pid=whole(document["pid"], "pid"),
            version=text_of(document.get("version", ""), "version"),
            rules=text_of(document.get("rules", ""), "rules"),
        )

    return guarded(parse, data)


def encode_seen(seen: Seen) -> bytes:
    return dump({"v": 1, "seen": round(seen.at, 3), "rules": seen.rules})


def decode_seen(data: bytes | None) -> Seen | Problem:
    """What the owner of a shard said last."""
    return guarded(
        lambda document: Seen(number(document["seen"], "seen"), text_of(document.get("rules", ""), "rules")), data
    )
