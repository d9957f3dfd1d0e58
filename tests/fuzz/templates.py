"""Templates, well made or nearly."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from tests.fuzz import nasty
from tests.fuzz.payloads import pick

_ATOMS = (
    *("value", "values", "threshold", "clear", "peak", "severity", "since", "duration", "state", "host", "name"),
    *("instance", "labels", "values[0]", "values[-1]", "host.role", 'labels["team"]', "instance.device", "metric"),
    *("1", "0", "-1", "1.5", "1e999", "1e308", "9" * 400, "9" * 4400, "'a'", "''", "'\\n\\x00'", "true", "none"),
    *('now("memory_usage.available")', 'now("x")', "now()", "now", "range(9)", "loop", "self", "x", "().__class__"),
)
_FILTERS = (
    *("abs", "bytes", "capitalize", "default('x')", "default", "duration", "first", "float", "int", "last", "length"),
    *("lower", "percent", "round", "round(15)", "round(16)", "round(-1)", "time", "title", "trim", "upper"),
    *("center(99999999)", "format", "join", "list", "tojson", "attr('x')", "xmlattr", "wordwrap(1)", "indent(9)"),
)
_OPERATORS = (
    "+",
    "-",
    "/",
    "~",
    "*",
    "**",
    "%",
    "//",
    "<",
    "<=",
    "==",
    "!=",
    ">",
    "and",
    "or",
    "in",
    "is",
    "|",
    ".",
    ",",
)


def templates() -> st.SearchStrategy[bytes]:
    """Templates, well made or nearly."""
    return st.randoms(use_true_random=True).map(_template)


def _template(random: Random) -> bytes:
    text = "".join(_piece(random) for _ in range(pick(random, (1, 1, 2, 3, 8))))
    if random.random() < 0.3:
        at = random.randrange(len(text) + 1)
        text = text[:at] + pick(random, (pick(random, nasty.CHARACTERS), text, "")) + text[at + pick(random, (0, 1)) :]
    return text.encode("utf-8", "surrogatepass")


def _piece(random: Random) -> str:
    how = random.randrange(10)
    if how < 6:
        return f"{{{{ {_expression(random, 4)} }}}}"
    if how == 6:
        return f"{{% if {_expression(random, 2)} %}}{_piece(random)}{{% else %}}b{{% endif %}}"
    if how == 7:
        return str(pick(random, nasty.TEXTS))
    return str(pick(random, nasty.TEMPLATES))


def _expression(random: Random, depth: int) -> str:
    how = random.randrange(8) if depth else 0
    if how <= 2:
        return str(pick(random, _ATOMS))
    inner = _expression(random, depth - 1)
    if how == 3:
        return f"{inner} | {pick(random, _FILTERS)}"
    if how == 4:
        return f"({inner})"
    if how == 5:
        return f"{pick(random, ('-', 'not ', '+'))}{inner}"
    if how == 6:
        return f"{inner} if {_expression(random, depth - 1)} else {_expression(random, depth - 1)}"
    return f"({inner} {pick(random, _OPERATORS)} {_expression(random, depth - 1)})"
