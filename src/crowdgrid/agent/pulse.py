"""Heartbeats: when one is due, how long the way to the hub takes, and whether the hub still answers.

A connection can be dead for hours without TCP noticing, when a router between forgot it. So every
heartbeat is answered by `Beat`, and silence of `BEAT_SECONDS` means the link is dead. A gap between two
looks at the clock means that this machine slept: then nobody but us was silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.protocol.messages import Heartbeat

BEAT_SECONDS: Final = 15.0
GAP_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 0.05


class Pulse:
    """The heartbeats of one agent. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.round_trip_ms = 0.0  # moving average, 0 unknown
        self._interval = float(limits.HEARTBEAT_SECONDS)
        self._due = 0.0
        self._looked = 0.0
        self._unanswered_since = 0.0  # 0: every heartbeat was answered

    def begin(self, heartbeat_ms: int) -> None:
        """There is a new link; it wants a heartbeat so often, and the first at once."""
        self._interval = max(heartbeat_ms / 1000, _SHORTEST_SECONDS)
        self._due = self._unanswered_since = 0.0

    def hasten(self) -> None:
        """Make the next heartbeat due now."""
        self._due = 0.0

    def look(self, now: float) -> None:
        """To be called a few times a second, before `due` and `lost`."""
        if self._looked and now - self._looked > GAP_SECONDS:
            self._due = self._unanswered_since = 0.0
        self._looked = now

    def due(self, now: float) -> bool:
        """Whether a heartbeat should be sent."""
        return now >= self._due

    def lost(self, now: float) -> bool:
        """Whether the hub has been silent for too long."""
        return self._unanswered_since > 0 and now - self._unanswered_since > BEAT_SECONDS

    def beat(self, now: float, held: Sequence[bytes], load: dict[str, Any]) -> Heartbeat:
        """The heartbeat to send now."""
        self._due = now + self._interval
        self._unanswered_since = self._unanswered_since or now
        load = {**load, "rtt_ms": round(self.round_trip_ms, 2)}
        return Heartbeat(tuple(held[: limits.HELD_ASSIGNMENTS]), int(now * 1_000_000), load)

    def answered(self, now: float, sent: int) -> None:
        """A `Beat` came: the answer to a heartbeat, or to none (`sent` 0), which asks for one."""
        if not sent:
            self.hasten()
            return
        self._unanswered_since = 0.0
        took = now * 1000 - sent / 1000
        if 0 <= took < BEAT_SECONDS * 1000:
            self.round_trip_ms += (took - self.round_trip_ms) * (0.3 if self.round_trip_ms else 1.0)
