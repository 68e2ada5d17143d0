"""A store with ten million settled tasks: how long a hub takes to open it, and what reads cost there.

python -m benchmarks.store_scale [--settled N] [--open N] [--store URL]

Fills the store through `Store.commit`, as a hub would, then opens it in a fresh process, so that the memory
shown is that of opening alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from benchmarks.store_hot import leased, settled, the_job
from crowdgrid.core.model import GridRow, Node, Record, Task, TaskState
from crowdgrid.store import Batch, Store
from crowdgrid.store.open import open_store

SETTLED, OPEN, LEASED = 10_000_000, 100_000, 10_000
BATCH_TASKS = 2_000


@dataclass(frozen=True)
class Opening:
    """What opening and reading such a store takes."""

    open_seconds: float
    tasks: int
    memory_mb: float
    page_ms: float  # 1,000 settled rows from the middle
    point_ms: float  # one task


async def fill(store: Store, settled_tasks: int, open_tasks: int) -> None:
    """Settled tasks first, then open ones, of which some are leased."""
    opened = await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)
    grid: GridRow = opened.grid
    begin = time.perf_counter()
    for first in range(0, settled_tasks + open_tasks, BATCH_TASKS):
        records: list[Record] = [the_job(1, first), Node(3, b"k" * 32, "ben", "lab", "node", 1)]
        for ordinal in range(first, min(first + BATCH_TASKS, settled_tasks + open_tasks)):
            records += rows_of(ordinal, settled_tasks)
        grid = msgspec.structs.replace(grid, batch=grid.batch + 1)
        await store.commit(Batch(grid, records))
        if first and first % 1_000_000 == 0:
            print(f"  {first:,} tasks in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    begin = time.perf_counter()
    await store.close()
    print(f"  closed in {time.perf_counter() - begin:.1f} s", file=sys.stderr)


def rows_of(ordinal: int, settled_tasks: int) -> list[Record]:
    if ordinal < settled_tasks:
        return settled(1, ordinal)
    if ordinal < settled_tasks + LEASED:
        return leased(1, ordinal)
    return [Task(1, ordinal, ordinal * 1000, ordinal * 1000 + 1000, TaskState.IN_QUEUE, 1_700_000_000_000)]


async def opening(url: str, middle: int) -> Opening:
    """Measured in this process: call it in a fresh one."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = open_store(url)
    begin = time.perf_counter()
    opened = await store.open(grid_id=b"", id_key=b"")
    took = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    page = await store.settled(1, after=middle)
    page_ms = (time.perf_counter() - begin) * 1e3
    begin = time.perf_counter()
    await store.task(1, middle)
    point_ms = (time.perf_counter() - begin) * 1e3
    assert len(page) == min(1_000, middle)
    await store.close()
    return Opening(took, len(opened.tasks), (after - before) / 1024, page_ms, point_ms)


def measured(url: str, settled_tasks: int) -> Opening:
    """`opening` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.store_scale", "--measure", url, "--settled", str(settled_tasks)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Opening(**json.loads(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--settled", type=int, default=SETTLED)
    parser.add_argument("--open", type=int, default=OPEN)
    parser.add_argument("--store", default="", help="fill this one instead of a temporary SQLite file")
    parser.add_argument("--measure", default="", help="only open this store, and print what that took as JSON")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(asdict(asyncio.run(opening(given.measure, given.settled // 2)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = given.store or str(Path(folder) / "grid.db")
        asyncio.run(fill(open_store(url), given.settled, given.open))
        found = measured(url, given.settled)
        size = Path(url).stat().st_size / 1e6 if Path(url).exists() else 0
        print(
            f"{given.settled:,} settled and {found.tasks:,} open tasks ({size:,.0f} MB): opened in "
            f"{found.open_seconds:.2f} s with {found.memory_mb:.0f} MB more memory; a page of 1,000 results "
            f"{found.page_ms:.1f} ms, one task {found.point_ms:.2f} ms"
        )


if __name__ == "__main__":
    main()
