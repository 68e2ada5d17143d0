"""Runtime "echo": runs no program; gives stdin back, or argv joined by spaces when stdin is empty.

It goes the same way as any other runtime — pool, worker process, frames — and does nothing at the end
of it: dispatch can be measured apart from the sandbox, and the contract suite has a second adapter.
An agent offers it only when told to. The worker's half is `echoing`.
"""

from __future__ import annotations

from crowdgrid.runtimes.launch import Launch
from crowdgrid.runtimes.pool import Pool


class EchoRuntime(Pool):
    """Echo in worker processes."""

    name = "echo"

    def __init__(self, workers: int = 1) -> None:
        super().__init__(Launch(self.name), workers)
