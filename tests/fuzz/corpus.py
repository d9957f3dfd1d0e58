"""The files of the repository as seeds, and the values that stand in them, by the key that they stand under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkalert import documents

ROOT = Path(__file__).parents[2]

_GOOD = 6  # bad files are many more; what comes of a good one gets further

# Made up, to be looked for in what people are shown.
URL_SECRET = "Uq7bNw2x"
DIGEST_SECRET = "Dk4zLp9v"
VARIABLE_SECRET = "Vt6mRc3j"
FILE_SECRET = "Fh8sYg5e"

CONFIGS = (
    f"""\
zookeeper:
  hosts: zk1:2181,zk2:2181/monitoring
  session_timeout: 10s
  auth:
    digest: "zkalert:{DIGEST_SECRET}"
  tls: {{ca: tls/ca.pem}}
labels: {{role: web, dc: fra1}}
channels:
  ops:
    urls:
      - "mailto://alerts:{URL_SECRET}@mail.example.org?from=a@example.org"
      - json://user:{URL_SECRET}@hooks.example.org/alerts  # the old one was json://user:{URL_SECRET}@old.example.org
  chat: {{urls: ["slack://{URL_SECRET}/b/c"]}}
""",
    """\
host: web1
zookeeper:
  hosts: ${HOSTS}
  auth: {digest: "zkalert:${SECRET}"}
rules: [rules/, "${FOLDER}/more.yaml"]
channels:
  ops: {urls: ["file:secret.txt", "json://${SECRET}@example.org", "${URL}"]}
history: {max_age: 7d, max_size: 256MiB}
sampler: {intervals: {cpu_usage: 2s, disk_usage: 1m}}
""",
    f"""\
zookeeper: {{hosts: zk1, auth: "zkalert:{DIGEST_SECRET}", password: {DIGEST_SECRET}}}
channels:
  ops: "{URL_SECRET}"
  chat: {{url: "{URL_SECRET}", urls: json://{URL_SECRET}@example.org}}
""",
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts of one kind; `values` by key, and `items` (key and value) by the key of the mapping that they stand in."""

    texts: tuple[str, ...]
    trees: tuple[Any, ...]
    values: dict[str, list[Any]]
    items: dict[str, list[tuple[str, Any]]]


def rules() -> Corpus:
    good = _read("tests/rules/good", "examples", "rules", "tests/ruletests/rules")
    return _corpus("rules", [*good * _GOOD, *_read("tests/rules/bad")])


def configs() -> Corpus:
    files = [ROOT / "examples/zkalert.yaml", ROOT / "examples/demo/zkalert.yaml"]
    return _corpus("config", [*CONFIGS, *(file.read_text(encoding="utf-8") for file in files)])


def tests() -> Corpus:
    good = _read("tests/ruletests/passing", "tests/ruletests/failing")
    return _corpus("tests", [*good * _GOOD, *_read("tests/ruletests/bad")])


def _read(*folders: str) -> list[str]:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.yaml"))]
    return [file.read_bytes().decode() for file in files if file.name != "zkalert.yaml"]


def _corpus(kind: str, texts: Iterable[str]) -> Corpus:
    texts = tuple(texts)
    parsed = [documents.parse(text, "seed", kind)[0].data for text in texts]
    trees = tuple(tree for tree in parsed if isinstance(tree, dict))
    values: dict[str, list[Any]] = defaultdict(list)
    items: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for tree in trees:
        _collect(tree, "", values, items)
    return Corpus(texts=texts, trees=trees, values=dict(values), items=dict(items))


def _collect(tree: Any, key: str, values: dict[str, list[Any]], items: dict[str, list[tuple[str, Any]]]) -> None:
    if isinstance(tree, dict):
        for name, value in tree.items():
            values[name].append(value)
            items[key].append((name, value))
            _collect(value, name, values, items)
    elif isinstance(tree, list):
        for value in tree:
            _collect(value, key, values, items)
