"""Port `Ranking`: in which order jobs are served, and which of the waiting nodes fits best. One rule a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from crowdgrid.core.scheduling.ranking import crowd, fifo, priority_fit, weighted_round_robin


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a rule may know of a job's next task.

    Attributes:
        job: its number, which is also its place in the order of submission.
        age_s: how long it has been waiting, s. milli_cpus, memory_bytes: what it asks for.
        stale: times it lost its lease, and tens of plans that passed it over.
        under_way: some of its job's tasks are running or done.
        lost: times it lost its lease.
        pressure: how much waits for the nodes that will do, beside what waits for all nodes; see `scheduling.scarcity`.
    """

    job: int
    age_s: float
    milli_cpus: int
    memory_bytes: int
    stale: int
    under_way: bool
    lost: int = 0
    pressure: float = 1.0


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What a rule may know of a node that waits for work, and of a job's next task on it.

    Attributes:
        milli_cpus, memory_bytes: of the whole node. load: assignments it holds, a thousand cores.
        given: assignments it was given since its link opened.
        seconds: what a task of this job is expected to take on it, s; 0 unknown.
        stays: the chance that it is still here then, in [0, 1].
    """

    milli_cpus: int
    memory_bytes: int
    load: int
    given: int
    seconds: float
    stays: float


class Ranking(Protocol):
    """A rule. Higher priority and fair share between owners come before it, whatever the rule."""

    @property
    def tried(self) -> int:
        """How many of the offers that suit are compared, closest fit first; 1: that one is taken."""
        ...

    def urgency(self, head: Head) -> float:
        """Larger is served first."""
        ...

    def cost(self, offer: Offer) -> float:
        """The least of those compared is taken; of equal ones the closest fit, then the least loaded and most trusted."""
        ...


RANKINGS: Mapping[str, Ranking] = {
    "crowd": crowd.Crowd(),
    "priority_fit": priority_fit.PriorityFit(),
    "weighted_round_robin": weighted_round_robin.WeightedRoundRobin(),
    "fifo": fifo.Fifo(),
}
DEFAULT = "crowd"
