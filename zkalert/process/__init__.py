"""One command, started in a session of its own, bounded in time and output, and ended with its process group.

Comes in: what to run and how. Goes out: how it ended and what it wrote; nothing here raises for what a command does.
`action` runs one for an alert, `check` for what it says of this host; `child` is what both share.
"""

from __future__ import annotations

from zkalert.process.action import Handout, execute, variables
from zkalert.process.check import Captured, capture
from zkalert.process.child import clean, clean_line

__all__ = ["Captured", "Handout", "capture", "clean", "clean_line", "execute", "variables"]
