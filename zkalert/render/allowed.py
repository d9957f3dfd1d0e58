"""What a template may contain: a list of constructs, none of which multiplies.

Comes in: a parsed template. Goes out: the metrics that it reads, or a refusal with its line. Jinja2's sandbox keeps a
template from reaching Python, but bounds neither time nor memory. So whatever is not known to be harmless is refused,
what Jinja2 adds later too; what is left costs no more than the text is long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zkalert.metrics import nearest

if TYPE_CHECKING:
    from jinja2 import nodes

VARIABLES = (
    "name",
    "metric",
    "value",
    "values",
    "threshold",
    "clear",
    "peak",
    "severity",
    "since",
    "duration",
    "state",
    "host",
    "instance",
    "labels",
)
CHANNEL_VARIABLES = (*VARIABLES, "title", "body", "alerts")
"""Those of a channel's template; of several alerts the first stands for `VARIABLES`."""
ITEM_VARIABLES = (*VARIABLES, "id", "title")
"""What each of `alerts` has."""
FUNCTION = "now"
FILTERS = (
    "abs",
    "bytes",
    "capitalize",
    "default",
    "duration",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "percent",
    "round",
    "time",
    "title",
    "trim",
    "upper",
)
MAX_READS = 16
"""Metrics that one text may read by `now`."""

_WITH_LABELS = ("host", "instance", "labels")
_LIST = "values"
_ALERTS = "alerts"
_TESTS = ("defined", "undefined")
_MAX_DEPTH = 40
_MAX_DIGITS = 15
_MAX_METRIC = 256
_EXAMPLE = f'{FUNCTION}("memory_usage.available")'
_PLAIN = frozenset(
    {"Template", "Output", "TemplateData", "Const", "If", "CondExpr", "Compare", "Operand", "And", "Or", "Not"}
    | {"Add", "Sub", "Div", "Neg", "Pos", "Concat"}
)
_FORBIDDEN = {
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


@dataclass(slots=True)
class _Reading:
    """What one pass over a template knows: which variables there are, what it read, the name that a loop gave."""

    variables: Sequence[str]
    metrics: dict[str, None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    item: str = ""

    @property
    def is_of_channel(self) -> bool:
        return self.variables is CHANNEL_VARIABLES


def check(template: nodes.Template) -> tuple[str, ...]:
    """The metrics that a template reads by `now`, each once. Raises TemplateFailed for what it may not contain."""
    reading = _Reading(VARIABLES)
    _check(template, 0, reading)
    return tuple(reading.metrics)


def check_of_channel(template: nodes.Template) -> frozenset[str]:
    """The variables that a channel's template reads outside a loop. Raises TemplateFailed as `check` does.

    It may go through `alerts` by a loop; it reads no metrics.
    """
    reading = _Reading(CHANNEL_VARIABLES)
    _check(template, 0, reading)
    return frozenset(reading.names)


def _check(node: nodes.Node, depth: int, reading: _Reading) -> None:
    if depth > _MAX_DEPTH:
        raise TemplateFailed("nested too deeply")
    kind = type(node).__name__
    if kind == "Call":
        _check_call(node, reading)
        return
    if kind == "For" and reading.is_of_channel:
        _check_loop(node, depth, reading)
        return
    special = _SPECIAL.get(kind)
    if special is not None:
        special(node, reading)
    elif kind not in _PLAIN:
        what = _FORBIDDEN.get(kind, f'the construct "{kind}"')
        raise _refusal(node, f"{what} cannot be used in a text")
    for child in node.iter_child_nodes():
        _check(child, depth + 1, reading)


def _check_call(node: nodes.Node, reading: _Reading) -> None:
    metric = _metric(node)
    if reading.is_of_channel:
        raise _refusal(node, f"{FUNCTION} is for the texts of rules; a channel's template reads no metrics")
    reading.metrics[metric] = None
    if len(reading.metrics) > MAX_READS:
        raise _refusal(node, f"more than {MAX_READS} metrics are read by {FUNCTION}")


def _check_loop(node: nodes.Node, depth: int, reading: _Reading) -> None:
    """One loop at a time, over all alerts: what comes of it grows with them, and no faster."""
    item = _name(node.target)  # type: ignore[attr-defined]
    is_plain = not (node.test or node.else_ or node.recursive)  # type: ignore[attr-defined]
    if reading.item or item is None or not is_plain or _name(node.iter) != _ALERTS:  # type: ignore[attr-defined]
        raise _refusal(
            node, f"the one loop that there is: {{% for a in {_ALERTS} %}}...{{% endfor %}}, not within another"
        )
    if item in (*reading.variables, FUNCTION):
        raise _refusal(node, f'"{item}" is a variable already; name it otherwise, such as "a"')
    reading.names.add(_ALERTS)
    reading.item = item
    for child in node.body:  # type: ignore[attr-defined]
        _check(child, depth + 1, reading)
    reading.item = ""


def _refusal(node: nodes.Node, message: str) -> TemplateFailed:
    return TemplateFailed(f"line {node.lineno}: {message}")


def _near(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    return f'did you mean "{near}"?' if near else "known: " + ", ".join(names)


def _name(node: nodes.Node) -> str | None:
    """The variable that a node is, None where it is none: filters and tests have names too."""
    return str(node.name) if type(node).__name__ == "Name" else None  # type: ignore[attr-defined]


def _metric(node: nodes.Node) -> str:
    """The metric that a call of `now` reads: one text, written out, so that it is known before the template runs."""
    if _name(node.node) != FUNCTION:  # type: ignore[attr-defined]
        raise _refusal(node, f"calls cannot be used in a text, but for {_EXAMPLE}")
    arguments = list(node.args)  # type: ignore[attr-defined]
    is_one = len(arguments) == 1 and not (node.kwargs or node.dyn_args or node.dyn_kwargs)  # type: ignore[attr-defined]
    metric = getattr(arguments[0], "value", None) if is_one else None
    if not isinstance(metric, str) or not metric:
        raise _refusal(node, f"{FUNCTION} takes the name of one metric in quotes: {_EXAMPLE}")
    if len(metric) > _MAX_METRIC:
        raise _refusal(node, f"the metric in {FUNCTION} is longer than {_MAX_METRIC} characters")
    return metric


def _check_name(node: nodes.Node, reading: _Reading) -> None:
    name = str(node.name)  # type: ignore[attr-defined]
    if name == FUNCTION:
        raise _refusal(node, f"{FUNCTION} takes the name of one metric in quotes: {_EXAMPLE}")
    if name == reading.item:
        return
    if name not in reading.variables:
        raise _refusal(node, f'unknown variable "{name}"; {_near(name, reading.variables)}')
    reading.names.add(name)


def _check_attribute(node: nodes.Node, reading: _Reading) -> None:
    """Only what has labels has attributes, and a label's name is written out; so is the number of a value."""
    attribute = getattr(node, "attr", None)
    if attribute is None:
        attribute = getattr(node.arg, "value", None)  # type: ignore[attr-defined]
    owner = _name(node.node)  # type: ignore[attr-defined]
    if owner is not None and owner == reading.item:
        if attribute not in ITEM_VARIABLES:
            raise _refusal(node, f'an alert has no "{attribute}"; {_near(str(attribute), ITEM_VARIABLES)}')
        return
    if owner is not None:
        _check_name(node.node, reading)  # type: ignore[attr-defined]
    else:
        owner = _of_item(node.node, reading)  # type: ignore[attr-defined]
    if owner == _LIST:
        if type(attribute) is not int:
            raise _refusal(node, f"{_LIST} are counted from 0: {_LIST}[0]")
    elif owner not in _WITH_LABELS:
        raise _refusal(node, "only host, instance and labels have attributes")
    elif not isinstance(attribute, str):
        raise _refusal(node, "the name of a label must be written out")
    elif attribute.startswith("_"):
        raise _refusal(node, f'"{attribute}" is no name of a label')


def _of_item(node: nodes.Node, reading: _Reading) -> str | None:
    """`host` where a node is `a.host`, with `a` the alert that a loop is at."""
    is_of_item = type(node).__name__ == "Getattr" and reading.item and _name(node.node) == reading.item  # type: ignore[attr-defined]
    return str(node.attr) if is_of_item else None  # type: ignore[attr-defined]


def _check_filter(node: nodes.Node, _: _Reading) -> None:
    name, arguments = str(node.name), list(node.args)  # type: ignore[attr-defined]
    if name not in FILTERS:
        raise _refusal(node, f'unknown filter "{name}"; {_near(name, FILTERS)}')
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(arguments) > (name in ("default", "round")):  # type: ignore[attr-defined]
        raise _refusal(node, f'too many arguments for the filter "{name}"')
    if name == "round" and arguments:
        digits = getattr(arguments[0], "value", None)
        if type(digits) is not int or not 0 <= digits <= _MAX_DIGITS:
            raise _refusal(node, f"round takes a number of digits from 0 to {_MAX_DIGITS}")


def _check_test(node: nodes.Node, _: _Reading) -> None:
    name = str(node.name)  # type: ignore[attr-defined]
    if name not in _TESTS:
        raise _refusal(node, f'unknown test "{name}"; {_near(name, _TESTS)}')


_SPECIAL: dict[str, Callable[[nodes.Node, _Reading], None]] = {
    "Name": _check_name,
    "Getattr": _check_attribute,
    "Getitem": _check_attribute,
    "Filter": _check_filter,
    "Test": _check_test,
}
