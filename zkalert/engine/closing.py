"""Which alerts no sample will speak of again, and why: their rule looks elsewhere now, or their host is gone."""

from __future__ import annotations

from zkalert.engine.hosts import Hosts
from zkalert.model import MEMBERS_HOST, Alert, Reason
from zkalert.rulebook import RuleWatcher


def why_uncovered(watcher: RuleWatcher, alert: Alert, hosts: Hosts) -> Reason | None:
    """Why no sample will speak of an alert any more; None where one may, or where that is not known yet."""
    if watcher.series_host(alert.host) != alert.host or not watcher.covers(alert.instance):
        return Reason.RULE_CHANGED  # it may have been about one host, and be about many
    if not watcher.is_of_hosts:
        return None if watcher.looks_at(alert.host) else Reason.RULE_CHANGED
    if alert.host == MEMBERS_HOST:
        if not hosts.are_known or watcher.looks_at(alert.host, alert.instance):
            return None
        return Reason.HOST_REMOVED if alert.digest == watcher.rule.digest else Reason.RULE_CHANGED
    host = hosts.get(alert.host)
    if host is None:
        return Reason.HOST_REMOVED if hosts.are_listed else None
    return None if host.info is None or watcher.follows(host.info) else Reason.RULE_CHANGED
