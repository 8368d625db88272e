"""Attacks on the command line: `python tests/attacks/attack.py [damage|lines|kills ...] [--seed N] [--count N]`.

`damage` reads files that were damaged, `lines` gives command lines that cannot be meant, `kills` ends commands at any
moment. It prints a row a kind: how many were tried, and how many survived. To survive is to refuse in a clear line, or
to give exactly what is given on whole files; a trace, a hang and other numbers in silence are faults, each printed
as it is found. The exit status is 1 where there is one.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "apps"), str(Path(__file__).parent)]

import damage  # noqa: E402
import kills  # noqa: E402
import lines  # noqa: E402
import material  # noqa: E402
from forking import Machine  # noqa: E402

KINDS = {"damage": (damage.attack, 520), "lines": (lines.attack, 0), "kills": (kills.attack, 50)}
"""By name: what attacks, and how often unless told."""


MEMORY = "/dev/shm"
"""Where the runs are copied to, where there is such a place: hundreds of copies need no disk."""


def main() -> int:
    """Attack, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="what to try; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen at random")
    parser.add_argument("--count", type=int, help="how many of each kind; 0: all there are")
    parser.add_argument("--material", type=Path, help="where the small runs are, or are made to stay")
    options = parser.parse_args()
    tallies, machine = [], Machine(all=True)
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as temporary:
        made = options.material or Path(temporary) / "made"
        if not made.exists():
            material.make(made)
        for name in options.kinds or KINDS:
            attack, count = KINDS[name]
            count = count if options.count is None else options.count
            tallies.append(attack(machine, made, Path(temporary) / "work", count, options.seed))
    machine.close()
    print(*tallies, sep="\n")
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
