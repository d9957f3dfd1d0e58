"""The option `--format`, apart from the others: who takes no configuration does not load it for this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def format_option(usual: str, help_: str) -> Callable[[_Command], _Command]:
    """The option `--format`, given as `format_`: `usual` for people, which is `text` or `table`, or `json`."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice([usual, "json"]),
        default=usual,
        show_default=True,
        help=help_,
    )
