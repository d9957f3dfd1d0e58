"""What samples say of the series that rules look at.

Comes in: a rule and, one by one, the samples of a host. Goes out: a verdict for each series that a sample says
something of. Nothing here knows what became of it before.
"""

from zkalert.evaluate.across import PATIENCE, AcrossLook
from zkalert.evaluate.alarms import Alarm, alarm_of
from zkalert.evaluate.compare import Judge, judge_of
from zkalert.evaluate.looks import JoinedLook, Look, PlainLook, Verdicts, look_of
from zkalert.evaluate.matching import (
    covers,
    families_of,
    goes_by_instance,
    instance_kind,
    is_about,
    is_of_hosts,
    looks_at,
    matches,
    matches_host,
    variant,
)
from zkalert.evaluate.terms import MOST_SECONDS, rate, takes_text
from zkalert.evaluate.windows import Series

__all__ = [
    "MOST_SECONDS",
    "PATIENCE",
    "AcrossLook",
    "Alarm",
    "JoinedLook",
    "Judge",
    "Look",
    "PlainLook",
    "Series",
    "Verdicts",
    "alarm_of",
    "covers",
    "families_of",
    "goes_by_instance",
    "instance_kind",
    "is_about",
    "is_of_hosts",
    "judge_of",
    "look_of",
    "looks_at",
    "matches",
    "matches_host",
    "rate",
    "takes_text",
    "variant",
]
