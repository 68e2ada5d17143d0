"""What one task's life costs the store: leased, then settled, in batches.

python -m benchmarks.store_hot [URL …]     (default: memory: and a SQLite file in a temporary folder)

A life is four saves: the task and its assignment when it is leased, both again with the result. `busy` repeats it
while the event loop has something to do all the time, as in a hub under load.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from crowdgrid.core.model import (
    Assignment,
    AssignmentState,
    Counts,
    GridRow,
    Job,
    JobSpec,
    JobState,
    Node,
    Outcome,
    Range,
    Record,
    Result,
    Signature,
    Task,
    TaskState,
)
from crowdgrid.store import Batch, Store
from crowdgrid.store.open import open_store

BATCH_TASKS = 200
BATCHES = 100


@dataclass(frozen=True)
class Cost:
    """Microseconds of one task's life, and milliseconds of the slowest commit."""

    store: str
    busy: bool
    life_us: float
    cpu_us: float
    slowest_ms: float


def leased(job: int, ordinal: int) -> list[Record]:
    start = ordinal * 1000
    task = Task(job, ordinal, start, start + 1000, TaskState.IN_PROGRESS, 1_700_000_000_000, attempts=1)
    return [task, Assignment(job, ordinal, 0, 3, AssignmentState.LEASED, 1_700_000_000_000, 60_000)]


def settled(job: int, ordinal: int) -> list[Record]:
    start, digest = ordinal * 1000, hashlib.sha256(ordinal.to_bytes(8, "big")).digest()
    task = Task(job, ordinal, start, start + 1000, TaskState.VALIDATED, 1_700_000_000_000, 1, 0, 0, Outcome.OK, digest)
    result = Result(
        Outcome.OK, digest, b"%d" % ordinal, "", 7, "", 0, 900, 1000, 1 << 22, ordinal // 100, ordinal % 100, 1_700_000_001_000
    )  # fmt: skip
    reported = AssignmentState.REPORTED
    return [task, Assignment(job, ordinal, 0, 3, reported, 1_700_000_000_000, 60_000, 1_700_000_001_000, result)]


def the_job(number: int, done: int) -> Job:
    spec = JobSpec(program="ab" * 32, split=Range(0, 10**12))
    counts = Counts(units=10**12, tasks=done, validated=done)
    return Job(number, "ann", "lab", f"job {number}", "", 1_700_000_000_000, JobState.SEALED, spec, counts)


def batch_records(number: int) -> list[Record]:
    """Batch `number`: its own tasks are leased, those of the batch before are settled."""
    first = number * BATCH_TASKS
    records: list[Record] = [the_job(1, first), Signature(number + 1, 3, bytes(32) * BATCH_TASKS, bytes(64))]
    records.append(Node(3, b"k" * 32, "ben", "lab", "node", 1, validated=first))
    for ordinal in range(first, first + BATCH_TASKS):
        records += leased(1, ordinal)
        if number:
            records += settled(1, ordinal - BATCH_TASKS)
    return records


async def occupy(stop: asyncio.Event) -> None:
    """Keep the event loop busy, one millisecond at a time."""
    while not stop.is_set():
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def measure(store: Store, name: str, *, busy: bool = False) -> Cost:
    opened = await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)
    grid: GridRow = opened.grid
    batches = [batch_records(number) for number in range(BATCHES)]
    stop = asyncio.Event()
    other = asyncio.ensure_future(occupy(stop)) if busy else None
    took: list[float] = []
    cpu = time.process_time()
    for records in batches:
        grid = msgspec.structs.replace(grid, batch=grid.batch + 1)
        begin = time.perf_counter()
        await store.commit(Batch(grid, records))
        took.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    stop.set()
    if other is not None:
        await other
    await store.close()
    lives = BATCHES * BATCH_TASKS
    return Cost(name, busy, sum(took) / lives * 1e6, cpu / lives * 1e6, max(took) * 1e3)


def costs(urls: list[str]) -> list[Cost]:
    """Every store measured, idle and beside a busy event loop."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for busy in (False, True):
            for url in urls or ["memory:", "sqlite"]:
                path = str(Path(folder) / f"{busy}.db") if url == "sqlite" else url
                found.append(asyncio.run(measure(open_store(path), url.partition(":")[0], busy=busy)))
    return found


def main() -> None:
    for cost in costs(sys.argv[1:]):
        beside = "beside a busy event loop" if cost.busy else ""
        print(
            f"{cost.store:12} {cost.life_us:7.1f} µs a task's life, {cost.cpu_us:6.1f} µs CPU, slowest commit "
            f"{cost.slowest_ms:6.1f} ms {beside}"
        )


if __name__ == "__main__":
    main()
