"""Port `Ranking`: in which order jobs are served, and which of the waiting nodes fits best. One rule a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from crowdgrid.core.scheduling.ranking import fifo, priority_fit


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a rule may know of a job's next task.

    Attributes:
        job: its number, which is also its place in the order of submission.
        age_s: how long it has been waiting, s. milli_cpus, memory_bytes: what it asks for.
        stale: times it lost its lease, and tens of plans that passed it over.
        under_way: some of its job's tasks are running or done.
    """

    job: int
    age_s: float
    milli_cpus: int
    memory_bytes: int
    stale: int
    under_way: bool


class Ranking(Protocol):
    """A rule. Higher priority and fair share between owners come before it, whatever the rule."""

    @property
    def closest_fit(self) -> bool:
        """Whether a task goes to the offer that fits its size most closely, or to the least loaded node."""
        ...

    def urgency(self, head: Head) -> float:
        """Larger is served first."""
        ...


RANKINGS: Mapping[str, Ranking] = {"fifo": fifo.Fifo(), "priority_fit": priority_fit.PriorityFit()}
