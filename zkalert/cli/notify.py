"""`zkalert notify`: a test message to each URL of a channel, and what became of it."""

from __future__ import annotations

import secrets

import click

from zkalert.cli import common
from zkalert.config import Config
from zkalert.metrics import nearest
from zkalert.model import Message, SendState, Target, UsageError
from zkalert.render import trial_message
from zkalert.routing import channel_targets, masked, url_targets
from zkalert.senders import url_sender

_EXIT_OK = 0
_EXIT_NOT_DELIVERED = 1
_TEXT = "If you can read this, alerts arrive here."


@click.command()
@common.options()
@click.argument("channel")
@click.argument("text", default=_TEXT)
def notify(options: common.Options, channel: str, text: str) -> int:
    """Send a test message to each URL of CHANNEL, or to a URL that stands in its place.

    Tells for each URL, without its secrets, what became of the message and how long that took. Exit code 0 if all
    were delivered, 1 if not, 2 for a channel that is not in the configuration.
    """
    targets = url_targets(channel) if "://" in channel else _of_channel(channel, options.load())
    message = trial_message(text.strip() or _TEXT, secrets.token_hex(6))
    delivered = [_tell(target, message) for target in targets]
    return _EXIT_OK if all(delivered) else _EXIT_NOT_DELIVERED


def _of_channel(name: str, config: Config) -> tuple[Target, ...]:
    """The targets of a channel of the configuration. Raises UsageError where there is none of that name."""
    found = config.channels.get(name)
    if found is not None:
        return channel_targets(found)
    if config.source is None:
        raise UsageError(f'no configuration was found, so there is no channel "{name}"; give --config FILE or a URL')
    if not config.channels:
        raise UsageError(f'unknown channel "{name}": {config.source} has no channels')
    near = nearest(name, config.channels)
    hint = f'did you mean "{near}"?' if near else "known: " + ", ".join(sorted(config.channels))
    raise UsageError(f'unknown channel "{name}"; {hint}')


def _tell(target: Target, message: Message) -> bool:
    """Send to one target and print a line about it; whether it was delivered."""
    result = url_sender(target).send((), message)
    where = f"{target.id}  {masked(target.url or '')}"
    took = f"{result.seconds * 1000:.0f} ms"
    if result.state is SendState.DELIVERED:
        click.echo(f"{where}  delivered in {took}")
        return True
    click.echo(f"{where}  {result.state.value} after {took}: {result.detail}")
    return False
