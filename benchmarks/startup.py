"""Start-up: how long until things answer."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks import figures, profiling
from benchmarks.context import Context
from benchmarks.processes import ROOT, AgentProcess, BenchGrid, wait_until
from benchmarks.report import Figure, Section, at_most

TEXT = """
Median of {times} starts; Python's bytecode is cached, as it is from the second start on. The first result is that of a
WASM program, counted from the call of `local()`: it waits for the hub, an agent, a worker and the compiler. SQLAlchemy
is on none of these paths: statements are generated when the schema changes, not when a hub starts.
"""
OTHERS = "only to start: Dask 0.8–1.2 s, Celery 1.0 s, Ray 3.9 s, Parsl 7.2 s"
OFFERED = "crowdgrid_slots_offered"


def measure(context: Context) -> Section:
    times = context.of(5, 3)
    _first_result()  # caches bytecode
    starts = [_first_result() for _ in range(times)]
    hubs = [_hub() for _ in range(times)]
    agents = [_agent() for _ in range(times)]
    again = statistics.median(again for _, again in hubs)
    figures_ = [
        Figure("`import crowdgrid`", _median(starts, "import"), "s"),
        Figure("`crowdgrid.local()` returns", _median(starts, "local"), "s", at_most(0.3)),
        Figure("its first result is there", _median(starts, "first"), "s", at_most(1.5), OTHERS),
        Figure("hub, exec to `/readyz`, on a new folder", statistics.median(new for new, _ in hubs), "s"),
        Figure("hub, exec to `/readyz`, started again", again, "s"),
        Figure("agent, exec to its offer at the hub", statistics.median(agents), "s"),
    ]
    section = Section("Start-up", TEXT.format(times=times), figures_)
    if section.missed:
        section.profile = profiling.imports(sys.executable, "import crowdgrid.hub.app, uvicorn")
    return section


def _median(starts: list[dict[str, float]], key: str) -> float:
    return statistics.median(start[key] for start in starts)


def _first_result() -> dict[str, float]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [sys.executable, "-m", "benchmarks.first_result"]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT, env=environ)
    found: dict[str, float] = json.loads(told.stdout)
    return found


def _hub() -> tuple[float, float]:
    """(on a new folder, started again on it)."""
    with BenchGrid() as grid:
        grid.hub.stop()
        return grid.ready_seconds, grid.start_hub().wait_ready()


def _agent() -> float:
    with BenchGrid() as grid:
        _offers(grid)  # the first look at /metrics imports what writes them
        agent = AgentProcess(grid.folder, grid.hub.url, grid.invitation, "agent-1", "wasm", 1)
        grid.agents.append(agent)
        wait_until(lambda: _offers(grid) > 0, "The agent makes no offer", 30.0, 0.01)
        return time.perf_counter() - agent.began


def _offers(grid: BenchGrid) -> float:
    return figures.parse((grid.hub.get("/metrics") or b"").decode()).get(OFFERED, 0.0)
