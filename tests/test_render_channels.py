"""What channels make of messages: formats, templates of their own, digests, drills, notes, and bounds on all of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_render import ALERT, DISK, FIRING, RESOLVED, ROSE, SINCE, STILL, _effects
from zkalert.model import Ack, ActionResult, Channel, Effect, Format, MessageKind, Phase, Severity
from zkalert.render import MAX_BODY, MAX_TITLE, channel_template_problem, page, render, render_digest, written

WARNING = replace(FIRING, alert=replace(DISK, severity=Severity.WARNING, episode="beefbeefbeef"))


def channel(form: Format | None = None, **templates: str) -> Channel:
    return Channel(name="ops", urls=(), format=form, templates=templates)


def test_a_drill_says_so_first() -> None:
    message = render(replace(FIRING, is_drill=True, description="Look at the caches."))
    assert message.title.startswith("[DRILL] [critical] memory-high on web1: ")
    assert message.body.startswith("This is a drill: nothing has happened.\n\nLook at the caches.\n\n")
    assert message.document["drill"] is True
    assert "This is a drill" in page(message)


def test_a_note_is_a_line_of_the_message() -> None:
    body = render(replace(FIRING, note="It flaps: 6 changes\nin 10m.")).body
    assert body.splitlines()[1] == "It flaps: 6 changes in 10m."


def test_an_acknowledgement_is_shown() -> None:
    ack = Ack(episode="3fa4b2c1d0e9", at=SINCE, ends_at=SINCE + 7200, author="ada", comment="on it")
    effect = replace(STILL, alert=replace(ALERT, ack=ack))
    line = "Acknowledged: by ada at 2025-11-23T12:13:20Z until 2025-11-23T14:13:20Z: on it"
    assert line in render(effect).body.splitlines()
    bare = replace(effect, alert=replace(ALERT, ack=replace(ack, ends_at=None, author="", comment="")))
    assert "Acknowledged: at 2025-11-23T12:13:20Z" in render(bare).body.splitlines()


@pytest.mark.parametrize("effect", [STILL, ROSE, RESOLVED])
def test_what_commands_did_is_in_the_messages_that_follow(effect: Effect) -> None:
    actions = (
        ActionResult(name="tidy", phase="firing", at=SINCE, seconds=1.23, exit_code=0, tail="a\nfreed 2 GiB\n\n"),
        ActionResult(name="restart", phase="firing", at=SINCE, seconds=30.0, detail="killed after 30s"),
    )
    body = render(replace(effect, alert=replace(effect.alert, actions=actions))).body.splitlines()
    assert "Action tidy: exit code 0 in 1.2 s: freed 2 GiB" in body
    assert "Action restart: killed after 30s in 30.0 s" in body
    first = render(replace(FIRING, alert=replace(ALERT, actions=actions))).body
    assert "Action" not in first


def test_a_message_belongs_to_the_thread_of_its_episode() -> None:
    assert {render(effect).thread for effect in (FIRING, STILL, RESOLVED)} == {"memory-high/web1/3fa4b2c1d0e9"}
    assert render_digest([FIRING, RESOLVED], "d").thread == ""


@pytest.mark.parametrize(
    ("form", "part"),
    [
        (Format.TEXT, "Severity: critical\n"),
        (Format.MARKDOWN, "- **Severity:** critical\n"),
        (Format.HTML, "<b>Severity:</b> critical<br>\n"),
    ],
)
def test_the_body_is_written_in_the_channels_format(form: Format, part: str) -> None:
    effect = replace(FIRING, labels={"team": "a & <b>"})
    message = render(effect, channel=channel(form))
    assert message.format is form
    assert part in message.body
    assert message.text == render(effect).body
    assert ("<b>}" if form is Format.TEXT else "a & <b>") not in message.body or form is Format.TEXT


HOSTILE = "# <b>x</b> @here\n- [a](http://evil)\n1. *b* _c_ `d` ~e~ |f| <!channel>"


def test_what_anybody_wrote_is_no_markup() -> None:
    effect = replace(FIRING, description=HOSTILE, note=HOSTILE)
    markdown = render(effect, channel=channel(Format.MARKDOWN)).body
    assert markdown.startswith(
        "\\# \\<b\\>x\\</b\\> @\u200bhere\n\\- \\[a\\](http://evil)\n1\u200b. \\*b\\* \\_c\\_ \\`d\\`"
    )
    for form in (Format.HTML, Format.MARKDOWN):
        body = render(effect, channel=channel(form)).body
        assert "<b>x" not in body.replace("\\<b", "")
    assert "<b>x" not in page(render(effect))


def test_a_digest_lists_the_worst_first() -> None:
    effects = [RESOLVED, WARNING, replace(FIRING, note="It flaps.")]
    message = render_digest(effects, "a1b2c3")
    assert message.title == "[critical] 2 firing, 1 resolved"
    assert message.kind is MessageKind.FAILURE
    assert message.key == "digest/a1b2c3"
    assert message.body.splitlines() == [
        "3 alerts: 2 firing, 1 resolved; 2 critical, 1 warning.",
        f"{render(FIRING).title} (alert 3fa4b2, 2025-11-23T12:15:20Z; It flaps.)",
        f"{render(RESOLVED).title} (alert 3fa4b2, 2025-11-23T12:18:25Z)",
        f"{render(WARNING).title} (alert beefbe, 2025-11-23T12:15:20Z)",
        "",
        "digest a1b2c3",
    ]


def test_a_digest_of_ends_is_resolved_and_names_its_only_rule() -> None:
    message = render_digest([RESOLVED, replace(RESOLVED, phase=Phase.CLOSED)], "d")
    assert (message.title, message.kind) == ("[resolved] memory-high: 2 resolved", MessageKind.SUCCESS)
    assert message.fields["state"] == "resolved"


def test_a_digest_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="a digest of nothing"):
        render_digest([], "d")


def test_a_digest_of_many_says_how_many_more_there_are() -> None:
    effects = [replace(FIRING, alert=replace(ALERT, host=f"web{number}")) for number in range(500)]
    started = time.process_time()
    message = render_digest(effects, "d")
    assert time.process_time() - started < 2.0
    lines = message.body.splitlines()
    shown = sum(line.startswith("[critical]") for line in lines)
    assert 50 < shown < 500
    assert f"and {500 - shown} more: zkalert alerts" in lines
    assert len(message.body.encode()) <= MAX_BODY
    assert len(message.document["alerts"]) == 500


def test_a_channel_writes_its_own_title_and_body() -> None:
    own = channel(
        Format.HTML,
        title="{{ severity|upper }} {{ host }} {{ alerts|length }}",
        body="<h1>{{ host }}</h1>{% for a in alerts %}<i>{{ a.id }} {{ a.host.role|default('?') }}</i>{% endfor %}"
        "{{ body }}",
    )
    message = render(replace(FIRING, alert=replace(ALERT, host="<x>")), channel=own)
    assert message.problem == ""
    assert message.title == "CRITICAL <x> 1"
    assert message.body.startswith("<h1>&lt;x&gt;</h1><i>3fa4b2 ?</i><p>memory_usage.percent on &lt;x&gt; is")
    assert message.text.startswith("memory_usage.percent on <x> is")


def test_a_plain_template_is_the_text_too() -> None:
    message = render(FIRING, channel=channel(body="{{ name }}: {{ value }}\n{{ title }}"))
    assert message.body == message.text == message.document["text"] == f"memory-high: 93.42%\n{render(FIRING).title}"


def test_a_template_of_one_alert_leaves_digests_alone() -> None:
    """It would tell of the first alert as if there were no other."""
    one = channel(title="{{ host }}: {{ value }}", body="{{ host }}")
    effects = [FIRING, WARNING]
    assert render_digest(effects, "d", channel=one).body == render_digest(effects, "d").body
    assert render_digest(effects, "d", channel=one).title == "[critical] 2 firing"
    many = channel(title="{{ alerts|length }} {{ state }}", body="{% for a in alerts %}{{ a.title }}\n{% endfor %}")
    message = render_digest(effects, "d", channel=many)
    assert message.title == "2 firing"
    assert message.body.splitlines() == [render(FIRING).title, render(WARNING).title]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ vlaue }}", 'unknown variable "vlaue"; did you mean "value"?'),
        ("{{ host.nope }}", 'web1 has no label "nope"'),
        ("{{ value / 0 }}", "division by zero"),
    ],
)
@pytest.mark.parametrize("what", ["title", "body"])
@pytest.mark.parametrize("form", Format)
def test_a_template_that_fails_costs_no_message(form: Format, what: str, template: str, problem: str) -> None:
    message = render(FIRING, channel=channel(form, **{what: template}))
    assert message.title == render(FIRING).title
    assert f"the template of {what} of channel ops failed: " in message.problem
    assert problem in message.problem
    assert "(the template of" in message.text
    assert "Severity" in message.body


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("plain", None),
        ("{% for a in alerts %}{{ a.value }} {{ a.labels.team }} {{ a.values[0] }}{% endfor %}", None),
        ("{{ body }}{{ title }}{{ alerts|length }}{{ alerts|first }}", None),
        ("{% for a in alerts %}{% for b in alerts %}{% endfor %}{% endfor %}", "the one loop that there is"),
        ("{% for a in host %}{% endfor %}", "the one loop that there is"),
        ("{% for a in alerts recursive %}{% endfor %}", "the one loop that there is"),
        ("{% for a, b in alerts %}{% endfor %}", "the one loop that there is"),
        ("{% for host in alerts %}{% endfor %}", '"host" is a variable already'),
        ("{% for a in alerts %}{{ a.nope }}{% endfor %}", 'an alert has no "nope"'),
        ("{% for a in alerts %}{{ a.__class__ }}{% endfor %}", 'an alert has no "__class__"'),
        ("{% for a in alerts %}{{ a.host.__class__ }}{% endfor %}", "no name of a label"),
        ("{% for a in alerts %}{% endfor %}{{ a.host }}", 'unknown variable "a"'),
        ("{% for a in alerts %}{{ loop.index }}{% endfor %}", 'unknown variable "loop"'),
        ("{{ alerts.append }}", "only host, instance and labels"),
        ("{{ body.upper() }}", "calls"),
        ("{{ now('memory_usage.free') }}", "reads no metrics"),
        ("{{ 'a' * 99999999 }}", "multiplication"),
        ("{{ 1", "line 1"),
        ("x" * 5000, "longer than 4096"),
    ],
)
def test_templates_of_channels_are_checked(text: str, part: str | None) -> None:
    problem = channel_template_problem(text)
    if part is None:
        assert problem is None
    else:
        assert part in (problem or "")


def test_the_costliest_template_is_cut() -> None:
    """Over a full digest of the longest names it ends soon, and so does its output."""
    text = "{% for a in alerts %}{{" + "~".join(["a.host"] * 400) + "}}{% endfor %}"
    assert channel_template_problem(text) is None
    effects = [replace(FIRING, alert=replace(ALERT, host="h" * 4096))] * 500
    started = time.process_time()
    message = render_digest(effects, "d", channel=channel(body=text))
    assert time.process_time() - started < 3.0
    assert len(message.body.encode()) <= MAX_BODY


@settings(max_examples=80, deadline=None)
@given(st.lists(_effects(), min_size=1, max_size=4), st.sampled_from(Format), st.integers(200, 20_000))
def test_any_effects_make_bodies_within_bounds(effects: list[Effect], form: Format, most: int) -> None:
    own = channel(form, body="{{ title }} {{ body }} {% for a in alerts %}{{ a.title }}{% endfor %}")
    for asked in (None, channel(form), own):
        for message in (render(effects[0], channel=asked), render_digest(effects, "d", channel=asked)):
            assert 0 < len(message.title) <= MAX_TITLE
            assert len(message.body.encode()) <= MAX_BODY
            assert len(message.text.encode()) <= MAX_BODY
            assert not set("\x00\x1b\u202e\r") & set(message.title + message.body + message.text)
            if message.parts is not None:
                assert len(written(message, form, most).encode()) <= most
            page(message).encode()


def test_hosts_are_variables_not_templates() -> None:
    hostile: dict[str, Any] = {"host": "{{ 7 }}{% for a in alerts %}"}
    message = render(replace(FIRING, alert=replace(ALERT, **hostile)), channel=channel(body="{{ host }}|{{ body }}"))
    assert message.problem == ""
    assert message.body.startswith("{{ 7 }}{% for a in alerts %}|")
