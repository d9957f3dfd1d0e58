"""Who hears of what, under which id, and that no id or name gives a secret away."""

from __future__ import annotations

import re
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
    Rule,
    Run,
    Severity,
    Step,
    Target,
    TargetKind,
    Term,
)
from zkalert.routing import (
    channel_targets,
    effect_targets,
    masked,
    run_target,
    split_recipients,
    targets,
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
