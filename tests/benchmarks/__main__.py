"""Run all benchmarks, or those that are named: `python -m tests.benchmarks latency events`."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import backtest, commands, events, latency, publishing, rules, storm, znodes
from zkalert.localzk import LocalServer

BENCHMARKS = {
    "latency": latency.run,
    "events": events.run,
    "rules": rules.run,
    "validate": commands.validate,
    "start": commands.start,
    "backtest": backtest.run,
    "sampler": commands.sampler,
    "publishing": publishing.writes,
    "crossing": publishing.crossing,
    "storm": storm.run,
    "znodes": znodes.run,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="zkalert-bench-") as folder, LocalServer(Path(folder) / "zk") as server:
        for name in names or BENCHMARKS:
            print(f"\n{name}")
            BENCHMARKS[name](server.hosts, Path(folder))
    return 0


sys.exit(main(sys.argv[1:]))
