"""The life of an alert, as pure functions: transitions, held time, schedules."""

from zkalert.lifecycle.alerts import (
    GONE_AFTER,
    close,
    deadline,
    inactive,
    step,
)
from zkalert.lifecycle.clocks import TRANSITIONS, advance
from zkalert.lifecycle.records import blind, needs_write, resume
from zkalert.lifecycle.schedule import is_open, next_change

__all__ = [
    "GONE_AFTER",
    "TRANSITIONS",
    "advance",
    "blind",
    "close",
    "deadline",
    "inactive",
    "is_open",
    "needs_write",
    "next_change",
    "resume",
    "step",
]
