"""What rules say of each other: `inhibited_by` over all files, its unknown names and its loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zkalert.metrics import nearest
from zkalert.model import Finding, Level
from zkalert.rulefile.builtin import HOST_DOWN
from zkalert.rulefile.keys import Keys, listed


class Links:
    """The names of all rules that were read, and which of them keeps which quiet.

    Handed to `parse` for each file; `findings` is asked once, after the last one.
    """

    def __init__(self) -> None:
        self._is_off: dict[str, bool] = {}
        self._inhibitors: dict[str, dict[str, Finding]] = {}
        self._is_complete = True

    def miss(self) -> None:
        """A file could not be read: a name that is not known may stand there."""
        self._is_complete = False

    def name(self, name: str, *, is_off: bool = False) -> None:
        """A rule of this name was read, whether it is right or not."""
        self._is_off[name] = is_off

    def read(self, keys: Keys) -> tuple[str, ...]:
        """The names that a rule's `inhibited_by` has, each once."""
        if "inhibited_by" not in keys:
            return ()
        written = keys.values["inhibited_by"]
        places: dict[str, Finding] = {}
        for index, name in enumerate(listed(written)):
            path = (*keys.at("inhibited_by"), index) if isinstance(written, list) else keys.at("inhibited_by")
            finding = keys.report.document.finding(path, "", "")
            places.setdefault(name, finding)
        self._inhibitors[keys.values["name"]] = places
        return tuple(places)

    def findings(self) -> list[Finding]:
        """What is wrong between the rules, in the order in which they were read."""
        return [*self._unknown(), *self._loops(), *self._off()]

    def _unknown(self) -> Iterator[Finding]:
        if not self._is_complete:
            return
        for places in self._inhibitors.values():
            for name, place in places.items():
                if name in self._is_off or name == HOST_DOWN:
                    continue
                near = nearest(name, {*self._is_off, HOST_DOWN})
                yield replace(
                    place,
                    code="unknown-rule",
                    message=f'no rule "{name}" in any file',
                    expected="the name of another rule",
                    hint=f"did you mean {near}?" if near else "",
                )

    def _off(self) -> Iterator[Finding]:
        for places in self._inhibitors.values():
            for name, place in places.items():
                if self._is_off.get(name):
                    yield replace(
                        place,
                        code="inhibitor-off",
                        message=f"{name} is off, so it keeps nothing quiet",
                        expected="a rule that is enabled",
                        level=Level.ADVICE,
                    )

    def _loops(self) -> Iterator[Finding]:
        """A finding for each loop, at the name that closes it. Walked without recursion: a chain may be long."""
        done: set[str] = set()
        for start in self._inhibitors:
            if start in done:
                continue
            trail: dict[str, Iterator[str]] = {start: iter(self._inhibitors[start])}
            while trail:
                here = next(reversed(trail))
                onward = next(trail[here], None)
                if onward is None:
                    done.add(here)
                    del trail[here]
                elif onward in trail:
                    yield self._loop([*trail][[*trail].index(onward) :], here, onward)
                elif onward not in done and onward in self._inhibitors:
                    trail[onward] = iter(self._inhibitors[onward])

    def _loop(self, names: list[str], last: str, first: str) -> Finding:
        shown = [*names, first] if len(names) <= 8 else [*names[:4], "...", *names[-3:], first]
        message = "inhibition in a loop: " + " by ".join(shown)
        if len(names) == 1:
            message = f"{first} is inhibited by itself"
        place = self._inhibitors[last][first]
        return replace(place, code="inhibition-loop", message=message, expected="rules that do not inhibit each other")
