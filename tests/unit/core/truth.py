"""What must be true of the rows in the store, whatever happened: recounted from the rows themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from crowdgrid import limits
from crowdgrid.core.model import Job, JobState, Task, TaskState
from tests.unit.core.memory_grid import MemoryGrid, now_done


def worth(start: int, stop: int) -> int:
    """What a healthy node answers for units [start, stop)."""
    return sum(unit * unit + 1 for unit in range(start, stop))


def answer_of(task: Task) -> bytes:
    """The payload of a healthy answer."""
    return str(worth(task.start, task.stop)).encode()


def total(grid: MemoryGrid, job: int, block: int | None = None) -> int:
    """The sum over a job's settled answers, or over those of one block."""
    found = 0
    for row in grid.settled(job):
        mine = block is None or row.task.ordinal // limits.BLOCK_TASKS == block
        if mine and row.assignment is not None and row.assignment.result is not None:
            found += int(row.assignment.result.payload or b"0")
    return found


def audit(grid: MemoryGrid, jobs: Iterable[int]) -> None:
    """Counters equal a recount of the rows, no unit is in two tasks, and every partial is what its rows say."""
    for number in jobs:
        job = grid.job(number)
        tasks = grid.tasks_of(number)
        _check_counts(job, tasks)
        _check_bounds(job, tasks)
        _check_answers(grid, number)


def _check_counts(job: Job, tasks: list[Task]) -> None:
    states = Counter(task.state for task in tasks)
    counts = job.counts
    assert [task.ordinal for task in tasks] == list(range(counts.tasks)), "ordinals have gaps"
    assert states[TaskState.VALIDATED] == counts.validated, f"validated is miscounted in {job}"
    assert states[TaskState.SPLIT] == counts.split, f"split is miscounted in {job}"
    assert states[TaskState.ABANDONED] == counts.abandoned, f"abandoned is miscounted in {job}"
    assert sum(task.errors for task in tasks if task.state is TaskState.VALIDATED) == counts.errors
    if job.state in (JobState.OPEN, JobState.SEALED) and not job.retrying:
        assert states[TaskState.IN_QUEUE] == counts.in_queue, f"in_queue is miscounted in {job}"
        assert states[TaskState.IN_PROGRESS] == counts.in_progress, f"in_progress is miscounted in {job}"


def _check_bounds(job: Job, tasks: list[Task]) -> None:
    ended = [task for task in tasks if task.state in (TaskState.VALIDATED, TaskState.ABANDONED)]
    assert sum(task.stop - task.start for task in ended) == job.counts.units_done
    leaves = sorted((task.start, task.stop) for task in tasks if task.state is not TaskState.SPLIT)
    starts = [start for start, _ in leaves]
    assert [*starts, job.counts.units_cut] == [0, *(stop for _, stop in leaves)], f"gap or overlap in {job}"


def _check_answers(grid: MemoryGrid, job: int) -> None:
    for row in grid.settled(job):
        if row.task.state is TaskState.VALIDATED:
            result = row.assignment.result if row.assignment else None
            assert result is not None, "an answer without a result"
            assert result.digest == row.task.digest, "a task and its answer differ"
    for partial in now_done(grid.store.partials(job)):
        assert int(partial.value) == total(grid, job, partial.block), "a partial outlived its answers"
