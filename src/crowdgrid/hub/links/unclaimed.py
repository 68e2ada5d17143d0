"""How much a node has put as blobs and not yet named in a report: a node is not somebody's disk.

What was put and is never named goes with the collector after its grace time, so each node's account starts anew
every hour. Kept in memory: a restart forgives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crowdgrid import limits

BYTES_MAX: Final = limits.NODE_UNCLAIMED_OUTPUTS * limits.OUTPUT_BYTES
_HOUR_MS: Final = 3_600_000


class Unclaimed:
    """The accounts of all nodes. `now` is engine time in ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._hour = -1
        self._bytes: dict[int, int] = {}

    def left(self, node: int) -> int:
        """Bytes the node may still put."""
        self._turn()
        return max(0, BYTES_MAX - self._bytes.get(node, 0))

    def put(self, node: int, size: int) -> None:
        """The node put `size` bytes that were not here before."""
        self._turn()
        self._bytes[node] = self._bytes.get(node, 0) + size

    def claim(self, node: int, size: int) -> None:
        """A report of the node named a blob of `size` bytes."""
        if node in self._bytes:
            self._bytes[node] = max(0, self._bytes[node] - size)

    def _turn(self) -> None:
        hour = self._now() // _HOUR_MS
        if hour != self._hour:
            self._hour = hour
            self._bytes.clear()
