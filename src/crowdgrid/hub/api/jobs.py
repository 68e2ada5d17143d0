"""Jobs, for those who submit them: open, append, seal, steer, look, fetch the answer.

Lists and records are read from the committed store, never from the live engine. A job is named by its id, or by its
name where it is one's own.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from crowdgrid import limits
from crowdgrid.core import commands
from crowdgrid.core.model import Items, Job, JobState, Lines, Outcome, TaskState
from crowdgrid.core.reducing import REDUCERS, unpack_answers
from crowdgrid.core.reducing import Answer as RunAnswer
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput, BadProgram, Conflict, JobFailed, NotFound, TooLarge
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.paging import DEFAULT, Cursor, Limit
from crowdgrid.hub.api.table import BYTES, JSON, NOTHING, Answer, Body, Call, Endpoint, gives
from crowdgrid.hub.api.waiting import until
from crowdgrid.hub.submission import check_between
from crowdgrid.protocol.messages import JobInfo, JobRequest
from crowdgrid.store import SettledRow

WAIT_SECONDS_MAX = 60
ENDED = (JobState.INVALID, JobState.FINAL, JobState.FAILED, JobState.CANCELLED)
ANSWERED = (JobState.COMPLETED, JobState.FINAL)
_JSON_BODY_BYTES = 2 * limits.CHUNK_BYTES  # base64 and quotes around at most a chunk's worth of items

StateName = Literal["validating", "invalid", "open", "sealed", "completed", "final", "failed", "cancelled"]
TaskStateName = Literal[
    "pending", "in_queue", "in_progress", "completed", "failed", "validated", "split", "abandoned", "cancelled"
]


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


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page, by ordinal."""

    limit: Limit = DEFAULT
    after: Cursor = -1


class TasksQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks to list, by ordinal."""

    limit: Limit = DEFAULT
    after: Cursor = -1
    state: Annotated[tuple[TaskStateName, ...], msgspec.Meta(description="Only tasks in one of these states.")] = ()


class TasksPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tasks by ordinal. `total` is what the job's counter says. `next` is `after` of the next page."""

    tasks: list[views.TaskInfo]
    total: int
    next: int | None = None


class ResultsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answers of settled tasks by ordinal. `next` is `after` of the next page."""

    results: list[views.ResultInfo]
    next: int | None = None


class ErrorInfo(msgspec.Struct, frozen=True):
    """Why a unit, or a task that could not be finished, has no answer: `unit` is −1 where it is the whole task.

    `stderr`: the end of what the program wrote there, kept for the first failed run of a task.
    """

    task: str
    ordinal: int
    unit: int
    error: str
    node: str = ""
    stderr: str = ""


class ErrorsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, by ordinal. `next` is `after` of the next page."""

    errors: list[ErrorInfo]
    next: int | None = None


class Priority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job's new priority, −100 to 100."""

    priority: int


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for people."""

    reason: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS)] = ""


class AppendText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units as text, or as base64 where they are not text: one of the two. `first` −1 appends at the end."""

    first: Annotated[int, msgspec.Meta(ge=-1, le=limits.JOB_ITEMS)] = -1
    text: list[str] = []
    base64: list[bytes] = []


class FirstQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where raw lines are appended; −1 at the end."""

    first: Annotated[
        int, msgspec.Meta(ge=-1, le=limits.JOB_ITEMS, description="Ordinal of the first line; −1: the end.")
    ] = -1


class Appended(msgspec.Struct, frozen=True):
    """How many units the job has now, durably."""

    units: int


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait."""

    wait: Annotated[
        float, msgspec.Meta(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the job to complete.")
    ] = 0.0


class AnswerInfo(msgspec.Struct, frozen=True):
    """A job's answer: `value` is what its reducer says (byte strings as `{"text": …}` or `{"base64": …}`)."""

    state: str
    revision: int
    value: Any
    answered: int
    failed: int
    abandoned: int


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


async def _find(call: Call) -> Job:
    return await call.hub.submissions.find(call.principal, call.path["job"])


async def _shown(call: Call) -> JobInfo:
    return views.job_info(await _find(call), call.hub.keeper.ids)


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
    job = await _find(call)
    call.allow(Verb.REMOVE, job)
    if job.state not in ENDED:
        raise Conflict(
            f"The job is {job.state.value}; only one that has ended can be removed.", hint="Cancel it first."
        )
    await call.hub.keeper.drop_jobs([job.number])


# --- input ------------------------------------------------------------------------------------


async def append_items(call: Call) -> Appended:
    """Append items or lines: a JSON list, or raw bytes of which each line is one unit."""
    job = await _find(call)
    if isinstance(call.body, bytes):
        items, first = lines_of(call.body), call.query.first
    else:
        told: AppendText = call.body
        if bool(told.text) == bool(told.base64):
            raise BadInput("An append needs either text or base64, with at least one unit.")
        items, first = [text.encode() for text in told.text] or told.base64, told.first
    if not isinstance(job.spec.split, Items | Lines):
        raise Conflict("Nothing can be appended to this job: its input was complete when it was opened.")
    submissions, id = call.hub.submissions, call.path["job"]
    if first < 0:
        return Appended(await submissions.append_last(call.principal, id, items))
    return Appended(await submissions.append(call.principal, id, first, items))


def lines_of(content: bytes) -> list[bytes]:
    """The lines in `content` without their newlines; only a line feed ends one, and the last one may lack it."""
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


# --- looking ----------------------------------------------------------------------------------


async def list_tasks(call: Call) -> TasksPage:
    """The job's tasks."""
    query: TasksQuery = call.query
    job = await _find(call)
    states = [TaskState[name.upper()] for name in query.state]
    tasks = await call.hub.keeper.store.tasks(job.number, states=states, after=query.after, limit=query.limit)
    ids = call.hub.keeper.ids
    more = tasks[-1].ordinal if len(tasks) == query.limit else None
    return TasksPage([views.task_info(task, ids) for task in tasks], job.counts.tasks, more)


async def show_task(call: Call) -> views.TaskInfo:
    """One task with all its assignments."""
    job = await _find(call)
    ordinal: int = call.path["ordinal"]
    task = await call.hub.keeper.store.task(job.number, ordinal) if ordinal < 1 << 62 else None
    if task is None:
        raise NotFound(f"The job has no task {ordinal:,}.", hint=f"It has {job.counts.tasks:,} tasks so far, from 0.")
    ids, names = call.hub.keeper.ids, call.hub.names
    assignments = [
        views.assignment_info(assignment, await names.find(assignment.node), ids)
        for assignment in await call.hub.keeper.store.assignments(job.number, ordinal)
    ]
    return views.task_info(task, ids, assignments)


async def list_results(call: Call) -> ResultsPage:
    """The answers of settled tasks, as they are."""
    query: PageQuery = call.query
    job = await _find(call)
    rows = await call.hub.keeper.store.settled(job.number, after=query.after, limit=query.limit)
    ids = call.hub.keeper.ids
    shown = [
        views.result_info(row.task, row.assignment, runs_of(job, row), await _node_of(call, row), ids) for row in rows
    ]
    return ResultsPage(shown, rows[-1].task.ordinal if len(rows) == query.limit else None)


async def _node_of(call: Call, row: SettledRow) -> str:
    return await call.hub.names.find(row.assignment.node) if row.assignment else ""


def runs_of(job: Job, row: SettledRow) -> list[RunAnswer]:
    """What each run of a settled task came to; none when the payload is a blob or the task was not answered."""
    result = row.assignment.result if row.assignment else None
    if result is None or result.blob:
        return []
    if result.outcome is not Outcome.OK:
        return [RunAnswer(ok=False, error=result.error)]
    if not per_item(job.spec.split):
        return [RunAnswer(ok=True, data=result.payload)]
    try:
        return list(unpack_answers(result.payload))
    except BadInput as error:
        return [RunAnswer(ok=False, error=error.message)]


async def list_errors(call: Call) -> ErrorsPage:
    """Failed units and abandoned tasks, each with a sentence; the first of a task with the end of its stderr."""
    query: PageQuery = call.query
    job = await _find(call)
    rows = await call.hub.keeper.store.flawed(job.number, after=query.after, limit=query.limit)
    errors = [error for row in rows for error in await _errors_of(call, job, row, await _node_of(call, row))]
    return ErrorsPage(errors, rows[-1].task.ordinal if len(rows) == query.limit else None)


async def _errors_of(call: Call, job: Job, row: SettledRow, node: str) -> list[ErrorInfo]:
    task = row.task
    public = call.hub.keeper.ids.task(task.job, task.ordinal)
    if task.state is TaskState.ABANDONED:
        text = f"Given up after {task.stale} leases were lost."
        return [ErrorInfo(public, task.ordinal, -1, text, node)]
    runs = runs_of(job, await _whole(call, row))
    per_unit = per_item(job.spec.split) and len(runs) == task.stop - task.start
    reducer = REDUCERS[job.spec.reduce]
    found = [
        ErrorInfo(public, task.ordinal, task.start + at if per_unit else -1, why, node)
        for at, run in enumerate(runs)
        if (why := reducer.accepts(run.data) if run.ok else run.error or "The run failed.")
    ]
    if found and (tail := _stderr_of(row)):  # only the first failed run's is kept
        found[0] = msgspec.structs.replace(found[0], stderr=tail)
    return found


async def _whole(call: Call, row: SettledRow) -> SettledRow:
    """The row with its payload, if that is kept as a blob and not beyond what can be shown."""
    result = row.assignment.result if row.assignment else None
    if row.assignment is None or result is None or not result.blob or result.size > limits.ANSWER_BYTES:
        return row
    payload = await call.hub.blobs.read_bytes(result.blob)
    read = msgspec.structs.replace(result, payload=payload, blob="")
    return SettledRow(row.task, msgspec.structs.replace(row.assignment, result=read))


def _stderr_of(row: SettledRow) -> str:
    result = row.assignment.result if row.assignment else None
    return result.stderr.decode(errors="replace") if result else ""


# --- the answer -------------------------------------------------------------------------------


async def show_answer(call: Call) -> Response:
    """The job's answer; raw bytes where the reducer gives bytes and the caller takes them."""
    job = await _completed(call)
    answered = await call.hub.reduction.answer(job)
    headers = {"Cache-Control": "no-store", "X-Revision": str(job.revision)}
    if isinstance(answered.value, bytes) and BYTES in call.request.headers.get("accept", ""):
        return Response(answered.value, headers=headers, media_type=BYTES)
    told = AnswerInfo(
        state=job.state.value,
        revision=job.revision,
        value=sayable(answered.value),
        answered=answered.answered,
        failed=answered.failed,
        abandoned=answered.abandoned,
    )
    # Not msgspec: a sum may be an integer of any size.
    text = await asyncio.to_thread(json.dumps, msgspec.structs.asdict(told), allow_nan=False)
    return Response(text, headers=headers, media_type=JSON)


async def _completed(call: Call) -> Job:
    query: WaitQuery = call.query
    job = await _find(call)
    if job.state not in ANSWERED and job.state not in ENDED and query.wait:
        await until(call.hub.keeper, job.number, (*ANSWERED, *ENDED), query.wait)
        job = await _find(call)
    if job.state in ANSWERED:
        return job
    if job.state in ENDED:
        raise JobFailed(f"The job is {job.state.value}: {job.reason}", hint="See its errors with /errors.")
    done, units = job.counts.units_done, job.counts.units
    hint = "It takes input until it is sealed." if job.state is JobState.OPEN else "Ask again with ?wait=SECONDS."
    raise Conflict(f"The job is {job.state.value}: {done:,} of {units:,} units are done.", hint=hint)


def sayable(value: object) -> object:
    """An answer as JSON can say it: byte strings as text where they are UTF-8, else as base64."""
    if isinstance(value, bytes):
        try:
            return {"text": value.decode()}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [sayable(each) for each in value]
    return value


# --- the table --------------------------------------------------------------------------------

_JOB = gives(JobInfo, "The job.")
_CHANGE = (Verb.CHANGE, Place.JOBS)
_READ = (Verb.READ, Place.JOBS)
_NO_BODY_ERRORS = (Conflict, NotFound)


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
    Endpoint(
        "POST",
        "/v1/jobs/{job}/items",
        "Append items or lines",
        append_items,
        _CHANGE,
        gives(Appended, "How many units the job has."),
        query=FirstQuery,
        body=Body({JSON: AppendText, BYTES: bytes}, _JSON_BODY_BYTES),
        errors=(Conflict,),
    ),
    Endpoint(
        "GET",
        "/v1/jobs/{job}/answer",
        "The job's answer",
        show_answer,
        _READ,
        gives(AnswerInfo, "The answer. With Accept: application/octet-stream and bytes: the bytes."),
        query=WaitQuery,
        errors=(Conflict, JobFailed, TooLarge),
    ),
    Endpoint(
        "GET",
        "/v1/jobs/{job}/results",
        "Answers of settled tasks",
        list_results,
        _READ,
        gives(ResultsPage, "A page."),
        query=PageQuery,
    ),
    Endpoint(
        "GET",
        "/v1/jobs/{job}/errors",
        "What went wrong, unit by unit",
        list_errors,
        _READ,
        gives(ErrorsPage, "A page."),
        query=PageQuery,
    ),
    Endpoint(
        "GET", "/v1/jobs/{job}/tasks", "List tasks", list_tasks, _READ, gives(TasksPage, "A page."), query=TasksQuery
    ),
    Endpoint(
        "GET",
        "/v1/jobs/{job}/tasks/{ordinal:int}",
        "Show a task and its assignments",
        show_task,
        _READ,
        gives(views.TaskInfo, "The task."),
    ),
)
