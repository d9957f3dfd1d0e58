"""Metrics of applications: what one says of itself becomes a family of its host, which rules judge like any other.

Comes in: a family's name and its values. Goes out: the payload of `docs/push.md`, written to the znode that a sampler
would write. The host has to be there already: its sampler is what tells that it lives.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from zkalert import clock, config, zk
from zkalert.localzk.reaching import zookeeper_of
from zkalert.metrics import FAMILIES, PUSHED_NAME, MetricError, is_pushed, nearest, parse_metric
from zkalert.model import Problem, Sample, UsageError, Value, ZkalertError, ZookeeperSettings
from zkalert.tree import (
    MAX_INSTANCES,
    MAX_PAYLOAD,
    MAX_TEXT,
    WHOLE,
    Push,
    Tree,
    decode_push,
    decode_sample,
    encode_push,
    unescape,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MAX_AGE", "Pusher", "push", "sample_of"]

MAX_AGE = 300.0
"""Seconds that a push speaks where it does not say so itself."""
LONGEST_AGE = 366 * 86400.0

_SAMPLES = 3
"""The span to the next sample is not known; so many are to come while one speaks, as with samplers."""
_PAUSE = 0.02
_SMALLEST, _LARGEST = -(2**63), 2**64
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_Values = Mapping[str, Value]
_Instances = Mapping[str, _Values]
_Labels = Mapping[str, Mapping[str, str]]


def push(  # noqa: PLR0913 - the parts of a sample, and where it goes
    family: str,
    values: _Values | None = None,
    /,
    *,
    instances: _Instances | None = None,
    labels: _Labels | None = None,
    max_age: float = MAX_AGE,
    merge: bool = False,
    host: str | None = None,
    **fields: Value,
) -> None:
    """Publish metrics of an application, over a connection for this one push; see `Pusher.push`.

    ::

        push("orders", depth=42)
        push("orders", instances={"eu": {"depth": 3}, "us": {"depth": 39}})

    Where ZooKeeper is, and which host this is, is what the configuration and the environment say. Raises as
    `Pusher` and `Pusher.push` do.
    """
    with Pusher(host=host) as pusher:
        pusher.push(family, values, instances=instances, labels=labels, max_age=max_age, merge=merge, **fields)


class Pusher:
    """One connection for many pushes: a context manager, which many threads may use at once.

    `host` is the name that its sampler publishes under (None: the configuration's, as for a sampler), `file` the
    configuration (None: as for all commands), `zookeeper` goes before what that says; with `zookeeper` and `host` no
    configuration is read. Entering takes as long as a session's timeout at most. Make it after a fork, never before
    one. Raises UsageError where no ZooKeeper is configured, DocumentError for a configuration that is wrong,
    ZkalertError where nobody answers.
    """

    def __init__(
        self, *, host: str | None = None, file: str | Path | None = None, zookeeper: ZookeeperSettings | None = None
    ) -> None:
        if zookeeper is None or host is None:
            given = config.load(config.Flags(config=None if file is None else Path(file), host=host))
            zookeeper, host = zookeeper or zookeeper_of(given), given.host
        self._settings = zookeeper
        self._host = host
        self._tree = Tree(self._settings.root)
        self._client = zk.make_client(self._settings)
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        if not clock.wait(self._client.start_async(), self._settings.session_timeout):
            why = zk.complaint(self._client)
            self.close()
            raise ZkalertError(f"ZooKeeper at {self._settings.hosts} does not answer ({why})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a push that waits for ZooKeeper gives up."""
        self._is_over.set()
        zk.leave(self._client, 2.0)

    @property
    def host(self) -> str:
        """The host that it pushes for."""
        return self._host

    def push(
        self,
        family: str,
        values: _Values | None = None,
        /,
        *,
        instances: _Instances | None = None,
        labels: _Labels | None = None,
        max_age: float = MAX_AGE,
        merge: bool = False,
        **fields: Value,
    ) -> None:
        """Publish `fields` (or `values`, for names that Python does not take) of the whole, or of each instance.

        What was there is replaced. With `merge` those parts stay that this push does not name, the whole or other
        instances, until they are `max_age` seconds old: for several programs that share a family. A part is always
        replaced as one.

        The push speaks for `max_age` seconds, then rules have no data. `labels` are texts by instance. Raises
        UsageError for what cannot be published, ZkalertError where ZooKeeper does not answer or refuses, or where no
        sampler has published as this host. Safe to repeat.
        """
        sample = sample_of(
            family,
            {**(values or {}), **fields},
            instances=instances or {},
            labels=labels or {},
            max_age=max_age,
            at=clock.wall(),
        )
        deadline = clock.monotonic() + self._settings.session_timeout
        while not self._try(sample, merge=merge):
            if clock.monotonic() >= deadline or clock.wait(self._is_over, _PAUSE):
                raise ZkalertError(f'"{family}" of {self._host} could not be written to ZooKeeper in time')

    def _try(self, sample: Sample, *, merge: bool) -> bool:
        """Whether the push is written; if not, or if nobody knows, it is to be tried again."""
        try:
            self._write(sample, merge=merge)
        except zk.UNCERTAIN:
            return False
        except zk.TransactionFailed as failed:
            if isinstance(failed.error, (zk.BadVersionError, zk.NodeExistsError, zk.NoNodeError)):
                return False  # somebody was faster
            raise self._refused(failed.error) from failed
        except zk.KazooException as error:
            raise self._refused(error) from error
        return True

    def _write(self, sample: Sample, *, merge: bool) -> None:
        """Write once. Raises TransactionFailed where somebody was faster, one of UNCERTAIN where nobody knows."""
        path = self._tree.family(self._host, sample.family)
        push = Push(sample, dict.fromkeys(_parts(sample), sample.at))
        version = -1
        if merge and (found := self._read(path)) is not None:
            push, version = _merged(push, decode_push(sample.family, found[0])), found[1]
        payload = _encoded(push)
        try:
            zk.commit(self._client, [zk.Set(path, payload, version)])
        except zk.TransactionFailed as failed:
            if not isinstance(failed.error, zk.NoNodeError):
                raise
            self._create(path, payload)

    def _read(self, path: str) -> tuple[bytes, int] | None:
        try:
            data, stat = self._answer(self._client.get_async(path))
        except zk.NoNodeError:
            return None
        return data, stat.version

    def _answer(self, reply: Any) -> Any:
        """Raises what the question was answered with, or one of UNCERTAIN where nobody answers in time."""
        return reply.get(timeout=self._settings.session_timeout)

    def _create(self, path: str, payload: bytes) -> None:
        """Make the znode, where its host is: one that was forgotten must not come back as one that is down."""
        host, folder = self._tree.host(self._host), self._tree.metrics(self._host)
        if self._answer(self._client.exists_async(host)) is None:
            raise ZkalertError(self._no_host())
        made = [zk.Create(folder)] if self._answer(self._client.exists_async(folder)) is None else []
        zk.commit(self._client, [zk.Check(host), *made, zk.Create(path, payload)])

    def _no_host(self) -> str:
        try:
            found = self._answer(self._client.get_children_async(self._tree.hosts))
            hosts = sorted(unescape(name) for name in found)
        except zk.NoNodeError:
            hosts = []
        near = nearest(self._host, hosts)
        return (
            f'no sampler has published as host "{self._host}" below {self._tree.top}; '
            + (f"did you mean {near}? " if near else "")
            + f"Start `zkalert sampler` there first: without it host {self._host} would count as down"
        )

    def _refused(self, error: Exception) -> ZkalertError:
        cure = "; check zookeeper.auth: it has to be the sampler's" if isinstance(error, zk.NoAuthError) else ""
        return ZkalertError(f"ZooKeeper at {self._settings.hosts} refused ({type(error).__name__}){cure}")


# What may be published ------------------------------------------------------------------------------------------------


def sample_of(
    family: str, values: _Values, *, instances: _Instances, labels: _Labels, max_age: float, at: float
) -> Sample:
    """A sample whose payload every reader takes. Raises UsageError that says what was found and what is expected."""
    _check_family(family)
    if not values and not instances:
        raise UsageError(f"{family}: nothing to publish; expected a field at least, such as depth=42")
    if not _is_number(max_age) or not 0 < max_age <= LONGEST_AGE:
        raise UsageError(f"{family}: max_age is {max_age!r:.40}; expected seconds above 0, at most {LONGEST_AGE:.0f}")
    if len(instances) > MAX_INSTANCES:
        raise UsageError(f"{family}: {len(instances)} instances; expected at most {MAX_INSTANCES}")
    for name in instances:
        _check_text(family, "the name of an instance", name)
        if not name:
            raise UsageError(f"{family}: the name of an instance is empty")
    if unknown := [name for name in labels if name not in instances]:
        raise UsageError(f'{family}: labels for "{unknown[0]!s:.40}", which is no instance of this push')
    sample = Sample(
        family=family,
        at=round(at, 3),
        interval=max_age / _SAMPLES,
        max_age=max_age,
        values=_checked_values(family, values),
        instances={name: _checked_values(family, found) for name, found in instances.items()},
        labels={name: _checked_labels(family, texts) for name, texts in labels.items()},
    )
    _encoded(Push(sample, dict.fromkeys(_parts(sample), sample.at)))
    return sample


def _check_family(family: Any) -> None:
    if not isinstance(family, str) or not PUSHED_NAME.fullmatch(family):
        raise UsageError(
            f'"{family!s:.80}" is no name of a family; expected lower case letters, digits and _, at most 64 of them, '
            "a letter first, such as orders"
        )
    if not is_pushed(family):
        whose = "its samplers publish" if FAMILIES[family].of_hosts else "its engines make"
        raise UsageError(f'"{family}" is a family of zkalert\'s own, which {whose}; expected a name of your own')


def _checked_values(family: str, values: _Values) -> dict[str, Value]:
    found = {}
    for name, value in values.items():
        _check_field(family, name)
        found[name] = _checked_value(f"{family}.{name}", value)
    return found


def _check_field(family: str, name: Any) -> None:
    """Whether rules can name the field; the one place that knows is asked."""
    _check_text(family, "the name of a field", name)
    try:
        parse_metric(f"{family}.{name}")
    except MetricError as error:
        if error.hint:
            reason = f'rules would take "{family}" for a slip of {error.hint}; expected a name less like it'
        else:
            reason = f'no rule can name the field "{name:.80}"; expected letters, digits and _'
        raise UsageError(f"{family}: {reason}") from None


def _checked_value(metric: str, value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        _check_text(metric, "a text", value)
        return value
    if not isinstance(value, (int, float)):
        raise UsageError(f"{metric} is {type(value).__name__}; expected a number or a text")
    if not _is_number(value):
        raise UsageError(f"{metric} is {value!r:.40}; expected a finite number from -2^63 to 2^64")
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and _SMALLEST <= value <= _LARGEST


def _checked_labels(family: str, texts: Mapping[str, str]) -> dict[str, str]:
    for name, text in texts.items():
        _check_text(family, "the name of a label", name)
        if not _LABEL.fullmatch(name):
            raise UsageError(f'{family}: "{name:.80}" is no name of a label; expected letters, digits, _, . and -')
        _check_text(family, f"the label {name}", text)
    return dict(texts)


def _check_text(family: str, what: str, text: Any) -> None:
    if not isinstance(text, str):
        raise UsageError(f"{family}: {what} is {type(text).__name__}; expected a text")
    if len(text) > MAX_TEXT:
        raise UsageError(f"{family}: {what} has {len(text)} characters; expected at most {MAX_TEXT}")


def _encoded(push: Push) -> bytes:
    """The payload. Raises UsageError where no reader would take it."""
    family = push.sample.family
    payload = encode_push(push)
    if len(payload) > MAX_PAYLOAD:
        raise UsageError(f"{family}: {len(payload)} bytes in all; expected at most {MAX_PAYLOAD}")
    problem = decode_sample(family, payload)
    if isinstance(problem, Problem):
        raise UsageError(f"{family} cannot be published: {problem.message}")
    return payload


# Parts ----------------------------------------------------------------------------------------------------------------


def _parts(sample: Sample) -> list[str]:
    """What a push names: the whole, and instances."""
    return [*([WHOLE] if sample.values else []), *sample.instances]


def _merged(push: Push, found: Push | Problem) -> Push:
    """A push, and those parts of what is there that it does not name and that still speak."""
    if isinstance(found, Problem):
        return push
    mine, old = push.sample, found.sample
    kept = {
        name: at
        for name, at in found.parts.items()
        if name not in push.parts and abs(mine.at - at) <= mine.max_age and (name or old.values)
    }
    sample = Sample(
        family=mine.family,
        at=mine.at,
        interval=mine.interval,
        max_age=mine.max_age,
        values=old.values if WHOLE in kept else mine.values,
        instances={**{name: old.instances[name] for name in kept if name}, **mine.instances},
        labels={**{name: old.labels[name] for name in kept if name in old.labels}, **mine.labels},
    )
    return Push(sample, {**kept, **push.parts})
