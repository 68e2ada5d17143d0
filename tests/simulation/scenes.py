"""What the tests of the simulation run, and small scenarios of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from crowdgrid.simulation.lines import lines_in
from crowdgrid.simulation.scenario import Scenario
from crowdgrid.simulation.world import World

LINES = list(lines_in((Path(__file__).parent / "regressions.txt").read_text()))


def scenario(
    *, crowd: list[dict[str, Any]] | None = None, jobs: list[dict[str, Any]] | None = None, **tables: Any
) -> Scenario:
    """Ten machines and a job of fifty tasks of ten seconds, unless told otherwise."""
    crowd = crowd or [{"name": "machines", "count": 10}]
    jobs = jobs or [{"name": "sweep", "tasks": 50}]
    return msgspec.convert({"crowd": crowd, "jobs": jobs, **tables}, Scenario)


def world(seed: int = 1, **tables: Any) -> World:
    """A world that has not begun."""
    return World(scenario(**tables), seed)
