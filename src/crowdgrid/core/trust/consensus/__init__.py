"""Port `Consensus`: what to make of the results of one task. One file a rule.

A rule looks at the votes and says which one settles the task, or how many more assignments it needs to say so. It is
asked after each vote; open assignments that are not needed any more are withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from crowdgrid.core.model import JobSpec
from crowdgrid.core.trust.consensus import bounded_error, majority, single, trust_weighted
from crowdgrid.core.trust.votes import Vote


class Accepted(NamedTuple):
    """The answer of a task.

    Attributes:
        vote: its index. confidence: see `model.Task`.
    """

    vote: int
    confidence: float


class Consensus(Protocol):
    """A rule. Pure: the same votes give the same decision."""

    def opening(self, spec: JobSpec, doubt: float) -> int:
        """How many assignments a new task begins with, the first of them given to a node of this doubt."""
        ...

    def decide(
        self, spec: JobSpec, votes: Sequence[Vote], groups: Sequence[Sequence[int]], least: int
    ) -> tuple[int, float] | int:
        """The answer, as (index of its vote, confidence), or how many votes there should be to say more.

        Args:
            votes: at least one, in the order of their attempts.
            groups: which of them are the same answer; each vote is in one, and the first of a group stands for it.
            least: votes there must be in any case: more than one for a task that is audited.
        """
        ...


SINGLE = single.Single()
CONSENSUS: Mapping[str, Consensus] = {
    "single": SINGLE,
    "majority": majority.Majority(),
    "trust_weighted": trust_weighted.TrustWeighted(),
    "bounded_error": bounded_error.BoundedError(),
}
