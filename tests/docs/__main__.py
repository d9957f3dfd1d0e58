"""Write the pages: `python -m tests.docs`."""

from __future__ import annotations

from tests.docs import DOCS, pages

for name, text in pages().items():
    (DOCS / name).write_text(text, encoding="utf-8")
    print(f"docs/{name}")
