"""Appends on a real hub in memory: said again they are the same ones, and nobody's are taken for another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from crowdgrid import limits
from crowdgrid.core import commands as c
from crowdgrid.core.model import Chunk
from crowdgrid.errors import Busy, Conflict
from crowdgrid.hub.app import App
from crowdgrid.protocol.packing import pack_chunk, slice_chunk
from crowdgrid.store.memory import MemoryStore
from tests.unit.hub.test_hub_at_work import ADA, HeldBlobs, at_work, opened

OTHERS = "Another program appended other items to this job from unit {} on"


async def stored(app: App, job: str) -> list[bytes]:
    """Every unit the job has, as its tasks will get them."""
    known = await app.hub.submissions.find(ADA, job)
    chunks = await app.hub.keeper.store.chunks(known.number, first=0, stop=known.counts.units)
    units: list[bytes] = []
    for chunk in chunks:
        assert chunk.first == len(units)
        data = chunk.data or await app.hub.blobs.read_bytes(chunk.blob)
        units += slice_chunk(data, 0, chunk.count)
    assert len(units) == known.counts.units
    return units


async def append(app: App, job: str, first: int, *items: bytes) -> int:
    return await app.hub.submissions.append(ADA, job, first, items)


def test_the_same_units_again_are_welcome_however_they_are_cut() -> None:
    """A client that was killed is started anew; it sends everything again, in other chunks, and then more."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        units = [b"%d" % n for n in range(100)]
        for first in range(0, 60, 7):
            await append(app, job, first, *units[first : first + 7])
        have = len(await stored(app, job))
        for first in range(0, 100, 9):
            assert await append(app, job, first, *units[first : first + 9]) == max(have, min(first + 9, 100))
        assert await stored(app, job) == units

    at_work(story)


def test_other_units_are_refused_and_say_where_they_begin() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        await append(app, job, 0, b"a", b"b", b"c")
        with pytest.raises(Conflict, match=OTHERS.format(1)) as refused:
            await append(app, job, 0, b"a", b"x")
        assert "job of its own" in refused.value.hint
        with pytest.raises(Conflict, match=OTHERS.format(2)):
            await append(app, job, 2, b"x", b"d")  # nothing of it, not even what would be new
        assert await append(app, job, 3, b"d") == 4
        assert await stored(app, job) == [b"a", b"b", b"c", b"d"]

    at_work(story)


def test_of_two_programs_one_is_told_and_nothing_of_the_other_is_lost() -> None:
    """Side by side, many appends each in flight: what the job has is one program's input, whole and once."""

    async def program(app: App, job: str, name: bytes) -> list[object]:
        work = [
            append(app, job, first, *[b"%s%d" % (name, n) for n in range(first, first + 5)])
            for first in range(0, 50, 5)
        ]
        return await asyncio.gather(*work, return_exceptions=True)

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        ada, bob = await asyncio.gather(program(app, job, b"ada"), program(app, job, b"bob"))
        assert ada == list(range(5, 55, 5))
        assert all(isinstance(refusal, Conflict) for refusal in bob)
        assert "from unit 0 on" in str(bob[0])
        assert await stored(app, job) == [b"ada%d" % n for n in range(50)]

    at_work(story)


@pytest.mark.parametrize("size", [1, limits.INLINE_BYTES, limits.CHUNK_BYTES], ids=["rows", "blobs", "large items"])
def test_what_was_appended_before_a_restart_is_known_after_it(size: int) -> None:
    """The hub that answers is not the one that was asked first: what counts is what is stored."""
    store = MemoryStore()
    kept: list[str] = []
    units = [bytes([n]) * size for n in range(4)]

    async def before(app: App, blobs: HeldBlobs) -> None:
        kept.append(await opened(app))
        await append(app, kept[0], 0, units[0])
        await append(app, kept[0], 1, units[1])

    async def after(app: App, blobs: HeldBlobs) -> None:
        for first in (0, 1, 2):
            assert await append(app, kept[0], first, units[first]) == max(2, first + 1)
        with pytest.raises(Conflict, match=OTHERS.format(1)):
            await append(app, kept[0], 1, units[3])
        assert await stored(app, kept[0]) == units[:3]

    blobs = HeldBlobs()
    at_work(before, store=store, blobs=blobs)
    at_work(after, store=store, blobs=blobs)


def test_a_blob_and_a_message_of_the_same_units_are_the_same() -> None:
    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        units = [b"%d" % n for n in range(30_000)]
        assert await append(app, job, 0, *units) == 30_000  # kept as a blob, being over what a row holds
        for first in range(0, 30_000, 10_000):
            digest = await blobs.put_bytes(pack_chunk(units[first : first + 10_000]))
            assert await app.hub.submissions.append(ADA, job, first, blob=digest) == 30_000
        digest = await blobs.put_bytes(pack_chunk([*units[20_000:], b"more"]))
        assert await app.hub.submissions.append(ADA, job, 20_000, blob=digest) == 30_001
        assert await stored(app, job) == [*units, b"more"]

    at_work(story)


def test_two_who_append_at_the_end_both_do() -> None:
    """Without a position nothing can be in the way: a terminal and a tool may both add lines."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        submissions = app.hub.submissions
        work = [submissions.append_last(ADA, job, [b"%d" % n, b"%d!" % n]) for n in range(10)]
        assert sorted(await asyncio.gather(*work)) == list(range(2, 22, 2))
        assert sorted(await stored(app, job)) == sorted(x for n in range(10) for x in (b"%d" % n, b"%d!" % n))

    at_work(story)


@pytest.mark.parametrize("said", [(b"a", b"b"), (b"a", b"x"), (b"a", b"b", b"c")])
def test_units_the_hub_has_not_seen_coming_are_compared_all_the_same(said: Sequence[bytes]) -> None:
    """What this hub believes of a job's end may be old; what the engine says of it counts."""

    async def story(app: App, blobs: HeldBlobs) -> None:
        job = await opened(app)
        number = (await app.hub.submissions.find(ADA, job)).number
        data = pack_chunk([b"a", b"b"])
        await app.hub.keeper.ask(c.Append(Chunk(number, 0, 2, len(data), data)))
        if said[1] == b"x":
            with pytest.raises(Conflict, match=OTHERS.format(1)):
                await append(app, job, 0, *said)
            return
        if len(said) > 2:
            with pytest.raises(Busy):  # the next try is in order with what follows it
                await append(app, job, 0, *said)
        assert await append(app, job, 0, *said) == len(said)
        assert await stored(app, job) == list(said)

    at_work(story)
