"""The published priority formula of the orchestration study, with a closest fit of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crowdgrid import limits

if TYPE_CHECKING:
    from crowdgrid.core.scheduling.ranking import Head, Offer


def size_of(head: Head) -> float:
    """What a task asks for: cores and half its GB."""
    return head.milli_cpus / 1000 + head.memory_bytes / (2 << 30)


class PriorityFit:
    """`Priority = (A/R − S·P_s)·W`: age over size, less staleness, more for what is under way."""

    tried: Final = 1

    @staticmethod
    def urgency(head: Head) -> float:
        """A in s, R = cores + GB/2, S the stale count, P_s and W from `limits`."""
        boost = limits.PROGRESS_BOOST if head.under_way else 1.0
        return (head.age_s / size_of(head) - head.stale * limits.STALE_PENALTY) * boost

    @staticmethod
    def cost(offer: Offer) -> float:
        """The closest fit comes first anyway."""
        return 0.0
