"""Feed every loader for a while: `python -m tests.fuzz --seconds 60 --seed 1 rules tests`."""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import warnings
from pathlib import Path

from tests.fuzz.harness import Tally, fuzz
from tests.fuzz.targets import all_targets

_MOST_MEMORY = 4 * 2**30


def main(arguments: list[str]) -> int:
    """Exit code 0 where everything held, 1 where something did not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="which loaders (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long in all (default: 60)")
    parser.add_argument("--seed", type=int, help="of the first hundred inputs; the next have the next (default: any)")
    parser.add_argument("--inputs", type=int, metavar="N", help="no more than so many for each loader")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where what fails goes (build/fuzz)")
    options = parser.parse_args(arguments)
    first_seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    warnings.simplefilter("error")
    _bound_memory()
    with tempfile.TemporaryDirectory(prefix="zkalert-fuzz-") as folder:
        targets = all_targets(Path(folder))
        names = [target.name for target in targets]
        unknown = [name for name in options.targets if name not in names]
        if unknown:
            parser.error(f"no target {', '.join(unknown)}; there are {', '.join(names)}")
        chosen = [target for target in targets if target.name in (options.targets or names)]
        print(f"seed {first_seed}, {options.seconds:g} s")
        has_failed = False
        for target in chosen:
            tally = fuzz(
                target,
                seconds=options.seconds / len(chosen),
                first_seed=first_seed,
                folder=options.out,
                most=options.inputs,
            )
            print(f"{target.name:<10} {_told(tally)}")
            for number, defect in enumerate(tally.defects.values(), 1):
                has_failed = True
                print(f"  {defect.identity}: {options.out / f'{target.name}-{number}'}\n    {_last(defect.trace)}")
            sys.stdout.flush()
    return int(has_failed)


def _bound_memory() -> None:
    """Let an input that takes all there is meet a MemoryError, and not the machine its end."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _told(tally: Tally) -> str:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in tally.outcomes.most_common())
    return f"{tally.inputs:>8,} inputs: {outcomes}; slowest {tally.slowest:.2f} s"


def _last(trace: str) -> str:
    return trace.strip().rpartition("\n")[2][:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
