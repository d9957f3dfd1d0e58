"""The documentation is as the program is: pages are up to date, recipes and well-known alerts do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs import DOCS, alerts, keys, pages, recipes, settings, tables
from tests.docs.text import anchor, flow
from zkalert import documents, rulefile, ruletest
from zkalert.metrics import FAMILIES, ZNODES, Unit, parse_quantity
from zkalert.model import Rule
from zkalert.render.allowed import FILTERS, VARIABLES

PAGES = pages()
COOKBOOK = recipes.read(DOCS / "cookbook")
ALERTS = DOCS.parent / "examples" / "alerts"
WELLKNOWN = alerts.read(DOCS / "source" / "alerts.yaml")

_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def load(path: Path) -> tuple[Rule, ...]:
    """The rules of a file that has no findings, advice included."""
    rules, findings = rulefile.parse(path.read_bytes(), path.name)
    assert findings == ()
    return rules


def run(path: Path, rules: tuple[Rule, ...]) -> frozenset[str]:
    """Run a test file, all of whose tests pass; the names of the rules that fired in it."""
    suite, findings = ruletest.parse(path.read_bytes(), path.name)
    assert findings == ()
    assert suite is not None
    assert ruletest.link(suite, rules) == ()
    results = [ruletest.run(suite, one, rules) for one in suite.tests]
    assert [failure for result in results for failure in result.failures] == []
    return frozenset().union(*(result.fired for result in results))


# The pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_make_docs_would_write_now(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name], "run `make docs`"


def test_there_is_no_page_that_is_not_made() -> None:
    assert {path.name for path in DOCS.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_no_two_headings_of_a_page_share_an_anchor(name: str) -> None:
    anchors = [anchor(heading) for heading in _HEADING.findall(_FENCED.sub("", PAGES[name]))]
    assert sorted(anchors) == sorted(set(anchors))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_within_the_project_leads_somewhere(name: str) -> None:
    links = [link for link in _LINK.findall(_FENCED.sub("", PAGES[name])) if "://" not in link[0]]
    assert links
    for page, fragment in links:
        target = (DOCS / page).resolve() if page else DOCS / name
        assert target.exists(), page
        if fragment:
            assert fragment in {anchor(heading) for heading in _HEADING.findall(target.read_text(encoding="utf-8"))}


def test_the_reference_groups_every_key_of_a_rule_once() -> None:
    grouped = [name for names in keys.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(keys.rule_keys())


def test_every_key_of_the_configuration_is_told_with_what_it_takes() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", PAGES["configuration.md"], re.MULTILINE | re.DOTALL))
    schema = json.loads((DOCS.parent / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
    assert list(sections) == list(schema["properties"])
    for name, found in settings.settings().items():
        assert "\n- Takes " in sections[name]
        rows = re.findall(
            r"^\| `([^`]+)`(?: \(due\))? \| (.+?) \| (.+?) \| (.*?) \| (.*?) \|$", sections[name], re.MULTILINE
        )
        assert [path for path, *_ in rows] == [below.path for below in settings.below(found)]


def test_every_value_in_the_configuration_has_an_example_or_a_default() -> None:
    """A mapping is shown by its keys; of true and false there is no third."""
    for name, found in settings.settings().items():
        for path, inner, _ in (settings.Setting(name, found, is_due=False), *settings.below(found)):
            is_shown = "examples" in inner or "default" in inner or "enum" in inner or inner.get("type") == "boolean"
            assert is_shown or list(settings.below(inner)), f"{name}.{path}"


def test_the_table_of_wishes_leads_to_every_key_that_the_plain_form_lacks() -> None:
    table = PAGES["rules.md"].partition("## Which key do I need?")[2].partition("\n## ")[0]
    plain = {"name", "metric", "threshold", "severity"}
    assert {f"#{name}" for name in keys.rule_keys() if name not in plain} <= set(re.findall(r"\]\((#\w+)\)", table))


def test_every_family_and_field_is_in_the_metric_tables() -> None:
    text = tables.metrics()
    for family in FAMILIES.values():
        section = text.partition(f"### {family.name}\n")[2].partition("\n### ")[0]
        assert [field for field in family.fields.values() if field.help not in section] == []


def test_every_field_of_a_znode_is_told_with_what_it_means() -> None:
    told = dict(re.findall(r"^\| (?:\*\*|`)([^`*]+)(?:\*\*|`) \| .+ \| (.+) \|$", tables.znodes(), re.MULTILINE))
    assert {name: told[name] for name in ZNODES.fields} == {field.name: field.help for field in ZNODES.fields.values()}
    assert set(told) - set(ZNODES.fields) == {"/pointer", "~regex"}


def test_every_variable_and_filter_of_templates_is_told() -> None:
    assert tuple(tables.VARIABLE_HELP) == VARIABLES
    assert tuple(tables.FILTER_HELP) == FILTERS


def test_every_unit_is_told_with_thresholds_that_can_be_written_so() -> None:
    section = PAGES["rules.md"].partition("## Thresholds and units")[2].partition("\n\nA **counter**")[0]
    rows = dict(re.findall(r"^\| ([a-z0-9 ]+) \| (`.*) \|$", section, re.MULTILINE))
    assert set(rows) == {unit.value for unit in Unit} - {Unit.TEXT.value, Unit.EPOCH.value}
    for unit, examples in rows.items():
        assert [parse_quantity(text, Unit(unit)) for text in re.findall(r"`([^`]+)`", examples)]


def test_rules_in_the_prose_are_right() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "source" / "rules.md").read_text(encoding="utf-8"), re.DOTALL)
    [whole] = [block for block in blocks if "\nrules:\n" in block]
    rules, findings = rulefile.parse(whole, "rules.md")
    assert findings == ()
    [tested] = [block for block in blocks if "\ntests:\n" in block]
    suite, findings = ruletest.parse(tested, "rules.md")
    assert findings == ()
    assert suite is not None
    assert ruletest.link(suite, rules) == ()
    for one in suite.tests:
        assert ruletest.run(suite, one, rules).failures == ()


def test_the_test_on_the_page_of_znodes_passes_with_the_rules_on_it() -> None:
    source = (DOCS / "source" / "znodes.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```yaml\n# rules/(\S+)\n(.*?)```", source, re.DOTALL))
    rules, findings = rulefile.parse(blocks["partitions.yaml"], "partitions.yaml")
    assert findings == ()
    suite, findings = ruletest.parse(blocks["partitions.test.yaml"], "partitions.test.yaml")
    assert findings == ()
    assert suite is not None
    assert ruletest.link(suite, rules) == ()
    assert [ruletest.run(suite, one, rules).failures for one in suite.tests] == [()]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ops", "ops"),
        (">", '">"'),
        ("*", '"*"'),
        ("{{ host }}", '"{{ host }}"'),
        ("90", '"90"'),
        (90, "90"),
        (True, "true"),
        ("true", '"true"'),
        ("22:00-06:00", '"22:00-06:00"'),
        (["a", {"b": "2GiB"}], "[a, { b: 2GiB }]"),
    ],
)
def test_examples_have_quotes_where_a_rule_file_needs_them(value: object, text: str) -> None:
    assert flow(value) == text
    document, findings = documents.parse(f"- {text}", "", "rules")
    assert findings == ()
    assert document.data == [value]


# The cookbook ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", COOKBOOK, ids=lambda recipe: recipe.path.stem)
def test_a_recipe_is_right_and_each_of_its_rules_fires_in_its_test(recipe: recipes.Recipe) -> None:
    rules = load(recipe.path)
    assert run(recipe.test_path, rules) == {rule.name for rule in rules if rule.enabled}


def test_the_cookbook_as_a_whole_can_be_used() -> None:
    whole = rulefile.load([DOCS / "cookbook"])
    assert whole.findings == ()
    assert whole.files == len(COOKBOOK) >= 30


def test_the_cookbook_shows_every_key() -> None:
    shown = {"defaults"} if any("defaults" in recipe.data for recipe in COOKBOOK) else set()
    for recipe in COOKBOOK:
        shown |= set(recipes.used(recipe.data["rules"]))
    assert keys.paths() | {"defaults"} <= shown


def test_every_test_in_the_cookbook_has_its_recipe() -> None:
    assert {path.name for path in (DOCS / "cookbook").glob("*.test.yaml")} == {one.test_path.name for one in COOKBOOK}


# The well-known alerts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collection", WELLKNOWN, ids=lambda collection: collection.title)
def test_the_rules_of_a_collection_are_those_of_its_table_and_each_fires_in_a_test(
    collection: alerts.Collection,
) -> None:
    path = ALERTS / collection.rules
    rules = load(path)
    listed = [name for alert in collection.alerts for name in alert.rules]
    assert listed == [rule.name for rule in rules]
    assert run(path.with_suffix(".test.yaml"), rules) == set(listed)


@pytest.mark.parametrize("collection", WELLKNOWN, ids=lambda collection: collection.title)
def test_each_rule_names_the_alert_that_it_says_and_has_a_summary(collection: alerts.Collection) -> None:
    text = (ALERTS / collection.rules).read_text(encoding="utf-8")
    said = dict(re.findall(r"^  # ([^\n]+)\n  - name: (\S+)$", text, re.MULTILINE))
    names = {rule: comment.partition(",")[0] for comment, rule in said.items()}
    assert names == {rule: alert.name for alert in collection.alerts for rule in alert.rules}
    assert [rule.name for rule in load(ALERTS / collection.rules) if "{{ host }}" not in rule.summary] == []


def test_all_68_alerts_are_rules() -> None:
    assert [len(one.alerts) for one in WELLKNOWN] == [40, 28]
    assert [alert.name for one in WELLKNOWN for alert in one.alerts if not alert.rules] == []
