"""Rules over the recorded past: what they would have said, and to whom.

    past     samples, as rows of a history have them
    exports  the same out of CSV and JSON
    play     rules over them
    report   what came of it
    compare  against another wording of the rules
    show     all of that in text and in JSON

Comes in: rules, channels, rows or lines. Goes out: a report. Who opens the files is the command.
"""

from zkalert.backtest.compare import Difference, compare, tolerances
from zkalert.backtest.exports import from_text
from zkalert.backtest.past import Choice, Need, Past, Source, from_rows, needs_of
from zkalert.backtest.play import Backtest, memory_of, stand_ins
from zkalert.backtest.report import Episode, Message, Report, RuleReport, Series

__all__ = [
    "Backtest",
    "Choice",
    "Difference",
    "Episode",
    "Message",
    "Need",
    "Past",
    "Report",
    "RuleReport",
    "Series",
    "Source",
    "compare",
    "from_rows",
    "from_text",
    "memory_of",
    "needs_of",
    "stand_ins",
    "tolerances",
]
