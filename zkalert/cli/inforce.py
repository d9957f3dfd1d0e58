"""The rules that are in force by a configuration, for commands that ask about one of them."""

from __future__ import annotations

from collections.abc import Iterable

from zkalert import rulefile
from zkalert.cli import local, logs
from zkalert.cli.rulesource import allowed
from zkalert.cli.session import connected
from zkalert.config import Config
from zkalert.metrics import nearest
from zkalert.model import DocumentError, Rule, UsageError
from zkalert.store import rulesets

_SHOWN_NAMES = 10


def rules_of(config: Config) -> tuple[Rule, ...]:
    """All rules of the configuration or the flags, or else the published ones, with the one that is built in.

    Where neither rules nor a ZooKeeper are configured, they are those that `zkalert up` takes then. Raises UsageError
    where there are none, DocumentError where one is wrong, ZkalertError where ZooKeeper has them and does not answer.
    """
    sources = local.USUAL if _are_usual(config) else config.rules
    if sources:
        found = rulefile.load(sources, channels=config.channels, intervals=config.intervals, ensembles=config.ensembles)
    elif config.published_rules.is_followed:
        with connected(local.zookeeper_of(config)) as session:
            published = rulesets.published(*session)
        if published is None:
            raise UsageError("no rules are published yet; `zkalert rules push` does that")
        found = rulefile.load_texts(
            published.files,
            channels=config.channels,
            intervals=config.intervals,
            ensembles=config.ensembles,
            allowed=allowed(config),
        )
    else:
        raise UsageError("no rules: name files or folders with --rules PATH, or under rules: in zkalert.yaml")
    if not found.is_usable:
        raise DocumentError(found.findings)
    return rulefile.with_builtin(found.rules, config.host_down)


def _are_usual(config: Config) -> bool:
    return not config.rules and not config.published_rules.is_followed and config.zookeeper is None


def rule_named(name: str, rules: Iterable[Rule], config: Config) -> Rule:
    """One of the rules of a configuration. Raises UsageError where there is none of that name."""
    known = {rule.name: rule for rule in rules}
    if name not in known:
        packs = " and ".join(str(pack) for pack in local.USUAL)
        where = f" in {packs}; --rules PATH takes others" if _are_usual(config) else ""
        raise UsageError(unknown(f'no rule "{name}"{where}', name, known, "there are no rules"))
    return known[name]


def unknown(message: str, name: str, names: Iterable[str], none: str) -> str:
    """A sentence about a name that is not among these, with the nearest right one."""
    known = sorted(names)
    if not known:
        return f"{message}; {none}"
    near = nearest(name, known)
    more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
    hint = f"did you mean {near}?" if near else f"known: {', '.join(known[:_SHOWN_NAMES])}{more}"
    return f"{message}; {hint}".translate(logs.CONTROL)
