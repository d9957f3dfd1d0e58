"""`zkalert ack`: say that somebody has seen an alert."""

from __future__ import annotations

import re

import click

from zkalert.cli import common, local, logs, saying
from zkalert.cli.session import connected
from zkalert.store import Facts


def _alert(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{1,64}", text):
        raise click.BadParameter(f'"{text}" is no ID of an alert; expected hex digits such as a1b2c3', ctx, param)
    return text.lower()


@click.command()
@click.argument("alert", metavar="ALERT", callback=_alert)
@click.option("--for", "seconds", callback=saying.span, metavar="SPAN", help="For how long. [default: until it ends]")
@click.option("--remove", is_flag=True, help="Take the acknowledgement back.")
@saying.signed()
@common.options()
def ack(options: common.Options, alert: str, seconds: float | None, remove: bool, comment: str, author: str) -> None:
    """Acknowledge ALERT, by the ID that messages and tables show: no reminders and no escalations from now on.

    A rise to a higher severity is told all the same, and ends the acknowledgement: that is more than somebody has
    seen. So does the end of the alert. Once --for is over, escalations that were due meanwhile are told.
    """
    if remove and (seconds is not None or comment or author):
        raise click.UsageError("--remove takes no --for, --comment or --author")
    if seconds == 0:
        raise click.UsageError("--for 0s would be over at once; --remove takes an acknowledgement back")
    config = options.load()
    with connected(local.zookeeper_of(config)) as session:
        facts = Facts(*session)
        facts.open()
        if remove:
            gone = facts.withdraw(alert)
            click.echo(f"alert {gone.episode[:6]} is not acknowledged any more", err=True)
            return
        found, made = facts.acknowledge(
            alert, seconds=seconds, author=saying.author_of(author, config), comment=comment
        )
    place = found.host if found.instance is None else f"{found.host} {found.instance}"
    until = "until it ends" if made.ends_at is None else f"until {saying.local(made.ends_at)}"
    line = f"alert {found.id} is acknowledged {until}: {found.rule} on {place}, {found.severity.value}"
    click.echo(line.translate(logs.CONTROL), err=True)
