"""Rule sets in ZooKeeper: blobs that never change, and one pointer to the set that is current.

A set is published by creating the blobs that are missing and then setting the pointer, in one write that is refused
where somebody else has set it meanwhile. Readers see the old set or the new one, never a mixture. Whatever is read
was perhaps written by somebody else: digests are verified, and sizes are bounded before anything is unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zkalert.documents import MAX_BYTES
from zkalert.model import EngineInfo, Problem, Publication, Publications, PublishedSet, ZkalertError
from zkalert.tree import (
    MAX_BLOB,
    MAX_FILES,
    MAX_MANIFEST,
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
from zkalert.zk import (
    BadVersionError,
    Client,
    Create,
    Delete,
    NodeExistsError,
    NoNodeError,
    Set,
    TransactionFailed,
    commit,
)

MAX_SET = 64 * 2**20
"""Bytes of all files of a set together, as they are after unpacking."""

UNUSED_FOR = 3600.0
"""Seconds that a blob without a set is left alone: whoever wrote it may be about to publish it."""


class BadRuleSet(ZkalertError):  # noqa: N818 - says what it is, as the others do
    """What is published cannot be used as it stands, or what should be cannot be published."""


class Overtaken(ZkalertError):  # noqa: N818
    """Somebody else has published a set meanwhile, so that nothing was changed."""


class Pointer(NamedTuple):
    """What stands in the pointer, and its version; the time of the current publication is the ensemble's."""

    publications: Publications
    version: int

    @property
    def set_id(self) -> str:
        return self.publications.current.set_id

    @property
    def all(self) -> tuple[Publication, ...]:
        """The current publication and those before it, newest first."""
        return (self.publications.current, *self.publications.previous)


class Skew(NamedTuple):
    """Engines that run other rules than they should; `expected` is the digest of those."""

    expected: str
    engines: tuple[EngineInfo, ...]


def published(client: Client, tree: Tree) -> PublishedSet | None:
    """The set that is current; None where none was published.

    Raises BadRuleSet where it cannot be used, and what the client raises.
    """
    found = read_pointer(client, tree)
    if found is None:
        return None
    return PublishedSet(publication=found.publications.current, files=read_files(client, tree, found.set_id))


def read_pointer(client: Client, tree: Tree, watch: Callable[[Any], None] | None = None) -> Pointer | None:
    """Which set is current, None where none is; `watch` is called, once, after that has changed.

    Raises BadRuleSet where the pointer cannot be used.
    """
    while True:
        try:
            data, stat = client.get(tree.current_rules, watch=watch)
            break
        except NoNodeError:
            if watch is None or client.exists(tree.current_rules, watch=watch) is None:
                return None
    found = decode_publications(data)
    if isinstance(found, Problem):
        raise BadRuleSet(f"{tree.current_rules} cannot be used: {found.message}; delete it and push again")
    return Pointer(replace(found, current=replace(found.current, at=stat.mtime / 1000)), stat.version)


def read_files(client: Client, tree: Tree, set_id: str) -> dict[str, bytes]:
    """What stands in each file of a set, by name, every digest verified. Raises BadRuleSet where that fails."""
    contents: dict[str, bytes] = {}
    files: dict[str, bytes] = {}
    size = 0
    for name, digest in _manifest(client, tree, set_id).items():
        if digest not in contents:
            contents[digest] = _content(client, tree, digest, MAX_BYTES, f"file {name}")
        files[name] = contents[digest]
        size += len(files[name])
        if size > MAX_SET:
            raise BadRuleSet(f"rule set {short(set_id)} unpacks to more than {MAX_SET // 2**20} MiB")
    return files


def publish(
    client: Client,
    tree: Tree,
    files: Mapping[str, bytes],
    publication: Publication,
    over: Pointer | None,
) -> Pointer:
    """Make these files the current set in place of `over`, what was read before (None: no set at all).

    The publication comes from `publication_of`. Raises Overtaken where the pointer was changed since, BadRuleSet
    where the set is beyond what may be published, and what the client raises: then nobody knows.
    """
    blobs = _blobs(files)
    client.ensure_path(tree.blobs)
    for digest, data in blobs.items():
        _write_blob(client, tree, digest, data)
    publications = Publications(current=publication, previous=(() if over is None else over.all)[:MAX_PREVIOUS])
    data = encode_publications(publications)
    try:
        if over is None:
            commit(client, [Create(tree.current_rules, data)])
            return Pointer(publications, 0)
        [stat] = commit(client, [Set(tree.current_rules, data, over.version)])
    except TransactionFailed as failed:
        if isinstance(failed.error, (NodeExistsError, BadVersionError, NoNodeError)):
            raise Overtaken("somebody else has published a rule set meanwhile; nothing was changed") from failed
        raise failed.error from failed
    current = replace(publication, at=stat.mtime / 1000)
    return Pointer(replace(publications, current=current), stat.version)


def publication_of(files: Mapping[str, bytes], *, at: float, by: str = "", comment: str = "") -> Publication:
    """The publication of a set: the same files have the same id, whatever folder they came from."""
    manifest = encode_manifest({name: content_digest(content) for name, content in files.items()})
    return Publication(set_id=content_digest(manifest), at=at, by=by, comment=comment)


def prune(client: Client, tree: Tree, pointer: Pointer) -> int:
    """Delete the blobs that no set of the history needs any more; how many there were.

    One that was written within the last hour stays: a set that it belongs to may be about to be published. Each
    deletion names the version that was looked at, so that a blob which is written anew meanwhile stays too.
    """
    needed = set()
    for publication in pointer.all:
        needed.add(publication.set_id)
        try:
            needed.update(_manifest(client, tree, publication.set_id).values())
        except BadRuleSet:
            continue  # nobody can go back to it
    deleted = 0
    for name in client.get_children(tree.blobs):
        path = tree.blob(name)
        if name in needed or (stat := client.exists(path)) is None:
            continue
        if pointer.publications.current.at - stat.mtime / 1000 < UNUSED_FOR:
            continue
        try:
            commit(client, [Delete(path, stat.version)])
            deleted += 1
        except TransactionFailed:
            continue
    return deleted


def skew(engines: Collection[EngineInfo], published_digest: str | None) -> Skew | None:
    """Which engines run other rules than the published set; without one, than most engines do. None: all agree.

    `published_digest` is that of the rules of the published set (`rulefile.digest`).
    """
    if not engines:
        return None
    digests = sorted(engine.rules for engine in engines)
    expected = max(digests, key=digests.count) if published_digest is None else published_digest
    others = tuple(engine for engine in engines if engine.rules != expected)
    return Skew(expected, others) if others else None


def short(set_id: str) -> str:
    """The id of a set as people see and type it."""
    return set_id[:12]


def find(publications: Collection[Publication], text: str) -> Publication:
    """The newest publication whose set's id begins with `text`. Raises BadRuleSet for none, and for several sets."""
    wanted = text.lower()
    found = [one for one in publications if wanted and one.set_id.startswith(wanted)]
    ids = list(dict.fromkeys(short(one.set_id) for one in found or publications))
    if len({one.set_id for one in found}) == 1:
        return found[0]
    shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    if found:
        raise BadRuleSet(f'"{text}" may be one of several sets: {shown}')
    raise BadRuleSet(f'no set "{text[:64]}" in the history' + (f"; it has {shown}" if ids else "; it is empty"))


def _blobs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The blobs of a set by their names, packed, the manifest last. Raises BadRuleSet where it is beyond bounds."""
    problem = names_problem(files)
    if problem:
        raise BadRuleSet(f"this set cannot be published: {problem}")
    if not 1 <= len(files) <= MAX_FILES:
        raise BadRuleSet(f"this set cannot be published: it has {len(files)} files, expected 1 to {MAX_FILES}")
    whole = sum(map(len, files.values()))
    if whole > MAX_SET:
        raise BadRuleSet(f"this set cannot be published: its files have {whole} bytes, at most {MAX_SET} in all")
    blobs: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    for name, content in files.items():
        digests[name] = content_digest(content)
        blobs[digests[name]] = data = encode_blob(content)
        if len(content) > MAX_BYTES or len(data) > MAX_BLOB:
            raise BadRuleSet(
                f"{name} is too large to be published: {len(content)} bytes, {len(data)} of them after packing; "
                f"at most {MAX_BYTES} and {MAX_BLOB}; make several files of it"
            )
    manifest = encode_manifest(digests)
    blobs[content_digest(manifest)] = encode_blob(manifest)
    return blobs


def _write_blob(client: Client, tree: Tree, digest: str, data: bytes) -> None:
    """Make sure that a blob is there and right.

    One that is there already is written anew: that makes it young, so that nobody prunes it before it is published.
    It also mends one that was spoilt.
    """
    path = tree.blob(digest)
    stat = client.exists(path)
    try:
        commit(client, [Create(path, data) if stat is None else Set(path, data, stat.version)])
    except TransactionFailed as failed:
        if not isinstance(failed.error, (NodeExistsError, NoNodeError, BadVersionError)):
            raise failed.error from failed
        _write_blob(client, tree, digest, data)  # somebody else wrote or pruned it between the two


def _manifest(client: Client, tree: Tree, set_id: str) -> dict[str, str]:
    manifest = decode_manifest(_content(client, tree, set_id, MAX_MANIFEST, f"manifest of rule set {short(set_id)}"))
    if isinstance(manifest, Problem):
        raise BadRuleSet(f"the manifest of rule set {short(set_id)} cannot be used: {manifest.message}")
    return manifest


def _content(client: Client, tree: Tree, digest: str, most: int, what: str) -> bytes:
    """What is in a blob. `what` is how people know it."""
    try:
        data, _ = client.get(tree.blob(digest))
    except NoNodeError:
        raise BadRuleSet(f"the {what} is missing: no blob {short(digest)}") from None
    content = decode_blob(digest, data, most)
    if isinstance(content, Problem):
        raise BadRuleSet(f"the {what} cannot be used (blob {short(digest)}): {content.message}")
    return content
