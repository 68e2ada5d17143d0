"""Every settled task of one job, as the hub tells of it: when, by whom, how far the job is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from crowdgrid.client import background
from crowdgrid.client.job import Job
from crowdgrid.core.model import TaskState
from crowdgrid.protocol.messages import ResultRow


class Watch:
    """See the module. Written on the client's thread, read on another: single values only.

    Attributes:
        units: settled so far. tasks: likewise. by_node: tasks by did:key. last: when the last one settled (monotonic s).
        ordinals: of the tasks settled so far.
        went_on: when a task settled that had not when the hub was found again after its restart; 0 not yet.
    """

    def __init__(self, job: Job) -> None:
        self.units = 0
        self.tasks = 0
        self.by_node: Counter[str] = Counter()
        self.ordinals: set[int] = set()
        self.last = 0.0
        self.went_on = 0.0
        self.began = time.monotonic()
        self._link = job.link
        background.run(self._read())

    async def _read(self) -> None:
        self._link.read(self._take)

    def _take(self, rows: Sequence[ResultRow]) -> None:
        self._link.grant(len(rows))
        for row in rows:
            self.ordinals.add(row.ordinal)
            if row.state == TaskState.VALIDATED:
                self.units += row.stop - row.start
                self.tasks += 1
                self.by_node[row.node] += 1
        self.last = time.monotonic()
        resumed = self._link.resumed
        if not self.went_on and resumed is not None and self.tasks > resumed.validated:
            self.went_on = self.last

    def by_name(self, names: Mapping[str, str]) -> dict[str, int]:
        """Tasks by the names of nodes, given those by did:key."""
        return {names.get(did, did): count for did, count in self.by_node.items()}

    def stop(self) -> None:
        """Read no more."""
        background.loop().call_soon_threadsafe(self._link.stop_reading)
