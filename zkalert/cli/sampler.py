"""`zkalert sampler`: publish this host's metrics until a signal says stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from zkalert import agent
from zkalert.cli import common


@click.command()
@common.options(host=True)
def sampler(options: common.Options) -> None:
    """Publish this host's metrics to ZooKeeper, and keep a history of them here.

    Runs until it is interrupted (Ctrl-C) or terminated. `zkalert history` shows what it kept.
    """
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    agent.run(options.load(), stop)
