"""Reports: judged, settled, answered with a verdict; and answers opened again.

A result for an assignment that is open is judged at once. Any other (late, double, after a restart, of a task that
has been settled) is judged by what the store remembers: the engine asks with `Recall` and goes on when
`Recalled` comes. Until the node has a verdict it keeps the result; it may drop it after any verdict.
"""

from __future__ import annotations

import msgspec

from crowdgrid import limits
from crowdgrid.core import jobs, leasing
from crowdgrid.core.commands import Recalled, Report, Reported, Retract
from crowdgrid.core.effects import Acknowledge, DropPartial, Recall, Settled, TaskChanged
from crowdgrid.core.lifecycle import ASSIGNMENT, JOB_RUNS, TASK, TASK_OPEN, step
from crowdgrid.core.model import (
    Assignment,
    AssignmentKey,
    AssignmentState,
    JobState,
    Outcome,
    Result,
    Signature,
    Task,
    TaskState,
    Verdict,
)
from crowdgrid.core.scheduling import ready
from crowdgrid.core.state import JobRun, Lease, NodeRun, State
from crowdgrid.core.trust.consensus import CONSENSUS

_replace = msgspec.structs.replace
_TO_VALIDATED = (TaskState.COMPLETED, TaskState.VALIDATED)


class Late(msgspec.Struct, frozen=True):
    """A result that waits for the store to say what it belongs to."""

    node: int
    reported: Reported
    signature: int


class Withdrawn(msgspec.Struct, frozen=True):
    """An answer taken back that waits for the store; `revision` of its job when the store was asked, −1 when the
    job had ended. A settled row can only have changed since if the revision has."""

    command: Retract
    revision: int


class Page(msgspec.Struct, frozen=True):
    """Rows of a job to run again that wait for the store; `revision` as in `Withdrawn`."""

    job: int
    revision: int


# --- reports ---------------------------------------------------------------------------------


def report(state: State, command: Report) -> None:
    """Judge each result of a report frame."""
    signature = _keep_signature(state, command)
    node = state.nodes.get(command.node)
    verdicts: list[tuple[AssignmentKey, Verdict]] = []
    for reported in command.results:
        held = state.leases.get(reported.assignment)
        if held is None:
            _ask_store(state, Late(command.node, reported, signature), verdicts)
        elif held.assignment.node != command.node:
            verdicts.append((reported.assignment, Verdict.NOT_YOURS))
        else:
            _judge(state, held, node, reported, signature)
            verdicts.append((reported.assignment, Verdict.COUNTED))
    if node is not None:
        state.save(node.record)
    if verdicts:
        state.emit(Acknowledge(command.node, tuple(verdicts)))


def _keep_signature(state: State, command: Report) -> int:
    if not command.signature:
        return 0
    state.last_signature += 1
    state.save(Signature(state.last_signature, command.node, command.leaves, command.signature))
    return state.last_signature


def _judge(state: State, held: Lease, node: NodeRun | None, reported: Reported, signature: int) -> None:
    """An answer to an open assignment."""
    if reported.outcome is Outcome.NODE_ERROR:
        spoilt = _reported(state, held.assignment, reported, signature)
        leasing.release(state, held)
        state.save(spoilt)
        job = state.jobs[spoilt.job]
        job.lost += 1
        leasing.turn_down(state, job, spoilt.node, limits.FAILED_MS)  # let somebody else try first
        state.touch(job)
        leasing.requeue(state, job, job.open[spoilt.ordinal], f"Its node failed: {reported.error}", stale=True)
        return
    leasing.release(state, held)
    job = state.jobs[held.assignment.job]
    task = job.open[held.assignment.ordinal]
    _measure(job, held.assignment.node, task.stop - task.start, reported.wall_ms)
    state.use_of(job.owner).add(state.now, max(reported.wall_ms, 1))
    if node is not None:
        node.record = _replace(node.record, validated=node.record.validated + 1)
    vote(state, job, task, _reported(state, held.assignment, reported, signature), hit=reported.hit)


def _reported(state: State, assignment: Assignment, reported: Reported, signature: int) -> Assignment:
    result = Result(
        reported.outcome,
        reported.digest,
        reported.payload,
        reported.blob,
        reported.size,
        reported.error,
        reported.errors,
        reported.cpu_ms,
        reported.wall_ms,
        reported.memory_bytes,
        signature,
        reported.leaf,
        state.now,
        reported.stderr,
    )
    a = assignment
    to = step(ASSIGNMENT, (a.state, AssignmentState.REPORTED))
    return Assignment(a.job, a.ordinal, a.attempt, a.node, to, a.leased_at, a.deadline_ms, state.now, result)


def _measure(job: JobRun, node: int, units: int, wall_ms: int) -> None:
    """Learn how fast a node (and the crowd) does this job: units per ms, a mean that favours the recent."""
    rate = units / max(wall_ms, 1)
    old = job.rates.get(node)
    job.rates[node] = rate if old is None else old * 0.5 + rate * 0.5
    job.rate = rate if not job.rate else job.rate * 0.75 + rate * 0.25
    job.proved = max(job.proved, units)


def vote(state: State, job: JobRun, task: Task, assignment: Assignment, *, hit: bool) -> None:
    """Count a result as a vote on its open task, and settle the task if that decides it."""
    state.save(assignment)
    state.touch(job)
    if CONSENSUS[job.spec.consensus]([assignment]) is not None:
        settle(state, job, task, assignment, hit=hit)


# --- settling --------------------------------------------------------------------------------


def settle(state: State, job: JobRun, task: Task, answer: Assignment, *, hit: bool) -> None:
    """The task has its answer: other work on it is withdrawn, counters move, the job may be complete."""
    result = answer.result
    assert result is not None
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
    )
    del job.open[task.ordinal]
    job.validated += 1
    job.units_done += task.stop - task.start
    job.errors += errors
    state.save(settled)
    state.emit(Settled(job.number, settled, answer))
    if hit and job.spec.reduce == "first" and job.hit < 0:
        job.hit = task.ordinal
    if job.retrying:
        return  # judged when the last page of what is run again is in
    if job.hit >= 0:
        jobs.complete(state, job)
    elif errors and job.errors >= job.spec.max_errors:
        jobs.finish(state, job, JobState.FAILED, _too_many(job, result.error))
    elif (job.sealed and job.units_cut == job.units and not job.open) or job.spec.completion.at_least:
        jobs.maybe_complete(state, job)


def _too_many(job: JobRun, last: str = "") -> str:
    what = "1 error" if job.errors == 1 else f"{job.errors:,} errors"
    allowed = f"the job stops at {max(job.spec.max_errors, 1):,}"
    return f"The program made {what}, and {allowed}." + (f" The last: {last}" if last else "")


def _withdraw_others(state: State, task: Task) -> None:
    for attempt in range(task.attempts):
        held = state.leases.get((task.job, task.ordinal, attempt))
        if held is not None:
            leasing.release(state, held)
            gone = _replace(held.assignment, state=AssignmentState.CANCELLED, ended_at=state.now)
            state.save(gone)
            node = state.nodes.get(gone.node)
            if node is not None:
                leasing.withdraw(state, node, (gone.key,), "The task has its answer.")


def reopen(state: State, job: JobRun, task: Task, why: str) -> None:
    """Open a settled or abandoned task again. Its answer no longer counts; nothing is subtracted from any sum,
    the partial of its block is dropped and folded anew."""
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
    job.revision += 1
    opened = _replace(
        task,
        state=step(TASK, (task.state, *path)),
        stale=0,
        answer=-1,
        digest=b"",
        errors=0,
        outcome=Outcome.OK,
    )
    job.open[task.ordinal] = opened
    if job.returning:
        job.here.add(task.ordinal)
    job.in_queue += 1
    leasing.enqueue(job, task.ordinal)
    state.save(opened)
    state.emit(DropPartial(job.number, task.ordinal // limits.BLOCK_TASKS))
    state.emit(TaskChanged(opened, why))
    if job.state not in (JobState.OPEN, JobState.SEALED):
        job.ended_at = 0
        jobs.move(state, job, JobState.SEALED)
    ready.wake(state, job)
    state.touch(job)


def is_open(state: State, number: int, block: int) -> bool:
    """Whether a task of the block is open: a partial folded from what it answered before must not be kept."""
    job = state.jobs.get(number)
    first = block * limits.BLOCK_TASKS
    return job is not None and any(at in job.open for at in range(first, first + limits.BLOCK_TASKS))


# --- what the store has to say ----------------------------------------------------------------


def _ask_store(state: State, late: Late, verdicts: list[tuple[AssignmentKey, Verdict]]) -> None:
    key = late.reported.assignment
    waiting = state.late.get(key)
    if isinstance(waiting, Late):  # the same assignment again while the first is still being looked up
        same = waiting.node == late.node and waiting.reported.digest == late.reported.digest
        verdicts.append((key, Verdict.DUPLICATE if same else Verdict.CONFLICTING))
        return
    state.late[key] = late
    recall(state, "assignment", key, late)


def recall(state: State, query: str, key: tuple[int, ...], purpose: object, cursor: tuple[int, ...] = ()) -> int:
    """Have something read back; `recalled` goes on with `purpose`. Returns the recall's number."""
    state.last_recall += 1
    state.recalls[state.last_recall] = purpose
    state.emit(Recall(state.last_recall, query, key, cursor, limits.RECALL_ROWS))
    return state.last_recall


def recalled(state: State, command: Recalled) -> None:
    """Go on with what waited for these rows."""
    purpose = state.recalls.pop(command.recall, None)
    if isinstance(purpose, Late):
        _judge_late(state, purpose, command)
    elif isinstance(purpose, Withdrawn):
        _retract_settled(state, purpose, command)
    elif isinstance(purpose, Page):
        _retry_page(state, purpose, command)


def _judge_late(state: State, late: Late, rows: Recalled) -> None:
    key = late.reported.assignment
    found = next((a for a in rows.assignments if a.key == key), None)
    task = rows.tasks[0] if rows.tasks else None
    withdrawn = state.late.pop(key, None) is not late
    if found is None or task is None:
        verdict = Verdict.UNKNOWN
    elif found.node != late.node:
        verdict = Verdict.NOT_YOURS
    elif found.result is not None:
        same = found.result.digest == late.reported.digest and found.result.outcome == late.reported.outcome
        verdict = Verdict.DUPLICATE if same else Verdict.CONFLICTING
    elif withdrawn:
        verdict = Verdict.LATE_UNNEEDED
    else:
        verdict = _late_verdict(state, late, task, found)
    state.emit(Acknowledge(late.node, ((key, verdict),)))


def _late_verdict(state: State, late: Late, task: Task, found: Assignment) -> Verdict:
    """A first result for an assignment that had ended: it still votes while its task is open."""
    if found.state is AssignmentState.RETRACTED or late.reported.outcome is Outcome.NODE_ERROR:
        return Verdict.LATE_UNNEEDED
    answer = _reported(state, _closed(found), late.reported, late.signature)
    job = state.jobs.get(task.job)
    open_task = job.open.get(task.ordinal) if job else None
    if job is not None and open_task is not None and job.state in JOB_RUNS:
        vote(state, job, open_task, answer, hit=late.reported.hit)
        return Verdict.COUNTED
    state.save(answer)
    agrees = task.state is TaskState.VALIDATED and task.digest == late.reported.digest
    return Verdict.LATE_PAID if agrees else Verdict.LATE_UNNEEDED


def _closed(found: Assignment) -> Assignment:
    """An assignment that was given up since the store was asked."""
    if found.state is AssignmentState.LEASED:
        return _replace(found, state=AssignmentState.CANCELLED)
    return found


# --- answers withdrawn, work done again ---------------------------------------------------------


def retract(state: State, command: Retract) -> None:
    """A node takes an answer back."""
    held = state.leases.get(command.assignment)
    if held is not None and held.assignment.node == command.node:
        leasing.end(state, held, AssignmentState.RETRACTED, f"Its node withdrew: {command.reason}", stale=False)
    elif held is None:
        waiting = state.late.get(command.assignment)
        if isinstance(waiting, Late) and waiting.node == command.node:
            state.late[command.assignment] = None  # not counted when the store has answered
        else:
            _ask_answer(state, command)


def _ask_answer(state: State, command: Retract) -> None:
    job = state.jobs.get(command.assignment[0])
    recall(state, "assignment", command.assignment, Withdrawn(command, job.revision if job else -1))


def _retract_settled(state: State, asked: Withdrawn, rows: Recalled) -> None:
    command = asked.command
    job = state.jobs.get(command.assignment[0])
    if (job.revision if job else -1) != asked.revision:
        _ask_answer(state, command)  # something was opened again meanwhile: the rows may be out of date
        return
    found = next((a for a in rows.assignments if a.key == command.assignment), None)
    if found is None or found.node != command.node or found.state is not AssignmentState.REPORTED:
        return
    state.save(_replace(found, state=step(ASSIGNMENT, (found.state, AssignmentState.RETRACTED))))
    task = rows.tasks[0]
    if job is not None and task.answer == found.attempt and task.ordinal not in job.open:
        reopen(state, job, task, f"Its node took the answer back: {command.reason}")


def retry(state: State, job: JobRun) -> None:
    """Open again what failed, page by page; asked again, it goes on with the page that has not come."""
    job.page = recall(state, "unsettled", (job.number,), Page(job.number, job.revision), job.cursor)


def _retry_page(state: State, page: Page, rows: Recalled) -> None:
    job = state.jobs.get(page.job)
    if job is None or job.page != rows.recall:
        return
    if job.revision != page.revision:
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
        jobs.finish(state, job, JobState.FAILED, _too_many(job))
    else:
        jobs.maybe_complete(state, job)


def _take_up(state: State, job: JobRun, task: Task) -> None:
    """A task that was open when its job ended goes back to the queue as it was."""
    waiting = _replace(task, state=TaskState.IN_QUEUE, stale=0)
    job.open[task.ordinal] = waiting
    job.in_queue += 1
    leasing.enqueue(job, task.ordinal)
    ready.wake(state, job)
    state.save(waiting)
    state.touch(job)
