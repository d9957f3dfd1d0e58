"""Users' texts with `{{ }}` in them: whether such a text is well made, what it reads, and what comes of it.

Comes in: a text, and the values its variables stand for. Goes out: a text, or one sentence that says what is wrong
with it. Jinja2 is loaded on first use, and only for a text that has a mark of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from zkalert.render.allowed import TemplateFailed, check
from zkalert.render.values import Values, as_bytes, as_duration, as_percent, as_time

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

MAX_SOURCE = 4096
"""Bytes of a text with variables."""

_MARKS = ("{{", "{%", "{#")


class _Compiled(NamedTuple):
    """A template, and the metrics that it reads by `now`, as they are written in it."""

    template: Template
    reads: tuple[str, ...]


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


@lru_cache(maxsize=256)
def _compiled(text: str) -> _Compiled:
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - most rules have no template, and need no Jinja2

    environment = _environment()
    try:
        reads = check(environment.parse(text))
        return _Compiled(environment.from_string(text), reads)
    except TemplateSyntaxError as error:
        raise TemplateFailed(f"line {error.lineno}: {(error.message or 'syntax error').rstrip('.')}") from None
    except (RecursionError, MemoryError):
        raise TemplateFailed("nested too deeply") from None
    except (SyntaxError, ValueError, OverflowError) as error:  # such as a number of thousands of digits
        raise TemplateFailed(f"not understood: {str(error)[:120]}") from None


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined  # noqa: PLC0415 - as above
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415 - as above

    class Missing(StrictUndefined):
        """Only labels and values can be missing once a text was checked; say it in the user's words."""

        @property
        def _undefined_message(self) -> str:
            if isinstance(self._undefined_obj, Values):
                return f"there is no values[{self._undefined_name}]: they are {len(self._undefined_obj)}, from 0"
            return f'{self._undefined_obj} has no label "{self._undefined_name}"'

    environment = SandboxedEnvironment(undefined=Missing, autoescape=False)
    environment.globals.clear()
    environment.filters |= {"bytes": as_bytes, "percent": as_percent, "duration": as_duration, "time": as_time}
    return environment
