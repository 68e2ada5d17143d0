"""One result settles a task: for machines of one owner, or work that checks itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crowdgrid.core.model import JobSpec
    from crowdgrid.core.trust.votes import Vote


class Single:
    """The first vote."""

    @staticmethod
    def opening(spec: JobSpec, doubt: float) -> int:
        """One."""
        return 1

    @staticmethod
    def decide(
        spec: JobSpec, votes: Sequence[Vote], groups: Sequence[Sequence[int]], least: int
    ) -> tuple[int, float] | int:
        """Nothing is said of how likely it is right."""
        return 0, 0.0
