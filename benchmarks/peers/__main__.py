"""`python -m benchmarks.peers [PEER …] [--quick] [--long] [--only rates|faults]`: measure, write `docs/benchmarks-peers.md`.

With peers named, or with `--only`, the result is printed and written nowhere, so that the document always is of one
whole run. The exit status is 1 when anything failed; a goal that is not reached is no failure.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from benchmarks.context import Context
from benchmarks.machine import this_machine
from benchmarks.peers import cells, faults, flat, footprint, goals, profiles
from benchmarks.peers.catalogue import KINDS, Kind
from benchmarks.peers.document import document, failed
from benchmarks.peers.talk import PeerFailed
from benchmarks.processes import ROOT, folder_for

DOCUMENT = ROOT / "docs" / "benchmarks-peers.md"


class Run:
    """Everything one run finds, by a peer's title."""

    def __init__(self, kinds: Sequence[Kind], context: Context) -> None:
        self.kinds, self._context = kinds, context
        self.footprints: dict[str, footprint.Footprint] = {}
        self.measured: dict[str, cells.Measured] = {}
        self.faults: dict[str, list[faults.Fault]] = {}
        self.flat: flat.Flat | None = None
        self.profiles: dict[str, str] = {}
        self.problems: list[str] = []

    def look(self) -> None:
        """Import times and sizes, before anything keeps the machine busy."""
        for kind in self.kinds:
            try:
                self.footprints[kind.title] = footprint.measure(kind)
            except PeerFailed as error:
                self.problems.append(f"{kind.title}, import: {error}")

    def rates(self) -> None:
        for kind in self.kinds:
            began = time.perf_counter()
            print(f"{kind.title} …", end=" ", file=sys.stderr, flush=True)
            try:
                self.measured[kind.title] = cells.measure(kind, self._context)
            except PeerFailed as error:
                self.measured[kind.title] = cells.Measured(failures=[str(error)])
            print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)

    def kills(self) -> None:
        for kind in self.kinds:
            self.faults[kind.title] = faults.measure(kind, self._context)

    def long(self) -> None:
        for kind in [kind for kind in self.kinds if kind.ours][:1]:
            try:
                self.flat = flat.measure(kind, self._context)
            except PeerFailed as error:
                self.problems.append(f"{kind.title}, ten million items: {error}")

    def profile(self, judged: Sequence[goals.Judged]) -> None:
        try:
            self.profiles = profiles.of_missed(judged, self._context)
        except PeerFailed as error:
            self.problems.append(f"profile: {error}")

    def judged(self) -> list[goals.Judged]:
        ours = tuple(kind.title for kind in self.kinds if kind.ours)
        rivals = tuple(kind.title for kind in self.kinds if kind.rival)
        pool = next(kind.title for kind in KINDS if kind.name == "process_pool")
        return goals.judge(
            goals.Found(self.measured, self.footprints, self._import_seconds(), ours, rivals, pool, self.flat)
        )

    def _import_seconds(self) -> float | None:
        """Of `import crowdgrid` alone; the table has the import of what a program uses."""
        for kind in self.kinds:
            if kind.ours and kind.title in self.footprints:
                return footprint.import_seconds(kind, "import crowdgrid")
        return None

    def failures(self) -> list[str]:
        return [*self.problems, *failed(self.measured, self.faults)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Measure crowdgrid beside others.")
    names = [kind.name for kind in KINDS]
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(names)}; default: all, written down")
    parser.add_argument("--quick", action="store_true", help="whether everything works, in four minutes")
    parser.add_argument("--long", action="store_true", help="ten million items through one map as well")
    parser.add_argument("--only", choices=("rates", "faults", "long", "profiles"), help="one part, shown only")
    given = parser.parse_args()
    if unknown := set(given.peers) - set(names):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return given


def main() -> int:
    given = arguments()
    run = Run(
        [kind for kind in KINDS if kind.name in (given.peers or [each.name for each in KINDS])], Context(given.quick)
    )
    with folder_for("machine") as folder:
        machine = this_machine(folder)
    if given.only == "profiles":
        for title, text in profiles.of_loads(profiles.LOADS, Context(given.quick)).items():
            print(f"{title}:\n\n```text\n{text.strip()}\n```\n")
        return 0
    began = time.perf_counter()
    run.look()
    if given.only in (None, "rates"):
        run.rates()
    if given.only in (None, "faults"):
        run.kills()
    if given.long or given.only == "long":
        run.long()
    judged = run.judged()
    if given.only in (None, "rates"):
        run.profile(judged)
    took = time.perf_counter() - began
    text = document(
        machine,
        run.kinds,
        run.measured,
        run.footprints,
        run.faults,
        judged,
        flat=run.flat,
        profiles=run.profiles,
        quick=given.quick,
        took=took,
    )
    if given.peers or given.only:
        print(text)
    else:
        DOCUMENT.write_text(text, encoding="utf-8")
        print(f"written to {DOCUMENT.relative_to(ROOT)}", file=sys.stderr)
    for failure in (failures := run.failures()):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
