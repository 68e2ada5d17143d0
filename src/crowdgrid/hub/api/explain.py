"""Why: every wait and every end, explained; and the grid at a glance."""

from __future__ import annotations

import msgspec

from crowdgrid import ids as naming
from crowdgrid.core import commands
from crowdgrid.core.effects import Explanation, Reason
from crowdgrid.core.model import Job, TaskState
from crowdgrid.errors import NotFound
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.nodes import find_node
from crowdgrid.hub.api.table import Call, Endpoint, gives


class Overview(msgspec.Struct, frozen=True):
    """The grid at a glance, all of it from counters. `tasks` is of open jobs, by state."""

    grid: str
    version: str
    nodes_online: int
    slots: int
    jobs_open: int
    tasks: dict[str, int]
    leased: int
    milli_cpus: int
    memory_bytes: int
    trust_mean: float | None


async def show_why(call: Call) -> views.WhyInfo:
    """Why a job, task or node is as it is, and what would change that."""
    text: str = call.path["thing"]
    if text.startswith("did:"):
        node = await find_node(call, text)
        return await _shown(call, await call.hub.keeper.ask(commands.Why(node=node.number)))
    job, ordinal = await _job_or_task(call, text)
    try:
        explanation = await call.hub.keeper.ask(commands.Why(job=job.number, ordinal=ordinal))
    except NotFound:
        explanation = await _from_records(call, job, ordinal)
    return await _shown(call, explanation)


async def _shown(call: Call, explanation: Explanation) -> views.WhyInfo:
    numbers = [*explanation.matched, *(node for node, _ in explanation.rejected)]
    return views.why_info(explanation, {number: await call.hub.names.find(number) for number in numbers})


async def _job_or_task(call: Call, text: str) -> tuple[Job, int]:
    keeper = call.hub.keeper
    try:
        kind, number, ordinal, _ = keeper.ids.numbers(text)
    except NotFound:
        kind, number, ordinal = naming.type_job, 0, -1
    if kind == naming.type_job:
        return await call.hub.submissions.find(call.principal, text), -1
    return await call.hub.submissions.find(call.principal, keeper.ids.job(number)), ordinal


async def _from_records(call: Call, job: Job, ordinal: int) -> Explanation:
    """What the records tell of a job that has ended, or a task that has left the engine's memory."""
    if ordinal < 0:
        failed = (Reason(f"Of its runs {job.counts.errors:,} failed; `crowdgrid jobs logs` tells how."),)
        return Explanation("job", f"It is {job.state.value}. {job.reason}".strip(), failed if job.counts.errors else ())
    store = call.hub.keeper.store
    task = await store.task(job.number, ordinal)
    if task is None:
        raise NotFound("There is no such task on this grid, or it is not yours to see.")
    tried = [
        Reason(
            f"Attempt {a.attempt + 1} on {await call.hub.names.find(a.node)}: {a.state.name.lower()}."
            + (f" {a.result.error}" if a.result else "")
        )
        for a in await store.assignments(job.number, ordinal)
    ]
    summary = f"It is {task.state.name.lower()}; its job is {job.state.value}."
    return Explanation("task", summary, tuple(tried))


async def show_overview(call: Call) -> Overview:
    """Counts, resources and states."""
    from crowdgrid.hub.version import version

    keeper = call.hub.keeper
    live = await keeper.ask(commands.Snapshot())
    crowd = call.hub.presence
    return Overview(
        grid=keeper.grid.grid_id.hex(),
        version=version(),
        nodes_online=len(crowd),
        slots=sum(node.slots for node in live.nodes),
        jobs_open=live.open_jobs,
        tasks={TaskState.IN_QUEUE.name.lower(): live.open_tasks - live.leased, "in_progress": live.leased},
        leased=live.leased,
        milli_cpus=crowd.milli_cpus,
        memory_bytes=crowd.memory_bytes,
        trust_mean=crowd.trust_mean,
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/why/{thing}",
        "Why a job, task or node is as it is",
        show_why,
        (Verb.READ, Place.JOBS),
        gives(views.WhyInfo, "Why."),
    ),
    Endpoint(
        "GET",
        "/v1/overview",
        "The grid at a glance",
        show_overview,
        (Verb.READ, Place.GRID),
        gives(Overview, "Counts and resources."),
    ),
)
