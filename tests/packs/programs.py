"""Real programs of Java, for the tests of packs: each with its log in a file of a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from zkalert.localzk.install import find_zookeeper
from zkalert.model import ServerUnavailable

LOGGING = """log4j.rootLogger=INFO,out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n
"""


def java(newest: int | None = None) -> str:
    """A Java, of at most version `newest`; an empty text where there is none."""
    try:
        found = find_zookeeper(os.environ).java
    except ServerUnavailable:
        return ""
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    return found if version and (newest is None or int(version[1]) <= newest) else ""


class Programs:
    """What runs with the jars of one folder; `opened` are packages of Java that they look into."""

    def __init__(self, folder: Path, java: str, jars: Path, opened: Sequence[str] = ()) -> None:
        self._folder = folder
        self._command = [
            java,
            "-Xmx160m",
            *(f"--add-opens={one}=ALL-UNNAMED" for one in opened),
            "-cp",
            f"{folder}:{jars}/*",
        ]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "log4j.properties").write_text(LOGGING, encoding="utf-8")

    def run(self, program: str, *arguments: str) -> None:
        """Run a program to its end, which has to be a good one."""
        process = self._start(program, arguments)
        assert process.wait(60) == 0, self.log(program)

    def start(self, program: str, *arguments: str) -> None:
        self._running[program] = self._start(program, arguments)

    def kill(self, *programs: str) -> None:
        """Kill these, or all that run."""
        for program in programs or tuple(self._running):
            process = self._running.pop(program)
            process.kill()
            process.wait(10)

    def log(self, program: str) -> str:
        return (self._folder / f"{program}.log").read_text(encoding="utf-8")

    def _start(self, program: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen([*self._command, program, *arguments], stdout=log, stderr=log)
