"""One rule, attached to the hosts that it looks at."""

from __future__ import annotations

from zkalert.evaluate import (
    PATIENCE,
    AcrossLook,
    JoinedLook,
    Look,
    PlainLook,
    Verdicts,
    covers,
    families_of,
    goes_by_instance,
    is_of_hosts,
    look_of,
    looks_at,
    variant,
)
from zkalert.model import MEMBERS_HOST, Comparator, HostInfo, Observation, Of, Rule

_MOST_VARIANTS = 65_536


class RuleWatcher:
    """What one rule makes of samples, and what it remembers of earlier ones, for all hosts."""

    __slots__ = (
        "_across",
        "_hosts",
        "_looks",
        "_patience",
        "_shared",
        "_variants",
        "families",
        "gone_families",
        "is_of_hosts",
        "is_whole",
        "judges_what_is_not_there",
        "metric",
        "rule",
    )

    def __init__(self, rule: Rule, *, patience: float = PATIENCE) -> None:
        """`patience` as for `AcrossLook`."""
        self.rule = rule
        self._patience = patience
        self.families = families_of(rule)
        self.is_of_hosts = is_of_hosts(rule)
        by_instance = [one.term.metric for one in rule.conditions if goes_by_instance(rule, one)]
        # What a sample must have for a series to have been heard of.
        self.metric = by_instance[0] if by_instance else rule.metric
        # Whether its series are hosts as a whole.
        self.is_whole = rule.across is None and not by_instance
        # Whether it has something to say of a series that no sample names.
        self.judges_what_is_not_there = rule.across is not None or rule.conditions[0].comparator is Comparator.ABSENT
        # Families whose instances are the rule's: one that goes missing there is gone.
        self.gone_families: frozenset[str] = frozenset()
        if rule.across is None:
            self.gone_families = frozenset(
                one.term.metric.family
                for one in rule.conditions
                if goes_by_instance(rule, one) and one.comparator is not Comparator.ABSENT
            )
        self._hosts: dict[str, HostInfo] = {}
        self._looks: dict[str, Look] = {}
        self._variants: dict[tuple[str, str | None], Rule] = {}
        look = look_of(rule, lambda _: rule, patience=patience)
        self._across = look if isinstance(look, AcrossLook) else None
        # One that remembers nothing serves all hosts.
        self._shared: Look | None = look if isinstance(look, AcrossLook | PlainLook) and not rule.overrides else None

    def successor(self, rule: Rule) -> RuleWatcher:
        """The watcher of the rule's next wording; it remembers what it saw where the condition is the same."""
        if rule == self.rule:
            return self
        watcher = RuleWatcher(rule, patience=self._patience)
        if rule.digest == self.rule.digest:
            watcher._hosts, watcher._looks = self._hosts, self._looks
            watcher._across, watcher._shared = self._across, self._shared
        return watcher

    def follows(self, host: HostInfo) -> bool:
        """Whether the rule looks at a host, or at an ensemble in the place of one."""
        return looks_at(self.rule, host)

    def covers(self, instance: str | None) -> bool:
        return covers(self.rule, instance)

    def looks_at(self, host: str, instance: str | None = None) -> bool:
        """Whether a series of this host (as alerts name it) is one of the rule's now.

        One over many hosts by a label takes a host that has this value of it.
        """
        if host != MEMBERS_HOST:
            return host in self._hosts
        by = None if self.rule.across is None else self.rule.across.by
        return by is None or any(info.labels.get(by, "") == instance for info in self._hosts.values())

    def attach(self, host: HostInfo) -> None:
        """Look at a host, or hear what its labels are now."""
        before = self._hosts.get(host.name)
        if before == host:
            return
        self._hosts[host.name] = host
        if self._across is not None:
            self._across.attach(host)
        if before is not None and self.rule.overrides:
            self._looks.pop(host.name, None)
            self._variants = {key: rule for key, rule in self._variants.items() if key[0] != host.name}

    def forget(self, host: str) -> None:
        """Look at a host no longer."""
        if self._hosts.pop(host, None) is None:
            return
        self._looks.pop(host, None)
        if self._across is not None:
            self._across.forget(host)
        if self._variants:
            self._variants = {key: rule for key, rule in self._variants.items() if key[0] != host}

    def series_host(self, host: str) -> str:
        """The host that the rule's alerts on samples of `host` belong to."""
        across = self.rule.across
        return MEMBERS_HOST if across is not None and across.of is Of.HOSTS else host

    def variant(self, host: str, instance: str | None) -> Rule:
        """The rule as it holds for one series."""
        if not self.rule.overrides:
            return self.rule
        known = self._variants.get((host, instance))
        if known is None:
            if len(self._variants) > _MOST_VARIANTS:
                self._variants.clear()
            known = variant(self.rule, self._hosts.get(host, HostInfo(name=host)), instance)
            self._variants[host, instance] = known
        return known

    def observe(self, observation: Observation) -> Verdicts:
        """What a sample says of each series."""
        look = self._look(observation.host) if self._shared is None else self._shared
        return look.look(observation)

    def expect(self, host: str, instance: str | None) -> None:
        """A series was there before this began to look."""
        if instance is not None and host in self._hosts and isinstance(look := self._look(host), JoinedLook):
            look.expect(instance)

    def _look(self, host: str) -> Look:
        if self._shared is not None:
            return self._shared
        look = self._looks.get(host)
        if look is None:
            look = self._looks[host] = look_of(
                self.rule, lambda instance: self.variant(host, instance), patience=self._patience
            )
        return look
