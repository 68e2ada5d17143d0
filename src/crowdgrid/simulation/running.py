"""Runs, one or many: each in its own world, several at a time in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from crowdgrid.simulation import reading
from crowdgrid.simulation.lines import Line
from crowdgrid.simulation.outcome import Outcome
from crowdgrid.simulation.world import World


def run(line: Line) -> Outcome:
    """One run. Raises BadInput when there is no such scenario or something is wrong with it."""
    return World(reading.read(reading.found(line.scenario), line.changes), line.seed).run()


def run_all(lines: Sequence[Line], processes: int) -> Iterator[tuple[Line, Outcome]]:
    """Each run with what came of it, in the order given.

    Raises:
        BadInput: as `run`, before anything runs.
    """
    for scenario, changes in dict.fromkeys((line.scenario, line.changes) for line in lines):
        reading.read(reading.found(scenario), changes)
    if processes <= 1 or len(lines) <= 1:
        for line in lines:
            yield line, run(line)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from zip(lines, pool.map(run, lines), strict=True)
