"""A live tree, read once: what rules say of it now, and why a message went out or did not.

values   what was read
reading  reads it from ZooKeeper
past     adds a host's own history
absence  why a host is not looked at, or a number is not there
series   what a rule says of each series
story    how each series stands, and what became of its messages
show     that as text, and as JSON
"""

from zkalert.survey.absence import Unknown, why_not_host
from zkalert.survey.past import with_history
from zkalert.survey.reading import Reader, connected
from zkalert.survey.series import Comparison, Series, awaited, has_metric, series_of, spans
from zkalert.survey.story import (
    Clocked,
    Passage,
    Story,
    Why,
    as_alert,
    inhibitors_of,
    stories,
)
from zkalert.survey.values import HostSeen, Published, Survey

__all__ = [
    "Clocked",
    "Comparison",
    "HostSeen",
    "Passage",
    "Published",
    "Reader",
    "Series",
    "Story",
    "Survey",
    "Unknown",
    "Why",
    "as_alert",
    "awaited",
    "connected",
    "has_metric",
    "inhibitors_of",
    "series_of",
    "spans",
    "stories",
    "why_not_host",
    "with_history",
]
