"""`crowdgrid.local()`: a hub and two agents of one worker each, started by the client and ended with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from benchmarks.peers.adapters.apart import children, command
from benchmarks.peers.adapters.peer import WORKERS, Handle, Peer, Work, until_quiet
from benchmarks.peers.adapters.session import serve

BURST = "burst"


def computing(agents: list[int]) -> list[int]:
    """Process ids of the workers that run Python functions; those of other runtimes have nothing to do."""
    return [pid for agent in agents for pid in children(agent) if ".worker python " in command(pid)]


class CrowdgridLocal(Peer):
    def start(self) -> None:
        import crowdgrid

        self._begin(crowdgrid, crowdgrid.local(agents=WORKERS, cpus=1))

    def _begin(self, crowdgrid: Any, grid: Any) -> None:
        self._grid = grid
        self._function = cache(crowdgrid.function)

    def close(self) -> None:
        self._grid.close()

    def parts(self) -> dict[str, list[int]]:
        started = children(os.getpid())
        (hub,) = [pid for pid in started if " hub " in command(pid)]
        agents = [pid for pid in started if " agent " in command(pid)]
        return {"the hub": [hub], "an agent": agents[:1], "a worker": computing(agents)[:1]}

    # --- tasks -----------------------------------------------------------------------------------

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._function(function).submit(argument)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        """Chunks are automatic."""
        del chunk
        results: Iterable[int] = self._function(function).map(range(count))
        return results

    # --- results that outlive their client ----------------------------------------------------------

    def leave(self, function: Work, count: int) -> list[Handle]:
        """A named job; there is nothing to keep but its name."""
        self._function(function).spawn_map(range(count), name=BURST)
        return []

    def recover(self, count: int, quiet: float) -> int | None:
        job = self._grid.job(BURST)
        found: list[Any] = []
        threading.Thread(target=lambda: found.extend(job.as_completed()), daemon=True).start()
        return until_quiet(lambda: len(found), count, quiet)


if __name__ == "__main__":
    serve(CrowdgridLocal)
