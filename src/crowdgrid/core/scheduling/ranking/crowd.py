"""For crowds of unlike machines that come and go: the order of `priority_fit`, and the node that will be done first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crowdgrid.core.scheduling.ranking.priority_fit import PriorityFit

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Offer


class Crowd(PriorityFit):
    """See the module. Among the first offers that fit closely; a node that may be gone before it is done costs the time
    of doing it again."""

    tried: Final = 16  # type: ignore[misc]  # where the parent takes the first

    @staticmethod
    def cost(offer: Offer) -> float:
        """Expected time until the task is done, s: that on this node, over the chance that it stays so long. With
        nothing known of its speed, nodes that stay come first."""
        return (offer.seconds or 1.0) / max(offer.stays, 1e-3) * (1.0 + offer.load / 1_000)
