"""One delivery, and one message, on their way."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from zkalert.dispatch.values import Sender
from zkalert.model import SendResult, Target
from zkalert.routing import Item


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Item):
    """One delivery of one effect, as long as it is not done.

    `began_at` (epoch seconds) is when its time began, and `since` what the ledger says of that. `said` is the failure
    that was told of last. `withheld` says why it is not to be tried again, where it was on its way as that came up.
    """

    began_at: float
    since: float | None = None
    said: str = ""
    withheld: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Parcel:
    """One message. Its jobs end up in one of the lists: `told` (somebody may have heard), `again`, `over`, or `left`
    where the ledger is not ours any more.

    `halt` ends its patience with a ledger that cannot be reached.
    """

    target: Target
    sender: Sender
    jobs: tuple[Job, ...]
    began: float
    halt: threading.Event = field(default_factory=threading.Event)
    result: SendResult | None = None
    told: list[Job] = field(default_factory=list)
    again: list[Job] = field(default_factory=list)
    over: list[Job] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)

    @property
    def unsettled(self) -> list[Job]:
        """Those of which is not known yet what came of them."""
        settled = {id(job) for jobs in (self.told, self.again, self.over, self.left) for job in jobs}
        return [job for job in self.jobs if id(job) not in settled]
