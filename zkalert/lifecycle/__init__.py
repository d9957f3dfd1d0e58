"""The life of an alert, as pure functions: transitions, held time, schedules."""

from zkalert.lifecycle.alerts import (
    GONE_AFTER,
    acknowledged,
    close,
    deadline,
    inactive,
    step,
)
from zkalert.lifecycle.clocks import TRANSITIONS, advance
from zkalert.lifecycle.records import blind, needs_write, resume
from zkalert.lifecycle.schedule import is_open, next_change
from zkalert.lifecycle.telling import braked

__all__ = [
    "GONE_AFTER",
    "TRANSITIONS",
    "acknowledged",
    "advance",
    "blind",
    "braked",
    "close",
    "deadline",
    "inactive",
    "is_open",
    "needs_write",
    "next_change",
    "resume",
    "step",
]
