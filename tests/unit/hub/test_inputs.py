"""What nodes get for a task: the right bytes, the same ones every time, inside the message when they fit it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdgrid import limits
from crowdgrid.blobs.memory import MemoryBlobs
from crowdgrid.core.model import (
    Chunk,
    Counts,
    Grid,
    Items,
    Job,
    JobSpec,
    JobState,
    Lines,
    Range,
    Split,
    Task,
    TaskState,
)
from crowdgrid.errors import BadInput, NotFound, TooLarge
from crowdgrid.hub.inputs import Inputs
from crowdgrid.hub.recent import RecentBlobs, RecentChunks
from crowdgrid.protocol import packing
from crowdgrid.protocol.packing import Input
from crowdgrid.store import Batch
from crowdgrid.store.memory import MemoryStore

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


def job(split: Split) -> Job:
    return Job(1, "ann", "", "", "", 0, JobState.OPEN, JobSpec("0" * 64, split), Counts())


def task(start: int, stop: int) -> Task:
    return Task(1, 0, start, stop, TaskState.IN_PROGRESS, 0)


class Place:
    """A hub's inputs over a store and blobs in memory, with items appended in groups."""

    def __init__(self) -> None:
        self.store, self.blobs = MemoryStore(), MemoryBlobs()
        self.inputs = Inputs(self.store, self.blobs)

    async def append(self, groups: Sequence[Sequence[bytes]]) -> None:
        grid = (await self.store.open(grid_id=b"g" * 16, id_key=b"k" * 16)).grid
        chunks: list[Chunk] = []
        first = 0
        for group in groups:
            chunks.append(await self.inputs.add_items(1, first, group))
            first += len(group)
        await self.store.commit(Batch(grid=msgspec.structs.replace(grid, batch=grid.batch + 1), records=chunks))
        for chunk in chunks:
            self.inputs.remember(chunk)

    def restarted(self) -> Inputs:
        """The inputs of a hub that remembers nothing."""
        return Inputs(self.store, self.blobs)

    async def runs(self, given_: Input) -> list[tuple[tuple[str, ...], bytes]]:
        """What the agent's side makes of it, with the blobs it fetches."""
        fetched = {digest: await self.blobs.read_bytes(digest) for digest in packing.blobs_of(given_)}
        tails, stdins = packing.runs_of(given_, fetched)
        return [(tail, b"") for tail in tails] + [((), stdin) for stdin in stdins]


sizes = st.one_of(st.integers(0, 40), st.sampled_from([1, limits.INLINE_BYTES // 3, limits.INLINE_BYTES + 1]))
groups = st.lists(st.lists(sizes, min_size=1, max_size=4), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(groups, st.booleans(), st.data())
def test_a_task_gets_its_units_however_they_were_appended(shape: list, joined: bool, data: st.DataObject) -> None:
    """Small and large appends, kept in rows or blobs: the runs are the units of the task, in order; a hub that
    remembers nothing gives the same input, so the digest that is signed is the task's, not the moment's."""
    appended = [[b"%d:" % i + b"x" * size for i, size in enumerate(group)] for group in shape]
    units = [item for group in appended for item in group]
    start = data.draw(st.integers(0, len(units) - 1))
    stop = data.draw(st.integers(start + 1, len(units)))
    whole = job(Lines() if joined else Items())

    async def scenario() -> None:
        place = Place()
        await place.append(appended)
        leased = await place.inputs.lease_input(whole, task(start, stop))
        again = await place.restarted().lease_input(whole, task(start, stop))
        assert packing.input_digest(again) == packing.input_digest(leased)
        assert again == leased
        runs = await place.runs(leased)
        if joined:
            assert runs == [((), b"".join(unit + b"\n" for unit in units[start:stop]))]
        else:
            assert runs == [((), unit) for unit in units[start:stop]]
        packed = packing.packed_bytes(stop - start, sum(map(len, units[start:stop])))
        assert bool(packing.blobs_of(leased)) is (packed > limits.INLINE_BYTES)

    run(scenario())


def test_a_range_needs_nothing_but_its_bounds() -> None:
    """Task bounds are positions in the range: the program gets integers."""
    inputs = Place().inputs
    given_ = inputs.quick(job(Range(-100, 100)), task(10, 25))
    assert given_ == Input(tails=(("-90", "-75"),))


def test_a_grid_gives_each_run_its_combination() -> None:
    given_ = Place().inputs.quick(job(Grid((("a", ("1", "2")), ("b", ("x", "y"))))), task(1, 3))
    assert given_ is not None
    assert packing.runs_of(given_, {}) == ((("--a", "1", "--b", "y"), ("--a", "2", "--b", "x")), [])


def test_long_arguments_travel_as_a_blob() -> None:
    """Combinations that would burst a message are put aside and named."""
    place = Place()
    split = Grid((("a", tuple(f"{i}" * 10_000 for i in range(10))),))
    assert place.inputs.quick(job(split), task(0, 10)) is None
    given_ = run(place.inputs.lease_input(job(split), task(0, 10)))
    assert len(packing.blobs_of(given_)) == 1
    assert run(place.runs(given_)) == [(("--a", f"{i}" * 10_000), b"") for i in range(10)]


def test_fresh_items_are_leased_without_reading_anything() -> None:
    """On the hot path the store is not read back; what is not in memory is told apart by None."""
    place = Place()
    run(place.append([[b"a", b"b"], [b"c"]]))
    assert place.inputs.quick(job(Items()), task(1, 3)) is not None
    assert place.inputs.quick(job(Items()), task(2, 4)) is None
    place.inputs.forget(1)
    assert place.inputs.quick(job(Items()), task(1, 3)) is None


def test_a_read_back_serves_the_next_tasks_too() -> None:
    """A hub that catches up on a backlog of one-item appends reads ahead instead of once a task."""
    place = Place()
    run(place.append([[b"%d" % i] for i in range(100)]))
    inputs = place.restarted()
    run(inputs.lease_input(job(Items()), task(0, 1)))
    assert all(inputs.quick(job(Items()), task(i, i + 1)) is not None for i in range(100))


def test_units_the_store_does_not_hold_are_an_error() -> None:
    """A hole in the input must never become an empty run."""
    place = Place()
    run(place.append([[b"a"]]))
    with pytest.raises(NotFound, match="does not hold units 0 to 2"):
        run(place.inputs.lease_input(job(Items()), task(0, 2)))


def test_appends_that_cannot_be_taken() -> None:
    inputs = Place().inputs
    with pytest.raises(BadInput, match="at least one item"):
        run(inputs.add_items(1, 0, []))
    with pytest.raises(TooLarge, match="items of one append"):
        run(inputs.add_items(1, 0, [b"x" * limits.CHUNK_BYTES, b"y"]))


def test_a_chunk_put_as_a_blob_is_appended() -> None:
    """Small ones move into the row; large ones stay where they were put."""
    place = Place()

    async def scenario() -> None:
        small = packing.pack_chunk([b"a", b"b"])
        chunk = await place.inputs.add_blob_chunk(1, 7, await place.blobs.put_bytes(small))
        assert chunk == Chunk(1, 7, 2, len(small), data=small)
        large = packing.pack_chunk([b"x" * limits.INLINE_BYTES, b"y"])
        digest = await place.blobs.put_bytes(large)
        assert await place.inputs.add_blob_chunk(1, 7, digest) == Chunk(1, 7, 2, len(large), blob=digest)

    run(scenario())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no chunk", "unknown version"),
        (packing.pack_chunk([]), "holds no items"),
        (packing.pack_chunk([b"a"]) + b"more", "after its last item"),
        (b"\x01" * (limits.CHUNK_BYTES + 1), "over the limit"),
        (packing.pack_chunk([b"x" * limits.CHUNK_BYTES, b""]), "items of one append have"),
        (packing.pack_chunk([b"x" * limits.CHUNK_BYTES]) + b"more", "does not fit"),
        (packing.pack_chunk([b"x" * limits.CHUNK_BYTES])[:-1], "does not fit"),
        (packing.pack_chunk([]) + b"x" * limits.CHUNK_BYTES, "after its last item"),
        (b"\x02" * (limits.CHUNK_BYTES + 1), "unknown version"),
    ],
)
def test_uploaded_chunks_are_checked(content: bytes, says: str) -> None:
    """A stranger's chunk is read to its last offset before a job has it."""
    place = Place()
    digest = run(place.blobs.put_bytes(content))
    with pytest.raises(BadInput, match=says):
        run(place.inputs.add_blob_chunk(1, 0, digest))


def test_a_chunk_nobody_put_is_asked_for() -> None:
    with pytest.raises(NotFound, match="not here"):
        run(Place().inputs.add_blob_chunk(1, 0, "ab" * 32))


def test_memory_for_recent_input_is_bounded() -> None:
    """A long backlog may be appended to a small hub: the oldest chunks leave memory, the newest stay."""
    chunks = RecentChunks(100_000)
    for number in range(100):
        chunks.add(Chunk(1, number, 1, 1000, data=b"x" * 10_000))
    assert chunks.slices(1, 0, 1) is None
    assert chunks.slices(1, 99, 100) is not None
    blobs = RecentBlobs(100_000)
    for number in range(100):
        blobs.add(str(number), b"x" * 10_000)
    kept = [number for number in range(100) if blobs.get(str(number))]
    assert kept == list(range(90, 100))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_recent_chunks_never_give_half_a_task(counts: list[int], data: st.DataObject) -> None:
    """Whatever has been let go, [start, stop) is found whole or not at all."""
    recent = RecentChunks(1 << 20)
    first, kept = 0, set()
    for count in counts:
        if data.draw(st.booleans()):
            recent.add(Chunk(1, first, count, 0, data=b"x"))
            kept |= set(range(first, first + count))
        first += count
    start = data.draw(st.integers(0, first - 1))
    stop = data.draw(st.integers(start + 1, first))
    slices = recent.slices(1, start, stop)
    assert (slices is not None) is (set(range(start, stop)) <= kept)
    if slices is not None:
        assert [s.chunk.first + i for s in slices for i in range(s.start, s.stop)] == list(range(start, stop))


# --- large items -----------------------------------------------------------------------------------


class Watched(MemoryBlobs):
    """Blobs that count what is read of them."""

    def __init__(self) -> None:
        super().__init__()
        self.read_whole = 0
        self.read_some = 0

    async def read_bytes(self, digest: str) -> bytes:
        self.read_whole += 1
        return await super().read_bytes(digest)

    async def read(self, digest: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        yield (content := self._kept[digest][start:stop])
        self.read_some += len(content)


def test_a_large_item_is_appended_and_leased_by_name() -> None:
    """The hub reads nine bytes of it: its memory does not grow with the items of its users."""
    blobs = Watched()
    store = MemoryStore()
    inputs = Inputs(store, blobs)
    item = b"x" * (limits.CHUNK_BYTES + 1)

    async def scenario() -> None:
        grid = (await store.open(grid_id=b"g" * 16, id_key=b"k" * 16)).grid
        digest = await blobs.put_bytes(packing.pack_chunk([item]))
        light = await inputs.add_items(1, 0, [b"a"])
        large = await inputs.add_blob_chunk(1, 1, digest)
        assert large == Chunk(1, 1, 1, len(item) + 9, blob=digest)
        await store.commit(Batch(grid=msgspec.structs.replace(grid, batch=grid.batch + 1), records=[light, large]))
        leased = await inputs.lease_input(job(Items()), task(0, 2))
        assert await inputs.differs(large, 1) == -1
        assert (blobs.read_whole, blobs.read_some) == (0, packing.ITEM_HEAD_BYTES)
        fetched = {digest: await blobs.read_bytes(digest) for digest in packing.blobs_of(leased)}
        assert packing.runs_of(leased, fetched) == ((), [b"a", item])

    run(scenario())


def test_an_item_beyond_every_limit_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ITEM_BYTES", 5 << 20)
    place = Place()
    item = bytes((5 << 20) + 1)
    with pytest.raises(TooLarge, match=r"An item of 5,242,881 bytes is over the limit of 5,242,880") as refused:
        run(place.inputs.add_items(1, 0, [item]))
    assert "reference" in refused.value.hint
    digest = run(place.blobs.put_bytes(packing.pack_chunk([item])))
    with pytest.raises(TooLarge, match="An item of 5,242,881 bytes"):
        run(place.inputs.add_blob_chunk(1, 0, digest))
    exactly = run(place.blobs.put_bytes(packing.pack_chunk([item[1:]])))
    assert run(place.inputs.add_blob_chunk(1, 0, exactly)).blob == exactly


# --- compared, and read back -----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(groups, groups, st.booleans(), st.data())
def test_units_are_compared_however_they_are_cut(before: list, after: list, fresh: bool, data: st.DataObject) -> None:
    """A client that is started anew cuts its input into other chunks: the same units are the same, and the first other
    one is found, whether chunks are in memory or not, in rows or in blobs."""
    had = [b"%d:" % i + b"x" * size for i, size in enumerate(size for group in before for size in group)]
    shape = [len(group) for group in after]
    total = min(len(had), sum(shape))
    wrong = data.draw(st.integers(-1, total - 1))
    said = [unit + b"!" if at == wrong else unit for at, unit in enumerate(had)] + [b"new"] * sum(shape)

    async def scenario() -> None:
        place = Place()
        await place.append([had[i : i + 3] for i in range(0, len(had), 3)])
        inputs = place.inputs if fresh else place.restarted()
        first, found = 0, -1
        for count in shape:
            chunk = await inputs.add_items(1, first, said[first : first + count])
            known = min(first + count, len(had)) - first
            if known <= 0:
                break
            found = await inputs.differs(chunk, known)
            if found >= 0:
                break
            if known < count:
                rest = await inputs.rest(chunk, known)
                assert (rest.first, rest.count) == (len(had), count - known)
                assert packing.slice_chunk(rest.data, 0, rest.count) == said[len(had) : first + count]
            first += count
        assert found == wrong

    run(scenario())


@settings(max_examples=40, deadline=None)
@given(groups, st.booleans(), st.data())
def test_units_are_read_back_as_they_were_appended(shape: list, fresh: bool, data: st.DataObject) -> None:
    appended = [[b"%d:" % i + b"x" * size for i, size in enumerate(group)] for group in shape]
    units = [unit for group in appended for unit in group]
    start = data.draw(st.integers(0, len(units) - 1))
    stop = data.draw(st.integers(start + 1, len(units)))

    async def scenario() -> None:
        place = Place()
        await place.append(appended)
        inputs = place.inputs if fresh else place.restarted()
        assert await inputs.units(1, start, stop) == units[start:stop]

    run(scenario())


def test_what_is_read_back_at_once_is_bounded() -> None:
    """So many units and bytes, and a large item by its name only."""
    place = Place()

    async def scenario() -> None:
        large = b"x" * (limits.CHUNK_BYTES - 100)
        await place.append([[b"u"] * 900, [b"u"] * 900, [large], [large + b"y" * 200], [b"last"]])
        assert await place.inputs.units(1, 0, 1803) == [b"u"] * limits.APPEND_ITEMS
        assert await place.inputs.units(1, 1700, 1803) == [b"u"] * 100  # the next one is too large to go with them
        assert await place.inputs.units(1, 1800, 1803) == [large]
        digest = await place.inputs.units(1, 1801, 1803)
        assert isinstance(digest, str)
        assert packing.slice_chunk(await place.blobs.read_bytes(digest), 0, 1) == [large + b"y" * 200]

    run(scenario())
