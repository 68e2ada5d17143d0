"""Ten million items through one map: does the client's memory stay flat?"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Final

from benchmarks.context import Context
from benchmarks.peers.catalogue import Kind
from benchmarks.peers.talk import Adapter, Place

ITEMS: Final = 10_000_000
WITHIN_SECONDS: Final = 3600.0
SAMPLE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Flat:
    """Resident bytes of the client: before the map, the most, and at its end; and all processes together at the end."""

    items: int
    seconds: float
    start: int
    most: int
    end: int
    whole: int

    @property
    def grown(self) -> float:
        """MB the client grew by at most."""
        return (self.most - self.start) / 1e6


def measure(kind: Kind, context: Context) -> Flat:
    """Raises PeerFailed."""
    items = context.of(ITEMS, ITEMS // 20)
    print(f"  {kind.title}: {items:,} items", file=sys.stderr)
    with Place() as place, Adapter(kind, place) as adapter:
        adapter.ask("start", 90.0, how="whole")
        adapter.ask("map", 60.0, function="trivial", count=10_000, chunk=1000)
        samples = [adapter.watch.client_memory()]
        over = threading.Event()

        def sample() -> None:
            while not over.wait(SAMPLE_SECONDS):
                samples.append(adapter.watch.client_memory())

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            told = adapter.ask("map", WITHIN_SECONDS, function="trivial", count=items, chunk=1000)
        finally:
            over.set()
            sampler.join()
        samples.append(adapter.watch.client_memory())
        whole = adapter.watch.memory()
        adapter.close()
    return Flat(items, told["elapsed"], samples[0], max(samples), samples[-1], whole)
