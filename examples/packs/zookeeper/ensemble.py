#!/usr/bin/env python3
"""An ensemble of three ZooKeeper servers on this machine. ensemble.py healthy|broken.

Healthy: all three serve. Broken: ten seconds later one of them is killed. Ctrl-C ends them, and takes their data away.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

from zkalert.localzk import LocalEnsemble
from zkalert.model import ServerUnavailable

KILLED_AFTER = 10.0  # seconds


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in ("healthy", "broken"):
        sys.stderr.write("usage: ensemble.py healthy|broken\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with LocalEnsemble(Path(folder)) as ensemble:
                print(f"three servers serve; begin with: zkalert up --zookeeper {ensemble.hosts}", flush=True)
                if sys.argv[1] == "broken":
                    time.sleep(KILLED_AFTER)
                    index = ensemble.followers()[0]
                    ensemble.kill(index)
                    print(f"{ensemble.servers[index].hosts} is killed", flush=True)
                while True:
                    time.sleep(0.2)
        except ServerUnavailable as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
