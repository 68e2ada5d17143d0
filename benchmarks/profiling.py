"""A hub or an agent under Python's own profiler: `python -m benchmarks.profiling FILE hub …` is `crowdgrid hub …`.

Only the event loop's thread is profiled; its figures are shares, not times, because profiling makes Python slower.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT

LINES = 22


def table(file: Path, lines: int = LINES) -> str:
    """The functions that used most time by themselves, with paths cut short."""
    text = io.StringIO()
    stats = pstats.Stats(str(file), stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(lines)
    kept = [line.rstrip() for line in text.getvalue().splitlines()]
    first = next(at for at, line in enumerate(kept) if "ncalls" in line)
    return "\n".join(line for line in kept[first:] if line)


def imports(python: str, statement: str, lines: int = 15) -> str:
    """What importing costs a Python, the dearest modules first."""
    words = [python, "-X", "importtime", "-c", statement]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stderr
    rows = []
    for line in told.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[1].strip().isdigit():
            rows.append((int(parts[1]), int(parts[0]), parts[2].strip()))
    rows.sort(reverse=True)
    dearest = [f"{whole / 1000:8.1f} {own / 1000:8.1f}  {name}" for whole, own, name in rows[:lines]]
    return "\n".join(["ms with what it imports, by itself, module", *dearest])


def main() -> None:
    from crowdgrid.cli import main as crowdgrid

    file, sys.argv = sys.argv[1], ["crowdgrid", *sys.argv[2:]]
    profile = cProfile.Profile()
    try:
        profile.runcall(crowdgrid)
    finally:
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
