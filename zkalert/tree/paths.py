"""Every znode path: built from names that may hold anything, and parsed back.

Comes in: names of hosts, rules, instances. Goes out: paths whose parts are bounded, and never `.` or `..`.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote

MAX_NAME = 200
_SAFE = "-_.:@+~"


class Tree:
    """Builds and parses paths below one root, `/zkalert` by default."""

    def __init__(self, root: str = "/zkalert") -> None:
        self.root = "" if root == "/" else root
        self.top = self.root or "/"
        self.layout = f"{self.root}/layout"
        self.hosts = f"{self.root}/hosts"
        self.alerts = f"{self.root}/alerts"
        self.engines = f"{self.root}/engines"
        self.silences = f"{self.root}/silences"
        self.acks = f"{self.root}/acks"
        self.brakes = f"{self.root}/brakes"
        self.dead = f"{self.root}/dead"
        self.resend = f"{self.root}/resend"
        self.closes = f"{self.root}/closes"
        self.thresholds = f"{self.root}/thresholds"
        self.blobs = f"{self.root}/rules/blobs"
        self.current_rules = f"{self.root}/rules/current"
        self._hosts_prefix = self.hosts + "/"

    def host(self, host: str) -> str:
        return f"{self.hosts}/{escape(host)}"

    def alive(self, host: str) -> str:
        return f"{self.host(host)}/alive"

    def metrics(self, host: str) -> str:
        return f"{self.host(host)}/metrics"

    def family(self, host: str, family: str) -> str:
        return f"{self.host(host)}/metrics/{escape(family)}"

    def parse_family(self, path: str) -> tuple[str, str] | None:
        """The host and family of a path made by `family`, else None."""
        if not path.startswith(self._hosts_prefix):
            return None
        parts = path[len(self._hosts_prefix) :].split("/")
        if len(parts) != 3 or parts[1] != "metrics":
            return None
        return unquote(parts[0]), unquote(parts[2])

    def rule_alerts(self, rule: str) -> str:
        return f"{self.alerts}/{escape(rule)}"

    def alert(self, rule: str, host: str, instance: str | None) -> str:
        return f"{self.rule_alerts(rule)}/{series_name(host, instance)}"

    def outbox(self, shard: int) -> str:
        return f"{self.root}/outbox/{shard}"

    def outbox_entry(self, shard: int, effect_id: str) -> str:
        return f"{self.outbox(shard)}/{escape(effect_id)}"

    def engine(self, engine: str) -> str:
        return f"{self.engines}/{escape(engine)}"

    def silence(self, id_: str) -> str:
        return f"{self.silences}/{escape(id_)}"

    def ack(self, episode: str) -> str:
        return f"{self.acks}/{escape(episode)}"

    def brake(self, group: str) -> str:
        return f"{self.brakes}/{escape(group)}"

    def dead_entry(self, effect_id: str) -> str:
        """Where an entry of the outbox goes that could not be delivered."""
        return f"{self.dead}/{escape(effect_id)}"

    def resend_entry(self, effect_id: str) -> str:
        """The wish that a dead entry be tried again."""
        return f"{self.resend}/{escape(effect_id)}"

    def close(self, episode: str) -> str:
        """The wish that an alert be closed whose rule no engine has."""
        return f"{self.closes}/{escape(episode)}"

    def threshold(self, family: str) -> str:
        """What the rules in force ask of a family."""
        return f"{self.thresholds}/{escape(family)}"

    def requests(self, host: str) -> str:
        """What a host is asked to run."""
        return f"{self.root}/actions/{escape(host)}"

    def request(self, host: str, effect_id: str) -> str:
        return f"{self.requests(host)}/{escape(effect_id)}"

    def blob(self, digest: str) -> str:
        return f"{self.blobs}/{escape(digest)}"

    def shard(self, shard: int) -> str:
        return f"{self.root}/shards/{shard}"


def escape(name: str) -> str:
    """A name as one part of a path; kazoo refuses the parts `.` and `..`, so a leading dot is encoded too."""
    text = quote(name, safe=_SAFE, errors="surrogatepass")
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) <= MAX_NAME:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_head(text)}~{digest}"


_CHARACTER = re.compile(r"%[C-F][0-9A-F](?:%[89AB][0-9A-F])+|%..|.", re.DOTALL)


def _head(text: str) -> str:
    """The first 150 bytes of an encoded name at most, cut between two characters."""
    head = ""
    for character in _CHARACTER.findall(text):
        if len(head) + len(character) > 150:
            break
        head += character
    return head


def unescape(part: str) -> str:
    """The name that `escape` made a part of a path of; a shortened one stays as it is.

    Anybody may have made the part: `escape` gives it back only where `escape` made it.
    """
    return unquote(part, errors="replace")


def series_name(host: str, instance: str | None) -> str:
    """`<host>` or `<host>,<instance>`, percent-encoded, at most 200 bytes."""
    text = escape(host) if instance is None else f"{escape(host)},{escape(instance)}"
    if len(text) <= MAX_NAME:
        return text
    whole = f"{host}\0{instance}".encode("utf-8", "surrogatepass")
    return f"{_head(text)}~{hashlib.sha256(whole).hexdigest()[:12]}"
