"""Answers withdrawn, and work done again at its owner's word: settled tasks that are opened again.

Both begin with rows of the store, which may be out of date when they are heard. A settled row can only have changed
since if its job has been opened again, and is then read anew; an open row is believed only of a job that came back to memory
after it had ended, and only of tasks that have not been here since.
"""

from __future__ import annotations

from functools import partial

import msgspec

from crowdgrid import limits
from crowdgrid.core import asking, canaries, holding, jobs, leasing, voting
from crowdgrid.core.commands import Recalled, Retract
from crowdgrid.core.lifecycle import ASSIGNMENT, TASK_OPEN, step
from crowdgrid.core.model import AssignmentState, JobState, Task, TaskState
from crowdgrid.core.scheduling import ready
from crowdgrid.core.settling import reopen, too_many
from crowdgrid.core.state import JobRun, State

_replace = msgspec.structs.replace
_AGAIN = 3  # attempts at a task after which a node that takes its answer back is not offered the job for a while:
# answering and taking back could go round without end


# --- answers withdrawn ---------------------------------------------------------------------------


def retract(state: State, command: Retract) -> None:
    """A node takes an answer back."""
    held = state.leases.get(command.assignment)
    if held is not None and held.assignment.node == command.node:
        leasing.turn_down(state, state.jobs[held.assignment.job], command.node, limits.FAILED_MS)
        leasing.end(state, held, AssignmentState.RETRACTED, f"Its node withdrew: {command.reason}", stale=False)
    elif canaries.is_one(state, command.assignment, command.node):
        canaries.drop(state, command.assignment, command.node, AssignmentState.RETRACTED)
    elif held is None:
        waiting = state.late.get(command.assignment)
        if waiting is not None and waiting.node == command.node:
            state.late[command.assignment] = None  # not counted when the store has answered
        else:
            _ask_answer(state, command)


def _ask_answer(state: State, command: Retract) -> None:
    job = state.jobs.get(command.assignment[0])
    reopened = job.reopened if job else -1
    then = partial(_retract_settled, command=command, reopened=reopened)
    asking.ask(state, "assignment", command.assignment, then)


def _retract_settled(state: State, rows: Recalled, *, command: Retract, reopened: int) -> None:
    job = state.jobs.get(command.assignment[0])
    if (job.reopened if job else -1) != reopened:
        _ask_answer(state, command)  # something was opened again meanwhile: the rows may be out of date
        return
    found = next((a for a in rows.assignments if a.key == command.assignment), None)
    if found is None or found.node != command.node or found.state is not AssignmentState.REPORTED:
        return
    state.save(_replace(found, state=step(ASSIGNMENT, (found.state, AssignmentState.RETRACTED))))
    task = rows.tasks[0]
    if job is not None and task.ordinal in job.ballots:
        voting.take_back(state, job, job.open[task.ordinal], found.attempt)
    elif job is not None and task.answer == found.attempt and task.ordinal not in job.open:
        if task.attempts >= _AGAIN:
            leasing.turn_down(state, job, command.node, limits.DECLINED_MS)
        reopen(state, job, task, f"Its node took the answer back: {command.reason}")
        jobs.maybe_complete(state, job)  # what is left may be enough


# --- run again -------------------------------------------------------------------------------------


def retry(state: State, job: JobRun) -> None:
    """Open again what failed, page by page; asked again, it goes on with the page that has not come."""
    then = partial(_retry_page, number=job.number, reopened=job.reopened)
    job.page = asking.ask(state, "unsettled", (job.number,), then, job.cursor)


def _retry_page(state: State, rows: Recalled, *, number: int, reopened: int) -> None:
    job = state.jobs.get(number)
    if job is None or job.page != rows.recall:
        return
    if job.reopened != reopened:
        retry(state, job)  # something was opened again meanwhile: the rows may be out of date
        return
    for task in rows.tasks:
        if task.ordinal in job.open:
            continue
        if task.state in (TaskState.VALIDATED, TaskState.ABANDONED):
            reopen(state, job, task, "Its owner asked for it to be done again.")
        elif task.ordinal < job.returning and task.ordinal not in job.here and task.state in TASK_OPEN:
            _take_up(state, job, task)
    job.cursor = rows.cursor
    if rows.cursor:
        retry(state, job)
    else:
        _retried(state, job)


def _retried(state: State, job: JobRun) -> None:
    """All that is to be run again is open: from now on the job may end."""
    job.retrying = False
    job.page = job.returning = 0
    job.here.clear()
    state.touch(job)
    if job.hit >= 0:
        jobs.complete(state, job)
    elif job.errors and job.errors >= job.spec.max_errors:
        jobs.finish(state, job, JobState.FAILED, too_many(job))
    else:
        jobs.maybe_complete(state, job)


def _take_up(state: State, job: JobRun, task: Task) -> None:
    """A task that was open when its job ended goes back to the queue; votes there were are not waited for again."""
    waiting = _replace(task, state=TaskState.IN_QUEUE, stale=0, wanted=1, since=task.attempts)
    job.open[task.ordinal] = waiting
    job.in_queue += 1
    holding.enqueue(job, task.ordinal)
    ready.wake(state, job)
    state.save(waiting)
    state.touch(job)
