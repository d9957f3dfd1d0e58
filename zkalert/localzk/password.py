"""The password of the local server, made once and kept where only its user can read it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def local_password(state_dir: Path) -> str:
    """The password in `<state_dir>/zookeeper/password`; the first call makes it."""
    path = state_dir / "zookeeper" / "password"
    for folder in (state_dir, path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _create(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="ascii").strip()


def _create(path: Path, text: str) -> None:
    """Make the file whole or not at all; where another process was faster, its file stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
        # A link fails where the name is taken already, which a rename does not.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
