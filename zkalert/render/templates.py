"""Users' texts with `{{ }}` in them: whether such a text is well made, what it reads, and what comes of it.

Comes in: a text, and the values its variables stand for. Goes out: a text, or one sentence that says what is wrong
with it. Jinja2 is loaded on first use, and only for a text that has a mark of it.

A rule's text becomes plain text. A channel's template is written in the channel's format: what its variables stand
for is escaped for that, but for `body`, which is in that format already (`Ready`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from zkalert.model import Format
from zkalert.render.allowed import VARIABLES, TemplateFailed, check, check_of_channel
from zkalert.render.values import Values, as_bytes, as_duration, as_percent, as_time
from zkalert.render.written import ESCAPES

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.sandbox import SandboxedEnvironment

T = TypeVar("T")

MAX_SOURCE = 4096
"""Bytes of a text with variables."""

MAX_OUTPUT = 64 * 1024
"""Characters that come of a channel's template; what is beyond is not even made."""

_MARKS = ("{{", "{%", "{#")
# A digest has these of its own; what else a template reads, it reads of one alert.
_OF_ANY = frozenset({"title", "body", "alerts", "severity", "state"})


class Ready(str):
    """A text that is in the channel's format already."""

    __slots__ = ()


class _Compiled(NamedTuple):
    """A template of a rule, and the metrics that it reads by `now`, as they are written in it."""

    template: Template
    reads: tuple[str, ...]


class _OfChannel(NamedTuple):
    """A template of a channel, and the variables that it reads outside a loop over `alerts`."""

    template: Template
    names: frozenset[str]


def template_problem(text: str) -> str | None:
    """What is wrong with a rule's text, in one sentence; None where nothing is.

    A text without `{{`, `{%` or `{#` is no template; only its length is looked at. Whether the metrics that it reads
    exist is not: see `template_reads`.
    """
    if len(text.encode("utf-8", "replace")) > MAX_SOURCE:
        return f"longer than {MAX_SOURCE} bytes"
    if not is_template(text):
        return None
    try:
        _compiled(text)
    except TemplateFailed as failed:
        return str(failed)
    return None


def template_reads(text: str) -> tuple[str, ...]:
    """The metrics that a text reads by `now("...")`, as written and each once; none of a text that is not well made."""
    if not is_template(text) or template_problem(text) is not None:
        return ()
    return _compiled(text).reads


def is_template(text: str) -> bool:
    return any(mark in text for mark in _MARKS)


def fill(text: str, values: Callable[[], Mapping[str, object]]) -> str:
    """The text with its variables filled in; `values` is called only where there are any.

    Raises TemplateFailed. The text may come from a record that nobody checked, so it is checked here again.
    """
    if not is_template(text):
        return text
    if len(text) > MAX_SOURCE:
        raise TemplateFailed(f"longer than {MAX_SOURCE} bytes")
    template = _compiled(text).template
    try:
        return template.render(values())
    except Exception as error:  # noqa: BLE001 - whatever a user's expression runs into, the alert goes out
        raise TemplateFailed(str(error)[:200] or type(error).__name__) from None


def channel_template_problem(text: str, form: Format = Format.TEXT) -> str | None:
    """What is wrong with a channel's template, in one sentence; None where nothing is."""
    if len(text.encode("utf-8", "replace")) > MAX_SOURCE:
        return f"longer than {MAX_SOURCE} bytes"
    try:
        _of_channel(text, form)
    except TemplateFailed as failed:
        return str(failed)
    return None


def fill_of_channel(text: str, form: Format, values: Mapping[str, object], count: int) -> str | None:
    """A channel's template filled in, for a message of `count` alerts. Raises TemplateFailed.

    None where it speaks of one alert and there are several: it would tell of the first alone.
    """
    if len(text) > MAX_SOURCE:
        raise TemplateFailed(f"longer than {MAX_SOURCE} bytes")
    template, names = _of_channel(text, form)
    if count > 1 and (names & frozenset(VARIABLES)) - _OF_ANY:
        return None
    made: list[str] = []
    room = MAX_OUTPUT
    try:
        for piece in template.generate(values):
            made.append(piece[:room])
            room -= len(piece)
            if room <= 0:
                break
    except Exception as error:  # noqa: BLE001 - as above
        raise TemplateFailed(str(error)[:200] or type(error).__name__) from None
    return "".join(made)


@lru_cache(maxsize=256)
def _compiled(text: str) -> _Compiled:
    template, reads = _compile(text, Format.TEXT, check)
    return _Compiled(template, reads)


@lru_cache(maxsize=256)
def _of_channel(text: str, form: Format) -> _OfChannel:
    template, names = _compile(text, form, check_of_channel)
    return _OfChannel(template, names)


def _compile(text: str, form: Format, check_: Callable[[nodes.Template], T]) -> tuple[Template, T]:
    """The template, and what the check of it found. Raises TemplateFailed."""
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - most rules have no template, and need no Jinja2

    environment = _environment(form)
    try:
        found = check_(environment.parse(text))
        return environment.from_string(text), found
    except TemplateSyntaxError as error:
        raise TemplateFailed(f"line {error.lineno}: {(error.message or 'syntax error').rstrip('.')}") from None
    except (RecursionError, MemoryError):
        raise TemplateFailed("nested too deeply") from None
    except (SyntaxError, ValueError, OverflowError) as error:  # such as a number of thousands of digits
        raise TemplateFailed(f"not understood: {str(error)[:120]}") from None


@lru_cache(maxsize=len(Format))
def _environment(form: Format) -> SandboxedEnvironment:
    from jinja2 import StrictUndefined  # noqa: PLC0415 - as above
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415 - as above

    class Missing(StrictUndefined):
        """Only labels and values can be missing once a text was checked; say it in the user's words."""

        @property
        def _undefined_message(self) -> str:
            if isinstance(self._undefined_obj, Values):
                return f"there is no values[{self._undefined_name}]: they are {len(self._undefined_obj)}, from 0"
            return f'{self._undefined_obj} has no label "{self._undefined_name}"'

    escape = ESCAPES[form]

    def finalize(value: object) -> str:
        return value if isinstance(value, Ready) else escape(str(value))

    environment = SandboxedEnvironment(
        undefined=Missing, autoescape=False, finalize=None if form is Format.TEXT else finalize
    )
    environment.globals.clear()
    environment.filters |= {"bytes": as_bytes, "percent": as_percent, "duration": as_duration, "time": as_time}
    return environment
