"""Well-known alerts of two collections, and the rules that say them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.docs.text import code, paragraph, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Wellknown:
    """One alert: the names of our rules, and in words how they differ."""

    name: str
    rules: tuple[str, ...]
    differs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The alerts of one source; `rules` is a file in examples/alerts."""

    title: str
    about: str
    rules: str
    alerts: tuple[Wellknown, ...]


def read(path: Path) -> tuple[Collection, ...]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        Collection(
            title=one["title"],
            about=one["about"],
            rules=one["rules"],
            alerts=tuple(
                Wellknown(
                    name=alert["alert"],
                    rules=tuple(alert["rules"]),
                    differs=alert.get("differs", ""),
                )
                for alert in one["alerts"]
            ),
        )
        for one in document["collections"]
    )


def count(collections: tuple[Collection, ...]) -> str:
    """How many of them there are, and how many of our rules differ."""

    def cells(name: str, alerts: list[Wellknown]) -> tuple[str, ...]:
        return name, str(len(alerts)), str(sum(bool(alert.differs) for alert in alerts))

    rows = [cells(one.title, list(one.alerts)) for one in collections]
    rows.append(cells("together", [alert for one in collections for alert in one.alerts]))
    return table(("collection", "alerts, all of them rules", "of these with a difference"), rows)


def tables(collections: tuple[Collection, ...]) -> str:
    return "\n\n".join(part for one in collections for part in _table(one))


def _table(collection: Collection) -> Iterator[str]:
    yield f"## {collection.title}"
    yield paragraph(f"{collection.about.strip()} In [{collection.rules}](../examples/alerts/{collection.rules}).")
    yield table(("alert", "rule", "how it differs"), (_row(alert) for alert in collection.alerts))


def _row(alert: Wellknown) -> tuple[str, ...]:
    return alert.name, ", ".join(map(code, alert.rules)), alert.differs.strip()
