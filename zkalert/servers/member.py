"""One server of an ensemble, asked in four-letter words or at its AdminServer.

`mntr` and `srvr` are asked of every server, since srvr alone tells the zxid; `isro` and `ruok` of those that give no
answer to them. `mntr` where it is refused, and an AdminServer that is not there, are left alone for a while; what is
asked in every round is at least one thing, for only an answer of now says that a server is there.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple

from zkalert import clock
from zkalert.model import EnsembleSettings, TlsSettings
from zkalert.servers import answers, certificate
from zkalert.servers.answers import Answer, Parsed, Reply
from zkalert.servers.whole import Asked
from zkalert.servers.wire import TIMEOUT, Line, Unreachable, certificate_of, exchange
from zkalert.tls import TlsError, context_of

AGAIN = 60.0
"""Seconds until something is tried again that a server did not have: only its restart can have changed that."""

_MOST_TEXT = 64 * 1024
_MOST_JSON = 256 * 1024  # of the same lines: they are longer there, and JSON that was cut cannot be read
_NO_ZOOKEEPER = "what listens there is no ZooKeeper"
_COMMANDS: tuple[tuple[str, Callable[[bytes], Parsed]], ...] = (
    ("monitor", answers.monitored_by_admin),
    ("server_stats", answers.served_by_admin),
)


class _Said(NamedTuple):
    """What came of all questions of one kind, and why not all of them were answered, or an empty text."""

    replies: tuple[Parsed, ...] = ()
    trouble: str = ""

    @property
    def answers(self) -> list[Answer]:
        return [reply for reply in self.replies if isinstance(reply, Answer)]

    @property
    def is_zookeeper(self) -> bool:
        known = (Reply.REFUSED, Reply.NOT_SERVING)
        return any(isinstance(reply, Answer) or reply in known for reply in self.replies)


class _Talk:
    """The words of one round; `certificate` (DER) is what the server showed meanwhile, accepted or not."""

    def __init__(self, line: Line, tls: TlsSettings | None) -> None:
        self.line = line
        self.certificate: bytes | None = None
        self._tls = tls
        self._context: ssl.SSLContext | None = None

    def hear(self, word: str) -> str:
        """The answer to a word. Raises Unreachable."""
        try:
            if self._tls is not None and self._context is None:
                self._context = context_of(self._tls)  # made anew for each round, since files are renewed
            heard = exchange(self.line, word.encode("ascii"), self._context, _MOST_TEXT)
        except TlsError as error:
            raise Unreachable(str(error)) from None
        except Unreachable as error:
            if error.is_untrusted:
                self.certificate = certificate_of(self.line)
            raise
        self.certificate = heard.certificate
        return heard.data.decode("utf-8", "replace")


class Member:
    """Asks one server, `host:port`; for one thread at a time."""

    def __init__(self, name: str, settings: EnsembleSettings) -> None:
        self.name = name
        host, _, port = name.rpartition(":")
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = int(port)
        self._tls = settings.zookeeper.tls
        self._members = settings.members
        self._refused: set[str] = set()
        self._mntr_rests_until = 0.0  # monotonic, as the next
        self._admin_rests_until = 0.0

    def ask(self) -> Asked:
        """What it says of itself, within about TIMEOUT seconds."""
        began = clock.monotonic()
        talk = _Talk(Line(self._host, self._port, began + TIMEOUT), self._tls)
        found = self._asked(talk)
        if self._tls is not None and talk.certificate is None and found.is_zookeeper:
            talk.certificate = certificate_of(talk.line)  # an AdminServer that says all shows it to nobody
        expires_at = None if talk.certificate is None else certificate.expires_at(talk.certificate)
        answer = answers.merged(found.answers) if found.answers else None
        is_mute = answer is None and Reply.REFUSED in found.replies and Reply.NOT_SERVING not in found.replies
        return Asked(
            name=self.name,
            answer=answer,
            is_there=found.is_zookeeper,
            is_mute=is_mute,
            is_refusing=found.is_zookeeper and bool(self._refused),
            seconds=clock.monotonic() - began,
            expires_in=None if expires_at is None else expires_at - clock.wall(),
            trouble=found.trouble,
        )

    def _asked(self, talk: _Talk) -> _Said:
        admin = self._by_admin(talk.line) if self._members.prefers_admin else _Said()
        if admin.answers:
            return admin
        words = self._by_words(talk)
        is_more_to_know = words.is_zookeeper and Reply.NOT_SERVING not in words.replies
        if self._refused and is_more_to_know and not self._members.prefers_admin:
            admin = self._by_admin_if_there(talk.line)
        trouble = admin.trouble or words.trouble
        # Watches are what srvr does not tell either.
        said = _Said(words.replies + admin.replies)
        if not trouble and self._refused and not any("watches" in one.values for one in said.answers):
            refused = " and ".join(sorted(self._refused))
            trouble = f"refuses {refused}: put {answers.WHITELIST} into its zoo.cfg, or let its AdminServer be asked"
        return _Said(said.replies, trouble)

    def _by_words(self, talk: _Talk) -> _Said:
        replies: list[Parsed] = []
        self._refused &= {"mntr"}  # the others are asked anew where it matters
        try:
            if clock.monotonic() >= self._mntr_rests_until:
                replies.append(self._word(talk, "mntr", answers.monitored))
            replies.append(self._word(talk, "srvr", answers.served))
            if not any(isinstance(reply, Answer) or reply is Reply.NOT_SERVING for reply in replies):
                replies.append(self._word(talk, "isro", answers.read_only))
            if not _Said(tuple(replies)).is_zookeeper:
                replies.append(self._word(talk, "ruok", answers.fine))
        except Unreachable as error:
            return _Said(tuple(replies), error.trouble)
        said = _Said(tuple(replies))
        return said if said.is_zookeeper else _Said(said.replies, _NO_ZOOKEEPER)

    def _word(self, talk: _Talk, word: str, parse: Callable[[str], Parsed]) -> Parsed:
        """Raises Unreachable."""
        reply = parse(talk.hear(word))
        if reply is Reply.REFUSED:
            self._refused.add(word)
            if word == "mntr":
                self._mntr_rests_until = clock.monotonic() + AGAIN
        else:
            self._refused.discard(word)
        return reply

    def _by_admin_if_there(self, line: Line) -> _Said:
        """As `_by_admin`, where nobody said that there is one."""
        if clock.monotonic() < self._admin_rests_until:
            return _Said()
        said = self._by_admin(line)
        if not said.answers:
            self._admin_rests_until = clock.monotonic() + AGAIN
        return _Said(said.replies if said.is_zookeeper else ())

    def _by_admin(self, line: Line) -> _Said:
        port = self._members.admin_port
        if port is None:
            return _Said()
        replies: list[Parsed] = []
        try:
            for command, parse in _COMMANDS:
                replies.append(parse(_fetched(line._replace(port=port), command)))
        except Unreachable as error:
            return _Said(tuple(replies), f"its AdminServer at port {port}: {error.trouble}")
        if _Said(tuple(replies)).is_zookeeper:
            return _Said(tuple(replies))
        return _Said((), f"its AdminServer at port {port}: what listens there is none")


def _fetched(line: Line, command: str) -> bytes:
    """The body that the AdminServer gives, empty where it has none. Raises Unreachable.

    It is asked by HTTP 1.0: then no answer comes in chunks, and the server closes where it ends.
    """
    request = f"GET /commands/{command} HTTP/1.0\r\nHost: {line.host}:{line.port}\r\nAccept: application/json\r\n\r\n"
    head, _, body = exchange(line, request.encode(), None, _MOST_JSON).data.partition(b"\r\n\r\n")
    return body if head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")) else b""
