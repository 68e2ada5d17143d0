"""As many equal answers as are a majority of `overlap`, whoever gave them.

Of an overlap of n, ⌊n/2⌋ + 1 must agree (D. P. Anderson, "BOINC: A Platform for Volunteer Computing", Journal of Grid
Computing 18, 2020: the quorum of its validator). So many assignments are made at first, and with each disagreement as
many more as the largest group lacks: the rest of n could not overturn them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crowdgrid.core.trust.votes import rightness

if TYPE_CHECKING:
    from crowdgrid.core.model import JobSpec
    from crowdgrid.core.trust.votes import Vote


def quorum(overlap: int) -> int:
    """How many of `overlap` must agree."""
    return overlap // 2 + 1


class Majority:
    """See the module."""

    @staticmethod
    def opening(spec: JobSpec, doubt: float) -> int:
        """The quorum."""
        return quorum(spec.overlap)

    @staticmethod
    def decide(
        spec: JobSpec, votes: Sequence[Vote], groups: Sequence[Sequence[int]], least: int
    ) -> tuple[int, float] | int:
        """The confidence is the chance that the answer is right, as far as its voters are known."""
        need = max(quorum(spec.overlap), least)
        best = max(groups, key=len)  # the first of the largest
        if len(best) >= need:
            return best[0], rightness(votes, groups, spec.collision)[best[0]]
        return len(votes) + need - len(best)
