"""In order of submission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crowdgrid import limits

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Head, Offer


class Fifo:
    """First in, first out; any node that may run it will do, least loaded first."""

    tried: Final = limits.OFFERS_TRIED

    @staticmethod
    def urgency(head: Head) -> float:
        """Earlier jobs first."""
        return -float(head.job)

    @staticmethod
    def cost(offer: Offer) -> float:
        """The load."""
        return float(offer.load)
