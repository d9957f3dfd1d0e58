"""Rule-engine alerting on Apache ZooKeeper."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What applications use, loaded when it is asked for: who imports zkalert for less pays for less."""
    if name in {"Pusher", "push"}:
        return getattr(import_module("zkalert.pushing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
