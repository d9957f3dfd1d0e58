"""The data that ships with zkalert: schemas and rule packs."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str) -> Path:
    """The folder of `schemas` or `rules`: in the installed package, else at the top of a checkout."""
    installed = _PACKAGE / "data" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def schema_bytes(kind: str) -> bytes:
    """The schema of `rules` or `config` as it stands in its file."""
    return (shipped("schemas") / f"{kind}.schema.json").read_bytes()


@functools.cache
def schema(kind: str) -> dict[str, Any]:
    """The schema of `rules` or `config`; not to be changed."""
    document: dict[str, Any] = json.loads(schema_bytes(kind))
    return document
