"""What samples say of the series that rules look at.

Comes in: a rule and, one by one, the samples of a host. Goes out: a verdict for each series that a sample says
something of. Nothing here knows what became of it before.
"""

from zkalert.evaluate.across import PATIENCE, AcrossLook
from zkalert.evaluate.alarms import Alarm, alarm_of
from zkalert.evaluate.looks import JoinedLook, Look, PlainLook, Verdicts, look_of
from zkalert.evaluate.matching import (
    covers,
    families_of,
    goes_by_instance,
    instance_kind,
    matches,
    matches_host,
    variant,
)
from zkalert.evaluate.terms import MOST_SECONDS
from zkalert.evaluate.windows import Series

__all__ = [
    "MOST_SECONDS",
    "PATIENCE",
    "AcrossLook",
    "Alarm",
    "JoinedLook",
    "Look",
    "PlainLook",
    "Series",
    "Verdicts",
    "alarm_of",
    "covers",
    "families_of",
    "goes_by_instance",
    "instance_kind",
    "look_of",
    "matches",
    "matches_host",
    "variant",
]
