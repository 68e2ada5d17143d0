"""Jobs, for those who submit them: open, steer, seal, look. Their input is in `items`, what became of them in `results`.

Lists and records are read from the committed store, never from the live engine. A job is named by its id, or by its
name where it is one's own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from crowdgrid import limits
from crowdgrid.core import commands
from crowdgrid.core.model import Job, JobState
from crowdgrid.errors import BadInput, BadProgram, Conflict
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.paging import DEFAULT, Limit
from crowdgrid.hub.api.table import JSON, NOTHING, Answer, Body, Call, Endpoint, gives
from crowdgrid.hub.submission import check_between
from crowdgrid.protocol.messages import JobInfo, JobRequest

ENDED = (JobState.INVALID, JobState.FINAL, JobState.FAILED, JobState.CANCELLED)

StateName = Literal["validating", "invalid", "open", "sealed", "completed", "final", "failed", "cancelled"]


# --- what is sent and answered ----------------------------------------------------------------


class JobsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs to list, newest first."""

    limit: Limit = DEFAULT
    before: Annotated[str, msgspec.Meta(max_length=40, description="`next` of the page before.")] = ""
    state: Annotated[tuple[StateName, ...], msgspec.Meta(description="Only jobs in one of these states.")] = ()


class JobsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Jobs, newest first. `next` is `before` of the next page."""

    jobs: list[JobInfo]
    next: str | None = None


class Priority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job's new priority, −100 to 100."""

    priority: int


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for people."""

    reason: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS)] = ""


# --- opening and steering ---------------------------------------------------------------------


async def open_job(call: Call) -> Answer:
    """Open a job; the header Idempotency-Key stands for `key`."""
    request: JobRequest = call.body
    header = call.request.headers.get("idempotency-key", "")
    if header and request.key and header != request.key:
        raise BadInput("The header Idempotency-Key and the field key differ.", hint="Give one of them.")
    if header:
        request = msgspec.structs.replace(request, key=header)
    job, new = await call.hub.submissions.open_once(call.principal, request)
    info = views.job_info(job, call.hub.keeper.ids)
    return Answer(info, 201 if new else 200, {"Location": f"/v1/jobs/{info.id}"})


async def find_job(call: Call) -> Job:
    """The job the path names. Raises NotFound."""
    return await call.hub.submissions.find(call.principal, call.path["job"])


async def _shown(call: Call) -> JobInfo:
    return views.job_info(await find_job(call), call.hub.keeper.ids)


async def list_jobs(call: Call) -> JobsPage:
    """One's own jobs, or for an admin everybody's."""
    query: JobsQuery = call.query
    states = [JobState(state) for state in query.state]
    before = call.hub.submissions.cursor(query.before) if query.before else 0
    jobs = await call.hub.keeper.store.jobs(owner=call.principal.scope, states=states, before=before, limit=query.limit)
    ids = call.hub.keeper.ids
    shown = [views.job_info(job, ids) for job in jobs]
    return JobsPage(shown, shown[-1].id if len(shown) == query.limit else None)


async def show_job(call: Call) -> JobInfo:
    """One job."""
    return await _shown(call)


async def cancel_job(call: Call) -> JobInfo:
    """End the job for good."""
    reason: Reason = call.body
    await call.hub.submissions.cancel(call.principal, call.path["job"], reason.reason)
    return await _shown(call)


async def _steered(call: Call, command: Any) -> JobInfo:
    await call.hub.submissions.steer(call.principal, call.path["job"], command)
    return await _shown(call)


async def pause_job(call: Call) -> JobInfo:
    """Lease nothing more of it; what runs goes on."""
    return await _steered(call, commands.Pause)


async def resume_job(call: Call) -> JobInfo:
    """Undo a pause."""
    return await _steered(call, commands.Resume)


async def retry_job(call: Call) -> JobInfo:
    """Run its abandoned and failed tasks again."""
    await call.hub.submissions.retry(call.principal, call.path["job"])
    return await _shown(call)


async def prioritise_job(call: Call) -> JobInfo:
    """Give it another priority."""
    wanted: Priority = call.body
    check_between("priority", wanted.priority)
    return await _steered(call, lambda number: commands.Reprioritise(number, wanted.priority))


async def seal_job(call: Call) -> JobInfo:
    """Nothing more will be appended."""
    await call.hub.submissions.seal(call.principal, call.path["job"])
    return await _shown(call)


async def remove_job(call: Call) -> None:
    """Forget an ended job and everything of it."""
    job = await find_job(call)
    call.allow(Verb.REMOVE, job)
    if job.state not in ENDED:
        raise Conflict(
            f"The job is {job.state.value}; only one that has ended can be removed.", hint="Cancel it first."
        )
    await call.hub.keeper.drop_jobs([job.number])


# --- the table --------------------------------------------------------------------------------

_JOB = gives(JobInfo, "The job.")
_CHANGE = (Verb.CHANGE, Place.JOBS)
_READ = (Verb.READ, Place.JOBS)


def _steering(verb: str, summary: str, handler: Any) -> Endpoint:
    return Endpoint("POST", f"/v1/jobs/{{job}}/{verb}", summary, handler, _CHANGE, _JOB, errors=(Conflict,))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/jobs",
        "Open a job",
        open_job,
        (Verb.CREATE, Place.JOBS),
        {
            201: (JSON, JobInfo, "The new job."),
            200: (JSON, JobInfo, "The job that was opened with this key before."),
        },
        headers={"Idempotency-Key": "Asking again with the same key gives the same job."},
        body=Body({JSON: JobRequest}, limits.FRAME_BYTES),
        errors=(BadProgram, Conflict),
    ),
    Endpoint("GET", "/v1/jobs", "List jobs", list_jobs, _READ, gives(JobsPage, "A page."), query=JobsQuery),
    Endpoint("GET", "/v1/jobs/{job}", "Show a job", show_job, _READ, _JOB),
    Endpoint(
        "PATCH",
        "/v1/jobs/{job}",
        "Change a job's priority",
        prioritise_job,
        _CHANGE,
        _JOB,
        body=Body({JSON: Priority}, 1024),
        errors=(Conflict,),
    ),
    Endpoint(
        "DELETE",
        "/v1/jobs/{job}",
        "Remove a job that has ended",
        remove_job,
        (Verb.REMOVE, Place.JOBS),
        NOTHING,
        errors=(Conflict,),
    ),
    Endpoint(
        "POST",
        "/v1/jobs/{job}/cancel",
        "End a job",
        cancel_job,
        _CHANGE,
        _JOB,
        body=Body({JSON: Reason}, 4096),
        errors=(Conflict,),
    ),
    _steering("pause", "Pause a job", pause_job),
    _steering("resume", "Resume a paused job", resume_job),
    _steering("retry", "Run failed and abandoned tasks again", retry_job),
    _steering("seal", "Say that nothing more will be appended", seal_job),
)
