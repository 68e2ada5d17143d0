"""How heavy appended units are, so that no task is more than a node should hold at once.

The engine knows positions, not bytes; but each chunk says its size. Light ones need no attention: as many as a task
may have runs fit `limits.TASK_INPUT_BYTES`. Those kept as blobs are noted until they are cut into tasks.

After a restart only the heaviest unit of a job is known (it is one of its counters): what was appended before and is
not cut yet is taken to be all like that, so that tasks are rather too small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crowdgrid import limits
from crowdgrid.core.model import Chunk, Lines

if TYPE_CHECKING:
    from crowdgrid.core.state import JobRun


def note(job: JobRun, chunk: Chunk) -> None:
    """A chunk is appended to the job."""
    if chunk.blob:
        each = -(-chunk.size // chunk.count)
        job.weights.append((chunk.first, chunk.first + chunk.count, each))
        job.unit_bytes = max(job.unit_bytes, each)


def held_down(job: JobRun, start: int, stop: int) -> int:
    """Where a task of [start, stop), the next to be cut, has to end. It has at least one unit, whatever that weighs.

    A piece of lines that was asked for is one run's input, so it is left as it is.
    """
    weights = job.weights
    while weights and weights[0][1] <= start:
        weights.popleft()
    if not weights or (type(job.spec.split) is Lines and job.spec.split.piece):
        return stop
    room = limits.TASK_INPUT_BYTES
    for first, end, each in weights:
        if first >= stop:
            break
        begin = max(first, start)
        count = min(end, stop) - begin
        if count * each > room:
            return max(start + 1, begin + room // each)
        room -= count * each
    return stop
