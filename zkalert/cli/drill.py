"""`zkalert drill`: send what a rule would, to whom it would, without anything having happened."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import click

from zkalert import clock
from zkalert.cli import EXIT_FINDINGS, EXIT_OK, common, local, tables
from zkalert.cli.formats import format_option
from zkalert.cli.inforce import rule_named, rules_of, unknown
from zkalert.config import Config
from zkalert.engine.choosing import Chooser
from zkalert.evaluate import families_of, is_about, is_of_hosts
from zkalert.lifecycle import is_open
from zkalert.metrics import OWN_ENSEMBLE
from zkalert.model import (
    Effect,
    HostInfo,
    Message,
    Phase,
    Problem,
    Rule,
    SendResult,
    SendState,
    Severity,
    Target,
    UsageError,
    Where,
    ZkalertError,
)
from zkalert.render import render
from zkalert.routing import channel_targets, masked, too_mild
from zkalert.senders import make_sender
from zkalert.senders.remote import SWITCHED_OFF
from zkalert.survey import Drill, Scene, Survey, connected, drill_of, severities, why_not_host, with_ensembles
from zkalert.tree import decode_sample

_PHASES = (Phase.FIRING.value, Phase.RESOLVED.value)


def _phases(ctx: click.Context, param: click.Parameter, text: str) -> tuple[Phase, ...]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _PHASES:
            raise click.BadParameter(unknown(f'no phase "{name}" in a drill', name, _PHASES, ""), ctx, param)
    return tuple(Phase(name) for name in _PHASES if name in names)


class _Sent(NamedTuple):
    """What became of one message; `result` is None where it was not to be sent, for the reason in `why`."""

    effect: Effect
    target: Target
    message: Message
    result: SendResult | None
    why: str = ""

    @property
    def is_well(self) -> bool:
        is_sent = self.result is None or self.result.state is SendState.DELIVERED
        return is_sent and not self.message.problem


@click.command()
@click.argument("rule_name", metavar="RULE")
@click.option(
    "--host",
    metavar="NAME",
    help="As if on this host or ensemble; its labels are read from ZooKeeper. [default: here]",
)
@click.option("--instance", metavar="NAME", help="As if on this instance, such as a mount.")
@click.option("--severity", type=click.Choice([one.value for one in Severity]), help="[default: the rule's lowest]")
@click.option(
    "--phase",
    "phases",
    default=",".join(_PHASES),
    show_default=True,
    callback=_phases,
    help="What is told, with a comma between.",
)
@click.option("--channel", metavar="NAME", help="Only this channel of those that hear it.")
@click.option("--run", "may_run", is_flag=True, help="Run the rule's commands too.")
@click.option("--dry-run", is_flag=True, help="Send nothing: show who would hear what.")
@format_option("text", "Text for people, or one JSON object.")
@common.options(rules=True)
def drill(  # noqa: PLR0913, PLR0917 - one for each option
    options: common.Options,
    rule_name: str,
    host: str | None,
    instance: str | None,
    severity: str | None,
    phases: tuple[Phase, ...],
    channel: str | None,
    may_run: bool,
    dry_run: bool,
    format_: str,
) -> int:
    """Send what RULE would, had its threshold just been crossed: really, and marked as a drill.

    It walks the whole way in this process (rule, templates, routes, channels) and tells of each URL what became of
    the message. Silences and inhibitions are not asked; commands do not run without --run. JSON is an object with
    drill, rule, host, instance, severity, notes, and messages: phase, target, name, kind, url (masked), state
    (delivered, failed, unknown, skipped), seconds, detail, problem (of a template), title, body. Exit code 0: all were
    delivered, 1: one was not, or nobody hears it, 2: wrong usage.
    """
    config = options.load()
    rules = rules_of(config)
    rule = rule_named(rule_name, rules, config)
    wanted = _severity(rule, severity)
    notes: list[str] = []
    scene = _scene(config, rule, host, instance, notes)
    made = drill_of(rule, scene, wanted, clock.wall(), secrets.token_hex(8))
    notes += _notes(config, made, scene)
    if dry_run and may_run:
        raise UsageError("--dry-run sends and runs nothing; leave out --run")
    sent: list[_Sent] = []
    for one in _plan(config, rules, made, phases, channel):
        done = one if dry_run else _send(config, one, may_run=may_run)
        sent.append(done)
        if format_ == "text":
            _tell(done, is_dry=dry_run)
    notes += _quiet_notes(made, sent)
    if format_ == "json":
        click.echo(json.dumps(_document(made, sent, notes), indent=2))
    for note in notes:
        _say(note)
    if not sent:
        _say("nobody hears of this")
    return EXIT_OK if sent and all(one.is_well for one in sent) else EXIT_FINDINGS


def _severity(rule: Rule, name: str | None) -> Severity | None:
    if name is None:
        return None
    has = severities(rule)
    if Severity(name) not in has:
        words = ", ".join(one.value for one in has)
        raise UsageError(f'--severity: the rule "{rule.name}" is never {name}; expected {words}')
    return Severity(name)


# Where ----------------------------------------------------------------------------------------------------------------


def _scene(config: Config, rule: Rule, host: str | None, instance: str | None, notes: list[str]) -> Scene:
    """Where the drill takes place; what cannot be read of a host is left out, with a note."""
    if not is_of_hosts(rule):
        return _ensemble_scene(config, rule, host, instance, notes)
    if host is None:
        return Scene(host=HostInfo(name=config.host, labels=config.labels), instance=instance)
    try:
        settings = local.zookeeper_of(config)
        with connected(settings) as reader:
            info = reader.infos([host]).get(host)
            families = {*families_of(rule), *(metric.family for metric in rule.reads)}
            paths = {reader.tree.family(host, family): family for family in families}
            found = reader.answers(reader.client.get_async, paths)
    except ZkalertError as error:
        notes.append(f"the labels of {host} are not known: {error}")
        return Scene(host=HostInfo(name=host), instance=instance)
    if info is None:
        notes.append(f"the labels of {host} are not known: it never published here")
    decoded = {paths[path]: decode_sample(paths[path], data) for path, (data, _) in found.items()}
    return Scene(
        host=info or HostInfo(name=host),
        instance=instance,
        samples={family: sample for family, sample in decoded.items() if not isinstance(sample, Problem)},
    )


def _ensemble_scene(config: Config, rule: Rule, name: str | None, instance: str | None, notes: list[str]) -> Scene:
    """An ensemble in the place of a host: the one that the rule is about, or that was asked for."""
    known = local.ensembles_of(config)
    fitting = [one for one in known if is_about(rule, one)]
    if name is not None and name not in fitting:
        raise UsageError(unknown(f'"{rule.name}" is about no ensemble "{name}"', name, fitting, "it is about none"))
    chosen = HostInfo(name=name or next(iter(fitting), OWN_ENSEMBLE), is_ensemble=True)
    try:
        with connected(known[OWN_ENSEMBLE].zookeeper) as reader:
            seen = with_ensembles(Survey(at=clock.wall(), hosts={}), reader, [rule], known).hosts.get(chosen.name)
    except ZkalertError as error:
        notes.append(f"what {chosen.name} says now is not known: {error}")
        seen = None
    said = {} if seen is None else {family: found[-1].sample for family, found in seen.samples.items()}
    notes += sorted({sample.message for sample in said.values() if isinstance(sample, Problem)})
    samples = {family: sample for family, sample in said.items() if not isinstance(sample, Problem)}
    return Scene(host=chosen, instance=instance, samples=samples)


def _notes(config: Config, made: Drill, scene: Scene) -> Iterator[str]:
    """What is as in a real alert, and would keep it from coming or from being heard."""
    if not made.rule.enabled:
        yield "the rule is off (enabled: false)"
    if not scene.host.is_ensemble and (why := why_not_host(made.rule, scene.host)):
        yield f"the rule does not look at {scene.host.name}: {why}"
    channels = {name: channel_targets(channel) for name, channel in config.channels.items()}
    yield from too_mild(made.rule, made.firing, channels, config.routes)


def _quiet_notes(made: Drill, sent: Iterable[_Sent]) -> Iterator[str]:
    channels = {one.target.channel.name: one.target.channel for one in sent if one.target.channel is not None}
    for name, channel in channels.items():
        hours, alert = channel.quiet_hours, made.firing.alert
        if hours is not None and alert.severity not in hours.but and is_open(hours.schedule, made.firing.at):
            yield f'the channel "{name}" is in its quiet hours now: a message that is no drill would wait'


# What -----------------------------------------------------------------------------------------------------------------


def _plan(
    config: Config, rules: Iterable[Rule], made: Drill, phases: Iterable[Phase], channel: str | None
) -> Iterator[_Sent]:
    """All messages in their order. Raises UsageError where the channel hears none of it."""
    choose = Chooser(rules, config.channels, config.routes)
    first = choose(made.rule, made.firing)
    # The end is told to those who heard of the beginning.
    over = replace(made.resolved, alert=replace(made.resolved.alert, heard=first.heard))
    chosen = {
        Phase.FIRING: (made.firing, first.targets),
        Phase.RESOLVED: (over, choose(made.rule, over).targets),
    }
    every = [(effect, target) for phase in phases for effect, targets in [chosen[phase]] for target in targets]
    if channel is not None:
        names = {one.channel.name for _, one in every if one.channel is not None}
        if channel not in names:
            raise UsageError(unknown(f'the channel "{channel}" does not hear of this', channel, names, "nobody does"))
        every = [(effect, one) for effect, one in every if one.channel is not None and one.channel.name == channel]
    for effect, target in every:
        yield _Sent(effect, target, render(effect, channel=target.channel), None, "not sent")


def _send(config: Config, one: _Sent, *, may_run: bool) -> _Sent:
    """The same, sent."""
    run = one.target.run
    if run is not None:
        if run.where is Where.HOST:
            return one._replace(why="the host runs it, and is not asked in a drill")
        if not config.may_run:
            return one._replace(why=SWITCHED_OFF)
        if not may_run:
            return one._replace(why="commands run with --run alone")
    sender = make_sender(one.target, config.source.parent if config.source else None)
    return one._replace(result=sender.send((one.effect,), one.message), why="")


# What became of it ----------------------------------------------------------------------------------------------------


def _where(target: Target) -> str:
    return masked(target.url) if target.url is not None else f"the command {target.name}"


def _tell(one: _Sent, *, is_dry: bool) -> None:
    """Print what became of one message; of one that is not sent, what would stand in it."""
    line = f"{one.effect.phase.value:8}  {one.target.id}  {_where(one.target)}  {_end(one)}"
    click.echo(tables.plain(line))
    if one.message.problem:
        click.echo(tables.plain(f"    template: {one.message.problem}"))
    if is_dry:
        for text in (one.message.title, *one.message.body.splitlines()):
            click.echo(tables.plain(f"    {text}").rstrip())


def _end(one: _Sent) -> str:
    if one.result is None:
        return f"skipped: {one.why}"
    took = f"{one.result.seconds * 1000:.0f} ms"
    if one.result.state is SendState.DELIVERED:
        return f"{'delivered' if one.target.run is None else 'ran'} in {took}"
    return f"{one.result.state.value} after {took}: {one.result.detail}"


def _document(made: Drill, sent: Iterable[_Sent], notes: Iterable[str]) -> dict[str, Any]:
    alert = made.firing.alert
    return {
        "drill": alert.id,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance,
        "severity": alert.severity.value,
        "notes": list(notes),
        "messages": [
            {
                "phase": one.effect.phase.value,
                "target": one.target.id,
                "name": one.target.name,
                "kind": one.target.kind.value,
                "url": None if one.target.url is None else masked(one.target.url),
                "state": "skipped" if one.result is None else one.result.state.value,
                "seconds": None if one.result is None else round(one.result.seconds, 3),
                "detail": one.why if one.result is None else one.result.detail,
                "problem": one.message.problem,
                "title": one.message.title,
                "body": one.message.body,
            }
            for one in sent
        ],
    }


def _say(line: str) -> None:
    click.echo(tables.plain(line), err=True)
