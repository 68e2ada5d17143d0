"""Which kinds of need wait longer than others, because few nodes can serve them.

A node that could do what hardly any other can should not be given what all can, as long as there is enough of the
first: the scarce nodes would still be at it when the others have long nothing to do. *Pressure* of a kind of need is
what waits of it, and of everything that needs at least as much, over how often a node that suits offers itself; beside
the same of all that waits. Above 1, those nodes are the bottleneck. How often they offer themselves is counted over
the last offers, not over time, so that it says as much of tasks of an hour as of a second.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from crowdgrid.core.scheduling.eligibility import suits

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.eligibility import Needs
    from crowdgrid.core.state import JobRun, Lane, Pool, State

NODES_ASKED: Final = 1_000
KINDS_COMPARED: Final = 64  # kinds of need that wait; of more, none is called scarce: each is compared with each
OFFERS_REMEMBERED: Final = 4  # of each node that offers itself, about


def offer_came(state: State) -> None:
    """A node offered itself, or what is left of its offer."""
    state.came += 1.0
    if state.came > 64 + OFFERS_REMEMBERED * len(state.nodes):
        state.came /= 2
        for pool in state.pools.values():
            pool.came /= 2


def begin(state: State, pool: Pool) -> None:
    """A pool is new: of the last offers as many are taken to have suited as would now of the nodes that are here."""
    seen = list(islice(state.nodes.values(), NODES_ASKED))
    fitting = sum(suits(pool.needs, node) for node in seen)
    pool.came = state.came * fitting / len(seen) if seen else state.came


def measure(state: State) -> None:
    """Note the pressure of every pool."""
    waits: dict[Needs, float] = {}
    for lanes in state.levels.values():
        for needs, lane in lanes.items():
            if lane.lines:
                waits[needs] = waits.get(needs, 0.0) + _waiting(state, lane)
    total = sum(waits.values())
    few = 1 < len(waits) <= KINDS_COMPARED
    for needs, pool in state.pools.items():
        pool.pressure = 1.0
        if few and total and pool.came:
            harder = sum(count for other, count in waits.items() if _at_least(other, needs))
            pool.pressure = harder / pool.came / (total / state.came)


def _waiting(state: State, lane: Lane) -> float:
    """Tasks, about."""
    found = 0.0
    for line in lane.lines.values():
        found += len(line.backlog)
        for _, number in line.active:
            found += _of(state.jobs[number])
    return found


def _of(job: JobRun) -> float:
    usual = job.units_cut / job.tasks if job.tasks else 1.0
    return job.in_queue + len(job.short) + (job.units - job.units_cut) / max(usual, 1.0)


def _at_least(one: Needs, other: Needs) -> bool:
    """Whether every node that suits `one` suits `other`, too, as far as sizes tell."""
    return (
        one.milli_cpus >= other.milli_cpus
        and one.memory_bytes >= other.memory_bytes
        and one.min_trust >= other.min_trust
        and one.runtime == other.runtime
        and set(one.labels) >= set(other.labels)
        and (not other.region or one.region == other.region)
        and (not other.group or one.group == other.group)
        and (not other.owner or one.owner == other.owner)
    )
