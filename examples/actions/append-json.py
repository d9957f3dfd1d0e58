#!/usr/bin/env python3
"""Appends the alert, as it comes on standard input, as one line of JSON to a file: append-json.py FILE."""

import json
import sys
from pathlib import Path


def main() -> int:
    alert = json.load(sys.stdin)
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/zkalert-alerts.jsonl")
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(alert, sort_keys=True) + "\n")
    print(f"{alert['state']} {alert['rule']} on {alert['host']} written to {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
