"""A hub under Python's own profiler: `python -m benchmarks.profiling FILE hub …` is `crowdgrid hub …`.

Only the event loop's thread is profiled; its figures are shares, not times, because profiling makes Python slower.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
from pathlib import Path

LINES = 22


def table(file: Path, lines: int = LINES) -> str:
    """The functions that used most time by themselves, with paths cut short."""
    text = io.StringIO()
    stats = pstats.Stats(str(file), stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(lines)
    kept = [line.rstrip() for line in text.getvalue().splitlines()]
    first = next(at for at, line in enumerate(kept) if "ncalls" in line)
    return "\n".join(line for line in kept[first:] if line)


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
