"""Where log lines go, and how they look: text for people, or one JSON object a line.

No secret is masked here: whoever logs leaves secrets out. But libraries that print them are never let through.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any, TextIO

from zkalert import clock

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("text", "json")

_TOLD_BY_US = ("kazoo",)
_PRINT_SECRETS = ("apprise", "urllib3")  # whole webhook URLs, in warnings too
_PREFIX = "zkalert."
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_STEERING = (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SURROGATES = range(0xD800, 0xE000)  # alone they fit into no encoding of Unicode: printing one raises
CONTROL = (
    {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _STEERING}
    | dict.fromkeys(_SURROGATES, "\ufffd")
    | {ord("\t"): "\t"}
)
ONE_LINE = CONTROL | {ord("\t"): " "}
"""For what must stand in one column."""


class TextFormatter(logging.Formatter):
    """`2026-11-23 17:03:19.123 warning zookeeper: text`, in local time; a message is one line whatever it says."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        stamp = at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"
        message = record.getMessage().translate(CONTROL)
        line = f"{stamp} {record.levelname.lower()} {record.name.removeprefix(_PREFIX)}: {message}"
        if not record.exc_info:
            return line
        return "\n".join(
            [line, *(text.translate(CONTROL) for text in self.formatException(record.exc_info).splitlines())]
        )


class JsonFormatter(logging.Formatter):
    """One object: time (ISO, UTC), level, logger, message, what was given as `extra`, and the exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": clock.iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(_PREFIX),
            "message": record.getMessage(),
        }
        document |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def setup(level: str = "info", format: str = "text", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send all log lines to `stream` (standard error); `level` and `format` are keys of LEVELS and FORMATS."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("zkalert").setLevel(LEVELS[level])
    for name in _TOLD_BY_US:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
    for name in _PRINT_SECRETS:
        library = logging.getLogger(name)
        library.propagate = False
        library.addHandler(logging.NullHandler())
