"""`python -m experiments [NAME …]`: run experiments and write their figures into docs/experiments/."""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from benchmarks.machine import this_machine
from benchmarks.processes import folder_for
from experiments import page

NAMES = ("vote", "orchestration", "errors", "tail", "scale")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer runs, to look at; the pages stay as they are")
    given = parser.parse_args()
    for name in given.names or NAMES:
        print(f"{name} …", flush=True)
        began = time.monotonic()
        parts = importlib.import_module(f"experiments.{name}").measure(quick=given.quick)
        took = time.monotonic() - began
        with folder_for("machine") as folder:
            machine = this_machine(folder).told()
        told = f"{machine} It took {took / 60:.1f} minutes."
        if given.quick:
            print("\n\n".join(parts))
        else:
            page.put(name, [*parts, f"Measured with `{page.command(name)}`. {told}"])
            print(f"  docs/experiments/{name}.md, {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
