"""All that the evaluator's queue may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from zkalert.engine.choosing import Chooser
from zkalert.engine.ensembles import EnsembleState
from zkalert.model import ActionResult, Brake, Effect, EnsembleSettings, Rule
from zkalert.servers import ServersSeen
from zkalert.shards import Owned
from zkalert.watch import Acl, Event, ZnodeSeen, ZnodesStirred
from zkalert.zk import ConnectionState


class NewRules(NamedTuple):
    """Another set of rules, checked and whole; `choose` says who hears an effect, `ensembles` what else is watched."""

    rules: tuple[Rule, ...]
    choose: Chooser
    ensembles: Mapping[str, EnsembleSettings]


class ActionDone(NamedTuple):
    """A command that an effect ran has ended. `brake` is there where it never began: that held it."""

    effect: Effect
    result: ActionResult
    brake: Brake | None = None


Input: TypeAlias = (
    Event
    | ZnodeSeen
    | Acl
    | ZnodesStirred
    | EnsembleState
    | ServersSeen
    | ConnectionState
    | Owned
    | NewRules
    | ActionDone
)
