"""Agreement: what it costs the hub to be sure, on nodes that are honest and known.

The same loads as of dispatch, on one hub, with `single` and with `bounded_error` in turn: what else the machine does
falls on both alike, and what is compared are neighbours in time.
"""

from __future__ import annotations

from statistics import median

from benchmarks import profiling
from benchmarks.context import Context
from benchmarks.dispatch import AGENTS, LOADS, Load, Run, run_load
from benchmarks.processes import BenchGrid, folder_for
from benchmarks.report import Figure, Section, Table, at_least, number

BOUND = 1e-3  # a job's default
GOAL = at_least(80)
TEXT = """
The loads of *Dispatch* with the runtime `echo`, on one hub and {agents} agents of different owners: `single` and
`bounded_error` (ε = {bound:g}, the default) in turn, {pairs} times each. The nodes are honest and were judged often
enough before that each may stand alone; {audits} % of the tasks are looked at twice all the same. *Share* is the median
of the pairs' tasks a second, `bounded_error` over `single`.
"""


def measure(context: Context) -> Section:
    pairs = context.of(5, 2)
    loads = (LOADS[1], LOADS[2], LOADS[3])
    with BenchGrid() as grid:
        grid.start_agents(AGENTS, runtime="echo", owners=True)
        _become_known(grid)
        found = {load.title: _in_turn(grid, load, pairs, context.of(2.5, 1.0)) for load in loads}
    figures, rows = [], []
    for load in loads:
        both = found[load.title]
        shares = [bounded.rate / single.rate * 100 for single, bounded in both]
        figures.append(Figure(f"echo, {load.title}: share", median(shares), "%", GOAL))
        rows += [_row(load, "single", [one for one, _ in both]), _row(load, "bounded_error", [one for _, one in both])]
    head = [
        "load",
        "consensus",
        "tasks/s",
        "p50 ms",
        "p99 ms",
        "CPU µs a task: hub",
        "agents",
        "hub: engine",
        "hub: store",
    ]
    text = TEXT.format(agents=AGENTS, bound=BOUND, pairs=pairs, audits=3)
    section = Section("Agreement", text, figures, [Table(head, rows)])
    if section.missed:
        section.profile = _profile(context)
    return section


def _become_known(grid: BenchGrid) -> None:
    """Tasks that two nodes answer, until each may stand alone for a good while."""
    run_load(grid, LOADS[2], "echo", warm=2.0, seconds=2.0, consensus="bounded_error")


def _in_turn(grid: BenchGrid, load: Load, pairs: int, seconds: float) -> list[tuple[Run, Run]]:
    found = []
    for at in range(pairs):
        order = ("single", "bounded_error") if at % 2 == 0 else ("bounded_error", "single")
        runs = {name: run_load(grid, load, "echo", warm=0.5, seconds=seconds, consensus=name) for name in order}
        found.append((runs["single"], runs["bounded_error"]))
    return found


def _row(load: Load, consensus: str, runs: list[Run]) -> list[str]:
    numbers = [
        median(run.rate for run in runs),
        median(run.measured.p50 for run in runs) * 1000,
        median(run.measured.p99 for run in runs) * 1000,
        *(median(getattr(run.cost, part) for run in runs) for part in ("hub", "agents", "engine", "writer")),
    ]
    return [load.title, consensus, *map(number, numbers)]


def _profile(context: Context) -> str:
    """The hub's event loop under the profiler, with agreement."""
    with folder_for("profile") as folder:
        file = folder / "hub.prof"
        with BenchGrid(profile=file) as grid:
            grid.start_agents(AGENTS, runtime="echo", owners=True)
            _become_known(grid)
            run_load(grid, LOADS[3], "echo", warm=0.5, seconds=context.of(4.0, 1.5), consensus="bounded_error")
        return profiling.table(file)
