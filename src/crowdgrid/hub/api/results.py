"""What became of a job, for those who submitted it: its tasks, its results, its answer.

All of it is read from the committed store, never from the live engine. What went wrong is in `flaws`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from crowdgrid.core.model import Job, JobState, Outcome, TaskState
from crowdgrid.core.reducing import Answer as RunAnswer
from crowdgrid.core.reducing import unpack_answers
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput, Conflict, JobFailed, NotFound, TooLarge
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.jobs import ENDED, find_job
from crowdgrid.hub.api.paging import DEFAULT, Cursor, Limit, PageQuery
from crowdgrid.hub.api.table import BYTES, JSON, Call, Endpoint, gives
from crowdgrid.hub.api.waiting import until
from crowdgrid.store import SettledRow

WAIT_SECONDS_MAX = 60
ANSWERED = (JobState.COMPLETED, JobState.FINAL)

TaskStateName = Literal[
    "pending", "in_queue", "in_progress", "completed", "failed", "validated", "split", "abandoned", "cancelled"
]


# --- what is sent and answered ----------------------------------------------------------------


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


# --- looking ----------------------------------------------------------------------------------


async def list_tasks(call: Call) -> TasksPage:
    """The job's tasks."""
    query: TasksQuery = call.query
    job = await find_job(call)
    states = [TaskState[name.upper()] for name in query.state]
    tasks = await call.hub.keeper.store.tasks(job.number, states=states, after=query.after, limit=query.limit)
    ids = call.hub.keeper.ids
    more = tasks[-1].ordinal if len(tasks) == query.limit else None
    return TasksPage([views.task_info(task, ids) for task in tasks], job.counts.tasks, more)


async def show_task(call: Call) -> views.TaskInfo:
    """One task with all its assignments."""
    job = await find_job(call)
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
    job = await find_job(call)
    rows = await call.hub.keeper.store.settled(job.number, after=query.after, limit=query.limit)
    ids = call.hub.keeper.ids
    shown = [
        views.result_info(row.task, row.assignment, runs_of(job, row), await node_of(call, row), ids) for row in rows
    ]
    return ResultsPage(shown, rows[-1].task.ordinal if len(rows) == query.limit else None)


async def node_of(call: Call, row: SettledRow) -> str:
    """The did:key of the node whose answer settled the task, "" for none."""
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
    job = await find_job(call)
    if job.state not in ANSWERED and job.state not in ENDED and query.wait:
        await until(call.hub.keeper, job.number, (*ANSWERED, *ENDED), query.wait)
        job = await find_job(call)
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

_READ = (Verb.READ, Place.JOBS)

ENDPOINTS = (
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
