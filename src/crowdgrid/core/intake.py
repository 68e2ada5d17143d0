"""What a job is given after it was opened: input, and the end of it by its client or by time."""

from __future__ import annotations

from heapq import heappop

from crowdgrid import limits
from crowdgrid.core import jobs, weights
from crowdgrid.core.commands import Append
from crowdgrid.core.effects import Appended, Reply
from crowdgrid.core.model import JobState
from crowdgrid.core.scheduling import ready
from crowdgrid.core.state import JobRun, State
from crowdgrid.errors import BadInput, Conflict


def appendable(job: JobRun) -> bool:
    """Whether the job still takes input: items or lines, not sealed."""
    return not job.sealed and job.state in (JobState.OPEN, JobState.VALIDATING)


def append(state: State, command: Append) -> None:
    """Add input. A chunk that begins below what the job has changes nothing and is answered with how much of it was
    there: whoever asks twice, or goes on for a client that died, is right if those are the same units, and only who
    holds the bytes can tell. A gap is refused.

    A job may be appended to while its program is still being looked at.
    """
    chunk = command.chunk
    job = jobs.get(state, chunk.job)
    stop = chunk.first + chunk.count
    if not appendable(job) and stop > job.units:
        raise Conflict("This job takes no more input: it is sealed.", hint="Open a new job.")
    if chunk.first > job.units:
        raise Conflict(f"The job has {job.units:,} units; the next to append is that one, not {chunk.first:,}.")
    if stop > limits.JOB_ITEMS:
        raise BadInput(f"A job may have {limits.JOB_ITEMS:,} units.")
    known = min(stop, job.units) - chunk.first
    if not known and chunk.count:
        weights.note(job, chunk)
        job.units = stop
        job.orphan_at = 0 if job.attended else state.now + limits.ORPHAN_SECONDS * 1000
        ready.wake(state, job)
        state.save(chunk)
        state.touch(job)
    state.emit(Reply(Appended(job.units, known)))


def seal(state: State, number: int) -> None:
    """Nothing more will be appended. A job already sealed, complete or ended stays as it is."""
    job = state.jobs.get(number)
    if job is None and 0 < number <= state.last_job:
        state.emit(Reply(None))  # asked again by a client that did not hear the first answer
        return
    _seal(state, jobs.get(state, number))
    state.emit(Reply(None))


def _seal(state: State, job: JobRun) -> None:
    job.sealed = True
    job.orphan_at = 0
    state.touch(job)
    if job.state is JobState.OPEN:
        jobs.move(state, job, JobState.SEALED)
        jobs.maybe_complete(state, job)


def attended(state: State, number: int, present: bool) -> None:
    """A client took an open job in hand, or its last one let go."""
    job = state.jobs.get(number)
    if job is None:
        return
    job.attended = max(0, job.attended + (1 if present else -1))
    waiting = job.state is JobState.OPEN and not job.attended
    job.orphan_at = state.now + limits.ORPHAN_SECONDS * 1000 if waiting else 0
    jobs.set_alarm(state, job)


def ring(state: State) -> None:
    """Seal open jobs nobody came back for, complete those whose deadline lets them, and make answers final."""
    while state.alarms and state.alarms[0][0] <= state.now:
        at, number = heappop(state.alarms)
        job = state.jobs.get(number)
        if job is None or job.alarm_at != at:
            continue
        job.alarm_at = 0
        if job.state is JobState.OPEN and job.orphan_at and job.orphan_at <= state.now:
            _seal(state, job)
        if job.state is JobState.COMPLETED and jobs.due(state, job) <= state.now:
            jobs.finish(state, job, JobState.FINAL)
        else:
            jobs.maybe_complete(state, job)
            jobs.set_alarm(state, job)
