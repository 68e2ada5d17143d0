"""As many votes as it takes until an answer is right with chance 1 − ε, one more at a time.

ε is the job's `error_bound`. A node that is believed to err less often than that stands alone, unless the task is
audited; see `belief` for what is believed and why.

An answer is accepted at half of ε (`MARGIN`), and looked at again only above ε. Nodes that are believed to err just as
often as may be would otherwise make up most of those who stand alone, and what is believed is right on average only:
the bound would be missed by about half of all crowds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crowdgrid.core.trust.votes import rightness

if TYPE_CHECKING:
    from crowdgrid.core.model import JobSpec
    from crowdgrid.core.trust.votes import Vote


MARGIN: Final = 0.5


def stands_alone(spec: JobSpec, doubt: float) -> bool:
    """Whether the answer of a node of this doubt is enough."""
    return doubt <= spec.error_bound * MARGIN


class BoundedError:
    """See the module."""

    @staticmethod
    def opening(spec: JobSpec, doubt: float) -> int:
        """One if the node may stand alone, else two: more are asked for only when two did not do."""
        return 1 if stands_alone(spec, doubt) else 2

    @staticmethod
    def decide(
        spec: JobSpec, votes: Sequence[Vote], groups: Sequence[Sequence[int]], least: int
    ) -> tuple[int, float] | int:
        """The confidence is the chance that the answer is right."""
        if len(votes) == 1:
            right = 1.0 - votes[0].doubt
            return (0, right) if least <= 1 and stands_alone(spec, votes[0].doubt) else 2
        chances = rightness(votes, groups, spec.collision)
        best = max(groups, key=lambda group: chances[group[0]])[0]
        if len(votes) >= least and 1.0 - chances[best] <= spec.error_bound * MARGIN:
            return best, chances[best]
        return len(votes) + 1
