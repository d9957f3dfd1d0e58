"""What a metric is: units, kinds, fields and the families that they are published in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Unit(str, Enum):
    """What a number counts; the member's value is what people read."""

    PERCENT = "percent"
    BYTES = "bytes"
    SECONDS = "seconds"
    NUMBER = "number"
    FLAG = "0 or 1"
    EPOCH = "epoch seconds"
    BYTES_PER_SECOND = "bytes per second"
    PER_SECOND = "per second"
    RATIO = "ratio"  # seconds per second, as of busy time
    TEXT = "text"
    ANY = "any"  # of what applications and znodes say: whatever the threshold is written in


class Kind(str, Enum):
    """Whether a field is a value of now, or a count since the start that rules judge by its rate.

    ANY is a number or a text, as the threshold that it is held against.
    """

    GAUGE = "gauge"
    COUNTER = "counter"
    TEXT = "text"
    ANY = "any"


RATE_OF = {
    Unit.BYTES: Unit.BYTES_PER_SECOND,
    Unit.SECONDS: Unit.RATIO,
    Unit.NUMBER: Unit.PER_SECOND,
}
"""The unit of a counter's rate."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a family: its unit as published, its kind, and a sentence for people.

    One that `is_signed` may be below zero. `is_of_each`: only the instances of its family have it, never the whole.
    """

    name: str
    unit: Unit
    help: str
    kind: Kind = Kind.GAUGE
    is_signed: bool = False
    is_of_each: bool = False

    @property
    def judged_unit(self) -> Unit:
        """The unit of the number that a threshold is held against: a counter is judged by its rate."""
        return RATE_OF[self.unit] if self.kind is Kind.COUNTER else self.unit


@dataclass(frozen=True, slots=True)
class Family:
    """One family: published together, in one znode, at one cadence (`interval`, seconds).

    `main` is the field that a bare family name means, None where there is none. `instance_kind` says what its
    instances are, None where it has none; `has_whole` whether it has a value beside them. One that `is_open` may have
    other fields than these. One that is not `of_hosts` is about an ensemble, or the engines.
    """

    name: str
    fields: Mapping[str, Field]
    help: str
    main: str | None = None
    instance_kind: str | None = None
    has_whole: bool = True
    interval: float = 5.0
    is_open: bool = False
    of_hosts: bool = True

    def is_whole(self, name: str) -> bool:
        """Whether there is a value of a field beside those of instances."""
        known = self.fields.get(name)
        return self.has_whole and not (known is not None and known.is_of_each)

    def field(self, name: str) -> Field:
        """What is known of a field. Raises KeyError for one that it cannot have."""
        known = self.fields.get(name)
        if known is not None:
            return known
        if not self.is_open or not name:
            raise KeyError(name)
        return Field(name, Unit.ANY, "", Kind.ANY)


def family(  # noqa: PLR0913 - a table reads best where each row is one call
    name: str,
    help: str,  # noqa: A002
    *fields: Field,
    main: str | None = None,
    instance_kind: str | None = None,
    has_whole: bool = True,
    interval: float = 5.0,
    is_open: bool = False,
    of_hosts: bool = True,
) -> Family:
    """A row of the table, with its fields in order."""
    return Family(
        name=name,
        fields={field.name: field for field in fields},
        help=help,
        main=main,
        instance_kind=instance_kind,
        has_whole=has_whole,
        interval=interval,
        is_open=is_open,
        of_hosts=of_hosts,
    )
