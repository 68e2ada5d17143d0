"""Records as tests need them, every field set to something that is not its default."""

from __future__ import annotations

from typing import Any

from crowdgrid.core.model import (
    Assignment,
    AssignmentState,
    Chunk,
    Completion,
    Counts,
    Grid,
    Invitation,
    Job,
    JobSpec,
    JobState,
    Node,
    NodeState,
    Outcome,
    Partial,
    Range,
    Result,
    Signature,
    Standing,
    Task,
    TaskState,
    Token,
)

FULL_SPEC = JobSpec(
    program="ab" * 32,
    split=Grid(axes=(("a", ("1", "zwei\n", "")), ("b", ("ü",))), piece=7),
    runtime="python",
    args=("--x", "", "naïve \U0001f600", "nul \0"),
    reduce="sum",
    timeout_ms=5,
    memory_bytes=1 << 40,
    output_bytes=3,
    milli_cpus=2500,
    priority=-100,
    target_ms=77,
    max_errors=1,
    stale_ceiling=2,
    allow_abandoned=True,
    consensus="trust_weighted",
    overlap=3,
    min_trust=7.25,
    labels=("gpu", "eu"),
    region="eu-west",
    completion=Completion(at_least=3, deadline_ms=10**12),
    final_after_ms=9,
    keep_ms=10,
)
FULL_COUNTS = Counts(1 << 64, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)


def job(number: int, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "owner": "ann",
        "group": "lab",
        "name": f"name {number}",
        "key": f"key {number}",
        "created_at": 1_700_000_000_000 + number,
        "state": JobState.OPEN,
        "spec": JobSpec(program=f"{number:064x}", split=Range(-5, 1 << 62)),
        "counts": Counts(units=10),
    }
    return Job(number=number, **(fields | changes))


def full_job(number: int) -> Job:
    return job(
        number,
        spec=FULL_SPEC,
        counts=FULL_COUNTS,
        state=JobState.COMPLETED,
        paused=True,
        reason="because\nof “this”",
        hit=4,
        revision=5,
        ended_at=6,
        origin="elsewhere:1",
        format=2,
        sealed=True,
        retrying=True,
    )


def task(job_number: int, ordinal: int, state: TaskState = TaskState.IN_PROGRESS, **changes: Any) -> Task:
    fields: dict[str, Any] = {"start": ordinal * 10, "stop": ordinal * 10 + 10, "created_at": 8, "attempts": 1}
    return Task(job_number, ordinal, state=state, **(fields | changes))


def full_task(job_number: int, ordinal: int, state: TaskState = TaskState.VALIDATED) -> Task:
    return Task(
        job_number, ordinal, -(1 << 63), (1 << 63) - 1, state, 1 << 50, 2, 3, 1, Outcome.PROGRAM_ERROR, b"\0" * 32, 4, 5, 6,
        7, 0.6086956521739131, 1, (3).to_bytes(8, "big") + (1 << 60).to_bytes(8, "big"),
    )  # fmt: skip


def lease(job_number: int, ordinal: int, attempt: int = 0, node_number: int = 3, **changes: Any) -> Assignment:
    fields: dict[str, Any] = {"state": AssignmentState.LEASED, "leased_at": 100, "deadline_ms": 60_000}
    return Assignment(job_number, ordinal, attempt, node_number, **(fields | changes))


def result(payload: bytes = b"\0answer\xff", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "outcome": Outcome.PROGRAM_ERROR,
        "digest": b"\xfe" * 32,
        "blob": "",
        "size": len(payload),
        "error": "exit code 3",
        "errors": 2,
        "cpu_ms": 3,
        "wall_ms": 4,
        "memory_bytes": 5,
        "signature": 6,
        "leaf": 7,
        "reported_at": 8,
        "stderr": b"\xff\0",
        "input": b"\x06" * 32,
    }
    return Result(payload=payload, **(fields | changes))


def reported(job_number: int, ordinal: int, attempt: int = 0, **changes: Any) -> Assignment:
    fields: dict[str, Any] = {"state": AssignmentState.REPORTED, "ended_at": 200, "result": result()}
    return lease(job_number, ordinal, attempt, **(fields | changes))


def node(number: int, **changes: Any) -> Node:
    fields: dict[str, Any] = {
        "key": number.to_bytes(32, "big"),
        "owner": "ben",
        "group": "lab",
        "name": f"node {number}",
        "created_at": 5,
    }
    return Node(number=number, **(fields | changes))


def full_node(number: int) -> Node:
    return node(
        number,
        state=NodeState.DRAINING,
        runtimes=("wasm", "python"),
        labels=("a b", "ü", ""),
        region="eu",
        milli_cpus=16_000,
        memory_bytes=1 << 40,
        speed=1.25e9,
        trust=9.5,
        validated=10,
        lost=11,
        seen_at=12,
        inventory=b'{"cpu":"\xc3\xbc"}',
        benchmarks=b'{"int":1}',
        format=2,
        linked=True,
        trusts=("own", "group:a b", "ü"),
    )


def standing(number: int, kind: str = "ab" * 8, **changes: Any) -> Standing:
    fields: dict[str, Any] = {
        "evidence": (1.0, 0.5, 1e-12),
        "judged": 3,
        "wrong": 0.25,
        "updated_at": 4,
        "doubted": True,
    }
    return Standing(number, kind, **(fields | changes))


def chunk(job_number: int, first: int, count: int, **changes: Any) -> Chunk:
    fields: dict[str, Any] = {"size": 3, "data": b"\0\1\2"}
    return Chunk(job_number, first, count, **(fields | changes))


def token(number: int, **changes: Any) -> Token:
    fields: dict[str, Any] = {
        "secret_hash": f"{number:064x}",
        "owner": "ann",
        "role": "admin",
        "name": "mine",
        "created_at": 1,
        "expires_at": 2,
        "revoked_at": 3,
    }
    return Token(number=number, **(fields | changes))


def invitation(number: int, **changes: Any) -> Invitation:
    fields: dict[str, Any] = {
        "code_hash": f"{number:064x}",
        "owner": "ann",
        "group": "lab",
        "created_at": 4,
        "uses_left": 5,
        "expires_at": 6,
        "revoked_at": 7,
    }
    return Invitation(number=number, **(fields | changes))


def signature(number: int) -> Signature:
    return Signature(number, 3, bytes(range(64)), b"\xaa" * 64)


def partial(job_number: int, block: int, value: bytes = b"\0\xff") -> Partial:
    return Partial(job_number, block, value)
