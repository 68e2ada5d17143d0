"""What went wrong in a job and what its runs wrote, for those who submitted it.

What a Python function raised comes with the answer as data (`protocol.failures`): it is read to be shown, and a node
may have written anything there, so it is bounded and nothing in it is looked up.
"""

from __future__ import annotations

import msgspec

from crowdgrid import limits
from crowdgrid.core.model import UNSANDBOXED, Job, TaskState
from crowdgrid.core.reducing import REDUCERS
from crowdgrid.core.reducing import Answer as RunAnswer
from crowdgrid.core.splitting import per_item
from crowdgrid.errors import BadInput
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.jobs import find_job
from crowdgrid.hub.api.paging import PageQuery
from crowdgrid.hub.api.results import node_of, runs_of
from crowdgrid.hub.api.table import Call, Endpoint, gives
from crowdgrid.hub.given_up import reason_of
from crowdgrid.protocol.failures import unpack_failure
from crowdgrid.store import SettledRow

READ_ROWS = 64  # × limits.INLINE_BYTES, or one blob of limits.ANSWER_BYTES
SCANNED_ROWS = 4_096  # looked through for one page of logs …
SCANNED_BYTES = 32 << 20  # … and not more than this of their payloads
TRACEBACKS_CHARS = 8 << 20  # in one page
MESSAGE_CHARS = 2_000


class ErrorInfo(msgspec.Struct, frozen=True):
    """Why a unit, or a task that could not be finished, has no answer: `unit` is −1 where it is the whole task.

    `stderr`: the end of what the program wrote there, kept for the first failed run of a task. `type`, `message` and
    `traceback` are of the exception a Python function raised.
    """

    task: str
    ordinal: int
    unit: int
    error: str
    node: str = ""
    stderr: str = ""
    type: str = ""
    message: str = ""
    traceback: str = ""


class ErrorsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, by ordinal. `next` is `after` of the next page."""

    errors: list[ErrorInfo]
    next: int | None = None


class LogInfo(msgspec.Struct, frozen=True):
    """What runs of one task (units [start, stop)) wrote, the end of it. `outcome` and `error` are the task's."""

    task: str
    ordinal: int
    start: int
    stop: int
    node: str
    outcome: str
    error: str
    text: str


class LogsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs wrote, by ordinal. `next` is `after` of the next page; there may be one after an empty page."""

    logs: list[LogInfo]
    next: int | None = None


# --- errors -------------------------------------------------------------------------------------


async def list_errors(call: Call) -> ErrorsPage:
    """Failed units and abandoned tasks, each with a sentence; the first of a task with the end of its stderr. A page
    has at least `limit` of them if there are so many, because it ends with a task."""
    query: PageQuery = call.query
    job = await find_job(call)
    errors: list[ErrorInfo] = []
    after, looked_at, room = query.after, 0, TRACEBACKS_CHARS
    count = min(query.limit, READ_ROWS)
    while len(errors) < query.limit and looked_at < limits.PAGE_ROWS:
        rows = await call.hub.keeper.store.flawed(job.number, after=after, limit=count)
        for row in rows:
            found = await _errors_of(call, job, row, room)
            room -= sum(len(error.traceback) for error in found)
            errors += found
            after, looked_at = row.task.ordinal, looked_at + 1
            if len(errors) >= query.limit:
                break
        else:
            if len(rows) < count:
                return ErrorsPage(errors)
    return ErrorsPage(errors, after)


async def _errors_of(call: Call, job: Job, row: SettledRow, room: int) -> list[ErrorInfo]:
    """`room`: characters that all tracebacks may have."""
    task, node = row.task, await node_of(call, row)
    public = call.hub.keeper.ids.task(task.job, task.ordinal)
    if task.state is TaskState.ABANDONED:
        text, number = await reason_of(call.hub.keeper.store, task)
        return [ErrorInfo(public, task.ordinal, -1, text, await call.hub.names.find(number))]
    runs = runs_of(job, await _whole(call, row))
    per_unit = per_item(job.spec.split) and len(runs) == task.stop - task.start
    reducer = REDUCERS[job.spec.reduce]
    found: list[ErrorInfo] = []
    for at, run in enumerate(runs):
        if why := reducer.accepts(run.data) if run.ok else run.error or "The run failed.":
            info = ErrorInfo(public, task.ordinal, task.start + at if per_unit else -1, why, node)
            found.append(_with_failure(info, run, room) if job.spec.runtime in UNSANDBOXED else info)
            room -= len(found[-1].traceback)
    if found and (tail := _stderr_of(row)):  # only the first failed run's is kept
        found[0] = msgspec.structs.replace(found[0], stderr=tail)
    return found


def _with_failure(info: ErrorInfo, run: RunAnswer, room: int) -> ErrorInfo:
    """What the function raised, beside the sentence about it; nothing where the answer does not hold that."""
    if run.ok or not 0 < len(run.data) <= limits.INLINE_BYTES:
        return info
    try:
        failure = unpack_failure(run.data)
    except BadInput:
        return info
    return msgspec.structs.replace(
        info,
        type=failure.type[: limits.NAME_CHARS],
        message=failure.message[:MESSAGE_CHARS],
        traceback=failure.traceback[: limits.FAILURE_BYTES] if room > 0 else "",
    )


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


# --- logs ---------------------------------------------------------------------------------------


async def list_logs(call: Call) -> LogsPage:
    """The end of what runs wrote, of each settled task that wrote anything."""
    query: PageQuery = call.query
    job = await find_job(call)
    logs: list[LogInfo] = []
    after, rows_left, bytes_left = query.after, SCANNED_ROWS, SCANNED_BYTES
    while rows_left > 0 and bytes_left > 0:
        rows = await call.hub.keeper.store.settled(job.number, after=after, limit=READ_ROWS)
        for row in rows:
            after = row.task.ordinal
            if text := _stderr_of(row):
                logs.append(await _log_of(call, row, text))
                if len(logs) == query.limit:
                    return LogsPage(logs, after)
            bytes_left -= len(row.assignment.result.payload) if row.assignment and row.assignment.result else 0
        if len(rows) < READ_ROWS:
            return LogsPage(logs)
        rows_left -= len(rows)
    return LogsPage(logs, after)


async def _log_of(call: Call, row: SettledRow, text: str) -> LogInfo:
    task = row.task
    return LogInfo(
        task=call.hub.keeper.ids.task(task.job, task.ordinal),
        ordinal=task.ordinal,
        start=task.start,
        stop=task.stop,
        node=await node_of(call, row),
        outcome=task.outcome.name.lower(),
        error=row.assignment.result.error if row.assignment and row.assignment.result else "",
        text=text,
    )


_READ = (Verb.READ, Place.JOBS)

ENDPOINTS = (
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
        "GET",
        "/v1/jobs/{job}/logs",
        "What runs wrote, task by task",
        list_logs,
        _READ,
        gives(LogsPage, "A page."),
        query=PageQuery,
    ),
)
