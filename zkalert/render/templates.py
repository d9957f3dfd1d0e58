"""Users' texts with `{{ }}` in them: what such a text may contain, and what comes of it.

Comes in: a text, and the values its variables stand for. Goes out: a text, or one sentence that says what is wrong
with it. Jinja2 is loaded on first use, and only for a text that has a mark of it. Its sandbox keeps a template from
reaching Python, but bounds neither time nor memory, so a list of allowed constructs stands before it: no loops, no
calls, nothing that multiplies. What is left costs no more than the text is long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from zkalert.metrics import nearest

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.sandbox import SandboxedEnvironment

MAX_SOURCE = 4096
VARIABLES = (
    "name",
    "metric",
    "value",
    "threshold",
    "peak",
    "severity",
    "since",
    "duration",
    "state",
    "host",
    "instance",
    "labels",
)

_MARKS = ("{{", "{%", "{#")
_WITH_LABELS = ("host", "instance", "labels")
_FILTERS = (
    "abs",
    "capitalize",
    "default",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "round",
    "title",
    "trim",
)
_ALL_FILTERS = (*_FILTERS, "upper")
_TESTS = ("defined", "undefined")
_MAX_DEPTH = 40
_MAX_DIGITS = 15
_FORBIDDEN = {
    "Call": "calls",
    "CallBlock": "calls",
    "FilterBlock": "filter blocks",
    "For": "loops",
    "Assign": "assignments",
    "AssignBlock": "assignments",
    "With": "assignments",
    "Macro": "macros",
    "Block": "blocks",
    "Include": "include",
    "Import": "import",
    "FromImport": "import",
    "Extends": "extends",
    "Mul": "multiplication",
    "Pow": "powers",
    "Mod": 'the operator "%"',
    "FloorDiv": 'the operator "//"',
    "Slice": "slices",
    "List": "lists",
    "Tuple": "lists",
    "Dict": "dictionaries",
}


class TemplateFailed(Exception):  # noqa: N818 - says what happened; never leaves this package
    """A text cannot be filled in; the message is one sentence."""


class Named:
    """A host or an instance in a template: prints as its name, and its labels are its attributes."""

    __slots__ = ("_labels", "_name")

    def __init__(self, name: str, labels: Mapping[str, str]) -> None:
        self._name = name
        self._labels = labels

    def __str__(self) -> str:
        return self._name

    def __getitem__(self, label: str) -> str:
        return self._labels[label]

    def __contains__(self, part: str) -> bool:
        return part in self._name

    def __eq__(self, other: object) -> bool:
        return self._name == (other._name if isinstance(other, Named) else other)

    def __hash__(self) -> int:
        return hash(self._name)

    def __len__(self) -> int:
        return len(self._name)


class Labels:
    """The rule's labels in a template. A bare mapping would offer its methods where a label is meant."""

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._labels.items())

    def __getitem__(self, label: str) -> str:
        return self._labels[label]

    def __contains__(self, label: str) -> bool:
        return label in self._labels


class Quantity(float):
    """A number that prints with its unit, and compares and computes as the number."""

    __slots__ = ("_text",)

    _text: str

    @classmethod
    def of(cls, number: float, text: str) -> Quantity:
        quantity = cls(number)
        quantity._text = text
        return quantity

    def __str__(self) -> str:
        return self._text


def template_problem(text: str) -> str | None:
    """What is wrong with a rule's text, in one sentence; None where nothing is.

    A text without `{{`, `{%` or `{#` is no template; only its length is looked at.
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
    template = _compiled(text)
    try:
        return template.render(values())
    except Exception as error:  # noqa: BLE001 - whatever a user's expression runs into, the alert goes out
        raise TemplateFailed(str(error)[:200] or type(error).__name__) from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - most rules have no template, and need no Jinja2

    environment = _environment()
    try:
        _check(environment.parse(text), 0)
        return environment.from_string(text)
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

    class MissingLabel(StrictUndefined):
        """Only labels can be missing once a text was checked; say it in the user's words."""

        @property
        def _undefined_message(self) -> str:
            return f'{self._undefined_obj} has no label "{self._undefined_name}"'

    environment = SandboxedEnvironment(undefined=MissingLabel, autoescape=False)
    environment.globals.clear()
    return environment


def _check(node: nodes.Node, depth: int) -> None:
    """Refuse whatever is not known to be harmless: a whitelist, so that what Jinja2 adds later is refused too."""
    if depth > _MAX_DEPTH:
        raise TemplateFailed("nested too deeply")
    kind = type(node).__name__
    special = _SPECIAL.get(kind)
    if special is not None:
        special(node)
    elif kind not in _PLAIN:
        what = _FORBIDDEN.get(kind, f'the construct "{kind}"')
        raise _refusal(node, f"{what} cannot be used in a text")
    for child in node.iter_child_nodes():
        _check(child, depth + 1)


def _refusal(node: nodes.Node, message: str) -> TemplateFailed:
    return TemplateFailed(f"line {node.lineno}: {message}")


def _near(name: str, names: tuple[str, ...]) -> str:
    near = nearest(name, names)
    return f'did you mean "{near}"?' if near else "known: " + ", ".join(names)


def _check_name(node: nodes.Node) -> None:
    name = str(node.name)  # type: ignore[attr-defined]
    if name not in VARIABLES:
        raise _refusal(node, f'unknown variable "{name}"; {_near(name, VARIABLES)}')


def _check_attribute(node: nodes.Node) -> None:
    """Only what has labels has attributes, and a label's name is written out."""
    owner = getattr(node.node, "name", None)  # type: ignore[attr-defined]
    if type(node.node).__name__ != "Name" or owner not in _WITH_LABELS:  # type: ignore[attr-defined]
        if type(node.node).__name__ == "Name":  # type: ignore[attr-defined]
            _check_name(node.node)  # type: ignore[attr-defined]
        raise _refusal(node, "only host, instance and labels have attributes")
    attribute = getattr(node, "attr", None) or getattr(node.arg, "value", None)  # type: ignore[attr-defined]
    if not isinstance(attribute, str):
        raise _refusal(node, "the name of a label must be written out")
    if attribute.startswith("_"):
        raise _refusal(node, f'"{attribute}" is no name of a label')


def _check_filter(node: nodes.Node) -> None:
    name, arguments = str(node.name), list(node.args)  # type: ignore[attr-defined]
    if name not in _ALL_FILTERS:
        raise _refusal(node, f'unknown filter "{name}"; {_near(name, _ALL_FILTERS)}')
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(arguments) > (name in ("default", "round")):  # type: ignore[attr-defined]
        raise _refusal(node, f'too many arguments for the filter "{name}"')
    if name == "round" and arguments:
        digits = getattr(arguments[0], "value", None)
        if type(digits) is not int or not 0 <= digits <= _MAX_DIGITS:
            raise _refusal(node, f"round takes a number of digits from 0 to {_MAX_DIGITS}")


def _check_test(node: nodes.Node) -> None:
    name = str(node.name)  # type: ignore[attr-defined]
    if name not in _TESTS:
        raise _refusal(node, f'unknown test "{name}"; {_near(name, _TESTS)}')


_PLAIN = frozenset(
    {"Template", "Output", "TemplateData", "Const", "If", "CondExpr", "Compare", "Operand", "And", "Or", "Not"}
    | {"Add", "Sub", "Div", "Neg", "Pos", "Concat"}
)
_SPECIAL: dict[str, Callable[[nodes.Node], None]] = {
    "Name": _check_name,
    "Getattr": _check_attribute,
    "Getitem": _check_attribute,
    "Filter": _check_filter,
    "Test": _check_test,
}
