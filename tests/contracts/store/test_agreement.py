"""What agreement and credit ask of a store: who answered alone, who earned what, and the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crowdgrid.core.model import Assignment, AssignmentState, Credit, JobState, Outcome, Task, TaskState
from tests.contracts.store import places
from tests.contracts.store.places import Hub, Place, run
from tests.contracts.store.records import job, lease, result, task


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "memory":
            return places.memory()
        case "sqlite":
            return places.sqlite(tmp_path)
        case _:
            return places.postgres(request.getfixturevalue("postgres_dsn"))


def test_the_last_tasks_each_node_answered_alone_are_found_page_by_page(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        def by(number: int, *nodes: int, state: TaskState = TaskState.VALIDATED, of: int = 1) -> Task:
            return task(of, number, state, voters=b"".join(node.to_bytes(8, "big") for node in nodes))

        alone = [by(at, node) for at, node in enumerate([300, 2, 300, 2, 2, 300, 7, 1 << 60])]
        others = [by(8, 7, 2), by(9, 2, state=TaskState.IN_QUEUE), task(1, 10, TaskState.VALIDATED), by(0, 7, of=2)]
        await hub.save(job(1), job(2), *alone, *others)

        def at(*ordinals: int) -> list[Task]:
            return [alone[ordinal] for ordinal in ordinals]

        assert await hub.store.alone(1, last=2) == at(3, 4, 6, 2, 5, 7)
        assert await hub.store.alone(1, last=1) == at(4, 6, 5, 7)
        assert await hub.store.alone(1, last=2, limit=3) == at(3, 4, 6)
        assert await hub.store.alone(1, last=2, node=7, after=6) == at(2, 5, 7)
        assert await hub.store.alone(1, last=2, node=300, after=2) == at(5, 7)
        assert await hub.store.alone(1, last=2, node=1 << 60, after=7) == []
        assert await hub.store.alone(3, last=2) == []

    run(place, scenario)


def test_what_nodes_earned_is_counted_by_what_stands(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        def voted(ordinal: int, *nodes: int) -> Task:
            voters = b"".join(number.to_bytes(8, "big") for number in nodes)
            return task(1, ordinal, TaskState.VALIDATED, answer=0, digest=b"r" * 32, voters=voters)

        def gave(ordinal: int, attempt: int, number: int, digest: bytes = b"r", **told: Any) -> Assignment:
            cpu_ms, state = told.pop("cpu_ms", 0), told.pop("state", AssignmentState.REPORTED)
            given = result(outcome=Outcome.OK, digest=digest * 32, cpu_ms=cpu_ms)
            return lease(1, ordinal, attempt, number, state=state, result=given)

        await hub.save(job(1), voted(0, 4), voted(1, 4, 5), voted(2, 4, 5, 6), task(1, 3, TaskState.IN_QUEUE))
        await hub.save(
            gave(0, 0, 4),
            gave(0, 1, 5, state=AssignmentState.RETRACTED),  # late, or a canary
            gave(1, 0, 4, cpu_ms=10),
            gave(1, 1, 5, cpu_ms=30),
            gave(1, 2, 5, state=AssignmentState.RETRACTED),  # twice
            gave(2, 0, 4, cpu_ms=7),
            gave(2, 1, 5, b"w", cpu_ms=9),
            gave(2, 2, 6, cpu_ms=8),
            gave(3, 0, 6),  # not settled
        )
        found = await hub.store.earned(1)
        assert [(each.node, each.tasks) for each in found] == [(4, 3), (5, 2), (6, 1)]
        assert all(each.units == each.tasks * 10 for each in found)
        assert [each.node for each in await hub.store.earned(1, limit=2)] == [4, 5]
        assert [each.node for each in await hub.store.earned(1, after=5)] == [6]
        claims = await hub.store.claimed(1)
        assert [(each.ordinal, each.node, each.cpu_ms) for each in claims if each.cpu_ms] == [
            (1, 4, 10),
            (1, 5, 30),
            (2, 4, 7),
            (2, 6, 8),
        ]
        assert [each.ordinal for each in await hub.store.outvoted(1)] == [2]
        assert await hub.store.outvoted(1, after=2) == []
        assert await hub.store.earned(2) == []

    run(place, scenario)


def test_credit_is_kept_when_its_job_is_gone(place: Place) -> None:
    day = 86_400_000

    def entry(number: int, node: int, turn: int, at: int, amount: int, owner: str = "olga", kind: str = "k") -> Credit:
        return Credit(number, node, turn, at, "ada", owner, kind, amount, 10, 1, amount / 10)

    async def scenario(hub: Hub) -> None:
        given = [
            entry(1, 4, 0, 5, 100),
            entry(1, 4, 1, day + 6, -40),
            entry(1, 5, 0, 7, 1, "paul"),
            entry(2, 4, 0, day + 8, 9, kind="other"),
        ]
        await hub.save(job(1, state=JobState.FINAL, ended_at=9), *given)
        await hub.save(dropped_jobs=(1,))
        assert await hub.store.credits(1) == given[:3]
        assert await hub.store.credits(1, limit=1) == given[:1]
        assert await hub.store.credits(1, node=4, turn=0) == given[1:3]
        assert await hub.store.credits_of(4) == [given[3], given[1], given[0]]
        assert await hub.store.credits_of(4, before=day + 8) == [given[1], given[0]]
        days = [(each.node, each.owner, each.day, each.amount) for each in await hub.store.credit_days()]
        assert days == [(4, "olga", 0, 100), (4, "olga", 1, -31), (5, "paul", 0, 1)]
        assert [each.amount for each in await hub.store.credit_days(node=4)] == [100, -31]
        assert [each.node for each in await hub.store.credit_days(owner="paul")] == [5]
        assert [each.node for each in await hub.store.credit_days(after=4)] == [5]
        assert (await hub.store.price("k"), await hub.store.price("other"), await hub.store.price("none")) == (
            0.1,
            0.9,
            0,
        )

    run(place, scenario)
