"""What rules and a fleet cost before there is one: ZooKeeper's writes, reads, watches and bytes, and memory.

Comes in: rules that were checked, and how many hosts publish what how often. Goes out: numbers, and advice in words.
Nothing here asks a ZooKeeper, or measures anything.
"""

from zkalert.costs.advice import advise
from zkalert.costs.fleet import Cost, EngineCost, FamilyCost, Fleet, HostCost, PatternCost, Published, Rate
from zkalert.costs.predict import predict, ticks_per_minute
from zkalert.costs.typical import typical_sample

__all__ = [
    "Cost",
    "EngineCost",
    "FamilyCost",
    "Fleet",
    "HostCost",
    "PatternCost",
    "Published",
    "Rate",
    "advise",
    "predict",
    "ticks_per_minute",
    "typical_sample",
]
