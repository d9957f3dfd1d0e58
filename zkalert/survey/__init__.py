"""A live tree, read once: what rules say of it now, and why a message went out or did not.

values   what was read
reading  reads it from ZooKeeper
glimpse  adds the ensembles that rules look at
peek     what any znodes say, and how rules would name that
past     adds a host's own history
absence  why a host is not looked at, or a number is not there
series   what a rule says of each series
story    how each series stands, and what became of its messages
show     that as text, and as JSON
board    all alerts, with what people said of them and what became of their messages
fleet    the hosts that publish, and the engines
drilling what a rule would tell, had something happened
"""

from zkalert.survey.absence import Unknown, why_not_host
from zkalert.survey.board import Board, Letter, Silenced, Standing, letters, read_board, standings
from zkalert.survey.drilling import Drill, Scene, drill_of, severities
from zkalert.survey.fleet import EngineLine, Fleet, HostLine, Role, read_fleet
from zkalert.survey.glimpse import servers_now, with_ensembles
from zkalert.survey.past import with_history
from zkalert.survey.peek import DeadEnd, Peek, Peeked, peek
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
    "Board",
    "Clocked",
    "Comparison",
    "DeadEnd",
    "Drill",
    "EngineLine",
    "Fleet",
    "HostLine",
    "HostSeen",
    "Letter",
    "Passage",
    "Peek",
    "Peeked",
    "Published",
    "Reader",
    "Role",
    "Scene",
    "Series",
    "Silenced",
    "Standing",
    "Story",
    "Survey",
    "Unknown",
    "Why",
    "as_alert",
    "awaited",
    "connected",
    "drill_of",
    "has_metric",
    "inhibitors_of",
    "letters",
    "peek",
    "read_board",
    "read_fleet",
    "series_of",
    "servers_now",
    "severities",
    "spans",
    "standings",
    "stories",
    "why_not_host",
    "with_ensembles",
    "with_history",
]
