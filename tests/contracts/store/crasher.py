"""A hub that commits batch after batch until it is killed, and tells each batch it was acknowledged.

python -m tests.contracts.store.crasher URL
"""

from __future__ import annotations

import asyncio
import sys

from crowdgrid.core.model import Counts, Record, TaskState
from crowdgrid.store.open import open_store
from tests.contracts.store.places import Hub, take_over
from tests.contracts.store.records import job, lease, reported, task

TASKS = 20  # a batch


def records_of(batch: int) -> list[Record]:
    """What batch `batch` (from 1) saves: it leases its own tasks and settles those of the one before."""
    records: list[Record] = [job(1, counts=Counts(tasks=batch * TASKS))]
    for at in range((batch - 1) * TASKS, batch * TASKS):
        records += [task(1, at), lease(1, at)]
    for at in range(max(0, batch - 2) * TASKS, (batch - 1) * TASKS):
        records += [task(1, at, TaskState.VALIDATED, answer=0), reported(1, at)]
    return records


async def check(hub: Hub) -> None:
    """The store holds exactly what the batches up to its last one saved."""
    last = hub.grid.batch
    if not last:
        assert hub.opened.tasks == ()
        return
    (the_job,) = hub.opened.jobs
    assert the_job.counts.tasks == last * TASKS
    own = range((last - 1) * TASKS, last * TASKS)
    assert [each.ordinal for each in hub.opened.tasks] == list(own)
    assert list(hub.opened.assignments) == [lease(1, at) for at in own]
    after, settled = -1, 0
    while rows := await hub.store.settled(1, after=after):
        assert [row.task.ordinal for row in rows] == list(range(after + 1, after + 1 + len(rows)))
        assert all(row.assignment == reported(1, row.task.ordinal) for row in rows)
        after, settled = rows[-1].task.ordinal, settled + len(rows)
    assert settled == (last - 1) * TASKS


async def main(url: str) -> None:
    hub = await take_over(open_store(url))
    while True:
        await hub.save(*records_of(hub.grid.batch + 1))
        sys.stdout.write(f"{hub.grid.batch}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
