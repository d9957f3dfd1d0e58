"""`make chaos`: the full run, and what came of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.running import Plan, Run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--transitions", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group-interval", default="1s")
    parser.add_argument("--servers", type=int, default=1)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zkalert-chaos-"))
    plan = Plan(
        transitions=given.transitions,
        kills=given.kills,
        restarts=given.restarts,
        seconds=given.seconds,
        seed=given.seed,
        group_interval=given.group_interval,
        servers=given.servers,
    )
    run = Run(plan, folder)
    verdict = run()
    print(
        f"{plan.transitions} crossings and clearings, {run.kills} kills, {plan.restarts} restarts of ZooKeeper, "
        f"{run.receiver.hung} sends left hanging: {len(run.receiver.got)} requests told {verdict.told} effects, "
        f"{verdict.repeats} messages came again, {verdict.dropped} effects were over before they were told; "
        f"{len(run.long_stays())} of {len(run.stays)} stays were long enough to be seen for certain"
    )
    for problem in verdict.problems:
        print(f"WRONG: {problem}")
    print(f"logs: {folder}")
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
