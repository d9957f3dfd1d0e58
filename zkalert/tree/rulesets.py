"""Payloads of published rule sets: files and manifests as blobs, and the pointer to the set that is current.

A blob is named by the SHA-256 of what is in it, and holds it as gzip. A manifest is a blob too: it names the blob of
each file, and its own SHA-256 is the id of the set. Whatever is read is bounded before it is unpacked.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from zkalert.model import Problem, Publication, Publications
from zkalert.tree.codec import MAX_RECORD, MAX_TEXT, BadPayload, dump, guarded, number, text_of

MAX_BLOB = 512 * 1024
"""Bytes of a blob as it is stored."""
MAX_MANIFEST = 2**20
MAX_FILES = 1000
MAX_FILE_NAME = 255
MAX_PREVIOUS = 50
"""How many sets before the current one are kept, to go back to."""

_GZIP = 31  # zlib's word for a gzip header and trailer around 32 KiB windows
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAMES = (".yaml", ".yml")
_END_OF_TIME = 2.0**37  # epoch seconds; calendars end a little later


def content_digest(content: bytes) -> str:
    """What a blob with this content is called: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def encode_blob(content: bytes) -> bytes:
    """The same bytes for the same content, though another zlib may make others."""
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()


def decode_blob(digest: str, data: bytes | None, most: int) -> bytes | Problem:
    """What is in the blob of this name, if that is at most `most` bytes and its digest is right."""
    if not data:
        return Problem(code="empty", message="no data")
    if len(data) > MAX_BLOB:
        return Problem(code="too-large", message=f"{len(data)} bytes, at most {MAX_BLOB} are read")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(data, most + 1)
    except zlib.error:
        return Problem(code="not-gzip", message="not gzip")
    if len(content) > most:
        return Problem(code="too-large", message=f"unpacks to more than {most} bytes")
    if not unpacker.eof or unpacker.unused_data:
        return Problem(code="not-gzip", message="not one whole gzip stream")
    if content_digest(content) != digest:
        return Problem(code="wrong-digest", message="its content has another SHA-256 than its name says")
    return content


def encode_manifest(files: Mapping[str, str]) -> bytes:
    """The digest of each file by its name; the same bytes whatever the order."""
    return dump({"files": dict(sorted(files.items()))})


def decode_manifest(content: bytes) -> dict[str, str] | Problem:
    """The digest of each file by its name, if all of the names may become files somewhere."""

    def parse(document: dict[str, Any]) -> dict[str, str]:
        files = document["files"]
        if type(files) is not dict or not 1 <= len(files) <= MAX_FILES:
            raise BadPayload("wrong-shape", f"files is no object of 1 to {MAX_FILES}")
        problem = names_problem(files)
        if problem:
            raise BadPayload("wrong-name", problem)
        return {name: _digest_of(digest) for name, digest in files.items()}

    return guarded(parse, content, MAX_MANIFEST)


def names_problem(names: Iterable[str]) -> str:
    """Why these cannot be the names of the files in a set; empty where they can.

    A name is a relative path: it must lead nowhere else on whatever machine it is written to.
    """
    known = set(names)
    for name in known:
        parts = name.split("/")
        if len(name) > MAX_FILE_NAME or not name.isprintable() or "\\" in name:
            return f"{name[:40]!a} is no name of at most {MAX_FILE_NAME} printable characters without a backslash"
        if any(not part or part.startswith(".") for part in parts):
            return f"{name[:40]!a} is no relative path, or a part of it is hidden"
        if not name.endswith(_NAMES):
            return f"{name[:40]!a} does not end in .yaml or .yml"
        if any("/".join(parts[:count]) in known for count in range(1, len(parts))):
            return f"{name[:40]!a} stands below another file"
    return ""


def encode_publications(publications: Publications) -> bytes:
    """The pointer: the current publication, and at most MAX_PREVIOUS before it."""
    previous = [_document(one) for one in publications.previous[:MAX_PREVIOUS]]
    return dump({"v": 1, **_document(publications.current), "previous": previous})


def decode_publications(data: bytes | None) -> Publications | Problem:
    def parse(document: dict[str, Any]) -> Publications:
        if document.get("v") != 1:
            raise BadPayload("version", f"version {str(document.get('v'))[:20]} is not known here")
        previous = document.get("previous", [])
        if type(previous) is not list or len(previous) > MAX_PREVIOUS:
            raise BadPayload("wrong-shape", f"previous is no list of at most {MAX_PREVIOUS}")
        return Publications(current=_publication(document), previous=tuple(map(_publication, previous)))

    return guarded(parse, data, MAX_RECORD)


def _document(publication: Publication) -> dict[str, Any]:
    return {
        "set": publication.set_id,
        "at": round(publication.at, 3),
        "by": publication.by[:MAX_TEXT],
        "comment": publication.comment[:MAX_TEXT],
    }


def _publication(document: dict[str, Any]) -> Publication:
    at = number(document["at"], "at")
    if not 0 <= at < _END_OF_TIME:
        raise BadPayload("wrong-shape", "at is no time")
    return Publication(
        set_id=_digest_of(document["set"]),
        at=at,
        by=text_of(document.get("by", ""), "by"),
        comment=text_of(document.get("comment", ""), "comment"),
    )


def _digest_of(value: object) -> str:
    if type(value) is not str or not _DIGEST.fullmatch(value):
        raise BadPayload("wrong-shape", "not a SHA-256 in hexadecimal")
    return value
