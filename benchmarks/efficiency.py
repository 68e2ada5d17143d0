"""Efficiency: the share of its time a worker computes when tasks take a second."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import NamedTuple

from benchmarks.context import Context
from benchmarks.processes import BenchGrid, BenchmarkFailed
from benchmarks.report import Figure, Section, Table, at_least, number
from crowdgrid import kernels
from crowdgrid.client.address import Address
from crowdgrid.client.link import Link
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Range
from crowdgrid.protocol import messages as m

PROBE = 30_000_000  # samples of the Monte Carlo kernel, to learn how many take a second
WORKERS = 2
TEXT = """
A range of Monte Carlo samples, cut into tasks of one second. Efficiency is the CPU time of the programs divided by (elapsed
× workers), elapsed being the whole life of the job: submitting, compiling, cutting, the last report, the last commit. *Busy* is the
same with the programs' elapsed time: what is lost between tasks, apart from what the machine was doing besides.
"""


class Ran(NamedTuple):
    elapsed: float
    cpu_ms: float
    wall_ms: float
    tasks: int

    @property
    def efficiency(self) -> float:
        return self.cpu_ms / 1000 / (self.elapsed * WORKERS) * 100

    @property
    def busy(self) -> float:
        return self.wall_ms / 1000 / (self.elapsed * WORKERS) * 100


def measure(context: Context) -> Section:
    tasks = context.of(24, 12)
    forms = {"2 agents × 1 core": (2, 1), "1 agent × 2 cores": (1, 2)}
    found = {title: _form(tasks, *form) for title, form in forms.items()}
    figures = [
        Figure(f"efficiency, {title}, 1 s tasks", ran.efficiency, "%", at_least(97)) for title, ran in found.items()
    ]
    head = ["", "tasks", "elapsed s", "CPU s a task", "busy %"]
    rows = [
        [title, str(ran.tasks), number(ran.elapsed), number(ran.cpu_ms / ran.tasks / 1000), number(ran.busy)]
        for title, ran in found.items()
    ]
    section = Section("Efficiency", TEXT, figures, [Table(head, rows)])
    if section.missed:
        section.profile = "\n".join(f"{title}: {_lost(ran)}" for title, ran in found.items())
    return section


def _lost(ran: Ran) -> str:
    waits = ran.elapsed * WORKERS - ran.wall_ms / 1000
    taken = (ran.wall_ms - ran.cpu_ms) / 1000
    return f"{waits:.2f} worker seconds between tasks, {taken:.2f} s in tasks that the machine gave to something else"


def _form(tasks: int, agents: int, cpus: int) -> Ran:
    with BenchGrid() as grid:
        grid.start_agents(agents, cpus=cpus)
        probe = asyncio.run(_run(grid, PROBE, WORKERS))
        piece = int(PROBE * 1000 / (probe.cpu_ms / probe.tasks))
        return asyncio.run(_run(grid, piece, tasks))


async def _run(grid: BenchGrid, piece: int, tasks: int) -> Ran:
    address = Address(grid.hub.url, grid.token)
    link, rest = Link(address), Rest(address)
    await link.start(patience=10)
    program = await rest.put_program(kernels.path("montecarlo").read_bytes())
    began = time.perf_counter()
    request = m.JobRequest(
        program=program, split=Range(0, piece * tasks, piece), args=("1",), reduce="sum", name=f"of {piece}"
    )
    job = await link.open(request)
    while not job.ended:
        await job.changed()
    elapsed = time.perf_counter() - began
    await link.close()
    await rest.close()
    if job.info.state not in {"completed", "final"}:
        raise BenchmarkFailed(f"The job is {job.info.state}: {job.info.reason}")
    return _usage(grid, f"of {piece}", elapsed)


def _usage(grid: BenchGrid, name: str, elapsed: float) -> Ran:
    """What the nodes reported of this job, as the hub's store has it."""
    query = (
        "SELECT count(*), sum(cpu_ms), sum(wall_ms) FROM assignment WHERE outcome = 0 AND job = "
        "(SELECT number FROM job WHERE name = ?)"
    )
    with closing(sqlite3.connect(f"file:{grid.folder / 'hub' / 'grid.db'}?mode=ro", uri=True)) as store:
        count, cpu_ms, wall_ms = store.execute(query, (name,)).fetchone()
    return Ran(elapsed, cpu_ms, wall_ms, count)
