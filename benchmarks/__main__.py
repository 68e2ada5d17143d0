"""`python -m benchmarks [NAME …] [--quick] [--show]`: measure and write `docs/benchmarks.md`.

With names only those are measured, and the result is printed and written nowhere, so that the document always is of
one whole run.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module

from benchmarks import report
from benchmarks.context import Context
from benchmarks.machine import this_machine
from benchmarks.processes import ROOT, BenchmarkFailed, folder_for
from benchmarks.report import Section

NAMES = ("dispatch", "agreement", "efficiency", "startup", "recovery", "memory", "idle", "kernels")
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def measured(name: str, context: Context) -> Section:
    began = time.perf_counter()
    print(f"{name} …", end=" ", file=sys.stderr, flush=True)
    section: Section = import_module(f"benchmarks.{name}").measure(context)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return section


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure crowdgrid on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all, written down")
    parser.add_argument("--quick", action="store_true", help="a look in two minutes")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    context = Context(given.quick)
    with folder_for("machine") as folder:
        machine = this_machine(folder)
    began = time.perf_counter()
    try:
        sections = [measured(name, context) for name in given.names or NAMES]
    except BenchmarkFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    text = report.document(machine, sections, quick=given.quick, took=time.perf_counter() - began)
    if given.names:
        print(text)
    else:
        DOCUMENT.write_text(text, encoding="utf-8")
        print(f"written to {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
