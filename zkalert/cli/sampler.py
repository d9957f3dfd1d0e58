"""`zkalert sampler`: publish this host's metrics until a signal says stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from zkalert import agent
from zkalert.cli import common, logs


@click.command()
@click.option("--leave", is_flag=True, help="Say goodbye for good, where the sampler was stopped: forget this host.")
@common.options(host=True)
def sampler(options: common.Options, leave: bool) -> None:
    """Publish this host's metrics to ZooKeeper, and keep a history of them here.

    Runs until it is interrupted (Ctrl-C) or terminated. `zkalert history` shows what it kept. With --leave it
    publishes nothing: all that this machine published as this host is deleted, so that nobody is told that it is down.
    """
    if leave:
        # A sampler that stays needs none of it.
        from zkalert.agent.leaving import leave as say_goodbye  # noqa: PLC0415
        from zkalert.cli import local  # noqa: PLC0415

        config = options.load()
        click.echo(say_goodbye(config, local.zookeeper_of(config)).translate(logs.CONTROL), err=True)
        return
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    agent.run(options.load(), stop)
