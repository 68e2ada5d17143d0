"""For crowds of unlike machines that come and go: the order of `priority_fit`, what few nodes can do first, and the node
that will be done first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crowdgrid import limits
from crowdgrid.core.scheduling.ranking.priority_fit import PriorityFit, size_of

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Head, Offer

_SCARCITY: Final = 8  # how steeply pressure counts: twice the usual comes before 256 times the age …
_PRESSURE_MOST: Final = 100.0  # … up to this one


class Crowd(PriorityFit):
    """See the module. Among the first offers that fit closely; a node that may be gone before it is done costs the time
    of doing it again."""

    tried: Final = 16  # type: ignore[misc]  # where the parent takes the first

    @staticmethod
    def urgency(head: Head) -> float:
        """`(A + 1)/R`, so that small ones come first from the beginning, less what lost leases cost; what waits for the
        scarcest nodes before all. Having been passed over costs nothing: it happens to what few can do."""
        boost = limits.PROGRESS_BOOST if head.under_way else 1.0
        urgency = ((head.age_s + 1.0) / size_of(head) - head.lost * limits.STALE_PENALTY) * boost
        return urgency * min(max(head.pressure, 1.0), _PRESSURE_MOST) ** _SCARCITY if urgency > 0 else urgency

    @staticmethod
    def cost(offer: Offer) -> float:
        """Expected time until the task is done, s: that on this node, over the chance that it stays so long. With
        nothing known of its speed, nodes that stay come first."""
        return (offer.seconds or 1.0) / max(offer.stays, 1e-3) * (1.0 + offer.load / 1_000)
