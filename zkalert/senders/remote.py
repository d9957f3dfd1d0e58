"""Commands that are not simply run: those that a host runs itself, those under a brake, and those that are forbidden.

What stands in ZooKeeper for them is hidden behind two ports; `command_sender` joins what a command needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from zkalert import clock
from zkalert.model import (
    MEMBERS_HOST,
    ActionRequest,
    Effect,
    Message,
    Place,
    RequestEnd,
    RequestResult,
    Run,
    SendResult,
    SendState,
    Where,
)
from zkalert.process import clean, clean_line
from zkalert.senders.command import RunSender, handout

SWITCHED_OFF = "shell actions are switched off here"

_STATES = {RequestEnd.UNKNOWN: SendState.UNKNOWN}


class Sender(Protocol):
    """What each of these is, and holds."""

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult: ...


class Requests(Protocol):
    """Asks hosts, and waits for what comes of it. Never raises."""

    def ask(self, host: str, request: ActionRequest) -> RequestResult: ...


class Brakes(Protocol):
    """Counts commands over the whole cluster. Neither method raises."""

    def take(self, run: Run, rule: str, effect_id: str) -> Place: ...

    def release(self, run: Run, rule: str, ticket: str) -> None: ...


class Helpers(NamedTuple):
    """What commands need beside themselves: whether any may run now, how hosts are asked, how brakes are."""

    may_run: Callable[[], bool]
    requests: Requests
    brakes: Brakes


class RemoteSender:
    """Has the sampler of the alert's host run one of the actions that its own configuration names."""

    def __init__(self, run: Run, requests: Requests) -> None:
        self._run = run
        self._action = str(run.command)
        self._requests = requests

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:  # noqa: ARG002 - the dispatcher calls all senders alike; a command is never repeated
        """Ask once, and wait for the end of it; never raises. No end is worth another try."""
        (effect,) = effects
        alert = effect.alert
        if alert.host == MEMBERS_HOST:
            return SendResult(state=SendState.FAILED, detail="the alert is of no single host that could run it")
        started = clock.monotonic()
        fields, document = handout(effect, message)
        result = self._requests.ask(
            alert.host,
            ActionRequest(
                id=f"{effect.id}.{self._action}",
                action=self._action,
                rule=alert.rule,
                series=alert.host if alert.instance is None else f"{alert.host},{alert.instance}",
                timeout=self._run.timeout,
                fields=fields,
                document=document,
            ),
        )
        is_done = result.end is RequestEnd.DONE and result.exit_code == 0
        return SendResult(
            state=SendState.DELIVERED if is_done else _STATES.get(result.end, SendState.FAILED),
            detail=clean_line(f"on {alert.host}: {result.detail}"),
            seconds=clock.monotonic() - started,
            exit_code=result.exit_code,
            tail=clean(result.tail),
        )


class BrakedSender:
    """Runs a command only where the brake of its group has a place for it."""

    def __init__(self, sender: Sender, run: Run, brakes: Brakes) -> None:
        self._sender = sender
        self._run = run
        self._brakes = brakes

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:
        (effect,) = effects
        rule = effect.alert.rule
        place = self._brakes.take(self._run, rule, effect.id)
        if not place.ticket:
            return SendResult(state=SendState.FAILED, detail=place.detail, is_braked=True)
        result = self._sender.send(effects, message, is_repeat=is_repeat)
        if result.state is not SendState.UNKNOWN:  # it may still run; then its place ends by itself
            self._brakes.release(self._run, rule, place.ticket)
        return result


class _Switched:
    """Runs nothing while commands are forbidden; asked each time, since a reload may change it."""

    def __init__(self, sender: Sender, may_run: Callable[[], bool]) -> None:
        self._sender = sender
        self._may_run = may_run

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool = False) -> SendResult:
        if not self._may_run():
            return SendResult(state=SendState.FAILED, detail=SWITCHED_OFF)
        return self._sender.send(effects, message, is_repeat=is_repeat)


def command_sender(run: Run, helpers: Helpers, cwd: Path | None = None) -> Sender:
    """The sender of a command, with all that it asks for; relative commands start from `cwd`."""
    sender: Sender
    sender = RemoteSender(run, helpers.requests) if run.where is Where.HOST else RunSender(run, cwd)
    if run.brake is not None:
        sender = BrakedSender(sender, run, helpers.brakes)
    return _Switched(sender, helpers.may_run)
