"""Why: every wait and every end, explained; and the grid at a glance."""

from __future__ import annotations

import msgspec

from crowdgrid import ids as naming
from crowdgrid import limits
from crowdgrid.core import canaries, commands
from crowdgrid.core.effects import Explanation, Reason
from crowdgrid.core.model import Assignment, Job, Node, Outcome, Result, Task, TaskState
from crowdgrid.core.trust.comparison import Exact
from crowdgrid.core.trust.credit import MICRO
from crowdgrid.errors import NotFound
from crowdgrid.hub import views
from crowdgrid.hub.access import Place, Verb
from crowdgrid.hub.api.nodes import find_node
from crowdgrid.hub.api.table import Call, Endpoint, gives
from crowdgrid.store.booking import PAID


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
        explained = await call.hub.keeper.ask(commands.Why(node=node.number))
        return await _shown(call, _and(explained, await _earned_by(call, node)))
    job, ordinal = await _job_or_task(call, text)
    try:
        explanation = await call.hub.keeper.ask(commands.Why(job=job.number, ordinal=ordinal))
    except NotFound:
        explanation = await _from_records(call, job, ordinal)
        if ordinal >= 0 and job.spec.consensus != "single":
            explanation = _and(explanation, await _paid_for(call, job, ordinal))
    return await _shown(call, explanation)


def _and(explanation: Explanation, text: str) -> Explanation:
    return msgspec.structs.replace(explanation, reasons=(*explanation.reasons, Reason(text)))


async def _earned_by(call: Call, node: Node) -> str:
    days = await call.hub.keeper.store.credit_days(node=node.number, limit=limits.RECALL_ROWS)
    total = sum(day.amount for day in days) / MICRO
    return f"It has earned {total:,.1f} credits; `crowdgrid credit {node.name or 'NODE'}` tells by which jobs."


async def _paid_for(call: Call, job: Job, ordinal: int) -> str:
    """What the answer that stands earns."""
    if job.state not in PAID:
        return "Those who gave the answer that stands are paid when the job has ended."
    store = call.hub.keeper.store
    task, booked = await store.task(job.number, ordinal), await store.credits(job.number)
    if task is None or not booked:
        return "Its job has paid nothing (yet)."
    amount = (task.stop - task.start) * booked[-1].price / MICRO
    return f"Each node that gave the answer that stands earned {amount:,.6f} credits by it."


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
        Reason(_attempt(each, await call.hub.names.find(each.node), job, task))
        for each in await store.assignments(job.number, ordinal)
    ]
    summary = f"It is {task.state.name.lower()}; its job is {job.state.value}."
    return Explanation("task", summary, (*tried, *_confidence(job, task)))


def _attempt(given: Assignment, node: str, job: Job, task: Task) -> str:
    result = given.result
    said = f" {result.error}" if result is not None and result.error else ""
    if given.attempt >= canaries.FIRST:
        return f"Its answer was known, so {node} was given it as a test.{said}"
    if task.state is TaskState.VALIDATED and result is not None and job.spec.consensus != "single":
        said = _beside(given.attempt, result, job, task) + said
    return f"Attempt {given.attempt + 1} on {node}: {given.state.name.lower()}.{said}"


def _beside(attempt: int, result: Result, job: Job, task: Task) -> str:
    """What a vote says beside the answer that stands."""
    if result.outcome is Outcome.NODE_ERROR:
        return ""
    if attempt == task.answer:
        return " It is the answer that stands."
    if (result.outcome, result.digest) == (task.outcome, task.digest):
        return " It is the same answer as the one that stands, byte for byte."
    if type(job.spec.comparison) is Exact:
        return " Its answer is another one."
    return " Its bytes are others than those of the answer that stands; the job's comparison says whether that matters."


def _confidence(job: Job, task: Task) -> tuple[Reason, ...]:
    """How sure its rule was when it was settled."""
    if task.state is not TaskState.VALIDATED or job.spec.consensus == "single":
        return ()
    sure = task.confidence
    if job.spec.consensus == "trust_weighted":
        text = f"Of the trust of those who voted, {sure:.4f} gave this answer (trust score {10 * sure:.1f}); {job.spec.threshold:g} were needed."
    elif job.spec.consensus == "bounded_error":
        text = f"It was taken to be wrong with a chance of {1 - sure:.2g}; {job.spec.error_bound:g} was allowed."
    else:
        text = f"It was taken to be right with a chance of {sure:.4g}."
    return (Reason(text),)


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
