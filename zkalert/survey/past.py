"""What a host's own history adds to a survey: the samples before the last one, where this is that host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from zkalert.journal import HistoryError, HistoryReader
from zkalert.model import Problem
from zkalert.survey.values import HostSeen, Published, Survey


def with_history(survey: Survey, path: Path, spans: Mapping[str, float]) -> Survey:
    """A survey with the samples that a history has of the last so many seconds, by family.

    The history keeps the host's own clock; its samples are moved to the ensemble's by what the newest one shows of
    the difference. Without a history that can be read, the survey is as it was.
    """
    try:
        reader = HistoryReader(path)
    except HistoryError:
        return survey
    found: dict[tuple[str, str], list[Published]] = defaultdict(list)
    try:
        for row in reader.rows(tuple(spans), since=survey.at - 2 * max(spans.values())):
            if row.host in survey.hosts:
                found[row.host, row.sample.family].append(Published(row.sample, row.sample.at))
    except HistoryError:
        return survey
    finally:
        reader.close()
    hosts = dict(survey.hosts)
    for (name, family), earlier in found.items():
        hosts[name] = _remembering(hosts[name], family, earlier, spans[family])
    return replace(survey, hosts=hosts)


def _remembering(host: HostSeen, family: str, earlier: list[Published], span: float) -> HostSeen:
    newest = host.newest(family)
    if newest is None or isinstance(newest.sample, Problem):
        return host
    skew = newest.at - newest.sample.at
    kept = tuple(
        Published(one.sample, one.at + skew) for one in earlier if newest.at - span <= one.at + skew < newest.at - _SAME
    )
    if not kept:
        return host
    samples = {**host.samples, family: (*kept, newest)}
    return replace(host, samples=samples, remembered=host.remembered | {family})


_SAME = 0.002  # a sample's time is rounded to milliseconds where it is published
