"""Virtual time: what will happen, in order. Whole milliseconds; two things at one moment happen in the order in which
they were put down. Nothing waits, and no clock is read."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

START_MS: Final = 1_000_000  # an engine's clock never stands at 0


class Timeline:
    """The heap of what is to come. `now` is ms; `happened` counts what did."""

    __slots__ = ("_heap", "_order", "happened", "now")

    def __init__(self) -> None:
        self.now = START_MS
        self.happened = 0
        self._order = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, when: int, act: Callable[..., None], *given: Any) -> None:
        """Let `act(*given)` happen at `when` (ms), now if that has passed."""
        self._order += 1
        heappush(self._heap, (max(when, self.now), self._order, act, given))

    def after(self, ms: int, act: Callable[..., None], *given: Any) -> None:
        """Let `act(*given)` happen in `ms`."""
        self._order += 1
        heappush(self._heap, (self.now + ms, self._order, act, given))

    def next(self) -> int:
        """When the next thing happens; −1 never."""
        return self._heap[0][0] if self._heap else -1

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, act, given = heappop(self._heap)
        self.happened += 1
        act(*given)
