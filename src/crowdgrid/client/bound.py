"""How many calls of one executor the grid has at once, whatever functions they are of.

All calls run on crowdgrid's loop, so there is nothing to lock. Who finds no room waits in a queue and takes one place
in its turn; more than one only of those that nobody waits for. So no function starves another.
"""

from __future__ import annotations

import asyncio


class Bound:
    """`count` places, shared by the jobs of one executor; a job is known by the event that wakes it."""

    __slots__ = ("_free", "_waiting", "count")

    def __init__(self, count: int) -> None:
        self.count = self._free = count
        self._waiting: dict[asyncio.Event, None] = {}  # an ordered set

    def room(self, who: asyncio.Event) -> int:
        """Places that `who` may take now."""
        others = len(self._waiting) - (who in self._waiting)
        if self._free > others:
            return self._free - others
        return int(who in list(self._waiting)[: self._free])

    def take(self, who: asyncio.Event, count: int) -> None:
        """Take places there was room for; who wants more waits again, behind the others."""
        self._waiting.pop(who, None)
        self._free -= count

    def give_back(self, count: int = 1) -> None:
        """Calls were answered: whose turn it is now looks again."""
        self._free += count
        self._wake()

    def wait(self, who: asyncio.Event) -> None:
        """Have `who` set when it is its turn; waiting already, it keeps its turn."""
        self._waiting.setdefault(who)

    def leave(self, who: asyncio.Event) -> None:
        """Wait no longer: the turn passes on."""
        if who in self._waiting:
            del self._waiting[who]
            self._wake()

    def _wake(self) -> None:
        for who in list(self._waiting)[: self._free]:
            who.set()
