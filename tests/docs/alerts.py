"""Well-known alerts of two collections, and the rules that say them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.docs.text import code, paragraph, table, yaml_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Wellknown:
    """One alert: the names of our rules, or the family that it waits for (`waits`) and the rules then (`later`)."""

    name: str
    rules: tuple[str, ...] = ()
    waits: str = ""
    later: str = ""
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
                    rules=tuple(alert.get("rules", ())),
                    waits=alert.get("waits", ""),
                    later=alert.get("later", ""),
                    differs=alert.get("differs", ""),
                )
                for alert in one["alerts"]
            ),
        )
        for one in document["collections"]
    )


def count(collections: tuple[Collection, ...]) -> str:
    """How many of them are rules today, and how many wait."""

    def cells(name: str, alerts: list[Wellknown]) -> tuple[str, ...]:
        said = [alert for alert in alerts if alert.rules]
        differ = sum(bool(alert.differs) for alert in said)
        return name, str(len(alerts)), str(len(said)), str(differ), str(len(alerts) - len(said))

    rows = [cells(one.title, list(one.alerts)) for one in collections]
    rows.append(cells("together", [alert for one in collections for alert in one.alerts]))
    return table(("collection", "alerts", "rules today", "of these with a difference", "wait for a metric"), rows)


def tables(collections: tuple[Collection, ...]) -> str:
    return "\n\n".join(part for one in collections for part in _table(one))


def _table(collection: Collection) -> Iterator[str]:
    yield f"## {collection.title}"
    yield paragraph(f"{collection.about.strip()} In [{collection.rules}](../examples/alerts/{collection.rules}).")
    yield table(("alert", "rule", "how it differs"), (_row(alert) for alert in collection.alerts))


def _row(alert: Wellknown) -> tuple[str, ...]:
    rules = ", ".join(map(code, alert.rules)) if alert.rules else f"[waits](#rules-that-wait) for {code(alert.waits)}"
    return alert.name, rules, alert.differs.strip()


def waiting(collections: tuple[Collection, ...]) -> str:
    """The rules that wait, by the family that they wait for."""
    families: dict[str, list[str]] = {}
    for one in collections:
        for alert in one.alerts:
            if alert.waits:
                families.setdefault(alert.waits, []).append(f"# {alert.name}\n{alert.later.strip()}")
    return "\n\n".join(f"### {family}\n\n" + yaml_block("\n".join(rules)) for family, rules in sorted(families.items()))
