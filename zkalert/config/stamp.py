"""The note in the state folder that a configuration has passed its schema: nobody pays for the schema twice.

What it says is only ever a short cut. Where it cannot be read or written, the schema is asked again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from zkalert import __version__, documents


class Stamp:
    """The note about one text; another text, schema or version has another."""

    def __init__(self, folder: Path, text: str | bytes) -> None:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        schema = hashlib.sha256(documents.schema_bytes("config")).digest()
        self._path = folder / "config.stamp"
        self._content = hashlib.sha256(b"\0".join((__version__.encode(), schema, data))).hexdigest()

    def is_valid(self) -> bool:
        try:
            with self._path.open("rb") as file:
                return file.read(len(self._content) + 1) == self._content.encode()
        except OSError:
            return False

    def write(self) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
                    file.write(self._content)
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)
