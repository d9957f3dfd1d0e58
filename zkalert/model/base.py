"""What everything else uses: the errors, values of metrics, findings about documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

Value: TypeAlias = float | int | str
"""What a metric says: a number, or a text of at most 256 bytes."""

EMPTY: Mapping[str, str] = MappingProxyType({})


class ZkalertError(Exception):
    """An error with a message for the user; never shown with a traceback."""

    exit_code = 1


class UsageError(ZkalertError):
    """The call or the configuration cannot work as given."""

    exit_code = 2


class HostNameTaken(ZkalertError):  # noqa: N818 - says what happened, as ZooKeeper's own exceptions do
    """Another sampler publishes under this host name."""


class LayoutTooNew(ZkalertError):  # noqa: N818
    """The tree was written by a newer zkalert than this one."""


class ServerUnavailable(ZkalertError):  # noqa: N818
    """No local ZooKeeper could be found or started."""


class Level(str, Enum):
    """Whether a finding makes a document unusable (error) or only poorer (advice)."""

    ERROR = "error"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong with one document, at `line` and `column` (from 1; 0 where there is no place).

    `code` is stable and short (`unknown-key`), `message` says what was found, `expected` what was expected, `hint`
    the nearest right name or the cure. `text` is the source line.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    expected: str = ""
    hint: str = ""
    text: str = ""
    level: Level = Level.ERROR


class DocumentError(UsageError):
    """A document cannot be used; `findings` says why, all of it."""

    exit_code = 1

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"{first.file}:{first.line}:{first.column}: {first.message}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something read from ZooKeeper cannot be used: a short code to count by, and a sentence."""

    code: str
    message: str
