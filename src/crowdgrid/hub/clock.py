"""Engine time: integer ms that never go back, whatever the wall clock does."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Wall time at the start, at least the last committed `now`, plus the monotonic clock from then on.

    A wall clock that jumps changes nothing after the start; one that was behind at the start only makes
    engine time run ahead of it.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._start_ms = 0
        self._began = monotonic()

    def begin(self, committed_now: int) -> None:
        """Start from the wall clock, or from the last committed time if that is later."""
        current = self.now() if self._start_ms else 0
        self._start_ms = max(int(self._wall() * 1000), committed_now, current)
        self._began = self._monotonic()

    def now(self) -> int:
        """ms."""
        return self._start_ms + int((self._monotonic() - self._began) * 1000)
