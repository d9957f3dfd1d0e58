"""Who hears of what, under which id, and that no id or name gives a secret away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from zkalert.model import (
    Action,
    Alert,
    Channel,
    Comparator,
    Condition,
    Effect,
    Escalation,
    Metric,
    Notify,
    Phase,
    Reason,
    Route,
    Rule,
    Run,
    Severity,
    Step,
    Target,
    TargetKind,
    Term,
    Where,
)
from zkalert.routing import (
    channel_targets,
    effect_targets,
    end_targets,
    heard_of,
    masked,
    run_target,
    split_recipients,
    targets,
    too_mild,
    url_targets,
)

OPS = channel_targets(Channel(name="ops", urls=("json://ops.example.org/hook",)))
CHAT = channel_targets(Channel(name="chat", urls=("slack://AAAA/BBBB/CCCC", "json://chat.example.org")))
CHANNELS = {"ops": OPS, "chat": CHAT}
RUN = Run(command=("./restart.sh", "nginx"))


@pytest.mark.parametrize(
    ("actions", "phase", "channels", "expected"),
    [
        pytest.param((Notify(channel="ops"),), Phase.FIRING, CHANNELS, OPS, id="named"),
        pytest.param((Notify(channel="ops"), RUN), Phase.RESOLVED, CHANNELS, OPS, id="a command hears of firing alone"),
        pytest.param((Notify(channel="chat"), RUN), Phase.FIRING, CHANNELS, (*CHAT, run_target(RUN)), id="in order"),
        pytest.param((Notify(channel="ops"),) * 2, Phase.FIRING, CHANNELS, OPS, id="twice counts once"),
        pytest.param((RUN, RUN), Phase.FIRING, CHANNELS, (run_target(RUN),), id="a command twice runs once"),
        pytest.param(
            (Notify(channel="ops", at=frozenset({Phase.RESOLVED})),), Phase.FIRING, CHANNELS, (), id="not at this phase"
        ),
        pytest.param((), Phase.FIRING, CHANNELS, (), id="nobody is nobody"),
        pytest.param(None, Phase.FIRING, CHANNELS, (*OPS, *CHAT), id="none named: all"),
        pytest.param(None, Phase.FIRING, {**CHANNELS, "default": CHAT}, CHAT, id="none named: default"),
        pytest.param(None, Phase.FIRING, {}, (), id="no channels at all"),
        pytest.param(
            (Notify(url="json://h.example.org"),),
            Phase.CLOSED,
            {},
            url_targets("json://h.example.org"),
            id="a literal URL",
        ),
    ],
)
def test_who_hears(
    actions: tuple[Notify | Run, ...] | None,
    phase: Phase,
    channels: dict[str, tuple[Target, ...]],
    expected: tuple[Target, ...],
) -> None:
    assert targets(actions, phase, channels) == (expected, ())


def test_an_unknown_channel_is_named_and_costs_the_others_nothing() -> None:
    found, problems = targets((Notify(channel="osp"), Notify(channel="chat")), Phase.FIRING, CHANNELS)
    assert found == CHAT
    assert problems == ('unknown channel "osp"; did you mean "ops"?',)


INFO, WARNING, CRITICAL = Severity
PAGER = channel_targets(Channel(name="pager", urls=("json://pager.example.org",)))
BOSS = channel_targets(Channel(name="boss", urls=("json://boss.example.org",)))
LADDER_CHANNELS = {"default": CHAT, "ops": OPS, "pager": PAGER, "boss": BOSS}
RESTART = Run(command="restart", at=frozenset({Phase.FIRING, Phase.ESCALATED}))
UNDO = Run(command="undo", at=frozenset({Phase.RESOLVED}))
REBOOT = Run(command="reboot")


def ladder(*, default: tuple[Action, ...] | None = (Notify(channel="ops"),)) -> Rule:
    """Warnings go where the rule says, critical ones to the pager, and the boss hears of what lasts."""
    return Rule(
        name="cpu",
        conditions=(Condition(term=Term(metric=Metric("cpu_usage", "percent")), comparator=Comparator.GT),),
        steps=(Step(severity=WARNING), Step(severity=CRITICAL, actions=(RESTART, Notify(channel="pager"), UNDO))),
        actions=default,
        escalate=(Escalation(after=600, actions=(Notify(channel="boss"), REBOOT, UNDO)),),
    )


def cpu(
    phase: Phase,
    *,
    severity: Severity = CRITICAL,
    told: tuple[Severity, ...] = (),
    escalation: int | None = None,
    escalations: int = 0,
) -> Effect:
    alert = Alert(
        rule="cpu",
        host="web1",
        metric=Metric("cpu_usage", "percent"),
        comparator=Comparator.GT,
        severity=severity,
        told=told,
        escalations=escalations,
    )
    return Effect(alert=alert, phase=phase, reason=Reason.CROSSED, at=0.0, escalation=escalation)


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        pytest.param(cpu(Phase.FIRING, severity=WARNING), OPS, id="a step without actions has those of the rule"),
        pytest.param(cpu(Phase.FIRING), (run_target(RESTART), *PAGER), id="a step with its own has these alone"),
        pytest.param(cpu(Phase.FIRING, severity=INFO), OPS, id="a step that is gone has those of the rule"),
        pytest.param(cpu(Phase.ESCALATED), (run_target(RESTART), *PAGER), id="a higher step"),
        pytest.param(cpu(Phase.REPEATED), PAGER, id="a reminder goes to the step, without the command"),
        pytest.param(
            cpu(Phase.ESCALATED, escalation=0), (*BOSS, run_target(REBOOT)), id="an escalation runs its commands"
        ),
        pytest.param(cpu(Phase.ESCALATED, escalation=1), (), id="an escalation that is gone"),
        pytest.param(cpu(Phase.RESOLVED, told=(WARNING,)), OPS, id="resolved: the step that was told"),
        pytest.param(
            cpu(Phase.RESOLVED, told=(WARNING, CRITICAL), escalations=1),
            (*OPS, *PAGER, run_target(UNDO), *BOSS),
            id="resolved: every step and escalation that was told, and a command once",
        ),
        pytest.param(cpu(Phase.CLOSED, told=(CRITICAL,)), PAGER, id="closed: as resolved"),
        pytest.param(cpu(Phase.RESOLVED), (), id="resolved: nobody was told"),
    ],
)
def test_who_hears_of_an_effect(effect: Effect, expected: tuple[Target, ...]) -> None:
    assert effect_targets(ladder(), effect, LADDER_CHANNELS) == (expected, ())


def test_who_was_told_under_another_severity_hears_of_the_end_from_the_only_step() -> None:
    rule = replace(ladder(), steps=(Step(severity=CRITICAL, actions=(Notify(channel="pager"),)),))
    assert effect_targets(rule, cpu(Phase.RESOLVED, told=(WARNING,)), LADDER_CHANNELS) == (PAGER, ())


def test_the_default_channels_hear_of_an_end_first() -> None:
    effect = cpu(Phase.RESOLVED, told=(CRITICAL, WARNING))
    assert effect_targets(ladder(default=None), effect, LADDER_CHANNELS)[0] == (*CHAT, *PAGER, run_target(UNDO))


def test_a_channel_that_several_steps_misspell_is_named_once() -> None:
    rule = ladder(default=(Notify(channel="osp"), Notify(channel="boss")))
    effect = cpu(Phase.RESOLVED, told=(WARNING, INFO))
    assert effect_targets(rule, effect, LADDER_CHANNELS) == (BOSS, ('unknown channel "osp"; did you mean "ops"?',))


# Routes -------------------------------------------------------------------------------------------------------------

UNROUTED = replace(ladder(default=None), steps=(Step(severity=WARNING), Step(severity=CRITICAL)), labels={"team": "a"})
ALL = {"ops": OPS, "chat": CHAT, "pager": PAGER, "boss": BOSS}


def routed(*routes: Route, effect: Effect | None = None) -> list[str]:
    effect = replace(effect or cpu(Phase.FIRING), labels={"team": "a"}, host_labels={"dc": "gru1"})
    found, problems = effect_targets(UNROUTED, effect, ALL, routes)
    assert problems == ()
    return [target.id.partition("/")[0] for target in found]


EVERYBODY = ["ops", "chat", "chat", "pager", "boss"]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param(Route(channels=("ops",)), ["ops"], id="all"),
        pytest.param(Route(channels=("ops",), severities=frozenset({CRITICAL})), ["ops"], id="severity"),
        pytest.param(Route(channels=("ops",), severities=frozenset({INFO, WARNING})), EVERYBODY, id="another severity"),
        pytest.param(Route(channels=("ops",), rule="c*"), ["ops"], id="rule"),
        pytest.param(Route(channels=("ops",), rule="C*"), EVERYBODY, id="a glob goes by case"),
        pytest.param(Route(channels=("ops",), host="web?"), ["ops"], id="host"),
        pytest.param(Route(channels=("ops",), host="db*"), EVERYBODY, id="another host"),
        pytest.param(Route(channels=("ops",), labels={"team": "a", "dc": "gru*"}), ["ops"], id="labels of both"),
        pytest.param(Route(channels=("ops",), labels={"team": "a", "dc": "fra*"}), EVERYBODY, id="one label differs"),
        pytest.param(Route(channels=("ops",), labels={"rack": "*"}), EVERYBODY, id="no such label"),
    ],
)
def test_a_route_takes_what_matches_in_everything(route: Route, expected: list[str]) -> None:
    assert routed(route) == expected


def test_all_routes_that_match_count_and_each_target_once() -> None:
    first, second = Route(channels=("pager", "ops")), Route(channels=("ops", "boss"), rule="cpu")
    assert routed(first, second, Route(channels=("chat",), rule="disk")) == ["pager", "ops", "boss"]


def test_where_no_route_matches_the_default_channel_hears_it() -> None:
    none = (Route(channels=("ops",), rule="disk"),)
    assert effect_targets(UNROUTED, cpu(Phase.FIRING), {**ALL, "default": BOSS}, none) == (BOSS, ())


def test_a_route_is_not_for_rules_that_say_themselves_who_hears() -> None:
    route = (Route(channels=("chat",)),)
    assert effect_targets(ladder(), cpu(Phase.FIRING, severity=WARNING), ALL, route) == (OPS, ())
    assert effect_targets(ladder(default=()), cpu(Phase.FIRING, severity=WARNING), ALL, route) == ((), ())


def test_an_end_goes_the_ways_of_all_severities_that_were_told() -> None:
    routes = (
        Route(channels=("ops",), severities=frozenset({WARNING})),
        Route(channels=("pager",), severities=frozenset({CRITICAL})),
    )
    end = cpu(Phase.RESOLVED, severity=CRITICAL, told=(WARNING, CRITICAL))
    assert routed(*routes, effect=end) == ["ops", "pager"]
    assert routed(*routes, effect=cpu(Phase.RESOLVED, told=(WARNING,))) == ["ops"]


# How bad it has to be ---------------------------------------------------------------------------------------------

LOUD = channel_targets(Channel(name="loud", urls=("json://loud.example.org",), min_severity=CRITICAL))
SOME = channel_targets(Channel(name="some", urls=("json://some.example.org",), min_severity=WARNING))
PICKY = {"loud": LOUD, "some": SOME, "ops": OPS}


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (cpu(Phase.FIRING, severity=INFO), OPS),
        (cpu(Phase.FIRING, severity=WARNING), (*SOME, *OPS)),
        (cpu(Phase.ESCALATED, severity=CRITICAL), (*LOUD, *SOME, *OPS)),
        (cpu(Phase.RESOLVED, severity=CRITICAL, told=(INFO,)), OPS),
        (cpu(Phase.RESOLVED, severity=INFO, told=(INFO, CRITICAL)), (*LOUD, *SOME, *OPS)),
    ],
)
def test_a_channel_is_left_out_of_what_is_too_mild_for_it(effect: Effect, expected: tuple[Target, ...]) -> None:
    assert effect_targets(UNROUTED, effect, PICKY) == (expected, ())


def test_why_a_channel_is_left_out_can_be_shown() -> None:
    assert too_mild(UNROUTED, cpu(Phase.FIRING, severity=INFO), PICKY) == (
        'the channel "loud" hears of critical alone; this is info',
        'the channel "some" hears of warning and worse; this is info',
    )
    assert too_mild(UNROUTED, cpu(Phase.FIRING), PICKY) == ()


def test_a_url_in_the_rule_hears_whatever_its_severity_is() -> None:
    rule = ladder(default=(Notify(url="json://h.example.org"),))
    found = effect_targets(rule, cpu(Phase.FIRING, severity=WARNING), PICKY)[0]
    assert found == url_targets("json://h.example.org")


# Who hears of the end ---------------------------------------------------------------------------------------------

ONCE = frozenset({Phase.FIRING})
ENDS = frozenset({Phase.RESOLVED, Phase.CLOSED})


def heard(rule: Rule, effect: Effect, channels: Mapping[str, Sequence[Target]]) -> tuple[str, ...]:
    """Who hears of the end, of those who hear of an effect and of those who asked."""
    return heard_of(rule, effect, effect_targets(rule, effect, channels)[0], channels)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        pytest.param(None, (*OPS, *CHAT, *PAGER, *BOSS), id="none named: all who hear it"),
        pytest.param((Notify(channel="ops"), REBOOT), OPS, id="never a command"),
        pytest.param((Notify(channel="ops", at=ONCE), Notify(channel="chat")), CHAT, id="not whose at leaves it out"),
        pytest.param((Notify(channel="ops", at=ONCE), Notify(channel="ops", at=ENDS)), OPS, id="in two actions"),
        pytest.param((Notify(channel="chat", at=ENDS),), CHAT, id="who asked for the end alone"),
        pytest.param((Notify(channel="chat", at=ENDS | {Phase.REPEATED}),), (), id="who has not heard of this phase"),
    ],
)
def test_who_will_hear_of_the_end(actions: tuple[Action, ...] | None, expected: tuple[Target, ...]) -> None:
    rule = replace(UNROUTED, actions=actions)
    assert heard(rule, cpu(Phase.FIRING), ALL) == tuple(target.id for target in expected)


def test_who_is_left_out_of_the_begin_is_left_out_of_the_end() -> None:
    rule = replace(UNROUTED, actions=(Notify(channel="loud"), Notify(channel="some", at=ENDS), Notify(channel="ops")))
    assert heard(rule, cpu(Phase.FIRING, severity=INFO), PICKY) == tuple(target.id for target in OPS)


def test_an_escalation_s_listeners_hear_of_the_end_and_an_end_adds_none() -> None:
    assert heard(ladder(), cpu(Phase.ESCALATED, escalation=0), ALL) == tuple(target.id for target in BOSS)
    assert heard(ladder(), cpu(Phase.RESOLVED, told=(CRITICAL,)), ALL) == ()


REACHED = {target.id: target for channel in (OPS, CHAT, PAGER, BOSS) for target in channel}


def ended(phase: Phase, *heard: str) -> Effect:
    effect = cpu(phase, told=(WARNING, CRITICAL), escalations=1)
    return replace(effect, alert=replace(effect.alert, heard=heard))


def test_an_end_goes_to_those_who_heard_and_to_the_commands_that_wait_for_it() -> None:
    found = end_targets(ladder(), ended(Phase.RESOLVED, CHAT[1].id, OPS[0].id), REACHED)
    assert found == ((CHAT[1], *OPS, run_target(UNDO)), ())
    assert end_targets(ladder(), ended(Phase.CLOSED, OPS[0].id), REACHED) == (OPS, ())


def test_a_channel_whose_url_is_another_now_hears_the_end_there() -> None:
    assert end_targets(ladder(default=None), ended(Phase.CLOSED, "chat/00000000"), REACHED) == (CHAT, ())


def test_who_is_gone_from_the_configuration_is_told_of() -> None:
    found, problems = end_targets(ladder(), ended(Phase.CLOSED, "old/00000000", OPS[0].id, "url/11111111"), REACHED)
    assert found == OPS
    assert [problem.partition(" ")[0] for problem in problems] == ["old/00000000", "url/11111111"]


def test_commands_that_run_in_other_ways_are_others() -> None:
    ways: list[dict[str, object]] = [
        {},
        {"where": Where.HOST},
        {"user": "deploy"},
        {"cwd": "/opt"},
        {"umask": 0o027},
        {"is_clean": True},
        {"timeout": 5.0},
    ]
    ids = [run_target(replace(RUN, **way)).id for way in ways]  # type: ignore[arg-type]
    assert len(set(ids)) == len(ways)


def test_ids_stay_the_same_over_restarts() -> None:
    """These stand in ledgers: another id for the same target would tell it twice."""
    assert [target.id for target in CHAT] == ["chat/e6d9e0dc", "chat/b0e33897"]
    assert run_target(RUN).id == "run/e72ca344"
    assert run_target(Run(command="echo hello")).id == "run/3ac5ae46"


def test_an_id_says_nothing_of_a_password() -> None:
    """Whoever changes a password keeps what is under way, and nobody can try passwords against the id."""
    urls = (
        "jsons://user:PASSWORD@h.example.org/x?token=PASSWORD&a=b",
        "mailtos://_?user=mon&pass=PASSWORD&smtp=h&from=a@example.org&to=b@example.org",
        "json://h.example.org/?+Authorization=PASSWORD&:secret=PASSWORD",
    )
    for url in urls:
        first, second = (url_targets(url.replace("PASSWORD", word))[0] for word in ("hunter2", "s3cr3t"))
        assert first.id == second.id
        assert re.fullmatch(r"url/[0-9a-f]{8}", first.id)


def test_urls_that_differ_in_a_secret_alone_are_both_told() -> None:
    found = channel_targets(Channel(name="ops", urls=("json://h/?token=1", "json://h/?token=2", "json://h/?token=1")))
    assert [target.url for target in found] == ["json://h/?token=1", "json://h/?token=2"]
    assert found[1].id == found[0].id + "-2"


def test_no_secret_shows_in_a_target() -> None:
    for target in (
        *channel_targets(Channel(name="ops", urls=("json://u:hunter2@h.example.org:8080/hunter2?x=hunter2",))),
        *url_targets("slack://hunter2/hunter2/hunter2"),
        run_target(Run(command="PASSWORD=hunter2 ./restart.sh hunter2")),
    ):
        assert "hunter2" not in target.id + target.name
        if target.kind is TargetKind.NOTIFY:
            assert "hunter2" not in repr(target)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (Run(command=("/usr/bin/logger", "-t", "x")), "/usr/bin/logger"),
        (Run(command="systemctl restart nginx"), "systemctl"),
        (Run(command="TOKEN=x A=b curl y"), "curl"),
        (Run(command="A=b"), "command"),
        (Run(command=("x" * 300,)), "x" * 60),
    ],
)
def test_a_command_goes_by_its_first_word(run: Run, name: str) -> None:
    assert run_target(run).name == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("json://u:p@127.0.0.1:8080/hook?x=1", "json://127.0.0.1:8080/..."),
        ("JSONS://[::1]:80/x", "jsons://[::1]:80/..."),
        ("mailto://mon:pw@localhost:2525?from=a@example.org&to=o@example.org", "mailto://localhost:2525/..."),
        ("https://hooks.slack.com/services/A/B/C", "https://hooks.slack.com/..."),
        ("webhooks://hooks.example.org/x", "webhooks://hooks.example.org/..."),
        ("desktop://", "desktop://..."),
        ("slack://TOKENA/TOKENB/TOKENC/#x", "slack://..."),
        ("tgram://123:token/1", "tgram://..."),
        ("json://user:pa/ss@host/x", "json://..."),
        ("json://user:p@ss/word@host/x", "json://..."),
        ("json://user:12?ss@host/x", "json://..."),
        ("mailto://half/other@host", "mailto://..."),
        ("json://\x1b[31m/x", "json://..."),
        ("no url", "..."),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    """Scheme and host, and the host only where it is surely one; an unencoded password is no host."""
    assert masked(url) == shown


@pytest.mark.parametrize(
    ("url", "recipients"),
    [
        ("mailto://h:25?from=a@x.org&to=b@x.org,c@x.org", ["to=b%40x.org", "to=c%40x.org"]),
        ("mailtos://u:p@h/b@x.org/c@x.org?from=a@x.org", ["to=b%40x.org", "to=c%40x.org"]),
        ("mailto://h/b@x.org?to=c@x.org;b@x.org", ["to=b%40x.org", "to=c%40x.org"]),
        (
            "mailto://h?to=%22Doe%2C%20J%22%20%3Cb%40x.org%3E,c@x.org",
            ["to=%22Doe%2C%20J%22%20%3Cb%40x.org%3E", "to=c%40x.org"],
        ),
    ],
)
def test_a_mail_to_several_is_a_target_for_each(url: str, recipients: list[str]) -> None:
    split = split_recipients(url)
    assert [one.rpartition("&" if "&to=" in one else "?")[2] for one in split] == recipients
    for one in split:
        assert one.startswith(url.partition("?")[0].removesuffix("/b@x.org/c@x.org").removesuffix("/b@x.org"))
        assert ("from=a@x.org" in one) == ("from=" in url)
    assert len({target.id for target in channel_targets(Channel(name="ops", urls=(url,)))}) == len(recipients)


@pytest.mark.parametrize("url", ["mailto://h?to=b@x.org", "mailto://h", "json://h/b@x.org/c@x.org", "slack://a/b/c"])
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert split_recipients(url) == (url,)
