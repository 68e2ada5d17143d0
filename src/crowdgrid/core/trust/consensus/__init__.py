"""Port `Consensus`: what to make of the results of one task. One file a rule.

A rule looks at the votes (results that are answers: ok or a program's error, never a node's error) and says
which one settles the task, or how many more assignments it needs to say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from crowdgrid.core.model import Assignment
from crowdgrid.core.trust.consensus import single


class Consensus(Protocol):
    """A rule."""

    def __call__(self, votes: Sequence[Assignment]) -> Assignment | None:
        """The vote that settles the task, or None: one more is asked for."""
        ...


CONSENSUS: Mapping[str, Consensus] = {"single": single.decide, "none": single.decide}
