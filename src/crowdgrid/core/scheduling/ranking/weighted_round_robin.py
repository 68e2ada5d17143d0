"""Every node in turn, the large ones more often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crowdgrid import limits

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Head, Offer


class WeightedRoundRobin:
    """Jobs in order of submission; a node is given as many tasks as is its weight among all: its cores and half its GB,
    as in the published size of a task. What a battery is worth its agent says by what it offers: see `agent.consent`."""

    tried: Final = limits.OFFERS_TRIED

    @staticmethod
    def urgency(head: Head) -> float:
        """Earlier jobs first."""
        return -float(head.job)

    @staticmethod
    def cost(offer: Offer) -> float:
        """What it was given, with the next task, over its weight."""
        weight = offer.milli_cpus / 1000 + offer.memory_bytes / (2 << 30)
        return (offer.given + 1) / max(weight, 1e-3)
