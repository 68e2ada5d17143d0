"""How fast a job goes, from what the hub told of it: the mean of the last half minute."""

from __future__ import annotations

from collections import deque
from typing import Final

from crowdgrid.core.model import JobState
from crowdgrid.protocol.messages import JobInfo

SECONDS: Final = 30.0


class Pace:
    """Units done by time."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def saw(self, done: int, now: float) -> None:
        """`done` units were done at `now` (monotonic seconds)."""
        if self._seen and done < self._seen[-1][1]:  # some were opened again
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > SECONDS:
            self._seen.popleft()

    def seconds_left(self, job: JobInfo) -> float | None:
        """How long the rest takes at this pace; None when that cannot be told."""
        left = job.counts.units - job.counts.units_done
        if job.state == JobState.OPEN or job.paused or len(self._seen) < 2:
            return None
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        if last <= first or now <= began:
            return None
        return left * (now - began) / (last - first)
