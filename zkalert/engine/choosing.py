"""Who hears of an effect, by the rules, channels and routes in force; and who will hear of its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from zkalert.engine.outlet import Chosen
from zkalert.model import Action, Brake, Channel, Effect, Phase, Route, Rule, Target, TargetKind
from zkalert.routing import channel_targets, effect_targets, end_targets, heard_of, targets

log = logging.getLogger("zkalert.engine")

_ENDS = (Phase.RESOLVED, Phase.CLOSED)


class Chooser:
    """Chooses targets. `reached` has every target that an effect may go to, by id: records name them by that alone.

    `earlier` are those that were reached before: a URL that stood in a rule is known by nothing else, and the end of
    what it heard of is told to it though the rule is gone.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        channels: Mapping[str, Channel],
        routes: Sequence[Route],
        earlier: Mapping[str, Target] = MappingProxyType({}),
    ) -> None:
        self._channels = {name: channel_targets(channel) for name, channel in channels.items()}
        self._routes = tuple(routes)
        urls = {id_: one for id_, one in earlier.items() if one.kind is TargetKind.NOTIFY and one.channel is None}
        self.reached = urls | _reached(rules, self._channels)

    def __call__(self, rule: Rule, effect: Effect) -> Chosen:
        """The end of an alert goes to those who heard of it, whatever its rule says by now, and to its commands."""
        if effect.phase in _ENDS:
            found, problems = end_targets(rule, effect, self.reached)
        else:
            found, problems = effect_targets(rule, effect, self._channels, self._routes)
        for problem in problems:
            log.error("%s: %s", effect.key, problem)
        return Chosen(found, heard_of(rule, effect, found, self._channels))

    def braked(self, rule: Rule, effect: Effect, brake: Brake) -> Chosen:
        """Who is told that a brake held a command: what it names, else whom the rule tells; no command runs for it."""
        chosen = self(rule, effect) if brake.then is None else self.channel(brake.then)
        rank = effect.alert.severity.rank
        hearing = (one for one in chosen.targets if one.kind is TargetKind.NOTIFY)
        return chosen._replace(
            targets=tuple(one for one in hearing if one.channel is None or one.channel.min_severity.rank <= rank)
        )

    def channel(self, name: str) -> Chosen:
        """All targets of one channel, whatever it wants to hear; of those who hear of an end they are no part."""
        return Chosen(tuple(self._channels.get(name, ())))


def _reached(rules: Iterable[Rule], channels: Mapping[str, Sequence[Target]]) -> dict[str, Target]:
    found = {target.id: target for channel in channels.values() for target in channel}
    for rule in rules:
        for actions in _all_actions(rule):
            for phase in Phase:
                found |= {target.id: target for target in targets(actions, phase, channels)[0]}
    return found


def _all_actions(rule: Rule) -> Iterator[tuple[Action, ...] | None]:
    yield rule.actions
    yield from (step.actions for step in rule.steps if step.actions is not None)
    yield from (one.actions for one in rule.overrides if one.actions is not None)
    yield from (escalation.actions for escalation in rule.escalate)
