"""The hub's side of reading results: whatever settles, however slowly the client reads, no row is ever lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowdgrid.core.effects import Settled
from crowdgrid.core.model import Assignment, AssignmentState, Node, Outcome, Result, Task, TaskState
from crowdgrid.hub.links import reading
from crowdgrid.hub.links.outbox import Outbox
from crowdgrid.hub.links.reading import NodeNames, Reading
from crowdgrid.hub.metrics import LinkFigures
from crowdgrid.protocol import codec
from crowdgrid.protocol import messages as m
from crowdgrid.store import SettledRow


class Store:
    """What a reading asks of a store: settled rows by ordinal. A read sees what was committed when it began, and the
    world goes on before it returns."""

    def __init__(self) -> None:
        self.rows: dict[int, SettledRow] = {}

    async def settled(self, job: int, *, after: int = -1, stop: int = -1, limit: int = 1000) -> list[SettledRow]:
        seen = [self.rows[n] for n in sorted(self.rows) if n > after and (stop < 0 or n < stop)][:limit]
        for _ in range(3):
            await asyncio.sleep(0)
        return seen

    async def node(self, number: int) -> Node | None:
        await asyncio.sleep(0)
        return Node(number, b"k" * 32, "o", "", "n", 0)


class Link:
    """One link whose socket the test can hold up."""

    def __init__(self) -> None:
        self.sent: list[m.ResultRow] = []
        self.flows = asyncio.Event()
        self.flows.set()
        self.reading: Reading | None = None
        self.outbox = Outbox(self._send, LinkFigures(), lighter=self._lighter, full=self._full)
        self.tasks = [asyncio.ensure_future(self.outbox.run())]

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        await self.flows.wait()
        for message in codec.hub_to_client.decode(event["bytes"]):
            assert isinstance(message, m.Results)
            self.sent += message.rows

    def _lighter(self) -> None:
        assert self.reading is not None
        self.reading.lighter()

    def _full(self) -> None:
        raise AssertionError("results alone must never overflow a link")

    async def quiet(self) -> None:
        """Until nothing moves any more."""
        self.flows.set()
        before = -1
        while before != len(self.sent):
            before = len(self.sent)
            for _ in range(50):
                await asyncio.sleep(0)


def settled(ordinal: int, size: int = 1) -> Settled:
    task = Task(1, ordinal, ordinal, ordinal + 1, TaskState.VALIDATED, 0, answer=0)
    result = Result(Outcome.OK, b"", b"x" * size, "", size)
    return Settled(1, task, Assignment(1, ordinal, 0, 7, AssignmentState.REPORTED, 0, 0, result=result))


def commit(store: Store, link: Link, batch: Sequence[Settled]) -> None:
    """What the keeper does: first the store, then, without a pause, the listeners."""
    for effect in batch:
        store.rows[effect.task.ordinal] = SettledRow(effect.task, effect.assignment)
    assert link.reading is not None
    link.reading.offer(batch)


ACTIONS = st.one_of(
    st.tuples(st.just("settle"), st.integers(1, 5)),
    st.tuples(st.just("grant"), st.integers(1, 6)),
    st.tuples(st.just("pause"), st.integers(0, 5)),
    st.tuples(st.just("hold"), st.just(0)),
    st.tuples(st.just("flow"), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@example(list(range(24)), [("pause", 1), ("settle", 1)], 1, -1, 4)  # settles while the first page is read
@given(
    st.permutations(range(24)),
    st.lists(ACTIONS, max_size=40),
    st.integers(0, 5),
    st.integers(-1, 23),
    st.integers(1, 4),
)
def test_every_settled_task_above_the_last_ordinal_is_sent(
    order: list[int], actions: list[tuple[str, int]], window: int, after: int, missed_max: int
) -> None:
    """Tasks settle in any order, in commits of any size, while the client grants and reads as it likes; also when
    more were missed than are remembered one by one. Never more rows go out than were granted."""

    async def scenario() -> None:
        store, link, waiting = Store(), Link(), list(order)
        link.reading = Reading(
            link, store, NodeNames(store), job=1, public="j", after=after, window=window  # type: ignore[arg-type]
        )  # fmt: skip
        granted = window
        for action, count in actions:
            if action == "settle":
                batch, waiting = waiting[:count], waiting[count:]
                commit(store, link, [settled(n) for n in batch])
            elif action == "grant":
                link.reading.grant(count)
                granted += count
            elif action == "pause":
                for _ in range(count):
                    await asyncio.sleep(0)
            else:
                (link.flows.clear if action == "hold" else link.flows.set)()
        await link.quiet()
        assert len(link.sent) <= granted
        commit(store, link, [settled(n) for n in waiting])
        link.reading.grant(1000)
        await link.quiet()
        assert {row.ordinal for row in link.sent} >= {n for n in order if n > after}
        for task in link.tasks:
            task.cancel()
        await asyncio.gather(*link.tasks, return_exceptions=True)

    before, reading.MISSED_MAX = reading.MISSED_MAX, missed_max  # type: ignore[misc]
    try:
        asyncio.run(scenario())
    finally:
        reading.MISSED_MAX = before  # type: ignore[misc]


def test_a_client_that_does_not_read_costs_little_and_loses_nothing() -> None:
    """While the socket is full, results wait in the store and not in the hub's memory."""

    async def scenario() -> None:
        store, link = Store(), Link()
        link.reading = Reading(
            link, store, NodeNames(store), job=1, public="j", after=-1, window=100_000  # type: ignore[arg-type]
        )  # fmt: skip
        await link.quiet()
        link.flows.clear()
        for first in range(0, 400, 10):
            commit(store, link, [settled(n, 60_000) for n in range(first, first + 10)])
            await asyncio.sleep(0)
        assert link.outbox.weight < 8 << 20
        await link.quiet()
        assert {row.ordinal for row in link.sent} == set(range(400))
        for task in link.tasks:
            task.cancel()

    asyncio.run(scenario())


def test_a_full_outbox_says_so() -> None:
    """Answers to a client that asks and never reads are bounded too."""

    async def scenario() -> None:
        cut: list[bool] = []
        never = asyncio.Event()

        async def stuck(event: MutableMapping[str, Any]) -> None:
            await never.wait()

        outbox = Outbox(stuck, LinkFigures(), lighter=lambda: None, full=lambda: cut.append(True))
        task = asyncio.ensure_future(outbox.run())
        for number in range(100_000):
            outbox.put(m.Done(number))
            if cut:
                break
            if number % 100 == 0:
                await asyncio.sleep(0)
        task.cancel()
        assert cut

    asyncio.run(scenario())
