"""Dispatch: how many trivial tasks a second get their answer, and how long one takes there and back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import NamedTuple

import msgspec

from benchmarks import figures, profiling
from benchmarks.context import Context
from benchmarks.crowding import crowd_of
from benchmarks.memory import open_job
from benchmarks.processes import ROOT, BenchGrid, BenchmarkFailed, folder_for
from benchmarks.report import Figure, Goal, Section, Table, at_least, at_most, number
from benchmarks.submitter import Measured, Order
from crowdgrid import limits
from crowdgrid.core.model import Range


class Load(NamedTuple):
    """What the client does: `in_flight` entries of `per_entry` tasks. `others`: what the anchors say of others."""

    title: str
    in_flight: int
    per_entry: int
    goal: Goal | None = None
    others: str = ""

    @property
    def of_time(self) -> bool:
        """Whether it is there to learn how long one task takes, not how many there are a second."""
        return self.in_flight == 1


class Cost(NamedTuple):
    """CPU microseconds a task, by process; and inside the hub by thread and part."""

    hub: float
    agents: float
    workers: float
    client: float
    loop: float
    engine: float
    writer: float
    others: float


class Run(NamedTuple):
    load: Load
    runtime: str
    measured: Measured
    cost: Cost
    per_commit: float
    commit_ms: float

    @property
    def rate(self) -> float:
        return self.measured.tasks / self.measured.elapsed


LOADS = (
    Load(
        "one by one, 1 in flight",
        1,
        1,
        at_most(5),
        "Ray 3.7 ms, Parsl 3.1 ms, Celery 6 ms, Dask 11–13 ms; our sketch 1.0–1.6 ms",
    ),
    Load(
        "one by one, 64 in flight",
        64,
        1,
        at_least(2_000),
        "Ray 976, Parsl 645–684, Dask 440–495, Celery 190–277, none durable; our sketch 3,700–3,900",
    ),
    Load("10 an entry, 64 in flight", 64, 10, None, "10,000 was thought possible of a real hub"),
    Load(
        "100 an entry, 20 in flight",
        20,
        100,
        at_least(10_000),
        "15,000 was thought possible; Celery 8,000–12,000 with 100 items in *one* task",
    ),
)


class Meter:
    """What the grid's processes had used at one moment."""

    def __init__(self, grid: BenchGrid) -> None:
        self.hub = grid.hub.cpu()
        self.agents = sum(agent.cpu() for agent in grid.agents)
        self.workers = sum(agent.children_cpu() for agent in grid.agents)
        self.threads = grid.hub.thread_cpu()
        self.counters = figures.parse((grid.hub.get("/metrics") or b"").decode())


def cost_between(before: Meter, after: Meter, measured: Measured) -> Cost:
    us = 1e6 / max(measured.tasks, 1)
    loop, writer, others = (b - a for a, b in zip(before.threads, after.threads, strict=True))
    engine = "crowdgrid_engine_seconds_total"
    return Cost(
        hub=(after.hub - before.hub) * us,
        agents=(after.agents - before.agents) * us,
        workers=(after.workers - before.workers) * us,
        client=measured.cpu * us,
        loop=loop * us,
        engine=(after.counters[engine] - before.counters[engine]) * us,
        writer=writer * us,
        others=others * us,
    )


def run_load(
    grid: BenchGrid, load: Load, runtime: str, *, warm: float, seconds: float, consensus: str = "single"
) -> Run:
    order = Order(grid.hub.url, grid.token, runtime, load.in_flight, load.per_entry, warm, seconds, consensus)
    words = [sys.executable, "-m", "benchmarks.submitter", msgspec.json.encode(order).decode()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        if client.stdout.readline().strip() != "begin":
            raise BenchmarkFailed(f"No result came: {load.title}, {runtime}.")
        before = Meter(grid)
        client.stdout.readline()
        after = Meter(grid)
        measured = msgspec.json.decode(client.stdout.read(), type=Measured)
    grown = figures.grown(before.counters, after.counters)
    commits = max(grown["crowdgrid_commit_seconds_count"], 1.0)
    commit_ms = grown["crowdgrid_commit_seconds_sum"] / commits * 1000
    cost = cost_between(before, after, measured)
    return Run(load, runtime, measured, cost, measured.tasks / commits, commit_ms)


# --- the section ---------------------------------------------------------------------------------

AGENTS = 2
TEXT = """
A client in a process of its own appends items over its link and waits for their rows; {agents} agents with one worker
process each run them. An *entry* is one Append; every item is a task of its own (`Items(piece=1)`), leased, run,
signed, spooled, reported, verified, settled, and committed twice (`synchronous=FULL`) before anybody is told.
`echo` is an agent whose workers give back what they get: dispatch alone, which the goals are about. `wasm` runs the module
`echo.wasm`, each task in a fresh sandbox; what that adds is in the workers' column.
"""


def measure(context: Context) -> Section:
    runs = [*_runs(context, "echo"), _beside(context, context.of(100_000, 20_000)), *_runs(context, "wasm")]
    section = Section("Dispatch", TEXT.format(agents=AGENTS), _figures(runs), [_rates(runs), _costs(runs)])
    if section.missed:
        section.profile = _profile(context)
    return section


def _runs(context: Context, runtime: str) -> list[Run]:
    warm, seconds = context.of(1.0, 0.5), context.of(5.0, 1.5)
    with BenchGrid() as grid:
        grid.start_agents(AGENTS, runtime=runtime)
        return [run_load(grid, load, runtime, warm=warm, seconds=seconds) for load in LOADS]


def _beside(context: Context, tasks: int) -> Run:
    """One by one, while the hub holds so many tasks leased to nodes that sit on them."""
    load = LOADS[1]._replace(title=f"one by one, 64 in flight, {tasks:,} other tasks open", goal=None, others="")
    with BenchGrid() as grid:
        asyncio.run(open_job(grid, Range(0, tasks, 1)))
        nodes = -(-tasks // limits.HELD_ASSIGNMENTS)
        with crowd_of(grid, nodes, runtime="echo", slots=limits.HELD_ASSIGNMENTS, leases=tasks):
            grid.start_agents(AGENTS, runtime="echo")
            return run_load(grid, load, "echo", warm=context.of(1.0, 0.5), seconds=context.of(5.0, 1.5))


def _figures(runs: list[Run]) -> list[Figure]:
    found = []
    for run in runs:
        load, dispatch = run.load, run.runtime == "echo"
        value, unit = (run.measured.p50 * 1000, "ms p50") if load.of_time else (run.rate, "tasks/s")
        goal, others = (load.goal, load.others) if dispatch else (None, "")
        found.append(Figure(f"{run.runtime}, {load.title}", value, unit, goal, others))
    return found


def _rates(runs: list[Run]) -> Table:
    head = ["runtime", "load", "tasks/s", "p50 ms", "p99 ms", "longest ms", "tasks a commit", "ms a commit"]
    rows = []
    for run in runs:
        trips = (run.measured.p50 * 1000, run.measured.p99 * 1000, run.measured.longest * 1000)
        numbers = [run.rate, *trips, run.per_commit, run.commit_ms]
        rows.append([run.runtime, run.load.title, *map(number, numbers)])
    return Table(head, rows)


def _costs(runs: list[Run]) -> Table:
    parts = ("link", "engine", "store", "signatures and other threads")
    head = ["CPU µs a task", "load", "all", "hub", "agents", "workers", "client", *(f"hub: {part}" for part in parts)]
    rows = []
    for run in runs:
        cost = run.cost
        whole = cost.hub + cost.agents + cost.workers + cost.client
        link = max(cost.loop - cost.engine, 0.0)
        numbers = [whole, cost.hub, cost.agents, cost.workers, cost.client, link, cost.engine, cost.writer, cost.others]
        rows.append([run.runtime, run.load.title, *(number(round(value)) for value in numbers)])
    return Table(head, rows)


def _profile(context: Context) -> str:
    """The hub's event loop under the profiler, one by one with 64 in flight."""
    with folder_for("profile") as folder:
        file = folder / "hub.prof"
        with BenchGrid(profile=file) as grid:
            grid.start_agents(AGENTS, runtime="echo")
            run_load(grid, LOADS[1], "echo", warm=0.5, seconds=context.of(4.0, 1.5))
        return profiling.table(file)
