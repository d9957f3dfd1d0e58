"""What no table says and was measured instead: memory in bytes, of Python 3.11 on 64-bit Linux.

How: engines as processes of their own, attached to trees of 0 to 1,500 hosts with samples of `typical_sample`; their
resident memory (RSS) once it stood still, and the differences between fleets that differ in one thing alone. The test
`tests/acceptance/test_cost.py` does the same with other fleets, and fails where a prediction is more than 20 % off.
"""

from __future__ import annotations

ENGINE = 38_500_000
"""An engine without hosts, with the rules that are built in."""
CHANNELS = 20_000_000
"""What apprise adds to an engine once there is a channel to send to."""
RULE = 6_600
HOST = 7_300
"""A host without samples: its labels, its ephemeral, the watches of both, what `host-down` keeps of it."""
SAMPLE = 3_400
"""The last sample of a family that is followed, and its watch, without its values."""
FIELD = 50
INSTANCE = 500
"""An instance of such a sample, without its values."""
WINDOW = 1_900
"""A series of a rule with `over`, while nothing is in its window."""
BUCKET = 75
"""What a sample, or several within a thousandth of the window, takes there."""
MOST_BUCKETS = 1_003
MEMBER = 400
"""A series that a rule with `across`, `all`, `any` or `no_data` remembers."""
ZNODE = 2_350
"""A znode of a rule on znodes: what it is now, its path, and the watch of its data."""
CHILDREN = 850
"""The watch of a znode's list of children."""

SAMPLER = 36_500_000
"""A sampler with its history."""

SIGN_OF_LIFE = 5.0
"""Seconds between two writes by which an engine shows that it is there."""
ENGINE_WATCHES = 6
"""The lists of hosts, silences, acknowledgements, engines and of what people ask for, which every engine follows."""
HOST_WATCHES = 3
"""What an engine follows of each host: its labels, its ephemeral, the list of its families."""
ACTIONS_WATCHES = 1
"""What each sampler follows of what its host is asked to run."""
SIGN = 150
"""Bytes by which an engine says who it is."""
LOCK = "0123456789abcdef0123456789abcdef__lock__"
"""What kazoo calls the node of whoever waits for a lock; its number follows."""
