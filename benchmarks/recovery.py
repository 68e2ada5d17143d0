"""Recovery: a hub ended by `kill -9` under load, and a hub that starts on a store with ten million settled tasks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import figures
from benchmarks.context import Context
from benchmarks.crowding import crowd_of
from benchmarks.memory import open_job
from benchmarks.processes import BenchGrid, BenchmarkFailed, work_folder
from benchmarks.report import Figure, Section, at_most
from benchmarks.store_hot import settled, the_job
from benchmarks.store_scale import rows_of
from benchmarks.submitter import Order, Stream
from crowdgrid import kernels, limits
from crowdgrid.client.address import Address
from crowdgrid.client.link import Link
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Items, Node, Range, Record
from crowdgrid.protocol import messages as m
from crowdgrid.store import Batch
from crowdgrid.store.open import open_store

LOAD_SECONDS = 1.5
OPEN_AT_ONCE = 10_000
OTHERS = "Dask, Ray and Parsl lose their tasks with their scheduler"
TEXT = """
*Killed*: {open} tasks are open, leased to nodes that sit on them, while two agents work off a second job, 64 tasks in flight.
The hub gets SIGKILL and is started again at once; the clock runs from the new hub's exec to the first result of a task that
was appended after the crash, so it holds rebuilding, agents and client finding back, lease, run and report.

*Rebuilt*: a hub starts on a store of {settled} settled tasks with their assignments and {open} open ones ({size:.1f} GB; the
settled rows are copies of one real row, made inside SQLite).
"""


class Rebuilt(NamedTuple):
    seconds: float
    rss: int
    size: int


def measure(context: Context) -> Section:
    open_tasks = context.of(100_000, 20_000)
    settled_tasks = context.of(10_000_000, 1_000_000)
    ready, next_task = asyncio.run(_killed(open_tasks))
    rebuilt = _rebuilt(settled_tasks, open_tasks)
    text = TEXT.format(open=f"{open_tasks:,}", settled=f"{settled_tasks:,}", size=rebuilt.size / 1e9)
    return Section(
        "Recovery",
        text,
        [
            Figure("killed: exec to `/readyz`", ready, "s"),
            Figure("killed: exec to the next task settled", next_task, "s", at_most(15), OTHERS),
            Figure("rebuilt: exec to `/readyz`", rebuilt.seconds, "s", at_most(3)),
            Figure("rebuilt: memory of the hub, open tasks queued", rebuilt.rss / 1e6, "MB", at_most(150)),
        ],
    )


# --- kill -9 -------------------------------------------------------------------------------------


async def _killed(open_tasks: int) -> tuple[float, float]:
    """Seconds from the new hub's exec to (`/readyz`, the next task)."""
    grid = await asyncio.to_thread(lambda: BenchGrid().__enter__())
    try:
        await asyncio.to_thread(lambda: asyncio.run(open_job(grid, Range(0, open_tasks, 1))))
        nodes = -(-open_tasks // limits.HELD_ASSIGNMENTS)
        with crowd_of(grid, nodes, runtime="echo", slots=limits.HELD_ASSIGNMENTS, leases=open_tasks):
            await asyncio.to_thread(lambda: grid.start_agents(2, runtime="echo"))
            return await _kill_under_load(grid)
    finally:
        grid.close()


async def _kill_under_load(grid: BenchGrid) -> tuple[float, float]:
    address = Address(grid.hub.url, grid.token)
    link, rest = Link(address), Rest(address)
    await link.start(patience=10)
    program = await rest.put_program(kernels.path("echo").read_bytes(), "echo")
    job = await link.open(m.JobRequest(program=program, split=Items(1), runtime="echo", key=os.urandom(8).hex()))
    order = Order(grid.hub.url, grid.token, "echo", 64, 1, 0.0, 0.0)
    stream = Stream(job, order)
    stream.start()
    await asyncio.sleep(LOAD_SECONDS)
    grid.hub.kill()
    before = job.units
    hub = grid.start_hub()
    ready = asyncio.ensure_future(asyncio.to_thread(hub.wait_ready))
    while stream.last < before:  # noqa: ASYNC110 - a look every 2 ms is precise enough
        await asyncio.sleep(0.002)
    took = time.perf_counter() - hub.began
    ready_after = await ready
    await link.close()
    await rest.close()
    return ready_after, took


# --- ten million rows ----------------------------------------------------------------------------


def _rebuilt(settled_tasks: int, open_tasks: int) -> Rebuilt:
    folder = work_folder()
    path = folder / "hub" / "grid.db"
    asyncio.run(_fill(path, settled_tasks, open_tasks))
    size = path.stat().st_size
    with BenchGrid(folder=folder) as grid:
        counters = figures.parse((grid.hub.get("/metrics") or b"").decode())
        if counters["crowdgrid_tasks_open"] != open_tasks:
            raise BenchmarkFailed(f"The hub knows {counters['crowdgrid_tasks_open']:,.0f} open tasks.")
        return Rebuilt(grid.ready_seconds, grid.hub.rss(), size)


async def _fill(path: Path, settled_tasks: int, open_tasks: int) -> None:
    """One settled task as the hub writes it, its copies by SQL, then the open tasks as the hub writes them."""
    await _commit(path, [[Node(3, b"k" * 32, "ben", "lab", "node", 1), the_job(1, settled_tasks), *settled(1, 0)]])
    await asyncio.to_thread(_multiply, path, settled_tasks)
    ordinals = range(settled_tasks, settled_tasks + open_tasks)
    groups = [ordinals[at : at + OPEN_AT_ONCE] for at in range(0, open_tasks, OPEN_AT_ONCE)]
    await _commit(path, [[record for at in group for record in rows_of(at, settled_tasks)] for group in groups])


async def _commit(path: Path, batches: list[list[Record]]) -> None:
    store = open_store(f"sqlite:///{path}")
    grid = (await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)).grid
    for records in batches:
        grid = msgspec.structs.replace(grid, batch=grid.batch + 1, jobs=1, nodes=3)
        await store.commit(Batch(grid, tuple(records)))
    await store.close()


def _multiply(path: Path, count: int) -> None:
    """Copy the rows of task 0 to the ordinals 1 … count − 1, each with a digest of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode = OFF")
        store.execute("PRAGMA synchronous = OFF")
        store.execute("PRAGMA cache_size = -200000")
        store.execute("BEGIN")
        for table in ("task", "assignment"):
            store.execute(_copies(store, table), (count,))
        store.execute("COMMIT")


def _copies(store: sqlite3.Connection, table: str) -> str:
    changed = {"ordinal": "n", "start": "n * 1000", "stop": "n * 1000 + 1000", "digest": "randomblob(32)"}
    columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, f'one."{column}"') for column in columns)
    numbers = "WITH RECURSIVE ordinals(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ordinals WHERE n + 1 < ?)"
    source = f"ordinals, {table} AS one WHERE job = 1 AND one.ordinal = 0"
    return f"INSERT INTO {table} {numbers} SELECT {values} FROM {source}"  # noqa: S608 - names from the schema
