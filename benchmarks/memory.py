"""Memory of the hub with 100,000 tasks waiting: as a cursor over stored items, and cut into open tasks."""

from __future__ import annotations

import asyncio
import os

from benchmarks.context import Context
from benchmarks.crowding import crowd_of
from benchmarks.processes import BenchGrid, BenchmarkFailed
from benchmarks.report import Figure, Section, at_most
from crowdgrid import kernels, limits
from crowdgrid.client.address import Address
from crowdgrid.client.link import Link
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Items, Range, Split
from crowdgrid.protocol import messages as m

MB = 1e6
TEXT = """
Resident memory of the hub process. Waiting input is a cursor: 100,000 items of 64 bytes appended, nobody there to run them.
*Cut* tasks are the expensive form: each is leased (here to {nodes} nodes that sit on 4,000 each) and is a record of its
own in the engine, as is its assignment.
"""


async def open_job(grid: BenchGrid, split: Split, items: int = 0) -> str:
    """Open a job that nobody reads, with so many items; its id."""
    address = Address(grid.hub.url, grid.token)
    link, rest = Link(address), Rest(address)
    await link.start(patience=10)
    program = await rest.put_program(kernels.path("echo").read_bytes(), "echo")
    request = m.JobRequest(program=program, split=split, runtime="echo", key=os.urandom(8).hex(), reduce="count")
    job = await link.open(request)
    item = [b"%064d" % at for at in range(limits.APPEND_ITEMS)]
    for _ in range(items // limits.APPEND_ITEMS):
        await job.append(item)
    await link.close()
    await rest.close()
    return job.id


def measure(context: Context) -> Section:
    tasks = context.of(100_000, 20_000)
    nodes = -(-tasks // limits.HELD_ASSIGNMENTS)
    start, queued = _queued(tasks)
    cut = _cut(tasks, nodes)
    name = f"{tasks:,}"
    return Section(
        "Memory",
        TEXT.format(nodes=nodes),
        [
            Figure("hub, nothing to do", start / MB, "MB", None, "Dask's scheduler 72–83 MB; our sketch 38–74 MB"),
            Figure(f"hub, {name} items queued", queued / MB, "MB", at_most(150), "Ray 1,033 MB in all, Celery 215 MB"),
            Figure(f"hub, {name} tasks cut and leased", cut / MB, "MB"),
            Figure("a cut and leased task", (cut - start) / tasks / 1000, "kB"),
        ],
    )


def _queued(tasks: int) -> tuple[int, int]:
    """(with nothing to do, with the items queued)."""
    with BenchGrid() as grid:
        start = grid.hub.rss()
        asyncio.run(open_job(grid, Items(1), tasks))
        return start, grid.hub.rss()


def _cut(tasks: int, nodes: int) -> int:
    with BenchGrid() as grid:
        asyncio.run(open_job(grid, Range(0, tasks, 1)))
        with crowd_of(grid, nodes, runtime="echo", slots=limits.HELD_ASSIGNMENTS, leases=tasks) as arrived:
            if arrived.leases != tasks:
                raise BenchmarkFailed(f"{arrived.leases:,} leases came in place of {tasks:,}.")
            return grid.hub.rss()
