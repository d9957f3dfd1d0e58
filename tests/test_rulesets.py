"""Rule sets in a real ZooKeeper: round trips, races, what is spoilt or hostile, and the engine's follower."""

from __future__ import annotations

import functools
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import expire_session, lose_connection, wait_for
from zkalert import documents, rulefile
from zkalert.engine.following import Follower
from zkalert.model import (
    EngineInfo,
    LayoutTooNew,
    Problem,
    Publication,
    Publications,
    PublishedSet,
    ZkalertError,
    ZookeeperSettings,
)
from zkalert.store import rulesets
from zkalert.store.rulesets import BadRuleSet, Overtaken, Pointer
from zkalert.tree import (
    MAX_BLOB,
    MAX_FILES,
    MAX_PREVIOUS,
    Tree,
    content_digest,
    decode_blob,
    decode_manifest,
    decode_publications,
    encode_blob,
    encode_manifest,
    encode_publications,
    names_problem,
)
from zkalert.zk import Client

A = b"rules:\n  - {name: a, metric: memory_usage, comparator: '>', threshold: 90}\n"
B = A.replace(b"name: a", b"name: b")
FILES = {"a.yaml": A, "more/b.yml": B}


def publish(client: Client, tree: Tree, files: Mapping[str, bytes], over: Pointer | None = None) -> Pointer:
    publication = rulesets.publication_of(files, at=1.0, by="alice", comment="why")
    return rulesets.publish(client, tree, files, publication, over)


def spoil(client: Client, path: str, data: bytes) -> None:
    """Anybody's write."""
    if client.exists(path):
        client.set(path, data)
    else:
        client.create(path, data, makepath=True)


# Payloads -------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=2000))
def test_a_blob_holds_its_content(content: bytes) -> None:
    assert decode_blob(content_digest(content), encode_blob(content), 2000) == content


@given(st.binary(max_size=200))
def test_no_bytes_make_a_decoder_raise(data: bytes) -> None:
    assert isinstance(decode_blob("0" * 64, data, 100), Problem)
    assert isinstance(decode_manifest(data), Problem)
    assert isinstance(decode_publications(data), Problem)


def test_a_blob_that_unpacks_to_more_than_it_may_is_not_unpacked() -> None:
    bomb = encode_blob(bytes(400 * 2**20))
    assert len(bomb) < MAX_BLOB
    found = decode_blob("0" * 64, bomb, documents.MAX_BYTES)
    assert isinstance(found, Problem)
    assert found.code == "too-large"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"x" * (MAX_BLOB + 1), "too-large"),
        (b"rules: []", "not-gzip"),
        (encode_blob(A)[:-4], "not-gzip"),
        (encode_blob(A) + b"more", "not-gzip"),
        (zlib.compress(A), "not-gzip"),
        (encode_blob(B), "wrong-digest"),
    ],
)
def test_a_spoilt_blob_is_a_problem(data: bytes, code: str) -> None:
    found = decode_blob(content_digest(A), data, 1000)
    assert isinstance(found, Problem)
    assert found.code == code


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd.yaml",
        "../up.yaml",
        "a/../../up.yaml",
        "a//b.yaml",
        "a\\b.yaml",
        ".hidden.yaml",
        ".git/hook.yaml",
        "a\nb.yaml",
        "\x1b[2J.yaml",
        "a.sh",
        "",
        "a" * 260 + ".yaml",
        "\ud800.yaml",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    assert names_problem([name])
    assert isinstance(decode_manifest(encode_manifest({name: "0" * 64})), Problem)


def test_a_manifest_names_files_of_which_none_is_another_ones_folder() -> None:
    assert not names_problem(["a.yaml", "a/b.yaml", "ä ö.yml"])
    assert names_problem(["a.yaml", "a.yaml/b.yaml"])
    assert isinstance(decode_manifest(encode_manifest({})), Problem)
    many = {f"{number}.yaml": "0" * 64 for number in range(MAX_FILES)}
    assert decode_manifest(encode_manifest(many)) == many
    assert isinstance(decode_manifest(encode_manifest(many | {"more.yaml": "0" * 64})), Problem)


def test_the_longest_history_is_read_back() -> None:
    one = Publication(set_id="f" * 64, at=1e9, by="ü" * 256, comment="\n" * 256)
    whole = Publications(current=one, previous=(one,) * MAX_PREVIOUS)
    assert decode_publications(encode_publications(whole)) == whole
    assert decode_publications(encode_publications(replace(whole, previous=(one,) * 99))) == whole


@pytest.mark.parametrize("at", [b"-1", b"1e300", b'"1"', b"null", b"true"])
def test_a_publication_is_at_a_time_that_calendars_know(at: bytes) -> None:
    good = b'{"v":1,"set":"' + b"0" * 64 + b'","at":1.0}'
    assert isinstance(decode_publications(good), Publications)
    assert isinstance(decode_publications(good.replace(b"1.0", at)), Problem)


# Publishing -----------------------------------------------------------------------------------------------------------


def test_nothing_is_published_in_a_tree_without_a_set(client: Client, tree: Tree) -> None:
    assert rulesets.published(client, tree) is None


def test_a_set_comes_back_byte_for_byte(client: Client, tree: Tree) -> None:
    files = {**FILES, "crlf.yaml": b"\xef\xbb\xbfrules: []\r\n", "empty.yaml": b"", "same.yaml": A}
    publish(client, tree, files)
    found = rulesets.published(client, tree)
    assert found is not None
    assert dict(found.files) == files
    assert (found.publication.by, found.publication.comment) == ("alice", "why")
    assert found.publication.at > 1e9, "the ensemble's time, not the writer's"


def test_the_id_and_the_digest_of_a_set_do_not_depend_on_the_order_or_the_folder(tmp_path: Path) -> None:
    backwards = dict(reversed(FILES.items()))
    assert rulesets.publication_of(FILES, at=1.0).set_id == rulesets.publication_of(backwards, at=2.0).set_id
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    from_files, from_texts = rulefile.load([tmp_path]), rulefile.load_texts(FILES)
    assert len(from_texts.rules) == 2
    assert rulefile.digest(from_files.rules) == rulefile.digest(from_texts.rules)


def test_the_history_goes_back_fifty_sets_and_no_further(client: Client, tree: Tree) -> None:
    pointer = None
    for number in range(MAX_PREVIOUS + 3):
        pointer = publish(client, tree, {"a.yaml": b"# %d" % number}, pointer)
    found = rulesets.read_pointer(client, tree)
    assert found is not None
    assert found == pointer
    assert len(found.all) == MAX_PREVIOUS + 1
    oldest = rulesets.read_files(client, tree, found.all[-1].set_id)
    assert oldest == {"a.yaml": b"# 2"}


def test_of_two_pushes_over_one_set_the_later_is_refused_and_changes_nothing(client: Client, tree: Tree) -> None:
    first = publish(client, tree, {"a.yaml": A})
    second = publish(client, tree, {"a.yaml": B}, first)
    for stale in (None, first):
        with pytest.raises(Overtaken, match="nothing was changed"):
            publish(client, tree, FILES, stale)
    assert rulesets.read_pointer(client, tree) == second


def test_of_many_pushes_at_once_exactly_one_goes_through(client: Client, tree: Tree) -> None:
    before = publish(client, tree, {"a.yaml": A})
    outcomes: list[str] = []

    def push(number: int) -> None:
        try:
            outcomes.append(publish(client, tree, {"a.yaml": b"# %d" % number, "b.yaml": B}, before).set_id)
        except Overtaken:
            outcomes.append("overtaken")

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("overtaken") == 7
    found = rulesets.published(client, tree)
    assert found is not None
    assert found.publication.set_id in outcomes


def test_a_file_too_large_to_be_stored_is_refused_before_anything_is_written(client: Client, tree: Tree) -> None:
    noise = b"".join(content_digest(b"%d" % number).encode() for number in range(20_000))
    with pytest.raises(BadRuleSet, match=r"big\.yaml is too large"):
        publish(client, tree, {"a.yaml": A, "big.yaml": noise})
    with pytest.raises(BadRuleSet, match="0 files"):
        publish(client, tree, {})
    assert client.exists(tree.blobs) is None


# What is spoilt or hostile --------------------------------------------------------------------------------------------


def test_a_set_with_a_missing_or_spoilt_blob_cannot_be_used_and_a_push_mends_it(client: Client, tree: Tree) -> None:
    pointer = publish(client, tree, FILES)
    path = tree.blob(content_digest(A))
    client.set(path, encode_blob(B))
    with pytest.raises(BadRuleSet, match=r"file a\.yaml cannot be used.*another SHA-256"):
        rulesets.published(client, tree)
    client.delete(path)
    with pytest.raises(BadRuleSet, match=r"file a\.yaml is missing"):
        rulesets.published(client, tree)
    client.create(path, b"spoilt")
    publish(client, tree, FILES, pointer)
    found = rulesets.published(client, tree)
    assert found is not None
    assert dict(found.files) == FILES


def test_a_bomb_is_refused_and_so_are_many_files_that_are_one(client: Client, tree: Tree) -> None:
    def point_to(manifest: Mapping[str, str]) -> None:
        encoded = encode_manifest(manifest)
        spoil(client, tree.blob(content_digest(encoded)), encode_blob(encoded))
        publications = Publications(current=Publication(set_id=content_digest(encoded), at=1.0))
        spoil(client, tree.current_rules, encode_publications(publications))

    bomb = bytes(100 * 2**20)
    spoil(client, tree.blob(content_digest(bomb)), encode_blob(bomb))
    point_to({"a.yaml": content_digest(bomb)})
    with pytest.raises(BadRuleSet, match="unpacks to more than"):
        rulesets.published(client, tree)
    large = bytes(documents.MAX_BYTES)
    digest = content_digest(large)
    spoil(client, tree.blob(digest), encode_blob(large))
    point_to({f"{number}.yaml": digest for number in range(MAX_FILES)})
    with pytest.raises(BadRuleSet, match="unpacks to more than 64 MiB"):
        rulesets.published(client, tree)


@pytest.mark.parametrize("data", [b"", b"x", b"{}", b'{"v":2}', b'{"v":1,"set":"../../hosts","at":1}'])
def test_a_pointer_that_cannot_be_used_is_told_with_its_path(client: Client, tree: Tree, data: bytes) -> None:
    spoil(client, tree.current_rules, data)
    with pytest.raises(BadRuleSet, match=f"{tree.current_rules} cannot be used"):
        rulesets.published(client, tree)


# Pruning --------------------------------------------------------------------------------------------------------------


def blobs(client: Client, tree: Tree) -> set[str]:
    return set(client.get_children(tree.blobs))


def test_what_no_set_needs_is_pruned_once_it_is_old(
    client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = publish(client, tree, FILES)
    spoil(client, tree.blob("0" * 64), b"left over")
    pointer = publish(client, tree, {"a.yaml": A}, pointer)
    needed = blobs(client, tree) - {"0" * 64}
    assert rulesets.prune(client, tree, pointer) == 0, "it is young: its set may be about to be published"
    monkeypatch.setattr(rulesets, "UNUSED_FOR", -60.0)
    assert rulesets.prune(client, tree, pointer) == 1
    assert blobs(client, tree) == needed, "sets of the history keep theirs"
    alone = Pointer(replace(pointer.publications, previous=()), pointer.version)
    assert rulesets.prune(client, tree, alone) == 2
    assert rulesets.read_files(client, tree, pointer.set_id) == {"a.yaml": A}


def test_a_push_makes_the_blobs_young_that_it_needs(client: Client, tree: Tree) -> None:
    path = tree.blob(content_digest(A))
    spoil(client, path, encode_blob(A))
    old = client.exists(path)
    publish(client, tree, {"a.yaml": A})
    assert client.exists(path).version > old.version, "whoever looked before cannot delete it any more"


# Names of sets --------------------------------------------------------------------------------------------------------


def test_a_set_is_found_by_the_beginning_of_its_id() -> None:
    history = [Publication(set_id=digit * 63 + last, at=1.0) for digit, last in ("a1", "b1", "b2", "a1")]
    assert rulesets.find(history, "A") is history[0]
    assert rulesets.find(history, "b" * 63 + "2") is history[2]
    with pytest.raises(BadRuleSet, match="may be one of several"):
        rulesets.find(history, "bb")
    with pytest.raises(BadRuleSet, match='no set "c" in the history; it has aaaaaaaaaaaa, bbbbbbbbbbbb'):
        rulesets.find(history, "c")
    with pytest.raises(BadRuleSet, match="it is empty"):
        rulesets.find([], "c")


# Skew -----------------------------------------------------------------------------------------------------------------


def engine(host: str, rules: str) -> EngineInfo:
    return EngineInfo(host=host, pid=1, rules=rules)


def test_engines_that_run_other_rules_than_the_published_ones_are_named() -> None:
    old, new = engine("a", "old"), engine("b", "new")
    assert rulesets.skew([old, new], "new") == rulesets.Skew("new", (old,))
    assert rulesets.skew([old, new], "newer") == rulesets.Skew("newer", (old, new))
    assert rulesets.skew([new], "new") is None


def test_without_a_published_set_engines_are_held_against_each_other() -> None:
    engines = [engine("a", "x"), engine("b", "y"), engine("c", "x")]
    assert rulesets.skew(engines, None) == rulesets.Skew("x", (engines[1],))
    assert rulesets.skew(engines[:1], None) is None
    assert rulesets.skew([], "x") is None


# Following ------------------------------------------------------------------------------------------------------------


class Taken:
    """A judge that refuses what contains `bad`, and keeps the rest."""

    def __init__(self) -> None:
        self.sets: list[PublishedSet] = []
        self.failures: list[ZkalertError] = []
        self.judged = 0

    def take(self, published: PublishedSet) -> None:
        self.judged += 1
        if any(b"bad" in content for content in published.files.values()):
            raise ZkalertError("it is bad")
        self.sets.append(published)

    @property
    def last(self) -> dict[str, bytes]:
        return dict(self.sets[-1].files) if self.sets else {}


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def follower(settings: ZookeeperSettings, taken: Taken) -> Iterator[Follower]:
    made = Follower(settings, taken.take, taken.failures.append)
    made.start()
    yield made
    made.stop()
    assert not made._thread.is_alive()


def test_a_follower_waits_for_the_first_set_and_says_so_once(
    client: Client, tree: Tree, follower: Follower, taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for(lambda: follower.problem == "no rules are published", "the follower to find nothing")
    lose_connection(follower._client)
    spoil(client, f"{tree.root}/rules", b"")
    publish(client, tree, FILES)
    wait_for(lambda: taken.last == FILES, "the first set", 1.0)
    wait_for(lambda: follower.problem == "", "no problem")
    assert caplog.text.count("waiting for") == 1


def test_a_follower_takes_each_set_within_a_second_and_each_once(
    client: Client, tree: Tree, follower: Follower, taken: Taken
) -> None:
    pointer = publish(client, tree, {"a.yaml": A})
    wait_for(lambda: taken.last == {"a.yaml": A}, "the first set")
    pointer = publish(client, tree, {"a.yaml": B}, pointer)
    wait_for(lambda: taken.last == {"a.yaml": B}, "the second set", 1.0)
    lose_connection(follower._client)
    expire_session(follower._client)
    publish(client, tree, FILES, pointer)
    wait_for(lambda: taken.last == FILES, "the third set", 1.0)
    assert taken.judged == 3
    follower.again()
    wait_for(lambda: taken.judged == 4, "another judgement")


def test_a_bad_set_changes_nothing_and_is_counted_and_the_next_good_one_is_taken(
    client: Client, tree: Tree, follower: Follower, taken: Taken
) -> None:
    pointer = publish(client, tree, {"a.yaml": A})
    wait_for(lambda: taken.last, "the first set")
    pointer = publish(client, tree, {"a.yaml": b"bad"}, pointer)
    wait_for(lambda: follower.problem == "it is bad", "the refusal")
    for data, why in {b"": "no data", b"{}": "version", b'{"v":1,"set":"%064d","at":1}' % 0: "is missing"}.items():
        client.set(tree.current_rules, data)
        wait_for(functools.partial(lambda why: why in follower.problem, why), f"a refusal of {data!r}")
    assert follower.refused == 4
    assert taken.last == {"a.yaml": A}
    found = client.exists(tree.current_rules)
    publish(client, tree, FILES, replace_version(pointer, found.version))
    wait_for(lambda: taken.last == FILES, "the good set")
    wait_for(lambda: follower.problem == "", "no problem")


def replace_version(pointer: Pointer, version: int) -> Pointer:
    return Pointer(pointer.publications, version)


def test_a_set_that_was_mended_is_taken_without_another_push(
    client: Client, tree: Tree, settings: ZookeeperSettings, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkalert.engine.following.LOOK_AGAIN", 0.05)
    publish(client, tree, FILES)
    client.set(tree.blob(content_digest(A)), b"spoilt")
    made = Follower(settings, taken.take, taken.failures.append)
    made.start()
    wait_for(lambda: made.refused, "the refusal")
    client.set(tree.blob(content_digest(A)), encode_blob(A))
    wait_for(lambda: taken.last == FILES, "the mended set")
    assert made.refused == 1, "the same reason is told and counted once"
    made.stop()


def test_a_pointer_that_goes_leaves_the_set_in_use(
    client: Client, tree: Tree, follower: Follower, taken: Taken
) -> None:
    publish(client, tree, FILES)
    wait_for(lambda: taken.last == FILES, "the set")
    client.delete(tree.current_rules)
    wait_for(lambda: "any more" in follower.problem, "the follower to notice")
    publish(client, tree, FILES)
    wait_for(lambda: follower.problem == "", "the set to be there again")


def test_a_tree_of_a_newer_layout_ends_the_following(client: Client, settings: ZookeeperSettings, taken: Taken) -> None:
    spoil(client, Tree(settings.root).layout, b'{"version": 99}')
    made = Follower(settings, taken.take, taken.failures.append)
    made.start()
    wait_for(lambda: taken.failures, "the failure")
    assert isinstance(taken.failures[0], LayoutTooNew)
    made.stop()


def test_a_follower_without_zookeeper_can_be_stopped(taken: Taken) -> None:
    made = Follower(ZookeeperSettings(hosts="127.0.0.1:1"), taken.take, taken.failures.append)
    made.start()
    made.stop()
    assert not made._thread.is_alive()


# What published rules may bring ---------------------------------------------------------------------------------------

NONE = rulefile.Allowed(commands=False, urls=False)
PLACES = {
    "action": "action: {action}",
    "list": "action: [ops, {action}]",
    "levels": "levels: [{{severity: warning, threshold: 90, action: {action}}}]",
    "overrides": "overrides: [{{hosts: 'db*', action: {action}}}]",
    "escalate": "escalate: {{after: 5m, action: {action}}}",
    "off": "action: {action}\n    enabled: false",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("{run: 'rm -rf /'}", "a command"),
        ("{run: [sh, -c, 'rm -rf /']}", "a command"),
        ("json://evil.example.org/hunter2", "a URL"),
        ("{notify: 'json://evil.example.org/hunter2', at: resolved}", "a URL"),
    ],
)
def test_commands_and_urls_of_published_rules_are_refused_wherever_they_stand(
    place: str, action: str, what: str
) -> None:
    threshold = "" if place == "levels" else "    threshold: 90\n"
    text = (
        "rules:\n  - name: a\n    metric: memory_usage\n    comparator: '>'\n"
        f"{threshold}    {PLACES[place].format(action=action)}\n"
    ).encode()
    assert rulefile.load_texts({"a.yaml": text}).is_usable
    refused = rulefile.load_texts({"a.yaml": text}, allowed=NONE)
    assert refused.rules == ()
    [finding] = refused.findings
    assert (finding.code, finding.message) == (
        "not-allowed",
        f"a rule that comes through ZooKeeper may not bring {what}",
    )
    assert "hunter2" not in str(finding)
    assert finding.line == (5 if place == "levels" else 6)


def test_defaults_bring_no_command_past_the_check() -> None:
    text = b"defaults: {action: {run: 'rm -rf /'}}\n" + A
    refused = rulefile.load_texts({"a.yaml": text}, allowed=NONE)
    assert [finding.code for finding in refused.findings] == ["not-allowed"]
