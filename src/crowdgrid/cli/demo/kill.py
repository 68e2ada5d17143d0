"""Something that was killed with SIGKILL in the demonstration, and how the grid took it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RECOVERY_SECONDS_MAX: Final = 15.0


@dataclass(slots=True)
class Kill:
    """What was killed, when, and how long it took until work went on.

    Attributes:
        at: share of the job that was done. held: tasks leased to it at that moment; of a worker, calls it ran.
        seconds: from the kill until it was made good (each act says what that is); −1: never.
    """

    what: str
    at: float
    held: int
    seconds: float = -1.0

    @property
    def right(self) -> bool:
        """Whether the grid recovered in time."""
        return 0 <= self.seconds <= RECOVERY_SECONDS_MAX
