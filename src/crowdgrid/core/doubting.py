"""Answers looked at again because a node that gave them is believed less than it was.

An audit that was passed proves nothing about the answers beside it: when a node's doubt has doubled and is above what
a job accepts, every answer of that job that is not final and that the node voted for is judged anew, with what is
known now, and opened again where that is no longer enough. Past votes are kept; one more is asked for.

It is work over many rows: page by page, from the store, one job of a node at a time. `Standing.doubted` is kept while
it is under way, so that it begins anew after a restart.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from crowdgrid.core import asking, jobs, voting
from crowdgrid.core.commands import Recalled
from crowdgrid.core.lifecycle import JOB_RUNS
from crowdgrid.core.model import Assignment, JobState, Node, Standing, Task, TaskState
from crowdgrid.core.settling import reopen
from crowdgrid.core.state import Doubting, JobRun, State

RISE: Final = 2.0  # times that doubt has to rise before anything is looked at again
_LOOKED_AT: Final = JOB_RUNS | {JobState.COMPLETED}
_replace = msgspec.structs.replace


def look(state: State) -> None:
    """See whether those whose standing this command moved are still good for what they answered."""
    moved, state.moved = state.moved, []
    for standing, before in moved:
        fallen(state, standing, before)


def fallen(state: State, standing: Standing, before: float) -> None:
    """A node's standing moved; `before`: its doubt until now. Begins to look at its answers if that is called for."""
    after = state.standings.doubt(standing.node, standing.kind)
    if after < RISE * before:
        return
    key = (standing.node, standing.kind)
    concerned = [job.number for job in state.jobs.values() if _concerns(job, standing.kind, after)]
    if not concerned:
        return
    running = state.doubting.get(key)
    if running is not None:
        running.again = True  # what was looked at already was looked at with less doubt
        return
    begin(state, standing, concerned)


def _concerns(job: JobRun, kind: str, doubt: float) -> bool:
    judged = job.spec.consensus == "bounded_error" and job.state in _LOOKED_AT
    return judged and job.kind == kind and doubt > job.spec.error_bound


def begin(state: State, standing: Standing, concerned: list[int] | None = None) -> None:
    """Look at a node's answers, in these jobs or, after a restart, in all that are concerned."""
    doubt = state.standings.doubt(standing.node, standing.kind)
    if concerned is None:
        concerned = [job.number for job in state.jobs.values() if _concerns(job, standing.kind, doubt)]
    state.doubting[standing.node, standing.kind] = Doubting(concerned)
    _mark(state, standing.node, standing.kind, doubted=True)
    _next_job(state, standing.node, standing.kind)


def _mark(state: State, node: int, kind: str, *, doubted: bool) -> None:
    standing = state.standings.get(node, kind)
    assert standing is not None
    if standing.doubted != doubted:
        marked = _replace(standing, doubted=doubted)
        state.standings.mark(marked)
        state.save(marked)


def _next_job(state: State, node: int, kind: str) -> None:
    running = state.doubting[node, kind]
    while running.jobs:
        job = state.jobs.get(running.jobs[-1])
        if job is not None and job.state in _LOOKED_AT:
            _ask(state, node, kind, job, ())
            return
        running.jobs.pop()
    del state.doubting[node, kind]
    standing = state.standings.get(node, kind)
    assert standing is not None
    if running.again:
        begin(state, standing)
    else:
        _mark(state, node, kind, doubted=False)


def _ask(state: State, node: int, kind: str, job: JobRun, cursor: tuple[int, ...]) -> None:
    then = partial(_page, node=node, kind=kind, number=job.number, reopened=job.reopened, cursor=cursor)
    asking.ask(state, "voted", (job.number, node), then, cursor)


def _page(
    state: State, rows: Recalled, *, node: int, kind: str, number: int, reopened: int, cursor: tuple[int, ...]
) -> None:
    running = state.doubting.get((node, kind))
    job = state.jobs.get(number)
    if running is None:
        return
    if job is None or job.state not in _LOOKED_AT:
        _next_job(state, node, kind)
        return
    if job.reopened != reopened:
        _ask(state, node, kind, job, cursor)  # something was opened again meanwhile: the rows may be out of date
        return
    votes: dict[int, list[Assignment]] = {}
    for assignment in rows.assignments:
        votes.setdefault(assignment.ordinal, []).append(assignment)
    nodes = {each.number: each for each in rows.nodes}
    for task in rows.tasks:
        if task.state is TaskState.VALIDATED and task.ordinal not in job.open:
            _judge_again(state, job, task, votes.get(task.ordinal, []), nodes)
    if rows.cursor:
        _ask(state, node, kind, job, rows.cursor)
        return
    running.jobs.pop()
    jobs.maybe_complete(state, job)
    _next_job(state, node, kind)


def _judge_again(state: State, job: JobRun, task: Task, assignments: list[Assignment], nodes: dict[int, Node]) -> None:
    """Open the task again if its votes do not settle it any more, or settle it for another answer."""
    kept = [each for each in assignments if each.attempt >= task.since and voting.is_vote(each) and each.node in nodes]
    confidence = voting.confidence(state, job, task, kept)
    if 1.0 - confidence <= job.spec.error_bound:
        return
    why = f"One of those who answered it was wrong elsewhere: it is right with a chance of {confidence:.4g} only."
    reopen(state, job, task, why, votes=[(each, nodes[each.node]) for each in kept])
