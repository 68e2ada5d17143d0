"""Records as people see them: the representations of REST and of events.

Ids are the public ones, states are words, times are ms since the epoch as the engine's clock has them, bytes are
text where they are UTF-8 and base64 where not. Secrets have no field here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crowdgrid import ids as naming
from crowdgrid.core.effects import Explanation
from crowdgrid.core.model import Assignment, Counts, Invitation, Job, Node, Task, Token
from crowdgrid.core.reducing import Answer
from crowdgrid.ids import PublicIds
from crowdgrid.protocol.messages import JobInfo


class CountsInfo(msgspec.Struct, frozen=True):
    """A job's counters, which moved."""

    id: str
    state: str
    counts: Counts


class AssignmentInfo(msgspec.Struct, frozen=True):
    """One lease of a task, and what came of it."""

    id: str
    attempt: int
    node: str
    state: str
    leased_at: int
    deadline_ms: int
    ended_at: int = 0
    outcome: str | None = None
    digest: str = ""
    error: str = ""
    size: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0
    memory_bytes: int = 0
    signed: bool = False


class TaskInfo(msgspec.Struct, frozen=True):
    """One task; `assignments` only where one task is asked for.

    `wanted`: nodes that are to be at work on it or to have answered. `confidence` of its answer, 0 where the job's
    consensus does not judge: the chance that it is right, or for `trust_weighted` the share of trust that gave it.
    """

    id: str
    ordinal: int
    start: int
    stop: int
    state: str
    created_at: int
    attempts: int
    stale: int
    outcome: str | None = None
    errors: int = 0
    parent: int = -1
    wanted: int = 1
    confidence: float = 0.0
    assignments: list[AssignmentInfo] = []


class AnswerInfo(msgspec.Struct, frozen=True):
    """What one run printed: as `text` where it is UTF-8, else as `base64`; or its error."""

    ok: bool
    text: str | None = None
    base64: bytes | None = None
    error: str = ""


class ResultInfo(msgspec.Struct, frozen=True):
    """The answer of one settled task: one answer, or for items and grids one a unit.

    A result too large for a message is the blob named `blob` (GET /v1/blobs/…), and `answers` is empty.
    """

    task: str
    ordinal: int
    start: int
    stop: int
    state: str
    outcome: str | None
    errors: int
    error: str = ""
    node: str = ""
    size: int = 0
    blob: str = ""
    confidence: float = 0.0
    answers: list[AnswerInfo] = []


class NodeInfo(msgspec.Struct, frozen=True):
    """A node. `id` is its did:key; `trusts` says whose programs it runs outside a sandbox."""

    id: str
    name: str
    owner: str
    group: str
    state: str
    online: bool
    created_at: int
    seen_at: int
    runtimes: tuple[str, ...]
    trusts: tuple[str, ...]
    labels: tuple[str, ...]
    region: str
    milli_cpus: int
    memory_bytes: int
    speed: float
    trust: float
    validated: int
    lost: int
    held: int | None = None
    slots: int | None = None
    inventory: dict[str, Any] | None = None
    benchmarks: dict[str, Any] | None = None


class TokenInfo(msgspec.Struct, frozen=True):
    """A token without its secret, which nobody has but its holder."""

    number: int
    owner: str
    role: str
    name: str
    created_at: int
    expires_at: int
    revoked_at: int


class InvitationInfo(msgspec.Struct, frozen=True):
    """An invitation without its code."""

    number: int
    owner: str
    group: str
    created_at: int
    expires_at: int
    revoked_at: int
    uses_left: int


class ReasonInfo(msgspec.Struct, frozen=True):
    """One sentence, and whether it stands in the way."""

    text: str
    blocks: bool = False


class RejectedInfo(msgspec.Struct, frozen=True):
    """A node that will not do, and why."""

    node: str
    reasons: tuple[str, ...]


class WhyInfo(msgspec.Struct, frozen=True):
    """Why a job, task or node is as it is. `matched` and `rejected` name nodes."""

    subject: str
    summary: str
    reasons: list[ReasonInfo]
    matched: list[str]
    rejected: list[RejectedInfo]


def job_info(job: Job, ids: PublicIds) -> JobInfo:
    """A job as its owner sees it."""
    return JobInfo(
        id=ids.job(job.number),
        name=job.name,
        owner=job.owner,
        group=job.group,
        state=job.state.value,
        paused=job.paused,
        reason=job.reason,
        created_at=job.created_at,
        ended_at=job.ended_at,
        revision=job.revision,
        counts=job.counts,
        spec=job.spec,
    )


def counts_info(job: Job, ids: PublicIds) -> CountsInfo:
    """A job's counters."""
    return CountsInfo(ids.job(job.number), job.state.value, job.counts)


def task_info(task: Task, ids: PublicIds, assignments: Sequence[AssignmentInfo] = ()) -> TaskInfo:
    """A task, with its assignments where they are given."""
    return TaskInfo(
        id=ids.task(task.job, task.ordinal),
        ordinal=task.ordinal,
        start=task.start,
        stop=task.stop,
        state=task.state.name.lower(),
        created_at=task.created_at,
        attempts=task.attempts,
        stale=task.stale,
        outcome=task.outcome.name.lower() if task.answer >= 0 else None,
        errors=task.errors,
        parent=task.parent,
        wanted=task.wanted,
        confidence=task.confidence,
        assignments=list(assignments),
    )


def assignment_info(assignment: Assignment, node: str, ids: PublicIds) -> AssignmentInfo:
    """An assignment to the node of that did:key, with what its result cost and said, without the payload."""
    result = assignment.result
    told: dict[str, Any] = {}
    if result is not None:
        told = {
            "outcome": result.outcome.name.lower(),
            "digest": result.digest.hex(),
            "error": result.error,
            "size": result.size,
            "cpu_ms": result.cpu_ms,
            "wall_ms": result.wall_ms,
            "memory_bytes": result.memory_bytes,
            "signed": result.signature > 0,
        }
    return AssignmentInfo(
        id=ids.assignment(*assignment.key),
        attempt=assignment.attempt,
        node=node,
        state=assignment.state.name.lower(),
        leased_at=assignment.leased_at,
        deadline_ms=assignment.deadline_ms,
        ended_at=assignment.ended_at,
        **told,
    )


def answer_info(answer: Answer) -> AnswerInfo:
    """What one run printed."""
    if not answer.ok:
        return AnswerInfo(False, error=answer.error)
    try:
        return AnswerInfo(True, text=answer.data.decode())
    except UnicodeDecodeError:
        return AnswerInfo(True, base64=answer.data)


def result_info(
    task: Task, assignment: Assignment | None, answers: Sequence[Answer], node: str, ids: PublicIds
) -> ResultInfo:
    """A settled task's answer; `answers` as they were unpacked."""
    result = assignment.result if assignment else None
    return ResultInfo(
        task=ids.task(task.job, task.ordinal),
        ordinal=task.ordinal,
        start=task.start,
        stop=task.stop,
        state=task.state.name.lower(),
        outcome=task.outcome.name.lower() if task.answer >= 0 else None,
        errors=task.errors,
        error=result.error if result else "",
        node=node,
        size=result.size if result else 0,
        blob=result.blob if result else "",
        confidence=task.confidence,
        answers=[answer_info(answer) for answer in answers],
    )


def node_info(
    node: Node, *, online: bool, held: int | None = None, slots: int | None = None, told: bool = False
) -> NodeInfo:
    """A node; with `told` also what it told of itself."""
    return NodeInfo(
        id=naming.did_of(node.key),
        name=node.name,
        owner=node.owner,
        group=node.group,
        state=node.state.value,
        online=online,
        created_at=node.created_at,
        seen_at=node.seen_at,
        runtimes=node.runtimes,
        trusts=node.trusts,
        labels=node.labels,
        region=node.region,
        milli_cpus=node.milli_cpus,
        memory_bytes=node.memory_bytes,
        speed=node.speed,
        trust=node.trust,
        validated=node.validated,
        lost=node.lost,
        held=held,
        slots=slots,
        inventory=_object(node.inventory) if told else None,
        benchmarks=_object(node.benchmarks) if told else None,
    )


def _object(told: bytes) -> dict[str, Any]:
    """What a stranger's node told is shown, never trusted: anything but a JSON object is shown as none."""
    try:
        return msgspec.json.decode(told, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def token_info(token: Token) -> TokenInfo:
    """A token without its secret."""
    return msgspec.convert(token, TokenInfo, from_attributes=True)


def invitation_info(invitation: Invitation) -> InvitationInfo:
    """An invitation without its code."""
    return msgspec.convert(invitation, InvitationInfo, from_attributes=True)


def why_info(explanation: Explanation, names: Mapping[int, str]) -> WhyInfo:
    """An explanation; `names` are the did:keys of the nodes it names."""
    return WhyInfo(
        subject=explanation.subject,
        summary=explanation.summary,
        reasons=[ReasonInfo(reason.text, reason.blocks) for reason in explanation.reasons],
        matched=[names[node] for node in explanation.matched],
        rejected=[RejectedInfo(names[node], reasons) for node, reasons in explanation.rejected],
    )
