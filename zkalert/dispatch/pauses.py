"""How long a delivery waits before it is tried again, in seconds."""

from __future__ import annotations

GIVE_UP_AFTER = 24 * 3600.0
FIRST_RETRY = 1.0
LONGEST_RETRY = 300.0
NOT_NOW = 0.2
"""Until a ledger that could not be reached is asked again."""
SAY_AFTER = 50
"""Times that it was asked in vain before that is worth a line in the log."""
AFTER_ERROR = 60.0


def pause(attempts: int) -> float:
    """Seconds between a try, the `attempts`-th, and the next: exponential, and bounded."""
    return min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(max(attempts - 1, 0), 20))
