"""Jobs: opened, steered, completed, ended. What they are given meanwhile is in `intake`."""

from __future__ import annotations

from heapq import heappush

import msgspec

from crowdgrid import limits
from crowdgrid.core import holding
from crowdgrid.core.commands import Retry, Submit
from crowdgrid.core.effects import Check, Reply, TaskChanged
from crowdgrid.core.lifecycle import JOB, JOB_RUNS, step
from crowdgrid.core.model import Counts, Items, Job, JobState, Lines, Task
from crowdgrid.core.scheduling import offers, ready
from crowdgrid.core.state import JobRun, State
from crowdgrid.errors import BadInput, Busy, Conflict, NotFound


def get(state: State, number: int) -> JobRun:
    """The job, which must not have ended. Raises NotFound."""
    job = state.jobs.get(number)
    if job is None:
        raise NotFound("This job has ended or never was.", hint="`crowdgrid jobs ls` lists your jobs.")
    return job


def move(state: State, job: JobRun, to: JobState, reason: str = "") -> None:
    """Change a job's state along its life cycle."""
    job.state = step(JOB, (job.state, to))
    job.reason = reason
    ready.wake(state, job)
    state.touch(job)


# --- opening ---------------------------------------------------------------------------------


def submit(state: State, command: Submit) -> None:
    """Open a job; the same owner's same key gives the job that is there."""
    known = state.keys.get((command.owner, command.key)) if command.key else None
    if known is not None and known not in state.jobs:
        raise Busy("The job with this key has just ended.", hint="Ask again to be told how.")
    if known is not None:
        state.emit(Reply(state.jobs[known].record()))
        return
    if command.name and (command.owner, command.name) in state.names:
        raise Conflict(
            f"You already have a job named {command.name!r}.",
            hint="Choose another name, or look at that one with `crowdgrid jobs show`.",
        )
    if command.units > limits.RANGE_BOUND:
        raise BadInput(f"A job may have {limits.RANGE_BOUND:,} units.", hint="Split the range into several jobs.")
    if state.owned.get(command.owner, 0) >= limits.JOBS_OPEN_PER_OWNER:
        raise Busy(f"You have {limits.JOBS_OPEN_PER_OWNER:,} open jobs; wait for some to end.")
    state.last_job += 1
    record = Job(
        number=state.last_job,
        owner=command.owner,
        group=command.group,
        name=command.name,
        key=command.key,
        created_at=state.now,
        state=JobState.VALIDATING,
        spec=command.spec,
        counts=Counts(units=command.units),
        origin=command.origin,
        sealed=command.sealed or not isinstance(command.spec.split, Items | Lines),
    )
    job = JobRun(record)
    remember(state, job)
    if command.checked:
        start(state, job)
    else:
        state.emit(Check(job.record()))
    state.touch(job)
    state.emit(Reply(job.record()))


def remember(state: State, job: JobRun) -> None:
    """Take a job into memory."""
    state.jobs[job.number] = job
    state.owned[job.owner] = state.owned.get(job.owner, 0) + 1
    offers.enter_pool(state, job)
    if job.base.name:
        state.names[job.owner, job.base.name] = job.number
    if job.base.key:
        state.keys[job.owner, job.base.key] = job.number


def forget(state: State, job: JobRun) -> None:
    """A job that ended leaves memory; the store has it.

    Its name and key stay for a while: somebody who looked in the store before it was there may ask for them still,
    and two jobs of one name would spoil the whole batch they are written in.
    """
    ready.leave(state, None, job)
    offers.leave_pool(state, job)
    del state.jobs[job.number]
    state.owned[job.owner] -= 1
    if not state.owned[job.owner]:
        del state.owned[job.owner]
    if job.base.name or job.base.key:
        state.ended.append((state.now + limits.NAMES_REST_MS, job.number, job.owner, job.base.name, job.base.key))


def forget_names(state: State) -> None:
    """Let go of the names and keys of jobs that ended a while ago."""
    while state.ended and state.ended[0][0] <= state.now:
        _, number, owner, name, key = state.ended.popleft()
        if number not in state.jobs:
            state.names.pop((owner, name), None)
            state.keys.pop((owner, key), None)


def start(state: State, job: JobRun) -> None:
    """The program can run: the job opens, or is sealed at once when its input is whole."""
    move(state, job, JobState.SEALED if job.sealed else JobState.OPEN)
    if not job.sealed and not job.attended:
        job.orphan_at = state.now + limits.ORPHAN_SECONDS * 1000
    set_alarm(state, job)
    maybe_complete(state, job)


def checked(state: State, number: int, problem: str) -> None:
    """The program of a job was looked at."""
    job = state.jobs.get(number)
    if job is None or job.state is not JobState.VALIDATING:
        return
    if problem:
        finish(state, job, JobState.INVALID, problem)
    else:
        start(state, job)


# --- what time brings --------------------------------------------------------------------------


def set_alarm(state: State, job: JobRun) -> None:
    """Have the job looked at when its time for something has come, unless it is looked at before."""
    at = due(state, job)
    if at and (not job.alarm_at or at < job.alarm_at):
        job.alarm_at = at
        heappush(state.alarms, (at, job.number))


def due(state: State, job: JobRun) -> int:
    """When time alone may change the job's state; 0 never."""
    if job.state is JobState.COMPLETED:
        return job.ended_at + job.spec.final_after_ms
    at = job.orphan_at if job.state is JobState.OPEN else 0
    want = job.spec.completion
    deadline_at = job.base.created_at + want.deadline_ms
    if want.at_least and job.state in JOB_RUNS and deadline_at > state.now:
        at = min(at or deadline_at, deadline_at)
    return at


# --- control ---------------------------------------------------------------------------------


def pause(state: State, number: int, paused: bool) -> None:
    """Stop or go on leasing."""
    job = get(state, number)
    job.paused = paused
    if paused:
        ready.leave(state, None, job)
    else:
        ready.wake(state, job)
    state.touch(job)
    state.emit(Reply(None))


def reprioritise(state: State, number: int, priority: int) -> None:
    """Another priority, from the next plan on; what runs is not pre-empted."""
    job = get(state, number)
    job.spec = msgspec.structs.replace(job.spec, priority=priority)
    job.priority = priority
    ready.leave(state, None, job)
    ready.wake(state, job)
    state.touch(job)
    state.emit(Reply(None))


def cancel(state: State, number: int, reason: str) -> None:
    """End a job for good. One that has ended stays as it is."""
    job = state.jobs.get(number)
    if job is not None:
        finish(state, job, JobState.CANCELLED, reason)
    state.emit(Reply(None))


def retry(state: State, command: Retry) -> None:
    """Open a job's failed and abandoned tasks again, also when the job itself has ended.

    The rows come page by page; that it is under way is kept in the job, so that it goes on after a restart. Asked
    again meanwhile, it goes on with the page that was not answered.
    """
    job = state.jobs.get(command.job)
    known = command.record if job is None else job.record()
    if known is None or known.state is JobState.VALIDATING:
        raise NotFound("There is nothing to retry in this job.")
    if job is None and known.state not in (JobState.FAILED, JobState.FINAL):
        raise Conflict(f"A job that is {known.state.value} cannot be retried.", hint="Submit it again.")
    if known.hit >= 0:
        raise Conflict("This job has found its answer, so there is nothing to run again.")
    if job is None:
        job = JobRun(known)
        job.returning = job.tasks
        remember(state, job)
    if job.state not in JOB_RUNS:
        job.sealed = True
        job.ended_at = 0
        move(state, job, JobState.SEALED)
        set_alarm(state, job)
    job.retrying = True
    state.touch(job)
    state.emit(Reply(None))


# --- ending ----------------------------------------------------------------------------------


def abandon(state: State, job: JobRun, task: Task, why: str) -> None:
    """Give a task up, `why` in a sentence; the job fails with it unless it may go on without."""
    job.open.pop(task.ordinal, None)
    job.short.discard(task.ordinal)
    holding.forget_votes(state, job, task.ordinal)
    job.abandoned += 1
    job.units_done += task.stop - task.start
    state.save(task)
    state.emit(TaskChanged(task, f"Given up. {why}"))
    state.touch(job)
    if job.spec.allow_abandoned or job.hit >= 0:
        maybe_complete(state, job)
    else:
        finish(state, job, JobState.FAILED, why)


def maybe_complete(state: State, job: JobRun) -> None:
    """Complete the job if every answer stands, or enough of them and its deadline has passed."""
    if job.state not in JOB_RUNS or job.retrying:
        return
    want = job.spec.completion
    whole = job.state is JobState.SEALED and job.units_cut == job.units and not job.open
    late = want.at_least and job.validated >= want.at_least and state.now >= job.base.created_at + want.deadline_ms
    if whole and not late and _is_looked_over_first(state, job):
        state.whole[job.number] = job
    elif whole or late:
        complete(state, job)


def _is_looked_over_first(state: State, job: JobRun) -> bool:
    """Whether some of its answers are compared once more before it is complete, see `closing`."""
    audits = job.spec.consensus == "bounded_error" and state.policy.closing_audits > 0
    return audits and job.alone and job.hit < 0 and not job.looked_over


def complete(state: State, job: JobRun) -> None:
    """Every answer stands at its confidence; with nothing to wait for it is final at once.

    A job that may be opened again keeps its open tasks in the queue (`first` and `at_least` leave some).
    """
    job.ended_at = state.now
    job.sealed = True
    holding.withdraw_all(state, job, "The job is complete.", keep=job.spec.final_after_ms > 0)
    ready.leave(state, None, job)
    move(state, job, JobState.COMPLETED)
    if job.spec.final_after_ms:
        set_alarm(state, job)
    else:
        finish(state, job, JobState.FINAL)


def finish(state: State, job: JobRun, to: JobState, reason: str = "") -> None:
    """End a job. Its open tasks are left as rows: with their job ended they count for nothing, and writing a
    million rows for one word would hold everybody up."""
    holding.withdraw_all(state, job, reason or "The job has ended.")
    move(state, job, to, reason)
    job.ended_at = job.ended_at or state.now
    job.retrying = False
    forget(state, job)
