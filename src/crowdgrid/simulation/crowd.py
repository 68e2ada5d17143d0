"""A crowd: nodes of one kind, and what came of them together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from crowdgrid.core.model import Verdict
from crowdgrid.simulation import scenario as s
from crowdgrid.simulation.node import Member

if TYPE_CHECKING:
    from crowdgrid.simulation.world import World


class Group:
    """The nodes of one `[[crowd]]` table.

    Attributes:
        answered, wrong, broke: what its nodes answered, how much of it wrong, and how often they broke down.
        verdicts: what the hub said of it.
    """

    def __init__(self, world: World, spec: s.Crowd, index: int) -> None:
        self.world = world
        self.spec = spec
        self.index = index
        self.answered = self.wrong = self.broke = 0
        self.verdicts: Counter[Verdict] = Counter()
        self.slots = spec.slots or spec.cores
        self.slot_milli_cpus = spec.cores * 1000 // self.slots
        self.slot_bytes = (spec.memory_mb << 20) // (self.slots * (1 + spec.ahead))
        self.pace = spec.behaviour.pace if isinstance(spec.behaviour, s.Copier | s.FreeRider) else 1.0
        self.leavers = isinstance(spec.behaviour, s.Leaver)
        self.away_ms = int(spec.behaviour.back_s * 1000) if isinstance(spec.behaviour, s.Leaver) else 0
        self.fickle = bool(spec.declines or spec.gives_back or spec.retracts)

    def settle(self, first_place: int) -> None:
        """Have its nodes come, from this place of the world on."""
        spec, timeline = self.spec, self.world.timeline
        pause = spec.joins_over_s * 1000 / spec.count
        for within in range(spec.count):
            member = Member(self, first_place + within, within)
            self.world.crowd.append(member)
            timeline.after(int(within * pause), member.begin)
