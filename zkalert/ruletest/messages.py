"""What went out and what was withheld, held against what a test expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from zkalert.ruletest import words
from zkalert.ruletest.report import MOST_ROWS, Failure, around, is_series, table
from zkalert.ruletest.running import Going, Story
from zkalert.ruletest.suite import ExpectedMessage, Suite, Test, Wanted

MOST_MESSAGE = 400
_OTHER_BODY = "the body is another one"


def judge_messages(suite: Suite, test: Test, story: Story) -> Iterator[Failure]:
    """Each message and command that did not go out as expected or was not expected, and so of those withheld."""
    yield from _Comparison(suite, test, story.sent, is_sent=True).failures(test.messages)
    yield from _Comparison(suite, test, story.withheld, is_sent=False).failures(test.withheld)
    yield from _failed_texts(suite, test, story.sent)


def _failed_texts(suite: Suite, test: Test, sent: Sequence[Going]) -> Iterator[Failure]:
    """Texts of rules that could not be filled in; those messages went out with other words."""
    told: set[str] = set()
    for going in sent:
        rule = going.effect.alert.rule
        if going.run is None and going.message.problem and rule not in told:
            told.add(rule)
            finding = suite.document.finding(
                (*test.path, "name"),
                "template",
                f"a text of {rule}: {going.message.problem}",
                expected="texts that can be filled in",
            )
            yield Failure(finding=finding, details=tuple(table([_row(going)], 1)))


class _Comparison:
    """What a test expects of one kind, held against `came`."""

    def __init__(self, suite: Suite, test: Test, came: Sequence[Going], *, is_sent: bool) -> None:
        self._document = suite.document
        self._test = test
        self._came = came
        self._is_sent = is_sent

    def failures(self, wanted: Sequence[ExpectedMessage] | None) -> Iterator[Failure]:
        if wanted is None:
            return
        missing, extra = _unmatched(wanted, self._came)
        for expected in missing:
            near = _nearest(expected, extra)
            if near is not None:
                extra.remove(near)
            yield self._missing(expected, near)
        if extra:
            yield self._unexpected(extra, len(wanted))

    def _missing(self, wanted: ExpectedMessage, near: Going | None) -> Failure:
        what = "command" if wanted.run is not None else "message"
        done = "went out" if self._is_sent else "was withheld"
        details = []
        if near is None:
            about = _about(wanted)
            message = f"no such {what}{f' of {about}' if about else ''} {done} at {words.span(wanted.at)}"
        else:
            wrong = list(_differences(wanted, near))
            message = f"the {what} of {words.series_of(near.effect.alert)} is another one: {'; '.join(wrong)}"
            if _OTHER_BODY in wrong:
                details += ["its body:", *(f"  {line}" for line in near.message.body.splitlines())]
        if self._came:
            details.append(f"what {done}:")
            near_by = around(self._came, wanted.at, lambda going: going.at)
            details += table([_row(going) for going in near_by], len(self._came))
        else:
            details.append(f"nothing {done}")
        # A name may be as long as a file allows.
        short = message if len(message) <= MOST_MESSAGE else f"{message[: MOST_MESSAGE - 3]}..."
        finding = self._document.finding(wanted.path, "no-message", short, expected=_message_words(wanted))
        return Failure(finding=finding, details=tuple(details))

    def _unexpected(self, extra: Sequence[Going], expected: int) -> Failure:
        is_one = len(extra) == 1
        done = "went out" if self._is_sent else "was withheld" if is_one else "were withheld"
        count = "1 message" if is_one else f"{len(extra)} messages"
        finding = self._document.finding(
            (*self._test.path, "messages" if self._is_sent else "withheld"),
            "unexpected-message",
            f"{count} {done} that {'is' if is_one else 'are'} not expected",
            expected=f"{expected} in all" if expected else "none",
            at_key=True,
        )
        return Failure(finding=finding, details=tuple(table([_row(going) for going in extra[:MOST_ROWS]], len(extra))))


def _unmatched(wanted: Sequence[ExpectedMessage], came: Sequence[Going]) -> tuple[list[ExpectedMessage], list[Going]]:
    """Who of both sides finds no partner; within a moment the order does not matter."""
    moments: dict[int, tuple[list[ExpectedMessage], list[Going]]] = {}
    for expected in wanted:
        moments.setdefault(_milliseconds(expected.at), ([], []))[0].append(expected)
    for going in came:
        moments.setdefault(_milliseconds(going.at), ([], []))[1].append(going)
    missing: list[ExpectedMessage] = []
    extra: list[Going] = []
    for moment in sorted(moments):
        here, there = moments[moment]
        partners = _partners(here, there)
        missing += [one for index, one in enumerate(here) if index not in partners.values()]
        extra += [one for index, one in enumerate(there) if index not in partners]
    return missing, extra


def _milliseconds(at: float) -> int:
    return round(at * 1000)


def _partners(wanted: Sequence[ExpectedMessage], came: Sequence[Going]) -> dict[int, int]:
    """As many pairs as there can be: for what came, by index, what it fits, by index.

    An expectation takes what it fits; where another one has that already, it sees whether the other can move on.
    """
    by_host: dict[str, list[int]] = {}
    for index, going in enumerate(came):
        by_host.setdefault(going.effect.alert.host, []).append(index)
    fits = [
        [
            index
            for index in (range(len(came)) if one.host is None else by_host.get(one.host, ()))
            if not any(_differences(one, came[index]))
        ]
        for one in wanted
    ]
    partners: dict[int, int] = {}
    taken: dict[int, int] = {}
    for one in range(len(wanted)):
        free, asked_by = _free_partner(one, fits, partners)
        while free is not None:  # back along the way that was asked, everybody moves on by one
            taker = asked_by[free]
            partners[free] = taker
            taken[taker], free = free, taken.get(taker)
    return partners


def _free_partner(
    one: int, fits: Sequence[Sequence[int]], partners: dict[int, int]
) -> tuple[int | None, dict[int, int]]:
    """A partner that nobody has, and who was asked by whom on the way to it."""
    asked_by: dict[int, int] = {}
    asking = [one]
    for asker in asking:
        for index in fits[asker]:
            if index in asked_by:
                continue
            asked_by[index] = asker
            if index not in partners:
                return index, asked_by
            asking.append(partners[index])
    return None, asked_by


def _nearest(wanted: ExpectedMessage, extra: Iterable[Going]) -> Going | None:
    """What came of the same series and phase, nearest in what it says, then in time."""
    alike = [
        going
        for going in extra
        if wanted.rule in (None, going.effect.alert.rule)
        and is_series(wanted.host, wanted.instance, going.effect.alert)
        and (wanted.phases is None or going.effect.phase in wanted.phases)
        and (wanted.run is None) == (going.run is None)
    ]
    return min(
        alike,
        key=lambda going: (len(list(_differences(wanted, going))), abs(going.at - wanted.at)),
        default=None,
    )


def _differences(wanted: ExpectedMessage, going: Going) -> Iterator[str]:
    """In what a message is not as it should be."""
    alert, effect = going.effect.alert, going.effect
    if _milliseconds(wanted.at) != _milliseconds(going.at):
        yield f"it came at {words.span(going.at)}"
    if wanted.rule not in (None, alert.rule):
        yield f"the rule is {alert.rule}"
    if not is_series(wanted.host, wanted.instance, alert):
        yield f"it is about {words.series_of(alert)}"
    if wanted.phases is not None and effect.phase not in wanted.phases:
        yield f"the phase is {effect.phase.value}"
    if wanted.severity not in (None, alert.severity):
        yield f"the severity is {alert.severity.value}"
    if wanted.why is not None and wanted.why not in going.why:
        yield f'the reason is "{going.why}"'
    if wanted.run is not None or going.run is not None:
        if wanted.run != going.run:
            yield "it is no command" if going.run is None else f"the command is {_command(going.run)}"
        return
    yield from _text_differences(wanted, going)


def _text_differences(wanted: ExpectedMessage, going: Going) -> Iterator[str]:
    if wanted.to is not None and not _goes_to(wanted.to, going):
        yield f"it goes to {_names(going)}"
    if wanted.title is None and wanted.body is None and wanted.contains is None:
        return
    message = going.message
    if not _is_text(wanted.title, message.title):
        yield f'the title is "{message.title}"'
    if not _is_text(wanted.body, message.body) or (wanted.contains or "") not in message.body:
        yield _OTHER_BODY


def _goes_to(names: frozenset[str], going: Going) -> bool:
    """Whether the targets are these; a URL in a rule may be named as it stands there."""
    return all(target.name in names or target.url in names for target in going.to) and all(
        any(name in (target.name, target.url) for target in going.to) for name in names
    )


def _is_text(wanted: Wanted | None, text: str) -> bool:
    if wanted is None or isinstance(wanted, str):
        return wanted in (None, text)
    return wanted.search(text) is not None


def _names(going: Going) -> str:
    return ", ".join(dict.fromkeys(target.name for target in going.to))


def _command(run: tuple[str, ...] | str) -> str:
    return run if isinstance(run, str) else " ".join(run)


def _row(going: Going) -> tuple[str, ...]:
    effect = going.effect
    if going.why:
        where = f"withheld: {going.why}"
    else:
        where = f"runs {_command(going.run)}" if going.run is not None else f"to {_names(going)}"
    title = going.message.title if going.run is None else ""
    return (words.span(going.at), effect.phase.value, words.series_of(effect.alert), where, title)


def _about(wanted: ExpectedMessage) -> str:
    """What a message has to be about; empty where it may be anything."""
    if wanted.rule is None:
        return words.place(wanted.host, wanted.instance)
    return words.series(wanted.rule, wanted.host, wanted.instance)


def _message_words(wanted: ExpectedMessage) -> str:
    parts = [words.span(wanted.at)]
    if wanted.phases is not None:
        parts.append("/".join(sorted(phase.value for phase in wanted.phases if phase.value != "closed")))
    if about := _about(wanted):
        parts.append(about)
    if wanted.severity is not None:
        parts.append(wanted.severity.value)
    if wanted.to is not None:
        parts.append("to " + ", ".join(sorted(wanted.to)))
    if wanted.run is not None:
        parts.append(f"command {_command(wanted.run)}")
    for name, text in (("title", wanted.title), ("body", wanted.body)):
        if text is not None:
            parts.append(f'{name} "{text}"' if isinstance(text, str) else f"{name} /{text.pattern}/")
    if wanted.contains is not None:
        parts.append(f'a body with "{wanted.contains}"')
    if wanted.why is not None:
        parts.append(f'because "{wanted.why}"')
    return ", ".join(parts)
