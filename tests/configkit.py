"""Texts of zkalert.yaml as commands read them, and what is found wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from zkalert import config
from zkalert.config import Config, Flags
from zkalert.model import DocumentError, Finding

SECRET = "hunter2"
ENVIRON = {"PASSWORD": SECRET, "DC": "gru1", "KAFKA": "k1:2181,k2:2181/kafka", "PLACE": "/srv"}


def load(folder: Path, text: str, flags: Flags | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """What stands in a zkalert.yaml of this text; its state is kept in the folder unless `flags` say otherwise."""
    path = folder / "zkalert.yaml"
    path.write_text(text)
    flags = replace(flags or Flags(state_dir=folder / "state"), config=path)
    return config.load(flags, ENVIRON if environ is None else environ)


def findings(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """What is found in a text that is wrong; never with its secrets."""
    with pytest.raises(DocumentError) as caught:
        load(folder, text, environ=environ)
    assert SECRET not in repr(caught.value.findings) + str(caught.value)
    return caught.value.findings
