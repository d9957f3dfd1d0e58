"""What a test document says of rules, held against the rules that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from zkalert.metrics import QuantityError, Unit, nearest, parse_quantity
from zkalert.model import MEMBERS_HOST, Finding, HostDown, Of, Rule
from zkalert.rulefile import with_builtin
from zkalert.ruletest import words
from zkalert.ruletest.suite import ExpectedState, Path, Suite


def completed(suite: Suite, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules, and those that are built in where a test or a rule speaks of them: not each test means them."""
    rules = tuple(rules)
    named = {state.rule for test in suite.tests for state in test.states}
    named.update(
        message.rule or "" for test in suite.tests for message in (*(test.messages or ()), *(test.withheld or ()))
    )
    named.update(silence.rule for test in suite.tests for silence in test.silences)
    named.update(ack.rule for test in suite.tests for ack in test.acks)
    named.update(name for rule in rules for name in rule.inhibited_by)
    named.update(rule.name for rule in rules)
    return tuple(rule for rule in with_builtin(rules, HostDown()) if rule.name in named)


def link(suite: Suite, rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """Names of rules that do not exist, and values that no alert of a rule can have, in the order of the tests."""
    return tuple(_Links(suite, {rule.name: rule for rule in completed(suite, rules)}).findings())


class _Links:
    def __init__(self, suite: Suite, rules: Mapping[str, Rule]) -> None:
        self._suite = suite
        self._rules = rules

    def findings(self) -> Iterator[Finding]:
        for test in self._suite.tests:
            for index, silence in enumerate(test.silences):
                if not any(fnmatchcase(name, silence.rule) for name in self._rules):
                    yield self._unknown((*test.path, "silences", index), silence.rule)
            for ack in test.acks:
                yield from self._named(ack.path, ack.rule, ack.host)
            for state in test.states:
                yield from self._named(state.path, state.rule, state.host)
                yield from self._value(state)
            for message in (*(test.messages or ()), *(test.withheld or ())):
                if message.rule is not None:
                    yield from self._named(message.path, message.rule, message.host)

    def _finding(self, path: Path, code: str, message: str, **rest: Any) -> Finding:
        return self._suite.document.finding(path, code, message, **rest)

    def _unknown(self, path: Path, name: str) -> Finding:
        near = nearest(name, self._rules)
        some = ", ".join(list(self._rules)[:10]) + (", ..." if len(self._rules) > 10 else "")
        expected = f"one of {some}" if self._rules else "a file with rules"
        hint = f"did you mean {near}?" if near else ""
        return self._finding(
            (*path, "rule"), "unknown-rule", f"no rule {words.quoted(name)}", expected=expected, hint=hint
        )

    def _named(self, path: Path, name: str, host: str | None) -> Iterator[Finding]:
        rule = self._rules.get(name)
        if rule is None:
            yield self._unknown(path, name)
            return
        if not rule.enabled:
            message = f"the rule {name} is off"
            yield self._finding((*path, "rule"), "rule-off", message, hint=f"enabled: false stands at {rule.source}")
        is_over_hosts = rule.across is not None and rule.across.of is Of.HOSTS
        if host is not None and is_over_hosts and host != MEMBERS_HOST:
            yield self._finding(
                (*path, "host"),
                "wrong-host",
                f"{name} has one alert over many hosts",
                expected='no host, or "-"',
                hint="the label's value of `by` is its instance",
            )
        elif host == MEMBERS_HOST and not is_over_hosts:
            yield self._finding(
                (*path, "host"), "wrong-host", f"{name} has alerts on hosts of their own", expected="the name of a host"
            )

    def _value(self, state: ExpectedState) -> Iterator[Finding]:
        rule = self._rules.get(state.rule)
        if state.value is None or rule is None:
            return
        errors = []
        for condition in rule.conditions:
            unit = Unit(condition.unit)
            if unit is Unit.TEXT:
                return
            try:
                parse_quantity(state.value, unit)
            except QuantityError as error:
                errors.append(error)
            else:
                return
        expected = " or ".join(dict.fromkeys(error.expected for error in errors))
        yield self._finding((*state.path, "value"), "wrong-value", f"value: {errors[0]}", expected=expected)
