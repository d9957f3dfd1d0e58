"""The pages in docs/ that are made: of the schemas, the metric table, the recipes and the well-known alerts.

What is written by hand stands in docs/source; lines such as `<!-- keys -->` are replaced. `make docs` writes the
pages, and a test compares them with what would be written now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.docs import alerts, keys, packs, recipes, settings, tables

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS.parent / "rules"

_INSERT = re.compile(r"^<!-- ([a-z]+) -->$", re.MULTILINE)


def pages() -> dict[str, str]:
    """The text of each page, by its name in docs/."""
    cookbook = recipes.read(DOCS / "cookbook")
    wellknown = alerts.read(DOCS / "source" / "alerts.yaml")
    return {
        "rules.md": _page(
            "rules.md",
            {
                "keys": keys.reference(cookbook),
                "metrics": tables.metrics(),
                "variables": tables.variables(),
                "filters": tables.filters(),
                "recipes": recipes.contents(cookbook, page="cookbook.md"),
            },
        ),
        "cookbook.md": _page("cookbook.md", {"recipes": recipes.cookbook(cookbook)}),
        "alerts.md": _page(
            "alerts.md",
            {
                "count": alerts.count(wellknown),
                "tables": alerts.tables(wellknown),
            },
        ),
        "alerting.md": _page("alerting.md", {}),
        "configuration.md": _page(
            "configuration.md", {"contents": settings.contents(), "settings": settings.reference()}
        ),
        "ensembles.md": _page("ensembles.md", {}),
        "hosts.md": _page("hosts.md", {}),
        "znodes.md": _page("znodes.md", {"znodes": tables.znodes()}),
        "running.md": _page("running.md", {}),
        "webhook.md": _page("webhook.md", {}),
        "publishing.md": _page("publishing.md", {}),
        "push.md": _page("push.md", {}),
        "cost.md": _page("cost.md", {}),
        "packs.md": _page("packs.md", {"contents": packs.contents(RULES), "packs": packs.tables(RULES)}),
    }


def _page(name: str, inserts: Mapping[str, str]) -> str:
    text = (DOCS / "source" / name).read_text(encoding="utf-8")
    note = f"<!-- Made by `make docs`; change docs/source/{name} instead. -->\n\n"
    return note + _INSERT.sub(lambda match: inserts[match[1]], text)
