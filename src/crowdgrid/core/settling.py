"""Settling: a task gets its answer, and may be opened again.

Settled rows are the truth. Opening a task again subtracts nothing: the partial of its block is dropped and folded
anew, and the job's revision rises.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crowdgrid import limits
from crowdgrid.core import canaries, holding, jobs, learning, voting
from crowdgrid.core.effects import DropPartial, Settled, TaskChanged
from crowdgrid.core.lifecycle import TASK, step
from crowdgrid.core.model import (
    VOTER_BYTES,
    Assignment,
    JobState,
    Node,
    Outcome,
    Partial,
    Task,
    TaskState,
)
from crowdgrid.core.scheduling import ready
from crowdgrid.core.state import JobRun, NodeRun, State

_replace = msgspec.structs.replace
_TO_VALIDATED = (TaskState.COMPLETED, TaskState.VALIDATED)


def vote(state: State, job: JobRun, task: Task, assignment: Assignment, *, hit: bool) -> None:
    """Count a result as a vote on its open task, and settle the task if that decides it."""
    state.save(assignment)
    state.touch(job)
    if not job.replicates:
        settle(state, job, task, assignment, 0.0, hit=hit)
    elif (alone := voting.alone(state, job, task, assignment.node)) > 0.0:
        job.alone = True
        settle(state, job, task, assignment, alone, hit=hit)
    else:
        voting.cast(state, job, task, assignment, settle, hit=hit)


def settle(state: State, job: JobRun, task: Task, answer: Assignment, confidence: float, *, hit: bool) -> None:
    """The task has its answer: other work on it is withdrawn, counters move, the job may be complete."""
    result = answer.result
    assert result is not None
    voters, votes = b"", []
    if job.replicates:
        if task.ordinal in job.ballots:
            learning.judge(state, job, answer)
            votes = holding.forget_votes(state, job, task.ordinal)
            voters = voting.voters(votes)
        else:
            voters = answer.node.to_bytes(VOTER_BYTES, "big")
        job.short.discard(task.ordinal)
    if task.state is TaskState.IN_QUEUE:
        job.in_queue -= 1  # its heap entry is passed over when it comes up
    else:
        job.in_progress -= 1
    if task.attempts > 1:
        _withdraw_others(state, task)
    errors = result.errors or int(result.outcome is Outcome.PROGRAM_ERROR)
    settled = Task(
        task.job,
        task.ordinal,
        task.start,
        task.stop,
        step(TASK, (task.state, *_TO_VALIDATED)),
        task.created_at,
        task.attempts,
        task.stale,
        answer.attempt,
        result.outcome,
        result.digest,
        errors,
        task.parent,
        task.bound_to,
        task.wanted,
        confidence,
        task.since,
        voters,
    )
    del job.open[task.ordinal]
    if task.digest and task.digest != result.digest:
        job.revision += 1  # it was looked at once more, and another answer stands now
    job.validated += 1
    job.units_done += task.stop - task.start
    job.errors += errors
    state.save(settled)
    if votes:
        canaries.note(state, job, settled, votes)
    state.emit(Settled(job.number, settled, answer))
    if hit and job.spec.reduce == "first" and job.hit < 0:
        job.hit = task.ordinal
    if job.retrying:
        return  # judged when the last page of what is run again is in
    if job.hit >= 0:
        jobs.complete(state, job)
    elif errors and job.errors >= job.spec.max_errors:
        jobs.finish(state, job, JobState.FAILED, too_many(job, result.error))
    elif (job.sealed and job.units_cut == job.units and not job.open) or job.spec.completion.at_least:
        jobs.maybe_complete(state, job)


def too_many(job: JobRun, last: str = "") -> str:
    """Why a job failed that made too many errors."""
    what = "1 error" if job.errors == 1 else f"{job.errors:,} errors"
    allowed = f"the job stops at {max(job.spec.max_errors, 1):,}"
    return f"The program made {what}, and {allowed}." + (f" The last: {last}" if last else "")


def _withdraw_others(state: State, task: Task) -> None:
    for held in holding.holders(state, task):
        voting.withdraw(state, held, "The task has its answer.")


def reopen(
    state: State,
    job: JobRun,
    task: Task,
    why: str,
    votes: Sequence[tuple[Assignment, Node]] = (),
    *,
    audit: bool = False,
) -> None:
    """Open a settled or abandoned task again. Its answer no longer counts; nothing is subtracted from any sum, the
    partial of its block is dropped and folded anew.

    Args:
        votes: those that go on counting, with their nodes; one more is asked for. Without any, it begins as new.
        audit: nothing speaks against its answer: the job's revision rises only if another one comes of it.
    """
    if task.state is TaskState.ABANDONED:
        job.abandoned -= 1
        path: tuple[TaskState, ...] = (TaskState.PENDING, TaskState.IN_QUEUE)
    else:
        job.validated -= 1
        job.errors -= task.errors
        path = (TaskState.IN_QUEUE,)
    if task.ordinal == job.hit:
        job.hit = -1
    job.units_done -= task.stop - task.start
    job.revision += not audit
    job.reopened += 1
    canaries.forget(job, task.ordinal)
    job.looked_over = False
    opened = _replace(
        task,
        state=step(TASK, (task.state, *path)),
        stale=0,
        answer=-1,
        digest=task.digest if audit else b"",
        errors=0,
        outcome=Outcome.OK,
        wanted=len(votes) + 1,
        confidence=0.0,
        since=task.since if votes else task.attempts,
        voters=b"",
    )
    job.open[task.ordinal] = opened
    for answer, record in votes:
        voting.recall_vote(state, job, answer, state.nodes.setdefault(record.number, NodeRun(record, state.now)))
    if job.returning:
        job.here.add(task.ordinal)
    job.in_queue += 1
    holding.enqueue(job, task.ordinal)
    state.save(opened)
    state.emit(DropPartial(job.number, task.ordinal // limits.BLOCK_TASKS))
    state.emit(TaskChanged(opened, why))
    if job.state not in (JobState.OPEN, JobState.SEALED):
        job.ended_at = 0
        jobs.move(state, job, JobState.SEALED)
    ready.wake(state, job)
    state.touch(job)


def stands(state: State, partial: Partial, revision: int) -> bool:
    """Whether a partial may be kept: all its tasks are settled, and still as when its rows were read.

    That cannot be said of a job that has left memory; its blocks are folded when its answer is asked for.
    """
    job = state.jobs.get(partial.job)
    if job is None or revision not in (-1, job.revision):
        return False
    first = partial.block * limits.BLOCK_TASKS
    return not any(at in job.open for at in range(first, first + limits.BLOCK_TASKS))
