"""Many simulated runs, several at a time in processes of their own, in the order they were asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from crowdgrid.simulation.outcome import Outcome
from crowdgrid.simulation.scenario import Scenario
from crowdgrid.simulation.world import World

T = TypeVar("T")
R = TypeVar("R")


class Broken(Exception):
    """A run did not keep its promises: nothing it found can be used."""


def run(scenario: Scenario, seed: int) -> Outcome:
    """One run.

    Raises:
        Broken: a checker found a fault.
    """
    outcome = World(scenario, seed).run()
    if outcome.fault:
        raise Broken(f"{scenario.about or 'a run'}, seed {seed}: {outcome.fault}")
    return outcome


def each(work: Callable[[T], R], of: Sequence[T]) -> Iterator[R]:
    """`work` of each, as many at once as there are cores; how far it is goes to a terminal."""
    began = sys.stderr.isatty()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for at, found in enumerate(pool.map(work, of), 1):
            if began:
                print(f"\r  {at:,} of {len(of):,}", end="\n" if at == len(of) else "", file=sys.stderr, flush=True)
            yield found
