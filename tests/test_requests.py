"""Actions that a host runs itself: asked for through ZooKeeper, claimed, run by a real shell, answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import Relay, expire_session, lose_connection, wait_for
from tests.test_run import ALERT, EFFECT
from zkalert import clock
from zkalert.agent import actions
from zkalert.agent.actions import AT_ONCE, ActionRunner, Settings
from zkalert.model import (
    ActionRequest,
    Brake,
    BrakeState,
    Claim,
    Effect,
    Problem,
    RequestEnd,
    RequestResult,
    Run,
    SendResult,
    SendState,
    Where,
    ZookeeperSettings,
)
from zkalert.render import render
from zkalert.senders.remote import Helpers, RemoteSender, command_sender
from zkalert.store import requests
from zkalert.store.brakes import Brakes
from zkalert.store.claims import Claims, Found
from zkalert.store.requests import Requests
from zkalert.tree import Tree, decode_brake, decode_request, encode_request
from zkalert.zk import Client, make_client

RESTART = Run(command="restart", where=Where.HOST, timeout=10.0)


@pytest.fixture
def connect(settings: ZookeeperSettings) -> Iterator[Callable[[], Client]]:
    """Makes further clients."""
    made: list[Client] = []

    def one() -> Client:
        client = make_client(settings)
        client.start(timeout=15)
        made.append(client)
        return client

    yield one
    for client in made:
        client.stop()
        client.close()


@pytest.fixture
def ensemble(client: Client, tree: Tree) -> clock.EnsembleClock:
    """An engine's idea of the ensemble's time."""
    made = clock.EnsembleClock()
    made.saw(client.set(tree.layout, client.get(tree.layout)[0]).mtime / 1000, clock.monotonic())
    return made


@contextmanager
def agent(
    client: Client,
    tree: Tree,
    offered: Mapping[str, str | Run],
    *,
    may_run: bool = True,
    folder: Path | None = None,
    is_ours: Callable[[], bool] = lambda: True,
) -> Iterator[ActionRunner]:
    """What a sampler does about requests, on web1, for as long as the block lasts."""
    runs = {name: Run(command=one) if isinstance(one, str) else one for name, one in offered.items()}
    runner = ActionRunner(
        client,
        tree,
        host="web1",
        machine="m1",
        settings=Settings(runs, may_run, folder),
        is_ours=is_ours,
    )
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()


@pytest.fixture
def asks(connect: Callable[[], Client], tree: Tree, ensemble: clock.EnsembleClock) -> Requests:
    """An engine that asks."""
    return Requests(connect(), tree, ensemble.now)


def send(asks: Requests, run: Run = RESTART, effect: Effect = EFFECT) -> SendResult:
    return RemoteSender(run, asks).send((effect,), render(effect))


def request(number: int = 0, timeout: float = 10.0) -> ActionRequest:
    return ActionRequest(id=f"e{number}.firing.restart", action="restart", rule="r", series="web1", timeout=timeout)


def names(client: Client, tree: Tree) -> list[str]:
    path = tree.requests("web1")
    return list(client.get_children(path)) if client.exists(path) else []


def wait_requests(client: Client, tree: Tree, what: Callable[[ActionRequest], object]) -> ActionRequest:
    """Wait until one of the requests to web1 is as wanted."""

    def look() -> ActionRequest | None:
        for name in names(client, tree):
            found = decode_request(name, client.get(tree.request("web1", name))[0])
            if isinstance(found, ActionRequest) and what(found):
                return found
        return None

    found = wait_for(look, "a request")
    assert found is not None
    return found


# The way there and back -----------------------------------------------------------------------------------------------


def test_a_host_runs_its_action_with_all_that_the_alert_says(
    client: Client, tree: Tree, asks: Requests, tmp_path: Path
) -> None:
    """As an engine would run it: the same variables, the same document, and the result comes back."""
    line = f'cat >{tmp_path}/alert.json; env >{tmp_path}/env; pwd; echo "$ZKALERT_RULE on $ZKALERT_HOST"'
    with agent(client, tree, {"restart": line}, folder=tmp_path):
        result = send(asks)
    assert (result.state, result.is_retryable, result.exit_code) == (SendState.DELIVERED, False, 0)
    assert result.detail == "on web1: exit code 0; last line: memory-high on web1"
    assert result.tail == f"{tmp_path}\nmemory-high on web1"
    alert = json.loads((tmp_path / "alert.json").read_text())
    assert (alert["rule"], alert["value"], alert["labels"]) == ("memory-high", 93.42, {"team": "ops", "dc": "rule"})
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert {"ZKALERT_VALUE": "93.42", "ZKALERT_LABEL_MY_ROLE_X": "kafka", "ZKALERT_ID": "3fa4b2"}.items() <= (
        variables.items()
    )
    assert names(client, tree) == [], "the engine takes away what it asked for"


def test_it_is_quick(client: Client, tree: Tree, asks: Requests) -> None:
    """Watches tell both sides, nobody polls."""
    with agent(client, tree, {"restart": "true"}):
        assert send(asks).state is SendState.DELIVERED  # makes the folder
        again = replace(EFFECT, alert=replace(ALERT, episode="another"))
        assert send(asks, effect=again).seconds < 1


def test_a_failure_is_told_with_its_code_and_its_last_words(client: Client, tree: Tree, asks: Requests) -> None:
    with agent(client, tree, {"restart": "echo out; printf 'no\\033[31mdisk' >&2; exit 3"}):
        result = send(asks)
    assert (result.state, result.exit_code, result.tail) == (SendState.FAILED, 3, "out\nno [31mdisk")
    assert result.detail == "on web1: exit code 3; last line: no [31mdisk"


@pytest.mark.parametrize(("ours", "theirs"), [(0.3, 60.0), (60.0, 0.3)], ids=["the rule's", "the host's"])
def test_the_shorter_time_limit_counts(client: Client, tree: Tree, asks: Requests, ours: float, theirs: float) -> None:
    with agent(client, tree, {"restart": Run(command="sleep 60", timeout=theirs)}):
        result = send(asks, replace(RESTART, timeout=ours))
    assert (result.state, result.detail) == (SendState.FAILED, "on web1: timed out after 300ms; killed")


def test_what_the_host_s_configuration_says_of_an_action_is_kept_to(
    client: Client, tree: Tree, asks: Requests, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    how = Run(command=("/bin/sh", "-c", "pwd; umask"), cwd="below", umask=0o027, is_clean=True)
    with agent(client, tree, {"restart": how}, folder=tmp_path):
        assert send(asks).tail == f"{tmp_path}/below\n0027"


@pytest.mark.parametrize(
    "name",
    [
        "$(touch owned)",
        "; touch owned;",
        "`touch owned`",
        "'; touch owned; '",
        "a\ntouch owned",
        "../../etc",
        "-rf",
        ".",
    ],
)
def test_a_hostile_name_stays_a_name(client: Client, tree: Tree, asks: Requests, tmp_path: Path, name: str) -> None:
    """It reaches no line of a shell, on no host, and leads to no other znode."""
    effect = replace(EFFECT, alert=replace(ALERT, instance=name, value=name), labels={name: name}, summary=name)
    with agent(client, tree, {"restart": 'printf "%s" "$ZKALERT_INSTANCE" >seen'}, folder=tmp_path):
        assert send(asks, effect=effect).state is SendState.DELIVERED
    assert (tmp_path / "seen").read_text() == name.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


@pytest.mark.parametrize("host", ["$(touch owned)", "a/../web1", "web1/x", "a\nb", "."])
def test_a_hostile_host_is_asked_below_its_own_name(
    tree: Tree, connect: Callable[[], Client], ensemble: clock.EnsembleClock, host: str
) -> None:
    client = connect()
    asks = Requests(client, tree, ensemble.now, wait=-0.9)
    result = RemoteSender(RESTART, asks).send((replace(EFFECT, alert=replace(ALERT, host=host)),), render(EFFECT))
    assert result.state is SendState.FAILED
    assert "\n" not in result.detail
    (folder,) = client.get_children(f"{tree.root}/actions")
    assert f"{tree.root}/actions/{folder}" == tree.requests(host)


# What is not run ------------------------------------------------------------------------------------------------------


def test_an_action_that_the_host_does_not_have_is_refused(client: Client, tree: Tree, asks: Requests) -> None:
    with agent(client, tree, {"restart-app": "true"}):
        result = send(asks, replace(RESTART, command="restart-ap"))
    assert (result.state, result.exit_code) == (SendState.FAILED, None)
    assert result.detail == ('on web1: its configuration has no action "restart-ap"; did you mean "restart-app"?')
    assert names(client, tree) == []


def test_a_host_that_forbids_commands_runs_none(client: Client, tree: Tree, asks: Requests, tmp_path: Path) -> None:
    with agent(client, tree, {"restart": f"touch {tmp_path}/ran"}, may_run=False):
        assert send(asks).detail == "on web1: shell actions are switched off there"
    assert not (tmp_path / "ran").exists()


def test_an_engine_that_forbids_commands_asks_for_none(
    client: Client, tree: Tree, asks: Requests, ensemble: clock.EnsembleClock, tmp_path: Path
) -> None:
    """And runs none of its own; asked at each time, since the switch may have been turned meanwhile."""
    allowed = [False]
    helpers = Helpers(lambda: allowed[0], asks, Brakes(client, tree, ensemble.now))
    here = command_sender(Run(command="touch here", brake=Brake()), helpers, tmp_path)
    for sender in (here, command_sender(RESTART, helpers)):
        result = sender.send((EFFECT,), render(EFFECT))
        assert (result.state, result.is_retryable) == (SendState.FAILED, False)
        assert result.detail == "shell actions are switched off here"
    assert list(tmp_path.iterdir()) == []
    assert client.get_children(tree.top) == ["layout"], "nobody was asked, no brake was taken"
    allowed[0] = True
    assert here.send((EFFECT,), render(EFFECT)).state is SendState.DELIVERED
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_an_alert_of_no_host_has_nobody_to_ask(client: Client, tree: Tree, asks: Requests) -> None:
    result = send(asks, effect=replace(EFFECT, alert=replace(ALERT, host="-", instance=None)))
    assert (result.state, result.detail) == (SendState.FAILED, "the alert is of no single host that could run it")


def test_what_nobody_takes_in_time_expires_and_is_never_run(
    client: Client, tree: Tree, connect: Callable[[], Client], ensemble: clock.EnsembleClock, tmp_path: Path
) -> None:
    asks = Requests(connect(), tree, ensemble.now, wait=0.2)
    result = send(asks)
    assert result.state is SendState.FAILED
    assert result.detail == "on web1: nobody took it within 200ms; does a sampler run there?"
    assert 0.2 <= result.seconds < 4
    with agent(client, tree, {"restart": f"touch {tmp_path}/ran"}):
        assert names(client, tree) == []
    assert not (tmp_path / "ran").exists()


def test_a_request_of_an_engine_that_died_is_not_run_late(
    client: Client, tree: Tree, ensemble: clock.EnsembleClock, tmp_path: Path
) -> None:
    """By the ensemble's clock, which stamps the claim; whatever the host's own says."""
    client.ensure_path(tree.requests("web1"))
    late = replace(request(), not_after=ensemble.now() - 0.001)
    client.create(tree.request("web1", late.id), encode_request(late))
    with agent(client, tree, {"restart": f"touch {tmp_path}/ran"}):
        ended = wait_requests(client, tree, lambda found: found.result)
    assert ended.result is not None
    assert ended.result.end is RequestEnd.EXPIRED
    assert not (tmp_path / "ran").exists()


def test_what_is_left_over_is_cleared_up(
    client: Client, tree: Tree, ensemble: clock.EnsembleClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "LEFT_AFTER", 0.2)
    client.ensure_path(tree.requests("web1"))
    over = replace(request(1, 0.1), result=RequestResult(end=RequestEnd.DONE, detail="exit code 0", exit_code=0))
    taken = replace(request(2, 0.1), claim=Claim(machine="m0/1", token="t", at=1.0))
    for one in (over, taken, replace(request(3, 0.1), not_after=ensemble.now() + 60)):
        client.create(tree.request("web1", one.id), encode_request(one))
    with agent(client, tree, {"restart": "true"}):
        wait_for(lambda: not names(client, tree), "an empty folder")


def test_asked_twice_for_the_same_it_is_run_once(client: Client, tree: Tree, asks: Requests) -> None:
    results: list[SendResult] = []
    with agent(client, tree, {"restart": "sleep 0.5"}):
        first = threading.Thread(target=lambda: results.append(send(asks)))
        first.start()
        wait_requests(client, tree, lambda found: found.claim)
        assert send(asks).detail == "on web1: it was asked to do the same already"
        first.join(20)
    assert [result.state for result in results] == [SendState.DELIVERED]


def test_an_alert_that_is_too_long_to_hand_on_is_refused(asks: Requests, client: Client, tree: Tree) -> None:
    labels = {f"label{number}": "x" * 8000 for number in range(40)}
    assert "too long to hand on" in send(asks, effect=replace(EFFECT, labels=labels)).detail
    assert names(client, tree) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"x" * 300_000,
        encode_request(request()).replace(b'"timeout":10.0', b'"timeout":0'),
        encode_request(request()).replace(b'"timeout":10.0', b'"timeout":1e999'),
        encode_request(request()).replace(b'"document":{}', b'"document":[]'),
        encode_request(request()).replace(b'"fields":{}', b'"fields":{"a":1}'),
    ],
    ids=["empty", "list", "long", "no time", "endless", "document", "fields"],
)
def test_a_request_that_cannot_be_read_is_left_alone(client: Client, tree: Tree, asks: Requests, data: bytes) -> None:
    """And costs the others nothing."""
    client.ensure_path(tree.requests("web1"))
    client.create(tree.request("web1", "bad"), data)
    with agent(client, tree, {"restart": "true"}):
        assert send(asks).state is SendState.DELIVERED
        assert client.get(tree.request("web1", "bad"))[0] == data


def test_what_a_host_answers_reaches_no_terminal_as_an_order(client: Client, tree: Tree, asks: Requests) -> None:
    results: list[SendResult] = []
    asking = threading.Thread(target=lambda: results.append(send(asks)))
    asking.start()
    found = wait_requests(client, tree, lambda _: True)
    answer = RequestResult(end=RequestEnd.DONE, detail="\x1b[2Jdone\n", exit_code=0, tail="a\x1b]0;x\x07\nb")
    client.set(tree.request("web1", found.id), encode_request(replace(found, result=answer)))
    asking.join(20)
    assert (results[0].detail, results[0].tail) == ("on web1:  [2Jdone", "a ]0;x \nb")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "v",
                        "action",
                        "rule",
                        "series",
                        "timeout",
                        "not_after",
                        "asker",
                        "fields",
                        "document",
                        "claim",
                        "result",
                        "starts",
                        "running",
                        "end",
                        "token",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_stands_in_the_tree_decoding_never_raises(document: object) -> None:
    data = json.dumps(document).encode()
    assert isinstance(decode_request("x", data), (ActionRequest, Problem))
    assert isinstance(decode_brake(data), (BrakeState, Problem))


def test_a_request_survives_its_payload() -> None:
    whole = replace(
        request(),
        asker="a",
        not_after=12.5,
        fields={"rule": "\u20ac"},
        document={"value": None, "labels": {"a": "b"}},
        claim=Claim(machine="m/1", token="t", at=1.5),
        result=RequestResult(end=RequestEnd.DONE, detail="exit code 0", seconds=0.25, exit_code=0, tail="x\ny"),
    )
    assert decode_request(whole.id, encode_request(whole)) == whole


# Once, or not at all --------------------------------------------------------------------------------------------------


def test_two_agents_that_see_the_same_requests_run_each_once(
    tree: Tree, connect: Callable[[], Client], asks: Requests, tmp_path: Path
) -> None:
    effects = [replace(EFFECT, alert=replace(ALERT, episode=f"e{number}")) for number in range(30)]
    offered = {"restart": f'echo "$ZKALERT_KEY" >>{tmp_path}/ran'}
    results: list[SendResult] = []
    with agent(connect(), tree, offered), agent(connect(), tree, offered):
        threads = [threading.Thread(target=lambda one=one: results.append(send(asks, effect=one))) for one in effects]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [result.state for result in results] == [SendState.DELIVERED] * 30
    assert sorted((tmp_path / "ran").read_text().split()) == sorted(effect.key for effect in effects)


def test_of_a_claim_and_a_withdrawal_one_is_applied(client: Client, tree: Tree, ensemble: clock.EnsembleClock) -> None:
    """A claim names the version that it saw: not that of a request that stands there anew."""
    client.ensure_path(tree.requests("web1"))
    claims = Claims(client, tree, "web1", ensemble)
    path = tree.request("web1", request().id)
    client.create(path, encode_request(request()))
    seen = claims.read(request().id)
    assert isinstance(seen, Found)
    claim = Claim(machine="m", token="t", at=1.0)
    client.set(path, encode_request(request()))
    assert claims.claim(seen, claim) is None
    client.delete(path)
    assert claims.claim(seen, claim) is None
    assert claims.read(request().id) is None
    claims.remove(seen)  # gone is as good as removed


def test_a_claim_that_comes_at_the_last_moment_is_waited_for(
    client: Client, tree: Tree, connect: Callable[[], Client], ensemble: clock.EnsembleClock
) -> None:
    """Withdrawn it cannot be any more: what was begun is asked after."""
    asks = Requests(connect(), tree, ensemble.now, wait=0.3)
    results: list[SendResult] = []
    with agent(client, tree, {"restart": "sleep 2"}):
        asking = threading.Thread(target=lambda: results.append(send(asks)))
        asking.start()
        asking.join(30)
    assert (results[0].state, results[0].exit_code) == (SendState.DELIVERED, 0)


@pytest.mark.parametrize("break_it", [lose_connection, expire_session])
@pytest.mark.parametrize("side", ["engine", "host"])
def test_a_lost_connection_loses_no_result_and_repeats_no_run(
    tree: Tree,
    connect: Callable[[], Client],
    ensemble: clock.EnsembleClock,
    tmp_path: Path,
    break_it: Callable[[Client], None],
    side: str,
) -> None:
    engine, host = connect(), connect()
    asks = Requests(engine, tree, ensemble.now)
    results: list[SendResult] = []
    with agent(
        host, tree, {"restart": f"echo ran >>{tmp_path}/ran; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done"}
    ):
        asking = threading.Thread(target=lambda: results.append(send(asks)))
        asking.start()
        wait_for((tmp_path / "ran").exists, "the command to run")
        break_it(engine if side == "engine" else host)
        (tmp_path / "go").touch()
        asking.join(30)
        assert [result.detail for result in results] == ["on web1: exit code 0"]
        assert (tmp_path / "ran").read_text() == "ran\n"


def test_requests_that_came_while_the_host_was_cut_off_are_taken_when_it_is_back(
    tree: Tree, settings: ZookeeperSettings, asks: Requests
) -> None:
    relay = Relay(settings.hosts)
    host = make_client(replace(settings, hosts=relay.hosts))
    host.start(timeout=15)
    results: list[SendResult] = []
    with agent(host, tree, {"restart": "true"}):
        relay.cut()
        wait_for(lambda: not host.connected, "the cut to be felt")
        asking = threading.Thread(target=lambda: results.append(send(asks)))
        asking.start()
        asking.join(0.5)
        assert results == []
        relay.mend()
        asking.join(30)
    assert [result.state for result in results] == [SendState.DELIVERED]
    host.stop()
    host.close()
    relay.close()


def test_who_does_not_speak_for_the_host_takes_nothing(client: Client, tree: Tree, asks: Requests) -> None:
    """A sampler that waits for its name, or has lost it to another machine."""
    is_ours = threading.Event()
    results: list[SendResult] = []
    with agent(client, tree, {"restart": "true"}, is_ours=is_ours.is_set):
        asking = threading.Thread(target=lambda: results.append(send(asks)))
        asking.start()
        asking.join(0.7)
        assert wait_requests(client, tree, lambda _: True).claim is None
        is_ours.set()
        asking.join(20)
    assert [result.state for result in results] == [SendState.DELIVERED]


def test_a_brake_holds_on_every_host(
    client: Client, tree: Tree, asks: Requests, ensemble: clock.EnsembleClock, tmp_path: Path
) -> None:
    """Two engines, one place: one restart at a time, three in the hour, and then it is told why not."""
    run = replace(RESTART, brake=Brake(at_once=1, per=3600.0, most=2, group="kafka", then="ops"))
    helpers = [Helpers(lambda: True, asks, Brakes(client, tree, ensemble.now)) for _ in range(2)]
    senders = [command_sender(run, one) for one in helpers]
    told: list[str] = []

    def fire(number: int) -> None:
        effect = replace(EFFECT, alert=replace(ALERT, episode=f"e{number}"))
        told.append(senders[number % 2].send((effect,), render(effect)).detail)

    line = f"echo ran >>{tmp_path}/ran; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done"
    with agent(client, tree, {"restart": line}):
        first = threading.Thread(target=fire, args=(0,))
        first.start()
        wait_for((tmp_path / "ran").exists, "the first to run")
        fire(1)
        assert told == ["held by the brake: 1 run is under way (group kafka)"]
        (tmp_path / "go").touch()
        first.join(20)
        fire(2)
        fire(3)
    assert told[1:] == ["on web1: exit code 0"] * 2 + ["held by the brake: 2 runs in the last 1h (group kafka)"]
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


# The sampler's own process --------------------------------------------------------------------------------------------


@contextmanager
def sampler(settings: ZookeeperSettings, folder: Path, config: str) -> Iterator[subprocess.Popen[bytes]]:
    """`zkalert sampler` as users run it, on web1; killed at the end of the block."""
    (folder / "zkalert.yaml").write_text(f"host: web1\n{config}", encoding="utf-8")
    command = [sys.executable, "-m", "zkalert", "sampler", "--zookeeper", settings.hosts, "--root", settings.root]
    command += ["--state-dir", str(folder / "state")]
    with (folder / "log").open("ab") as log, subprocess.Popen(command, cwd=folder, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_sampler_that_is_killed_while_it_runs_leaves_an_unknown_and_no_second_run(
    settings: ZookeeperSettings,
    client: Client,
    tree: Tree,
    asks: Requests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "GRACE", 0.5)
    config = f"actions: {{restart: 'echo $$ >>{tmp_path}/ran; exec sleep 60'}}\n"
    results: list[SendResult] = []
    asking = threading.Thread(target=lambda: results.append(send(asks, replace(RESTART, timeout=4.0))))
    with sampler(settings, tmp_path, config) as process:
        wait_for(lambda: client.exists(tree.alive("web1")), "the sampler")
        asking.start()
        wait_for((tmp_path / "ran").exists, "the command to run")
        process.kill()
        process.wait(10)
    with sampler(settings, tmp_path, config):
        wait_for(lambda: client.exists(tree.family("web1", "uptime")), "the next sampler")
        asking.join(30)
        assert [result.state for result in results] == [SendState.UNKNOWN]
        assert results[0].detail == "on web1: it was begun, and nobody knows what came of it"
        assert names(client, tree) == []
    (pid,) = (tmp_path / "ran").read_text().split()
    os.kill(int(pid), 9)


def test_a_sampler_that_is_stopped_lets_its_command_finish(
    settings: ZookeeperSettings,
    client: Client,
    tree: Tree,
    asks: Requests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends at once itself; half a restart would be worse than one that nobody reports."""
    monkeypatch.setattr(requests, "GRACE", 0.5)
    line = "touch begun; while ! [ -e go ]; do sleep 0.05; done; touch finished"
    asking = threading.Thread(target=lambda: send(asks, replace(RESTART, timeout=1.0)), daemon=True)
    with sampler(settings, tmp_path, f"actions: {{restart: {{run: '{line}', timeout: 1m}}}}\n") as process:
        wait_for(lambda: client.exists(tree.alive("web1")), "the sampler")
        asking.start()
        wait_for((tmp_path / "begun").exists, "the command to run")
        process.terminate()
        assert process.wait(5) == 0
    (tmp_path / "go").touch()
    wait_for((tmp_path / "finished").exists, "the command to finish")
    asking.join(20)


def test_commands_delay_no_samples_and_stay_within_their_number(
    settings: ZookeeperSettings, client: Client, tree: Tree, asks: Requests, tmp_path: Path
) -> None:
    """Six are asked for, four run, and the host goes on publishing; it stays small all the same."""
    config = (
        "sampler: {intervals: {uptime: 1s}}\n"
        f"actions: {{restart: 'touch {tmp_path}/ran-$ZKALERT_ID; while ! [ -e go ]; do sleep 0.05; done'}}\n"
    )
    effects = [replace(EFFECT, alert=replace(ALERT, episode=f"e{number}")) for number in range(AT_ONCE + 2)]
    results: list[SendResult] = []
    threads = [threading.Thread(target=lambda one=one: results.append(send(asks, effect=one))) for one in effects]
    path = tree.family("web1", "uptime")
    with sampler(settings, tmp_path, config) as process:
        wait_for(lambda: client.exists(path), "samples")
        for thread in threads:
            thread.start()
        wait_for(lambda: len(list(tmp_path.glob("ran-*"))) == AT_ONCE, "four to run")
        version = client.exists(path).version
        wait_for(lambda: client.exists(path).version >= version + 3, "three more samples", 5)
        assert len(list(tmp_path.glob("ran-*"))) == AT_ONCE
        found = psutil.Process(process.pid)
        size = found.memory_info().rss
        libraries = " ".join(mapping.path for mapping in found.memory_maps()) if psutil.LINUX else ""
        (tmp_path / "go").touch()
        for thread in threads:
            thread.join(20)
    assert [result.state for result in results] == [SendState.DELIVERED] * len(effects)
    assert size <= 34 * 2**20
    assert "rpds" not in libraries, "the part of jsonschema that is a shared library"


def test_running_a_command_loads_nothing_that_only_messages_need() -> None:
    code = (
        "import sys, zkalert.agent; from zkalert.model import Run\n"
        "from zkalert.process import Handout, execute\n"
        "assert execute(Run(command='true'), Handout({}, {})).exit_code == 0; print(' '.join(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"apprise", "jinja2", "jsonschema", "markdown", "requests", "rich", "asyncio"}
