"""What every store does. One suite over memory, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crowdgrid import limits
from crowdgrid.core.model import AssignmentState, JobState, NodeState, Outcome, Record, TaskState, TrustMove
from crowdgrid.errors import BadInput, Conflict, Fenced, Unavailable
from crowdgrid.store import Store, sweep
from tests.contracts.store import places
from tests.contracts.store.places import Hub, Place, reopened, run, take_over
from tests.contracts.store.records import (
    chunk,
    full_job,
    full_node,
    full_task,
    invitation,
    job,
    lease,
    node,
    partial,
    reported,
    result,
    signature,
    standing,
    task,
    token,
)

VALIDATED, SPLIT, ABANDONED, CANCELLED = (
    TaskState.VALIDATED,
    TaskState.SPLIT,
    TaskState.ABANDONED,
    TaskState.CANCELLED,
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "memory":
            return places.memory()
        case "sqlite":
            return places.sqlite(tmp_path)
        case _:
            return places.postgres(request.getfixturevalue("postgres_dsn"))


# --- opening and the fence ---------------------------------------------------------------------


def test_new_store_is_empty_and_keeps_the_ids_it_was_given_first(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        assert hub.opened.grid == msgspec.structs.replace(
            hub.opened.grid, epoch=1, batch=0, now=0, jobs=0, grid_id=places.GRID_ID, id_key=places.ID_KEY
        )
        assert (hub.opened.jobs, hub.opened.tasks, hub.opened.nodes) == ((), (), ())
        again = await reopened(place, hub)
        assert (again.grid.grid_id, again.grid.id_key, again.grid.epoch) == (places.GRID_ID, places.ID_KEY, 2)

    run(place, scenario)


def test_grid_row_comes_back_as_committed(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        grid = msgspec.structs.replace(hub.grid, now=1 << 45, jobs=2, nodes=3, signatures=4, tokens=5, invitations=6)
        hub.grid = grid
        await hub.save()
        expected = msgspec.structs.replace(hub.grid, epoch=2)
        assert (await reopened(place, hub)).grid == expected

    run(place, scenario)


def test_second_opener_fences_the_first_off_and_nothing_of_it_is_written(place: Place) -> None:
    async def scenario(first: Hub) -> None:
        await first.save(job(1))
        second = await take_over(place())
        try:
            with pytest.raises(Fenced):
                await first.save(job(2), task(1, 0))
            assert await second.store.job(2) is None
            assert await second.store.task(1, 0) is None
            await second.save(job(3))
            assert [each.number for each in await second.store.jobs()] == [3, 1]
        finally:
            await second.store.close()

    run(place, scenario)


@pytest.mark.parametrize("step", [0, 2, -1])
def test_batch_that_is_not_the_next_one_is_fenced(place: Place, step: int) -> None:
    """A commit whose outcome was unknown and is sent again must not be applied twice."""

    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        wrong = msgspec.structs.replace(hub.batch(job(2)), grid=msgspec.structs.replace(hub.grid, batch=1 + step))
        with pytest.raises(Fenced):
            await hub.store.commit(wrong)
        assert await hub.store.job(2) is None
        await hub.save(job(2))

    run(place, scenario)


def test_closed_store_says_so_and_closing_twice_is_harmless(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.store.close()
        await hub.store.close()
        with pytest.raises(Unavailable, match="not open"):
            await hub.store.job(1)
        with pytest.raises(Unavailable, match="not open"):
            await hub.save(job(1))

    run(place, scenario)


def test_store_opens_again_after_it_was_closed(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1))
        await hub.store.close()
        again = await take_over(hub.store)
        assert again.opened.jobs == (job(1),)

    run(place, scenario)


# --- every record comes back exactly -----------------------------------------------------------

READ_BACK: list[tuple[Record, Callable[[Store], Any]]] = [
    (full_job(1), lambda store: store.job(1)),
    (full_task(1, 1 << 40), lambda store: store.task(1, 1 << 40)),
    (full_node(7), lambda store: store.node(7)),
    (signature(9), lambda store: store.signature(9)),
]


@pytest.mark.parametrize(("record", "read"), READ_BACK, ids=lambda value: type(value).__name__)
def test_record_comes_back_exactly_and_is_replaced_by_its_next_version(
    place: Place, record: Any, read: Callable[[Store], Any]
) -> None:
    async def scenario(hub: Hub) -> None:
        assert await read(hub.store) is None
        await hub.save(record)
        assert await read(hub.store) == record
        field = {"Job": "reason", "Task": "digest", "Node": "name", "Signature": "leaves"}[type(record).__name__]
        changed = msgspec.structs.replace(record, **{field: type(getattr(record, field))()})
        await hub.save(changed)
        found = await read(hub.store)
        assert found == changed
        assert type(found) is type(record)

    run(place, scenario)


def test_assignments_come_back_with_and_without_result_by_attempt(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        big = bytes(range(256)) * (limits.INLINE_BYTES // 256)
        given = [
            reported(1, 5, 1, result=result(big, blob="cd" * 32, error="tab\tü")),
            lease(1, 5, 0, state=AssignmentState.EXPIRED, ended_at=7),
            lease(1, 5, 2, node_number=1 << 60),
            lease(1, 6),
        ]
        await hub.save(*given)
        assert await hub.store.assignments(1, 5) == sorted(given[:3], key=lambda each: each.attempt)
        assert await hub.store.assignments(1, 4) == []
        await hub.save(lease(1, 5, 1))
        assert (await hub.store.assignments(1, 5))[1] == lease(1, 5, 1), "the old result is gone with it"

    run(place, scenario)


def test_enumerations_come_back_as_themselves(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1), task(1, 0), reported(1, 0), node(3))
        found = await hub.store.job(1), await hub.store.task(1, 0), await hub.store.node(3)
        assert found[0] is not None
        assert found[1] is not None
        assert found[2] is not None
        assert isinstance(found[0].state, JobState)
        assert isinstance(found[0].paused, bool)
        assert isinstance(found[1].state, TaskState)
        assert isinstance(found[2].state, NodeState)
        (assignment,) = await hub.store.assignments(1, 0)
        assert isinstance(assignment.state, AssignmentState)

    run(place, scenario)


def test_people_come_back_when_the_store_is_opened(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        tokens = [token(1), token(2, role="reader", expires_at=0)]
        await hub.save(*tokens, invitation(1), invitation(2, uses_left=0))
        await hub.save(invitation(1, uses_left=4))
        opened = await reopened(place, hub)
        assert opened.tokens == tuple(tokens)
        assert opened.invitations == (invitation(1, uses_left=4), invitation(2, uses_left=0))

    run(place, scenario)


def test_text_a_database_cannot_hold_does_not_stop_the_hub(place: Place) -> None:
    """A node may write NUL into its error; one such result must not make every commit fail."""

    async def scenario(hub: Hub) -> None:
        await hub.save(reported(1, 0, result=result(b"x", error="a\0b")), task(1, 0))
        (found,) = await hub.store.assignments(1, 0)
        assert found.result is not None
        assert found.result.error in ("a\0b", "a\ufffdb")
        assert await hub.store.job_named("a\0nn", "x") is None

    run(place, scenario)


# --- all or nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "clashing", "says"),
    [
        (job(1, name="sums", key=""), job(2, name="sums", key=""), "of that name"),
        (job(1, name="", key="k"), job(2, name="", key="k"), "idempotency key"),
        (node(1, key=b"x" * 32), node(2, key=b"x" * 32), "node"),
        (token(1, secret_hash="s"), token(2, secret_hash="s"), "token"),
        (invitation(1, code_hash="c"), invitation(2, code_hash="c"), "invitation"),
    ],
)
def test_second_record_in_a_unique_place_is_a_conflict_and_its_batch_leaves_nothing(
    place: Place, there: Record, clashing: Record, says: str
) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(there)
        with pytest.raises(Conflict, match=says):
            await hub.save(job(9), task(9, 0), lease(9, 0), clashing, chunk(9, 0, 1))
        assert await hub.store.job(9) is None
        assert await hub.store.task(9, 0) is None
        assert await hub.store.chunks(9, first=0, stop=1) == []
        await hub.save(job(9), there)
        assert await hub.store.job(9) is not None, "the store goes on after a conflict"

    run(place, scenario)


def test_names_are_unique_per_owner_and_empty_ones_do_not_count(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(
            job(1, name="sums", key="k"),
            job(2, name="sums", key="k", owner="eve"),
            job(3, name="", key=""),
            job(4, name="", key=""),
        )
        found = await hub.store.job_named("eve", "sums"), await hub.store.job_keyed("ann", "k")
        assert [each and each.number for each in found] == [2, 1]
        assert await hub.store.job_named("ann", "") is None
        assert await hub.store.job_keyed("ann", "") is None
        assert await hub.store.job_named("bob", "sums") is None

    run(place, scenario)


def test_a_dropped_jobs_name_can_be_used_again_in_the_same_batch(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(job(1, name="sums", state=JobState.FINAL, ended_at=5))
        await hub.save(job(2, name="sums"), dropped_jobs=[1])
        found = await hub.store.job_named("ann", "sums")
        assert found is not None
        assert found.number == 2

    run(place, scenario)


def test_last_of_two_records_with_one_key_wins(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(task(1, 0), task(1, 1), task(1, 0, VALIDATED), lease(1, 0, node_number=1), lease(1, 0))
        found = await hub.store.task(1, 0)
        assert found is not None
        assert found.state == VALIDATED
        assert await hub.store.assignments(1, 0) == [lease(1, 0)]

    run(place, scenario)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1000])
def test_batches_of_any_size_are_written_whole(place: Place, size: int) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(*(task(1, at) for at in range(size)), *(lease(1, at) for at in range(size)))
        assert len(await hub.store.tasks(1, limit=limits.RECALL_ROWS)) == size
        assert await hub.store.assignments(1, size - 1) == [lease(1, size - 1)]

    run(place, scenario)


# --- what opening loads ------------------------------------------------------------------------


def test_opening_loads_what_is_open_and_nothing_else(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        states = list(JobState)
        jobs = [job(at + 1, state=state) for at, state in enumerate(states)]
        tasks = [task(2 + at % 2, at, state) for at, state in enumerate(TaskState)]
        ended = job(90, state=JobState.CANCELLED)
        await hub.save(
            *jobs,
            ended,
            *tasks,
            task(90, 0),
            lease(90, 0),
            *(node(number) for number in range(3, 7)),
            lease(3, 0, node_number=3),  # of no task
            lease(2, 2, 1, node_number=4),
            lease(2, 2, 0, node_number=5, state=AssignmentState.EXPIRED),
            lease(3, 5, node_number=6),  # of a settled task
        )
        opened = await reopened(place, hub)
        assert [each.state for each in opened.jobs] == [
            JobState.VALIDATING,
            JobState.OPEN,
            JobState.SEALED,
            JobState.COMPLETED,
        ]
        # Job 2 is invalid, 3 is open: of the tasks of job 3 those up to FAILED.
        assert [(each.job, each.ordinal) for each in opened.tasks] == [(3, 1), (3, 3)]
        assert opened.assignments == ()
        assert opened.nodes == ()

    run(place, scenario)


def test_opening_loads_the_leases_of_open_tasks_and_their_nodes(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        leases = [lease(2, 1, 0, 5), lease(2, 1, 1, 4), lease(1, 7, 2, 5)]
        await hub.save(
            job(2),
            job(1, state=JobState.SEALED),
            task(2, 1, attempts=2),
            task(1, 7, TaskState.FAILED, attempts=3),
            task(1, 6, TaskState.PENDING, attempts=0),
            *leases,
            lease(1, 7, 1, 6, state=AssignmentState.DECLINED),
            node(6),
            node(5),
            node(4),
        )
        opened = await reopened(place, hub)
        assert [(each.job, each.ordinal) for each in opened.tasks] == [(1, 6), (1, 7), (2, 1)]
        assert list(opened.assignments) == [leases[2], leases[0], leases[1]]
        assert opened.nodes == (node(4), node(5))

    run(place, scenario)


def test_votes_on_open_tasks_come_back_with_their_nodes(place: Place) -> None:
    """Answers of the attempts that count, also to a task that waits for one more; not a node's own failure, and not
    the votes on what is settled."""

    async def scenario(hub: Hub) -> None:
        votes = [reported(1, 0, 1, node_number=4), reported(1, 1, 2, node_number=5)]
        await hub.save(
            job(1),
            task(1, 0, attempts=4, wanted=3, since=1),
            task(1, 1, TaskState.IN_QUEUE, attempts=3, wanted=2),
            full_task(1, 2),
            *votes,
            reported(1, 0, 0, node_number=6),
            reported(1, 0, 2, node_number=7, result=result(outcome=Outcome.NODE_ERROR)),
            reported(1, 2, 0, node_number=8),
            lease(1, 0, 3, 9),
            *(node(number) for number in range(4, 10)),
        )
        opened = await reopened(place, hub)
        assert list(opened.assignments) == [votes[0], lease(1, 0, 3, 9), votes[1]]
        assert opened.nodes == (node(4), node(5), node(9))

    run(place, scenario)


def test_validated_tasks_a_node_voted_on_are_found_page_by_page(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        def voters(*nodes: int) -> bytes:
            return b"".join(node.to_bytes(8, "big") for node in nodes)

        given = [
            task(1, 0, TaskState.VALIDATED, voters=voters(7)),
            task(1, 1, TaskState.VALIDATED, voters=voters(8)),
            task(1, 2, TaskState.VALIDATED, voters=voters(8, 1 << 60, 7)),
            task(1, 3, TaskState.VALIDATED),
            task(1, 4, TaskState.IN_QUEUE, voters=voters(7)),
            task(1, 5, TaskState.VALIDATED, voters=voters(7)),
            task(2, 0, TaskState.VALIDATED, voters=voters(7)),
        ]
        await hub.save(job(1), job(2), *given)
        assert await hub.store.voted(1, 7) == [given[0], given[2], given[5]]
        assert await hub.store.voted(1, 7, limit=2) == [given[0], given[2]]
        assert await hub.store.voted(1, 7, after=2) == [given[5]]
        assert await hub.store.voted(1, 1 << 60) == [given[2]]
        assert await hub.store.voted(1, 9) == []

    run(place, scenario)


def test_moves_of_a_nodes_trust_come_back_newest_first(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        given = [TrustMove(3, at, 1, ordinal, 1.0, 1.1) for at, ordinal in ((10, 0), (10, 2), (30, 1), (20, 1 << 60))]
        await hub.save(*given, TrustMove(4, 15, 1, 0, 2.0, 1.5))
        newest = [given[2], given[3], given[1], given[0]]
        assert await hub.store.trust_moves(3) == newest
        assert await hub.store.trust_moves(3, limit=2) == newest[:2]
        assert await hub.store.trust_moves(3, before=20) == newest[2:]
        assert await hub.store.trust_moves(5) == []

    run(place, scenario)


def test_standings_come_back_by_node_and_kind(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        given = [standing(2), standing(1, "python"), standing(1, "ab" * 8), standing(1 << 60, doubted=False)]
        await hub.save(*given, standing(2, evidence=(0.1, 1.0), judged=4))
        opened = await reopened(place, hub)
        assert list(opened.standings) == [given[2], given[1], standing(2, evidence=(0.1, 1.0), judged=4), given[3]]

    run(place, scenario)


# --- reads -------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_in_pages(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        owners = {1: "ann", 2: "bob", 3: "ann", 4: "ann"}
        await hub.save(*(job(n, owner=o) for n, o in owners.items()))
        await hub.save(job(3, state=JobState.FAILED), job(4, state=JobState.FINAL))

        async def numbers(**wanted: Any) -> list[int]:
            return [each.number for each in await hub.store.jobs(**wanted)]

        assert await numbers() == [4, 3, 2, 1]
        assert await numbers(limit=2) == [4, 3]
        assert await numbers(limit=2, before=3) == [2, 1]
        assert await numbers(owner="ann", before=4) == [3, 1]
        assert await numbers(states=[JobState.FAILED, JobState.OPEN]) == [3, 2, 1]
        assert await numbers(states=[JobState.OPEN], owner="bob") == [2]
        assert await numbers(owner="nobody") == []
        assert await numbers(limit=0) == []

    run(place, scenario)


def test_tasks_are_listed_by_ordinal_in_pages(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        states = [VALIDATED, TaskState.IN_QUEUE, TaskState.IN_PROGRESS, CANCELLED, TaskState.IN_QUEUE]
        await hub.save(*(task(1, at, state) for at, state in enumerate(states)), task(2, 0))

        async def ordinals(**wanted: Any) -> list[int]:
            return [each.ordinal for each in await hub.store.tasks(1, **wanted)]

        assert await ordinals() == [0, 1, 2, 3, 4]
        assert await ordinals(after=1, limit=2) == [2, 3]
        assert await ordinals(states=[TaskState.IN_QUEUE]) == [1, 4]
        assert await ordinals(states=[TaskState.IN_QUEUE], after=1) == [4]
        assert await ordinals(states=[VALIDATED, TaskState.IN_QUEUE], limit=2) == [0, 1]
        assert await ordinals(states=list(TaskState)) == [0, 1, 2, 3, 4]
        assert await hub.store.tasks(3) == []

    run(place, scenario)


def test_children_come_by_start(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(
            task(1, 0, SPLIT),
            task(1, 1, parent=0, start=50),
            task(1, 2, parent=0, start=10),
            task(1, 3, parent=1, start=0),
            task(2, 4, parent=0, start=0),
        )
        assert [each.ordinal for each in await hub.store.children(1, 0)] == [2, 1]
        assert await hub.store.children(1, -1) == []

    run(place, scenario)


def settled_job() -> list[Record]:
    return [
        task(1, 0, VALIDATED, answer=1),
        lease(1, 0, 0, state=AssignmentState.EXPIRED),
        reported(1, 0, 1),
        task(1, 1, TaskState.COMPLETED),
        reported(1, 1),
        task(1, 2, SPLIT),
        task(1, 3, ABANDONED),
        task(1, 4, CANCELLED),
        task(1, 5, VALIDATED, answer=0, errors=3),
        reported(1, 5),
        task(2, 0, VALIDATED, answer=0),
    ]


def test_settled_tasks_come_in_task_order_with_what_settled_them(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(*settled_job())
        rows = await hub.store.settled(1)
        assert [row.task.ordinal for row in rows] == [0, 2, 3, 5]
        assert [row.assignment for row in rows] == [reported(1, 0, 1), None, None, reported(1, 5)]
        assert [row.task.ordinal for row in await hub.store.settled(1, after=0, limit=2)] == [2, 3]
        assert [row.task.ordinal for row in await hub.store.settled(1, after=0, stop=5)] == [2, 3]
        assert await hub.store.settled(1, after=2, stop=2) == []
        assert await hub.store.settled(1, stop=0) == []

    run(place, scenario)


def test_flawed_tasks_are_the_abandoned_and_those_with_errors(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(*settled_job(), task(1, 6, TaskState.COMPLETED, errors=2))
        rows = await hub.store.flawed(1)
        assert [(row.task.ordinal, row.assignment is None) for row in rows] == [(3, True), (5, False)]
        assert [row.task.ordinal for row in await hub.store.flawed(1, after=3)] == [5]
        assert [row.task.ordinal for row in await hub.store.flawed(1, limit=1)] == [3]

    run(place, scenario)


def test_no_page_is_longer_than_the_limit(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(*(task(1, at, VALIDATED) for at in range(limits.RECALL_ROWS + 5)))
        assert len(await hub.store.settled(1, limit=10**9)) == limits.RECALL_ROWS
        assert len(await hub.store.tasks(1, limit=10**9)) == limits.RECALL_ROWS
        assert await hub.store.tasks(1, limit=-1) == []

    run(place, scenario)


@pytest.mark.parametrize(
    ("first", "stop", "found"),
    [
        (0, 1, [0]),
        (0, 10, [0]),
        (9, 11, [0, 10]),
        (10, 11, [10]),
        (14, 31, [10, 30]),
        (15, 30, []),
        (15, 31, [30]),
        (20, 25, []),
        (39, 1000, [30]),
        (40, 1000, []),
        (5, 5, []),
    ],
)
def test_chunks_are_those_that_hold_the_units_asked_for(place: Place, first: int, stop: int, found: list[int]) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(chunk(1, 30, 10), chunk(1, 0, 10), chunk(1, 10, 5), chunk(2, 12, 1000))
        assert [each.first for each in await hub.store.chunks(1, first=first, stop=stop)] == found

    run(place, scenario)


def test_chunks_and_partials_come_back_exactly(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        big = chunk(1, 0, 1 << 40, size=9, data=b"", blob="ef" * 32)
        await hub.save(big, partial(1, 3), partial(1, 0), partial(1, 1), partial(2, 0, b""))
        assert await hub.store.chunks(1, first=5, stop=6) == [big]
        await hub.save(partial(1, 3, b"new"), dropped_partials=[(1, 0), (1, 77)])
        assert await hub.store.partials(1) == [partial(1, 1), partial(1, 3, b"new")]
        assert await hub.store.partials(2) == [partial(2, 0, b"")]

    run(place, scenario)


def test_nodes_are_found_by_key_and_listed_by_number(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        await hub.save(node(5), node(2, owner="eve"), node(9))
        assert await hub.store.node_keyed(node(9).key) == node(9)
        assert await hub.store.node_keyed(b"?" * 32) is None
        assert [each.number for each in await hub.store.nodes()] == [2, 5, 9]
        assert [each.number for each in await hub.store.nodes(after=2, limit=1)] == [5]
        assert [each.number for each in await hub.store.nodes(owner="ben", after=5)] == [9]

    run(place, scenario)


def test_reads_go_on_beside_commits_and_see_whole_batches(place: Place) -> None:
    """Each batch moves both tasks to the same start; a read between two of them never sees a mixture."""

    async def scenario(hub: Hub) -> None:
        await hub.save(task(1, 0, start=0), task(1, 1, start=0))

        async def write() -> None:
            for at in range(1, 40):
                filler = (task(1, 100 + each) for each in range(50))
                await hub.save(task(1, 0, start=at), *filler, task(1, 1, start=at))

        async def read() -> int:
            seen = 0
            while not writing.done():
                first, second = await hub.store.tasks(1, limit=2)
                assert first.start == second.start
                seen += 1
                await asyncio.sleep(0)  # the one in memory never waits for anything
            return seen

        writing = asyncio.ensure_future(write())
        assert await read() > 0
        await writing

    run(place, scenario)


# --- retention and the collector -----------------------------------------------------------------


def test_ended_jobs_are_found_oldest_first(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        ends = {1: 50, 2: 10, 3: 30, 4: 10, 5: 0}
        await hub.save(*(job(n, state=JobState.FINAL, ended_at=at) for n, at in ends.items()))
        await hub.save(job(6, state=JobState.COMPLETED, ended_at=5))  # may still be opened again
        assert await hub.store.ended_before(50) == [2, 4, 3]
        assert await hub.store.ended_before(51, limit=2) == [2, 4]
        assert await hub.store.ended_before(10) == []

    run(place, scenario)


def test_dropped_job_is_gone_at_once_with_everything_below_it(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        below: list[Record] = [*settled_job(), chunk(1, 0, 5), partial(1, 0), task(1, 9, parent=2)]
        await hub.save(job(1, state=JobState.FINAL, ended_at=1), job(2), *below)
        await hub.save(dropped_jobs=[1])
        store = hub.store
        assert await store.job(1) is None
        assert await store.job_named("ann", "name 1") is None
        assert await store.task(1, 0) is None
        found = (
            await store.tasks(1),
            await store.settled(1),
            await store.flawed(1),
            await store.assignments(1, 0),
            await store.chunks(1, first=0, stop=9),
            await store.partials(1),
            await store.children(1, 2),
            await store.ended_before(100),
        )
        assert all(each == [] for each in found)
        assert [row.task.ordinal for row in await store.settled(2)] == [0], "the neighbour is untouched"

    run(place, scenario)


def test_rows_of_a_dropped_job_are_removed_step_by_step_across_restarts(place: Place) -> None:
    """Dropping a job of millions of tasks must neither hold up a commit nor be forgotten by a crash."""

    async def scenario(hub: Hub) -> None:
        many = sweep.STEP * 2 + 10
        for start in range(0, many, 500):
            await hub.save(*(task(1, start + at) for at in range(500)), *(reported(1, start + at) for at in range(500)))
        await hub.save(job(1, state=JobState.FINAL, ended_at=1), chunk(1, 0, 9, blob="ab" * 32))
        await hub.save(dropped_jobs=[1])
        await hub.store.close()
        after = await take_over(hub.store)
        assert await after.store.tasks(1) == []
        assert [digest async for digest in after.store.named_blobs()] == []
        for _ in range(2 * (many // sweep.STEP + 2) + 3):
            await after.save()
        await after.save(job(1, name="", key=""))  # numbers are never used twice: this only looks below it
        assert await after.store.tasks(1) == []
        assert await after.store.assignments(1, 0) == []
        assert await after.store.chunks(1, first=0, stop=9) == []

    run(place, scenario)


def test_every_named_blob_is_told_to_the_collector(place: Place) -> None:
    async def scenario(hub: Hub) -> None:
        program, chunked = "aa" * 32, "bb" * 32
        many = limits.RECALL_ROWS + 3
        outputs = [f"{at:064x}" for at in range(1, many + 1)]
        spec = msgspec.structs.replace(job(1).spec, program=program)
        await hub.save(job(1, spec=spec), chunk(1, 0, 1, blob=chunked, data=b""), chunk(1, 1, 1), lease(1, 0))
        await hub.save(*(reported(1, at + 1, result=result(b"", blob=each)) for at, each in enumerate(outputs)))
        await hub.save(reported(1, many + 5))
        found = [digest async for digest in hub.store.named_blobs()]
        assert sorted(set(found)) == sorted([program, chunked, *outputs])

    run(place, scenario)


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    "record", [task(1, 0, start=1 << 63), job(1, name="lone \ud800")], ids=["over 64 bits", "no Unicode"]
)
def test_value_no_column_can_hold_is_refused_whole(
    kind: str, record: Record, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = places.sqlite(tmp_path) if kind == "sqlite" else places.postgres(request.getfixturevalue("postgres_dsn"))

    async def scenario(hub: Hub) -> None:
        with pytest.raises(BadInput, match="cannot be stored"):
            await hub.save(job(7), record)
        assert await hub.store.job(7) is None
        await hub.save(job(7))
        assert await hub.store.job(7) == job(7)

    run(where, scenario)


def test_spec_of_a_live_job_may_change(place: Place) -> None:
    """Specs are only written when they change; a change must not be missed, also after a commit that failed."""

    async def scenario(hub: Hub) -> None:
        before = job(1)
        await hub.save(before)
        spec = msgspec.structs.replace(before.spec, priority=50)
        after = msgspec.structs.replace(before, spec=spec)
        with pytest.raises(Conflict):
            await hub.save(after, job(2, name="name 1"))
        await hub.save(after)
        assert await hub.store.job(1) == after
        counted = msgspec.structs.replace(after, revision=9)
        await hub.save(counted)
        assert await hub.store.job(1) == counted

    run(place, scenario)
