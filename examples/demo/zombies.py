#!/usr/bin/env python3
"""Makes a few zombies, dead processes that nobody has collected yet, and collects them a few seconds later.

Harmless: a zombie takes no memory and no processor time. zombies.py [COUNT [SECONDS]], by default 7 and 8; at most 50
and 60. Everything is cleared up when this ends, whichever way it ends.
"""

import os
import sys
import time

MOST = 50
LONGEST = 60.0


def main() -> int:
    count = min(MOST, int(sys.argv[1])) if len(sys.argv) > 1 else 7
    seconds = min(LONGEST, float(sys.argv[2])) if len(sys.argv) > 2 else 8.0
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os._exit(0)  # dead at once, and a zombie until the parent asks how it ended
        children.append(child)
    print(f"{count} zombies for {seconds:g} s", flush=True)
    time.sleep(seconds)
    for child in children:
        os.waitpid(child, 0)
    print(f"{count} zombies collected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
