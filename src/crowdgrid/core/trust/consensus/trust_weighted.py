"""The published vote: `overlap` nodes report, and each answer weighs the trust of those who gave it.

W_v = Σ T_i over the nodes that said v; score = max W_v / Σ W_v; v is accepted if the score reaches the threshold. The
trusts 7, 7 against 3, 3, 3 give 14/23 = 0.6087, shown as a trust score of 6.1. Scored when all have reported; below
the threshold one more node is asked, and nobody's trust moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import TYPE_CHECKING

from crowdgrid.core.trust.votes import weight

if TYPE_CHECKING:
    from crowdgrid.core.model import JobSpec
    from crowdgrid.core.trust.votes import Vote


class TrustWeighted:
    """See the module."""

    @staticmethod
    def opening(spec: JobSpec, doubt: float) -> int:
        """All of them at once."""
        return spec.overlap

    @staticmethod
    def decide(
        spec: JobSpec, votes: Sequence[Vote], groups: Sequence[Sequence[int]], least: int
    ) -> tuple[int, float] | int:
        """The confidence is the score, in (0, 1]."""
        need = max(spec.overlap, least)
        if len(votes) < need:
            return need
        best = max(groups, key=lambda group: weight(votes, group))
        score = weight(votes, best) / fsum(vote.trust for vote in votes)
        return (best[0], score) if score >= spec.threshold else len(votes) + 1
