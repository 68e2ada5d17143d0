"""Random batches against the store in memory and a real one: they must agree on every read, also after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from crowdgrid.core.model import (
    Assignment,
    AssignmentState,
    JobState,
    Outcome,
    Record,
    Result,
    Task,
    TaskState,
)
from crowdgrid.errors import Conflict, CrowdgridError, Fenced
from crowdgrid.store import Store
from crowdgrid.store.memory import MemoryStore
from crowdgrid.store.postgres import PostgresStore
from crowdgrid.store.sqlite import SqliteStore
from tests.contracts.store.places import Hub, take_over
from tests.contracts.store.records import chunk, invitation, job, node, partial, signature, token
from tests.postgres import PostgresServer

T = TypeVar("T")

JOBS, ORDINALS, NODES = st.integers(1, 3), st.integers(0, 12), st.integers(1, 3)
NUMBER = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
BLOB = st.sampled_from(["", "aa" * 32, "bb" * 32])

RESULTS = st.builds(
    Result,
    outcome=st.sampled_from(Outcome),
    digest=st.binary(min_size=32, max_size=32),
    payload=st.binary(max_size=10),
    blob=BLOB,
    size=NUMBER,
    error=TEXT,
    errors=NUMBER,
    reported_at=NUMBER,
)
TASKS = st.builds(
    Task,
    job=JOBS,
    ordinal=ORDINALS,
    start=st.integers(-3, 3),
    stop=NUMBER,
    state=st.sampled_from(TaskState),
    created_at=NUMBER,
    attempts=st.integers(1, 3),
    answer=st.integers(-1, 2),
    digest=st.binary(max_size=2),
    errors=st.integers(0, 1),
    parent=st.integers(-1, 3),
)
ASSIGNMENTS = st.builds(
    Assignment,
    job=JOBS,
    ordinal=ORDINALS,
    attempt=st.integers(0, 2),
    node=NODES,
    state=st.sampled_from(AssignmentState),
    leased_at=NUMBER,
    deadline_ms=NUMBER,
    result=st.none() | RESULTS,
)
# Which name a job has follows from its number, so that clashes are frequent and no two swap names in one batch.
SAVED_JOBS = st.builds(
    lambda number, state, ended, reason: job(
        number, name=f"name {number % 2}", state=state, ended_at=ended, reason=reason
    ),
    JOBS,
    st.sampled_from(JobState),
    st.integers(0, 3),
    TEXT,
)
OTHERS = st.one_of(
    st.builds(node, NODES, name=TEXT, owner=st.sampled_from(["ann", "ben"]), speed=st.floats(allow_nan=False)),
    st.builds(chunk, JOBS, st.integers(0, 9), st.integers(1, 5), blob=BLOB),
    st.builds(partial, JOBS, st.integers(0, 3), st.binary(max_size=3)),
    st.builds(token, st.integers(1, 2), name=TEXT),
    st.builds(invitation, st.integers(1, 2), uses_left=NUMBER),
    st.builds(signature, st.integers(1, 2)),
)


def key_of(record: Record) -> tuple[Any, ...]:
    kind = type(record).__name__
    fields = ("number", "job", "ordinal", "attempt", "first", "block")
    return (kind, *(getattr(record, name) for name in fields if hasattr(record, name)))


RECORDS = st.lists(st.one_of(TASKS, ASSIGNMENTS, SAVED_JOBS, OTHERS), max_size=25, unique_by=key_of)


class Agreement(RuleBasedStateMachine):
    """The same calls on both; `make` gives a handle on the real one."""

    url: ClassVar[str] = ""
    server: ClassVar[PostgresServer | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory()
        self.dsn = self.server.database() if self.server else ""
        self.model = self.run(take_over(MemoryStore()))
        self.real = self.run(take_over(self.make()))
        self.gone: set[int] = set()

    def make(self) -> Store:
        return PostgresStore(self.dsn) if self.dsn else SqliteStore(Path(self.folder.name) / "grid.db")

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.real.store.close())
        self.runner.close()
        self.folder.cleanup()
        if self.server:
            self.server.drop(self.dsn)

    def both(self, *records: Record, **more: Any) -> None:
        """Save in both: either both do, or both refuse for the same reason."""

        async def save(hub: Hub) -> type[CrowdgridError] | None:
            try:
                await hub.save(*records, **more)
            except (Conflict, Fenced) as problem:
                return type(problem)
            return None

        assert self.run(save(self.real)) == self.run(save(self.model))

    @rule(records=RECORDS, partials=st.lists(st.tuples(JOBS, st.integers(0, 3)), max_size=2, unique=True))
    def commit(self, records: list[Record], partials: list[tuple[int, int]]) -> None:
        live = [each for each in records if not self.gone & {getattr(each, "job", getattr(each, "number", 0))}]
        self.both(*live, dropped_partials=partials)

    @rule(number=JOBS)
    def drop(self, number: int) -> None:
        if number not in self.gone:  # numbers are never used twice
            self.gone.add(number)
            self.both(dropped_jobs=[number])

    @rule()
    def stale_batch(self) -> None:
        self.model.grid = msgspec.structs.replace(self.model.grid, batch=self.model.grid.batch + 1)
        self.real.grid = msgspec.structs.replace(self.real.grid, batch=self.real.grid.batch + 1)
        self.both(*[job(1)] if 1 not in self.gone else ())
        self.model.grid = msgspec.structs.replace(self.model.grid, batch=self.model.grid.batch - 1)
        self.real.grid = msgspec.structs.replace(self.real.grid, batch=self.real.grid.batch - 1)

    @rule()
    def restart(self) -> None:
        self.run(self.real.store.close())
        self.real = self.run(take_over(self.make()))
        self.model = self.run(take_over(self.model.store))
        assert self.real.opened == self.model.opened

    @rule(
        at=JOBS,
        after=st.integers(-1, 12),
        limit=st.integers(0, 4),
        states=st.lists(st.sampled_from(TaskState), max_size=3),
    )
    def pages(self, at: int, after: int, limit: int, states: list[TaskState]) -> None:
        async def read(store: Store) -> list[Any]:
            return [
                await store.tasks(at, states=states, after=after, limit=limit),
                await store.settled(at, after=after, stop=after + 4, limit=limit),
                await store.flawed(at, after=after, limit=limit),
                await store.chunks(at, first=after, stop=after + limit),
                await store.nodes(owner="ben", after=limit, limit=limit),
                await store.jobs(states=[JobState.OPEN, JobState.FINAL], before=limit, limit=limit),
                await store.ended_before(limit, limit=limit),
            ]

        assert self.run(read(self.real.store)) == self.run(read(self.model.store))

    @invariant()
    def everything_agrees(self) -> None:
        async def read(store: Store) -> list[Any]:
            found: list[Any] = [await store.jobs(), await store.jobs(owner="ann"), await store.nodes()]
            for at in (1, 2, 3):
                found += [await store.job(at), await store.tasks(at), await store.settled(at), await store.flawed(at)]
                found += [await store.partials(at), await store.chunks(at, first=0, stop=99)]
                found += [await store.children(at, parent) for parent in range(4)]
                found += [await store.assignments(at, ordinal) for ordinal in range(13)]
                found += [await store.signature(at), await store.node(at)]
            found += [await store.job_named("ann", "name 1"), await store.job_keyed("ann", "key 2")]
            found.append(sorted({digest async for digest in store.named_blobs()}))
            return found

        assert self.run(read(self.real.store)) == self.run(read(self.model.store))


def check(machine: type[Agreement], examples: int, steps: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=unhurried,
            database=None,
            phases=phases,
        ),
    )


def test_sqlite_agrees_with_memory() -> None:
    check(Agreement, examples=40, steps=15)


def test_postgres_agrees_with_memory(postgres_server: PostgresServer) -> None:
    class OnPostgres(Agreement):
        server = postgres_server

    check(OnPostgres, examples=6, steps=12)


def test_the_comparison_sees_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model test that cannot fail protects nothing."""
    original = SqliteStore.partials

    async def forgetful(self: SqliteStore, at: int) -> list[Any]:
        return (await original(self, at))[1:]

    monkeypatch.setattr(SqliteStore, "partials", forgetful)
    with pytest.raises(AssertionError):
        check(Agreement, examples=300, steps=10, phases=[Phase.generate])
