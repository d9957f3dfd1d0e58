"""A survey reads a live tree once; series and stories are what the engine's own code makes of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import wait_for
from zkalert import lifecycle, survey
from zkalert.journal import History
from zkalert.localzk import LocalServer
from zkalert.model import (
    Alert,
    Channel,
    Clock,
    Delivery,
    DeliveryState,
    Effect,
    EngineInfo,
    Hold,
    HostInfo,
    OutboxEntry,
    Outcome,
    Phase,
    Problem,
    Reason,
    Rule,
    Sample,
    Seen,
    State,
    TargetKind,
    Value,
    ZkalertError,
    ZookeeperSettings,
)
from zkalert.routing import channel_targets
from zkalert.rulefile import parse
from zkalert.survey import HostSeen, Published, Series, Story, Survey
from zkalert.tree import (
    Tree,
    encode_alert,
    encode_engine,
    encode_entry,
    encode_host,
    encode_sample,
    encode_seen,
)
from zkalert.zk import Client

AT = 1_795_000_000.0
CHANNELS = {"ops": channel_targets(Channel(name="ops", urls=("json://127.0.0.1/secret",)))}
Instances = Mapping[str, Mapping[str, Value]]


def rules(text: str) -> tuple[Rule, ...]:
    found, findings = parse(f"rules:\n{text}", "rules.yaml")
    assert not [one for one in findings if one.level.value == "error"], findings
    return found


def rule(text: str) -> Rule:
    (found,) = rules(f"  - {{name: r, {text}}}")
    return found


def sample(family: str, instances: Instances | None = None, at: float = AT, **values: Value) -> Sample:
    return Sample(family=family, at=at, interval=5, max_age=15, values=values, instances=instances or {})


def host(
    name: str,
    *samples: Sample | tuple[str, Problem],
    age: float = 1.0,
    is_alive: bool = True,
    labels: Mapping[str, str] | None = None,
) -> HostSeen:
    """A host whose samples were written `age` seconds ago."""
    found = {}
    for one in samples:
        family, content = (one.family, one) if isinstance(one, Sample) else one
        found[family] = (Published(content, AT - age),)
    return HostSeen(info=HostInfo(name=name, labels=labels or {}), is_alive=is_alive, samples=found)


def seen(*hosts: HostSeen, alerts: tuple[Alert, ...] = (), **more: object) -> Survey:
    known = {"is_owned": True, "engines": ("web1 (pid 1)",), **more}
    return Survey(at=AT, hosts={one.info.name: one for one in hosts}, alerts=alerts, **known)  # type: ignore[arg-type]


def only(rule: Rule, survey_: Survey) -> Series:
    (found,) = survey.series_of(rule, survey_)
    return found


def story(rule: Rule, survey_: Survey, *others: Rule, channels: Mapping[str, object] = CHANNELS) -> Story:
    (told,) = survey.stories(survey.series_of(rule, survey_), survey_, (rule, *others), channels)  # type: ignore[arg-type]
    return told


def alert_of(rule: Rule, state: State, *, name: str = "web1", since: float = 40.0, held: float = 0.0) -> Alert:
    """An alert of a rule with one step, `since` so many seconds, whose sample speaks for 15 s."""
    blank = lifecycle.inactive(rule, name, None)
    began = AT - since
    hold = Hold(held, began, float("-inf"), 15.0)
    clearing = hold if state is State.CLEARING else None
    return replace(
        blank,
        state=state,
        episode="0123456789abcdef",
        since=began,
        value=95.0,
        fired_at=began if state is not State.PENDING else None,
        told=(blank.severity,) if state is not State.PENDING else (),
        clocks=(Clock(state, hold, clearing),),
    )


MEMORY = rule('metric: memory_usage, comparator: ">", threshold: 90, clear: 80, duration: 2m')
HIGH, LOW = sample("memory_usage", percent=95.0), sample("memory_usage", percent=40.0)


# What a rule says of series -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("percent", "outcome"), [(95.0, Outcome.TRUE), (85.0, Outcome.BETWEEN), (40.0, Outcome.FALSE)])
def test_a_number_is_held_against_the_limits(percent: float, outcome: Outcome) -> None:
    series = only(MEMORY, seen(host("web1", sample("memory_usage", percent=percent))))
    (one,) = series.comparisons
    assert (series.outcome, one.outcome, one.value, one.threshold, one.clear) == (outcome, outcome, percent, 90, 80)
    assert one.at == AT - 1


DISKS: Instances = {"/": {"percent": 41.0}, "/data": {"percent": 95.0}}
DISK = 'metric: disk_usage.percent, comparator: ">", threshold: 90'
NET = 'metric: network_io.rx_bytes, comparator: ">", threshold: 1'


@pytest.mark.parametrize(
    ("text", "of", "code", "words"),
    [
        ('metric: swap_usage, comparator: ">", threshold: 1', host("web1"), "no-sample", "no sample of swap_usage"),
        (
            'metric: memory_usage, comparator: ">", threshold: 1',
            host("web1", ("memory_usage", Problem(code="not-json", message="not JSON in UTF-8"))),
            "bad-sample",
            "not JSON in UTF-8",
        ),
        (
            'metric: memory_usage.slab, comparator: ">", threshold: 1',
            host("web1", HIGH),
            "no-field",
            "the sample of memory_usage has no slab",
        ),
        (
            'metric: memory_usage, comparator: ">", threshold: 1',
            host("web1", sample("memory_usage", percent="much")),
            "wrong-type",
            "no number",
        ),
        (
            'metric: memory_usage, comparator: ">", threshold: 1',
            host("web1", HIGH, age=60),
            "stale",
            "is 1m old, and speaks for 15s at most",
        ),
        (
            'metric: memory_usage, comparator: ">", threshold: 1',
            host("web1", HIGH, age=60, is_alive=False),
            "host-gone",
            "web1 is not alive: the last sample of memory_usage is 1m old",
        ),
        (
            f"{DISK}, instances: /dta",
            host("web1", sample("disk_usage", DISKS)),
            "no-instance",
            "there are /, /data; did you mean /data?",
        ),
        (DISK, host("web1", sample("disk_usage")), "no-instance", "has no instances"),
        (
            'metric: memory_usage, over: 1h, comparator: ">", threshold: 1',
            host("web1", HIGH),
            "engine-alone",
            "the values of the last 1h are known to the engine alone",
        ),
        (NET, host("web1", sample("network_io", {"eth0": {"rx_bytes": 5}})), "one-sample", "takes two samples"),
        (
            'metric: memory_usage, comparator: ">", threshold: 1, across: {of: hosts, stat: max}',
            host("web1"),
            "no-sample",
            "no host that it looks at says memory_usage.percent",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_where_there_is_no_number_it_says_why(text: str, of: HostSeen, code: str, words: str) -> None:
    series = only(rule(text), seen(of))
    assert series.outcome is None
    assert series.unknown is not None
    assert series.unknown.code == code
    assert words in series.unknown.text


def test_each_instance_is_a_series_and_globs_choose() -> None:
    tree = seen(host("web1", sample("disk_usage", DISKS)))
    assert [(one.instance, one.outcome) for one in survey.series_of(rule(DISK), tree)] == [
        ("/", Outcome.FALSE),
        ("/data", Outcome.TRUE),
    ]
    assert [one.instance for one in survey.series_of(rule(f"{DISK}, not_instances: /data"), tree)] == ["/"]


def test_each_condition_is_looked_at_even_if_another_is_not_known() -> None:
    memory_full, swapping = (
        f'{{metric: {name}, comparator: ">", threshold: 9}}' for name in ("memory_usage", "swap_usage")
    )
    both = rule(f"all: [{memory_full}, {swapping}]")
    series = only(both, seen(host("web1", HIGH)))
    memory, swap = series.comparisons
    assert (series.outcome, memory.outcome, memory.value) == (None, Outcome.TRUE, 95.0)
    assert swap.unknown is not None
    assert swap.unknown.code == "no-sample"
    whole = only(both, seen(host("web1", HIGH, sample("swap_usage", percent=50.0))))
    assert (whole.outcome, whole.comparisons[1].value) == (Outcome.TRUE, 50.0)


def test_each_step_of_a_ladder_is_a_comparison() -> None:
    (ladder,) = rules(
        "  - name: r\n    metric: memory_usage\n    comparator: '>'\n"
        "    levels: [{severity: warning, threshold: 90}, {severity: critical, threshold: 97}]\n"
    )
    found = [(one.severity, one.threshold, one.outcome) for one in only(ladder, seen(host("web1", HIGH))).comparisons]
    assert [(severity.value, limit, outcome) for severity, limit, outcome in found if severity] == [
        ("warning", 90, Outcome.TRUE),
        ("critical", 97, Outcome.FALSE),
    ]


def test_overrides_that_fit_are_named_and_hold() -> None:
    one = rule(
        'metric: memory_usage, comparator: ">", threshold: 90, '
        'overrides: [{hosts: "db*", threshold: 99}, {hosts: "web*", threshold: 96}]'
    )
    web, db = survey.series_of(one, seen(host("web1", HIGH), host("db1", HIGH)))
    assert (web.host, web.overrides, web.comparisons[0].threshold, web.outcome) == ("web1", (1,), 96, Outcome.FALSE)
    assert (db.host, db.overrides, db.comparisons[0].threshold) == ("db1", (0,), 99)


def test_a_number_over_many_hosts_says_of_how_many() -> None:
    one = rule(
        'metric: memory_usage, comparator: ">=", threshold: 1, '
        'across: {of: hosts, stat: count, by: role, where: {comparator: ">", threshold: 90}}'
    )
    hosts = (
        host("a", HIGH, labels={"role": "db"}),
        host("b", LOW, labels={"role": "db"}),
        host("c", LOW, labels={"role": "web"}),
        host("d", labels={"role": "web"}),
    )
    db, web = survey.series_of(one, seen(*hosts))
    assert (db.host, db.instance, db.outcome, db.comparisons[0].value, db.members) == (
        "-",
        "db",
        Outcome.TRUE,
        1,
        (2, 0),
    )
    assert (web.instance, web.outcome, web.members) == ("web", Outcome.FALSE, (1, 1))


def test_who_is_alive_is_not_for_the_sample_to_say() -> None:
    down = rule("metric: host.alive, comparator: '==', threshold: 0")
    gone, here = survey.series_of(down, seen(host("a", is_alive=False), host("b", sample("host", alive=0))))
    assert (gone.outcome, here.outcome) == (Outcome.TRUE, Outcome.FALSE)


def test_two_samples_of_a_counter_make_a_rate() -> None:
    one = rule(NET)
    first = seen(host("web1", sample("network_io", {"eth0": {"rx_bytes": 5}}, at=AT - 6), age=6))
    wanted, seconds = survey.awaited(survey.series_of(one, first), first)
    assert (set(wanted), seconds) == ({("web1", "network_io")}, 10.0)
    second = Published(sample("network_io", {"eth0": {"rx_bytes": 105}}, at=AT - 1), AT - 1)
    hosts = {
        "web1": replace(
            first.hosts["web1"], samples={"network_io": (*first.hosts["web1"].samples["network_io"], second)}
        )
    }
    series = only(one, replace(first, hosts=hosts))
    assert (series.outcome, series.comparisons[0].value) == (Outcome.TRUE, 20.0)


def test_an_alert_on_record_is_a_series_even_without_a_sample() -> None:
    one = rule(DISK)
    record = replace(lifecycle.inactive(one, "web1", "/old"), state=State.FIRING, episode="1")
    found = survey.series_of(one, seen(host("web1", sample("disk_usage", DISKS)), alerts=(record,)))
    old = next(each for each in found if each.instance == "/old")
    assert old.alert is record
    assert old.unknown is not None
    assert old.unknown.text == "the sample of disk_usage has no /old"


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        ('hosts: "web*"', ""),
        ('hosts: "db*"', "hosts: db* does not match web1"),
        ("hosts: {role: db}", "hosts: its label role is web, not db"),
        ("hosts: {dc: gru1}", "hosts: web1 has no label dc"),
        ('hosts: ["db*", {role: web}]', ""),
        ('not_hosts: "web*"', "not_hosts: web* fits"),
        ("not_hosts: {role: web}", "not_hosts: role=web fits"),
    ],
)
def test_a_host_that_is_not_looked_at_hears_why(hosts: str, why: str) -> None:
    one = rule(f'metric: memory_usage, comparator: ">", threshold: 1, {hosts}')
    assert survey.why_not_host(one, HostInfo(name="web1", labels={"role": "web"})) == why
    assert bool(survey.series_of(one, seen(host("web1", HIGH, labels={"role": "web"})))) is (why == "")


def test_the_hosts_own_history_fills_windows_and_rates(tmp_path: Path) -> None:
    """The history keeps the host's clock, which is 100 s behind the ensemble's here."""
    skew = 100.0
    history = History(tmp_path / "history.db", max_age=1e9, max_size=2**30)
    for age in range(120, 0, -5):
        history.append([sample("memory_usage", at=AT - skew - age, percent=95.0 if age <= 60 else 5.0)], "web1")
    history.close()
    one = rule('metric: memory_usage, over: 1m, comparator: ">", threshold: 90')
    bare = seen(host("web1", sample("memory_usage", at=AT - skew, percent=95.0), age=0), host("db1", HIGH))
    full = survey.with_history(bare, tmp_path / "history.db", survey.spans(one))
    db, web = sorted(survey.series_of(one, full), key=lambda each: each.host)
    assert (web.outcome, web.comparisons[0].value, web.comparisons[0].is_remembered) == (Outcome.TRUE, 95.0, True)
    assert db.unknown is not None
    assert db.unknown.code == "engine-alone"
    assert survey.with_history(bare, tmp_path / "none.db", survey.spans(one)) is bare


# How it stands --------------------------------------------------------------------------------------------------------


def test_what_is_pending_says_how_long_it_held_and_when_it_fires() -> None:
    record = alert_of(MEMORY, State.PENDING, since=40)
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record,)))
    (clock,) = told.clocks
    assert (clock.held, clock.needed, clock.due_at) == (40, 120, AT + 80)
    assert (told.why.code, told.why.text, told.why.is_told) == ("held", "crossed, held 40s of 2m", False)


def test_nobody_held_it_while_no_engine_watched() -> None:
    record = alert_of(MEMORY, State.PENDING, since=40)
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record,), is_owned=False, watched_at=AT - 10))
    (clock,) = told.clocks
    assert (clock.held, clock.due_at) == (30, AT + 90)
    assert told.why.text == "crossed, held 30s of 2m; no engine evaluates this tree now"


def test_a_duration_within_a_span_is_summed() -> None:
    one = rule('metric: memory_usage, comparator: ">", threshold: 90, duration: 2m, within: 10m')
    record = alert_of(one, State.PENDING, since=40)
    record = replace(record, clocks=(record.clocks[0]._replace(spans=((AT - 300, AT - 240),)),))
    (clock,) = story(one, seen(host("web1", HIGH), alerts=(record,))).clocks
    assert (clock.held, clock.due_at) == (100, AT + 20)


def test_what_clears_says_when_it_is_over() -> None:
    one = rule('metric: memory_usage, comparator: ">", threshold: 90, clear_duration: 5m')
    (clock,) = story(one, seen(host("web1", LOW), alerts=(alert_of(one, State.CLEARING, since=60),))).clocks
    assert (clock.state, clock.held, clock.due_at) == (State.CLEARING, 60, AT + 240)


def test_a_pending_alert_whose_samples_stopped_stands_still() -> None:
    told = story(MEMORY, seen(host("web1", HIGH, age=60), alerts=(alert_of(MEMORY, State.PENDING),)))
    assert told.why.code == "held"
    assert "it stands still: the last sample of memory_usage is 1m old" in told.why.text


def test_a_record_of_another_condition_starts_anew() -> None:
    record = replace(alert_of(MEMORY, State.PENDING), digest="another")
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record,)))
    assert (told.why.code, told.clocks) == ("rule-changed", ())


@pytest.mark.parametrize(
    ("rule_", "tree", "code", "words"),
    [
        (MEMORY, seen(host("web1", LOW)), "not-crossed", "not crossed: memory_usage.percent is 40% (> 90%)"),
        (MEMORY, seen(host("web1", HIGH), is_owned=False), "no-engine", "crossed; no engine evaluates this tree now"),
        (MEMORY, seen(host("web1", HIGH)), "not-seen", "crossed, but no engine has written it"),
        (replace(MEMORY, enabled=False), seen(host("web1", HIGH)), "rule-off", "the rule is off"),
        (
            rule(
                'metric: memory_usage, comparator: ">", threshold: 90, schedule: {hours: "00:00-00:01"}',
            ),
            seen(host("web1", HIGH)),
            "off-schedule",
            "crossed, but outside its schedule until 2026-11-19T00:00:00Z",
        ),
    ],
    ids=["not-crossed", "no-engine", "not-seen", "rule-off", "off-schedule"],
)
def test_why_an_inactive_series_told_nothing(rule_: Rule, tree: Survey, code: str, words: str) -> None:
    why = story(rule_, tree).why
    assert (why.code, why.is_told) == (code, False)
    assert words in why.text


def entry(alert: Alert, *deliveries: Delivery) -> OutboxEntry:
    effect = Effect(alert=alert, phase=Phase.FIRING, reason=Reason.HELD, at=alert.since)
    return OutboxEntry(effect=effect, deliveries=deliveries)


def delivery(state: DeliveryState, name: str = "ops", attempts: int = 1, detail: str = "") -> Delivery:
    return Delivery(
        target=f"{name}/1", kind=TargetKind.NOTIFY, name=name, state=state, attempts=attempts, at=AT - 9, detail=detail
    )


@pytest.mark.parametrize(
    ("deliveries", "code", "words", "is_told"),
    [
        (
            [delivery(DeliveryState.DELIVERED), delivery(DeliveryState.CLAIMED, "chat", 3)],
            "delivered",
            "delivered at 2026-11-18T11:06:31Z to ops; firing waits for chat after 3 tries",
            True,
        ),
        ([delivery(DeliveryState.NEW, attempts=0)], "waiting", "firing waits for ops", False),
        (
            [delivery(DeliveryState.FAILED, detail="no such room")],
            "failed",
            "firing to ops ended failed at 2026-11-18T11:06:31Z: no such room",
            False,
        ),
        (
            [delivery(DeliveryState.HELD, detail="silenced by s1"), delivery(DeliveryState.NEW, "chat", 0)],
            "withheld",
            "firing to ops is withheld: silenced by s1; firing waits for chat",
            False,
        ),
        (
            [delivery(DeliveryState.DROPPED, detail="over before it was told")],
            "dropped",
            "firing is not told to ops: over before it was told",
            False,
        ),
        ([], "settled", "ops is done with it", True),
    ],
    ids=["delivered", "waiting", "failed", "withheld", "dropped", "settled"],
)
def test_the_outbox_says_what_became_of_messages(
    deliveries: list[Delivery], code: str, words: str, is_told: bool
) -> None:
    record = alert_of(MEMORY, State.FIRING)
    entries = (entry(record, *deliveries),) if deliveries else ()
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record,), entries=entries))
    assert (told.why.code, told.why.is_told) == (code, is_told)
    assert words in told.why.text
    assert len(told.passages) == len(deliveries)


def test_what_was_given_up_is_told_for_as_long_as_it_is_kept() -> None:
    record = alert_of(MEMORY, State.FIRING)
    dead = entry(record, delivery(DeliveryState.FAILED, detail="no such room"))
    told = story(MEMORY, replace(seen(host("web1", HIGH), alerts=(record,)), dead=(dead,)))
    assert (told.why.code, told.why.is_told) == ("failed", False)
    assert "no such room" in told.why.text


def test_without_a_channel_nobody_hears_it() -> None:
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(alert_of(MEMORY, State.FIRING),)), channels={})
    assert (told.hears, told.why.code) == ((), "no-channel")


def test_a_url_is_never_shown() -> None:
    one = rule('metric: memory_usage, comparator: ">", threshold: 1, action: "json://user:secret@example.org/x"')
    told = story(one, seen(host("web1", HIGH)))
    assert told.hears == ("a URL of the rule",)
    assert "example.org" not in repr(told.hears)


def test_an_inhibitor_that_fired_first_is_named() -> None:
    down = replace(rule("metric: host.alive, comparator: '==', threshold: 0"), name="host-down")
    inhibitor = alert_of(down, State.FIRING, since=90)
    record = alert_of(MEMORY, State.FIRING, since=40)
    assert survey.inhibitors_of(MEMORY, (MEMORY, down)) == {"host-down"}
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record, inhibitor)), down)
    assert told.inhibitor == "inhibited by host-down on web1"
    assert (told.why.code, told.why.is_told) == ("inhibited", False)
    other = replace(inhibitor, host="web2")
    assert story(MEMORY, seen(host("web1", HIGH), alerts=(record, other)), down).inhibitor == ""


def test_an_inhibitor_that_fired_later_kept_nothing_quiet() -> None:
    down = replace(rule("metric: host.alive, comparator: '==', threshold: 0"), name="host-down")
    record = alert_of(MEMORY, State.FIRING, since=90)
    told = story(MEMORY, seen(host("web1", HIGH), alerts=(record, alert_of(down, State.FIRING, since=40))), down)
    assert (told.inhibitor, told.why.code) == ("inhibited by host-down on web1", "settled")


# Reading --------------------------------------------------------------------------------------------------------------


def publish(client: Client, tree: Tree, name: str, *samples: Sample, is_alive: bool = True) -> None:
    client.create(tree.host(name), encode_host(HostInfo(name=name, labels={"role": "web"})), makepath=True)
    client.create(tree.metrics(name))
    if is_alive:
        client.create(tree.alive(name), b"{}", ephemeral=True)
    for one in samples:
        client.create(tree.family(name, one.family), encode_sample(one))


def test_a_tree_is_read_as_it_is(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    publish(client, tree, "web/1", HIGH)
    publish(client, tree, "db1", is_alive=False)
    client.create(f"{tree.hosts}/a b", b"")  # no name of ours was made so
    client.create(tree.family("db1", "memory_usage"), b"x")
    record = alert_of(MEMORY, State.FIRING, name="web/1")
    client.create(tree.alert("r", "web/1", None), encode_alert(record), makepath=True)
    client.create(f"{tree.rule_alerts('r')}/elsewhere", encode_alert(record))
    one = entry(record, delivery(DeliveryState.CLAIMED))
    client.create(tree.outbox_entry(0, one.effect.id), encode_entry(one), makepath=True)
    client.create(
        tree.engine("e1"), encode_engine(EngineInfo(version="1", rules="d", host="web1", pid=7)), makepath=True
    )
    client.create(f"{tree.shard(0)}/lock", makepath=True)
    client.set(tree.shard(0), encode_seen(Seen(AT)))
    with survey.connected(settings) as reader:
        found = reader.read(["memory_usage", "swap_usage"], ["r", "nobody"])
    assert list(found.hosts) == ["db1", "web/1"]
    web, db = found.hosts["web/1"], found.hosts["db1"]
    assert (web.is_alive, db.is_alive, web.info.labels) == (True, False, {"role": "web"})
    assert web.newest("memory_usage") == Published(
        HIGH, client.get(tree.family("web/1", "memory_usage"))[1].mtime / 1000
    )
    assert web.newest("swap_usage") is None
    assert isinstance(db.samples["memory_usage"][0].sample, Problem)
    assert [alert.episode for alert in found.alerts] == [record.episode]
    assert found.entries == (one,)
    assert (found.engines, found.is_owned, found.watched_at) == (("web1 (pid 7)",), True, AT)
    assert abs(found.at - time.time()) < 10


def test_an_empty_tree_is_no_error(settings: ZookeeperSettings) -> None:
    with survey.connected(settings) as reader:
        found = reader.read(["memory_usage"], ["r"])
    assert (found.hosts, found.alerts, found.entries, found.is_owned) == ({}, (), (), False)


def test_many_hosts_are_read_in_one_go(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    """200 hosts with 5 families; 1,400 questions one after the other would take longer than this may."""
    families = [sample(f"family{number}", percent=number) for number in range(5)]
    transaction = []
    for number in range(200):
        name = f"web{number}"
        transaction.append(client.create_async(tree.host(name), encode_host(HostInfo(name=name)), makepath=True))
    for one in transaction:
        one.get()
    waiting = [client.create_async(tree.metrics(f"web{number}")) for number in range(200)]
    waiting += [
        client.create_async(tree.family(f"web{number}", one.family), encode_sample(one))
        for number in range(200)
        for one in families
    ]
    for one in waiting:
        one.get()
    with survey.connected(settings) as reader:
        began = time.monotonic()
        found = reader.read([one.family for one in families])
        took = time.monotonic() - began
    assert sum(len(each.samples) for each in found.hosts.values()) == 1000
    assert took < 5


def test_the_next_sample_is_waited_for(client: Client, tree: Tree, settings: ZookeeperSettings) -> None:
    counter = sample("network_io", {"eth0": {"rx_bytes": 5}})
    publish(client, tree, "web1", counter)
    publish(client, tree, "db1", counter)
    with survey.connected(settings) as reader:
        before = reader.read(["network_io"])
        client.set(tree.family("web1", "network_io"), encode_sample(counter))
        after = reader.await_next(before, {("web1", "network_io"), ("db1", "network_io")}, 0.5)
    assert [len(after.hosts[name].samples["network_io"]) for name in ("web1", "db1")] == [2, 1]
    assert after.at >= before.at + 0.5


def test_a_zookeeper_that_is_not_there_is_given_up() -> None:
    nowhere = ZookeeperSettings(hosts="127.0.0.1:1", session_timeout=0.5)
    began = time.monotonic()
    with pytest.raises(ZkalertError, match="does not answer"), survey.connected(nowhere):
        pass
    assert time.monotonic() - began < 5


def test_a_zookeeper_that_hangs_while_it_is_read_is_given_up(own_zookeeper: LocalServer) -> None:
    settings = ZookeeperSettings(hosts=own_zookeeper.hosts, session_timeout=2.0)
    pid = own_zookeeper.pid
    assert pid is not None
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(_told(survey.connected(settings)))
        reader.read(["memory_usage"])
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        wait_for(lambda: not reader.client.connected, "the client to miss the server")
        began = time.monotonic()
        reader.read(["memory_usage"])
    assert time.monotonic() - began < 8


@contextlib.contextmanager
def _told(inside: contextlib.AbstractContextManager[survey.Reader]) -> Iterator[survey.Reader]:
    """Expects that what happens inside ends with ZooKeeper being gone."""
    with pytest.raises(ZkalertError, match="went away"), inside as reader:
        yield reader
