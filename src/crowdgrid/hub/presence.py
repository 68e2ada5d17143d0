"""Who is connected, followed from the keeper's batches, so that lists and overviews ask nobody and count nothing."""

from __future__ import annotations

from collections.abc import Sequence

from crowdgrid.core.effects import Effect, NodeChanged
from crowdgrid.core.model import Node


class Presence:
    """The nodes whose link is open, and what they bring together.

    Attributes:
        milli_cpus: thousandths of cores. memory_bytes: of all of them.
    """

    def __init__(self) -> None:
        self._online: dict[int, Node] = {}
        self._trust = 0.0
        self.milli_cpus = 0
        self.memory_bytes = 0

    def __contains__(self, node: int) -> bool:
        return node in self._online

    def __len__(self) -> int:
        return len(self._online)

    @property
    def trust_mean(self) -> float | None:
        """The mean trust index of those online; None when nobody is."""
        return round(self._trust / len(self._online), 2) if self._online else None

    def saw(self, batch: Sequence[Effect]) -> None:
        """Follow one committed batch (a listener on the keeper)."""
        for effect in batch:
            if isinstance(effect, NodeChanged):
                self._changed(effect.node, online=effect.online)

    def _changed(self, node: Node, *, online: bool) -> None:
        if (before := self._online.pop(node.number, None)) is not None:
            self._add(before, -1)
        if online:
            self._online[node.number] = node
            self._add(node, 1)

    def _add(self, node: Node, sign: int) -> None:
        self._trust += sign * node.trust
        self.milli_cpus += sign * node.milli_cpus
        self.memory_bytes += sign * node.memory_bytes

    def clear(self, _why: str) -> None:
        """Every link was closed: the engine is being rebuilt."""
        self._online.clear()
        self._trust = 0.0
        self.milli_cpus = self.memory_bytes = 0
