"""In order of submission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Head


class Fifo:
    """First in, first out; any node that may run it will do, least loaded first."""

    closest_fit: Final = False

    @staticmethod
    def urgency(head: Head) -> float:
        """Earlier jobs first."""
        return -float(head.job)
