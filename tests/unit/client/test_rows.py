"""Results come in the order of the input, none missing, none twice, whatever order they settle in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crowdgrid.client.joblink import JobLink, Seen
from crowdgrid.client.rows import Row, RowStream
from crowdgrid.core.model import Counts, Items, JobSpec, Outcome, Range, Split, TaskState
from crowdgrid.core.reducing.answers import Answer, pack_answers
from crowdgrid.protocol import messages as m


class Hub:
    """The far side of the link: keeps what is said to it, says what the test wants."""

    def __init__(self, split: Split) -> None:
        self.said: list[m.Message] = []
        self.jobs: dict[str, JobLink] = {}
        self.reads: dict[int, JobLink] = {}
        spec = JobSpec("0" * 64, split)
        self.info = m.JobInfo("j", "", "o", "", "sealed", False, "", 0, 0, 0, Counts(), spec)
        self.job = JobLink(self, self.info)  # type: ignore[arg-type]

    def say(self, message: m.Message) -> None:
        self.said.append(message)

    def next_id(self) -> int:
        return len(self.said) + 1

    def settle(self, rows: Sequence[m.ResultRow]) -> None:
        for id, job in list(self.reads.items()):
            self.reads.pop(id)
            job.read_begins(id)
        self.job.take_rows(rows)

    def end(self, state: str = "completed", **counts: int) -> None:
        self.job.update(replace(self.info, state=state, counts=Counts(**counts)))

    @property
    def granted(self) -> int:
        return sum(said.rows for said in self.said if isinstance(said, m.Grant))


def row(ordinal: int, start: int, stop: int, payload: bytes = b"", **more: object) -> m.ResultRow:
    return m.ResultRow(ordinal, start, stop, TaskState.VALIDATED, Outcome.OK, payload, **more)  # type: ignore[arg-type]


async def no_blob(digest: str) -> bytes:
    raise AssertionError(digest)


async def read_all(stream: RowStream) -> list[Row]:
    found: list[Row] = []
    while rows := await stream.take():
        found += rows
    return found


@given(st.permutations(range(8)), st.data())
def test_ordered_rows_are_in_order_once_each(order: list[int], data: st.DataObject) -> None:
    """Rows arrive in any order, in any groups, and some of them twice (a hub that was restarted sends again)."""

    async def scenario() -> None:
        hub = Hub(Range(0, 80))
        stream = RowStream(hub.job, no_blob)
        rows = [row(n, 10 * n, 10 * n + 10, b"%d" % n) for n in order]
        again = data.draw(st.lists(st.sampled_from(rows), max_size=4))
        for one in [*rows, *again]:
            hub.settle([one])
        hub.end(units=80, validated=8)
        assert [(found.start, found.data) for found in await read_all(stream)] == [
            (10 * n, b"%d" % n) for n in range(8)
        ]

    asyncio.run(scenario())


def test_children_stand_where_their_parent_stood() -> None:
    """A task that was split is no result; its children, which have later ordinals, come in its place."""

    async def scenario() -> None:
        hub = Hub(Range(0, 30))
        stream = RowStream(hub.job, no_blob)
        split = m.ResultRow(0, 0, 20, TaskState.SPLIT, Outcome.OK, b"")
        hub.settle([row(1, 20, 30, b"c"), row(3, 10, 20, b"b", parent=0), split, row(2, 0, 10, b"a", parent=0)])
        hub.end(units=30, validated=3, split=1)
        assert [found.data for found in await read_all(stream)] == [b"a", b"b", b"c"]

    asyncio.run(scenario())


def test_each_item_is_a_row_and_a_bad_one_fails_itself() -> None:
    async def scenario() -> None:
        hub = Hub(Items())
        stream = RowStream(hub.job, no_blob)
        answers = pack_answers([Answer(True, b"x"), Answer(False, b"", "exit code 3")])
        hub.settle([row(0, 0, 2, answers, errors=1, node="did:key:z6")])
        hub.end(units=2, validated=1, errors=1)
        first, second = await read_all(stream)
        assert (first.start, first.stop, first.ok, first.data) == (0, 1, True, b"x")
        assert (second.start, second.ok, second.error, second.node) == (1, False, "exit code 3", "did:key:z6")

    asyncio.run(scenario())


def test_a_job_that_ended_early_gives_what_it_has() -> None:
    """Gaps are not waited for once nothing more will come."""

    async def scenario() -> None:
        hub = Hub(Range(0, 30))
        stream = RowStream(hub.job, no_blob)
        hub.settle([row(2, 20, 30, b"c")])
        hub.end("cancelled", units=30, validated=1)
        assert [found.data for found in await read_all(stream)] == [b"c"]

    asyncio.run(scenario())


def test_an_abandoned_task_is_an_error_for_each_of_its_units() -> None:
    async def scenario() -> None:
        hub = Hub(Items())
        stream = RowStream(hub.job, no_blob)
        hub.settle([m.ResultRow(0, 0, 2, TaskState.ABANDONED, Outcome.NODE_ERROR, b"")])
        hub.end(units=2, abandoned=1)
        rows = await read_all(stream)
        assert [(found.start, found.ok) for found in rows] == [(0, False), (1, False)]
        assert all(found.error for found in rows)

    asyncio.run(scenario())


def test_rows_nobody_takes_close_the_window() -> None:
    """Back-pressure: a reader that does not read is not sent a whole job into its memory."""

    async def scenario() -> None:
        hub = Hub(Range(0, 10_000))
        stream = RowStream(hub.job, no_blob)
        window = next(said.window for said in hub.said if isinstance(said, m.Read))
        hub.settle([row(n, n, n + 1) for n in range(window)])
        assert hub.granted == 0
        await stream.take()
        assert hub.granted > 0

    asyncio.run(scenario())


def test_rows_out_of_order_do_not_close_the_window() -> None:
    """Otherwise the missing first one could never come."""

    async def scenario() -> None:
        hub = Hub(Range(0, 10_000))
        RowStream(hub.job, no_blob)
        window = next(said.window for said in hub.said if isinstance(said, m.Read))
        hub.settle([row(n, n, n + 1) for n in range(1, window)])
        assert hub.granted >= window // 2

    asyncio.run(scenario())


@given(st.lists(st.integers(0, 30), max_size=60))
def test_seen_knows_exactly_what_came(ordinals: list[int]) -> None:
    """Its memory is the contiguous beginning and what lies beyond: it must agree with a plain set."""
    seen, came = Seen(-1), set[int]()
    for ordinal in ordinals:
        assert seen.new(ordinal) == (ordinal not in came)
        came.add(ordinal)
        assert seen.after + 1 == next(n for n in range(32) if n not in came)
