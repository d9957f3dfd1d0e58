"""The families that belong to no host: an ensemble's members, and the engines."""

from __future__ import annotations

from zkalert.metrics.kinds import Family, Field, Kind, Unit, family

ENGINE_FAMILY = "engine"
ZOOKEEPER_FAMILY = "zookeeper"

_P, _B, _S, _N, _F, _T = Unit.PERCENT, Unit.BYTES, Unit.SECONDS, Unit.NUMBER, Unit.FLAG, Unit.TEXT
_C = Kind.COUNTER


def _each(name: str, unit: Unit, text: str, kind: Kind = Kind.GAUGE) -> Field:
    """A field that single servers have, and the ensemble as a whole has not."""
    return Field(name, unit, text, kind, is_of_each=True)


ENSEMBLE_FAMILIES: tuple[Family, ...] = (
    family(
        ENGINE_FAMILY,
        "The engines of the tree; made by the one that owns it, about no host.",
        Field("rules_skew", _F, "1 while the engines of the tree do not all run the same rules."),
        main="rules_skew",
        of_hosts=False,
    ),
    family(
        ZOOKEEPER_FAMILY,
        "The servers of an ensemble, asked by the engine; an instance per server, and whole values of the ensemble.",
        Field("quorum", _P, "Whole: how many of the servers that vote do serve."),
        Field("servers", _N, "Whole: how many servers the ensemble should have."),
        Field("serving", _N, "Whole: how many servers serve; of a server: 1 while it does, as a part of the quorum."),
        Field("leaders", _N, "Whole: how many servers say that they lead; one without an ensemble leads itself."),
        Field("has_leader", _F, "Whole: 1 while a server leads."),
        Field("followers", _N, "Whole, and of the leader: followers that are connected to it."),
        Field("synced", _N, "Whole: followers that are in sync with the leader, as it says."),
        Field("versions", _N, "Whole: how many different versions the servers have."),
        Field("lag", _N, "Transactions behind the leader, about; whole: the most of all servers."),
        Field("zxid_percent", _P, "Transactions of this epoch, of the 2^32 that force an election; whole: the most."),
        Field("certificate_expires", _S, "Time until its TLS certificate expires, negative after; whole: the least."),
        _each("ok", _F, "1 while a ZooKeeper answers at this address, be it without a quorum."),
        _each("role", _T, "leader, follower, observer, standalone or read-only; none while not serving.", Kind.TEXT),
        _each("is_leader", _F, "1 while it says that it leads."),
        _each("read_only", _F, "1 while it serves reads alone, for it has no quorum."),
        _each("version", _T, "Its version.", Kind.TEXT),
        _each("uptime", _S, "For how long it has served."),
        _each("latency_avg", _S, "How long its answers took on average, since its start."),
        _each("latency_min", _S, "How long its fastest answer took, since its start."),
        _each("latency_max", _S, "How long its slowest answer took, since its start."),
        _each("read_p99", _S, "What 99 of 100 of its latest reads took at most."),
        _each("update_p99", _S, "What 99 of 100 of its latest writes took at most."),
        _each("commit_p99", _S, "What 99 of 100 of the latest transactions took at most, from proposal to commit."),
        _each("fsync_time", _S, "Time spent in fsync of the transaction log.", _C),
        _each("fsyncs", _N, "Calls of fsync for the transaction log.", _C),
        _each("fsync_max", _S, "How long the slowest fsync took, since its start."),
        _each("received", _N, "Packets received.", _C),
        _each("sent", _N, "Packets sent.", _C),
        _each("connections", _N, "Clients that are connected; the question itself may be one of them."),
        _each("outstanding", _N, "Requests that wait for their answer."),
        _each("znodes", _N, "Znodes."),
        _each("watches", _N, "Watches."),
        _each("ephemerals", _N, "Ephemeral znodes."),
        _each("data_size", _B, "Size of all paths and data, about."),
        _each("open_fds", _N, "File descriptors that are open."),
        _each("max_fds", _N, "File descriptors that the server may open."),
        _each("open_fds_percent", _P, "File descriptors that are open, of those that may be."),
        _each("synced_followers", _N, "Of the leader: followers that are in sync with it."),
        _each("pending_syncs", _N, "Of the leader: sync calls of clients that wait for earlier transactions."),
        _each("seconds", _S, "How long it took to ask it all of this."),
        _each("refused", _F, "1 while it refuses four-letter words that are not in its whitelist."),
        main="quorum",
        instance_kind="server",
        of_hosts=False,
    ),
)
