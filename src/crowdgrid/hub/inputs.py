"""Inputs: turns a task's bounds into what a node gets, and appended items into stored chunks.

The engine knows positions only; the bytes of items and lines are stored once, as packed chunks
(`protocol/packing.py`), in the store when at most `limits.INLINE_BYTES`, else as a blob. At a lease the units of the
task are cut out of them: inside the message when they fit it, else as parts that name blobs.

What a task gets depends on its bounds and the stored chunks alone, never on what happens to be in memory, so that
every lease of a task has the same input digest. Recent chunks are kept in memory within a limit: on the hot
path (append, lease, report) nothing is read back. `quick` answers from memory alone, `lease_input` reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.core.model import Chunk, Grid, Items, Job, Lines, Range, Task
from crowdgrid.core.splitting import grid
from crowdgrid.errors import BadInput, NotFound, TooLarge
from crowdgrid.hub.recent import RecentBlobs, RecentChunks, Slice, cut
from crowdgrid.protocol import packing
from crowdgrid.protocol.packing import Input, Part
from crowdgrid.store import Store

KEPT_BYTES: Final = 32 << 20  # of chunks and blobs in memory
READ_AHEAD_UNITS: Final = 256  # chunks of one-item appends are read back so many at a time


class Inputs:
    """See the module. One for a hub, used by its event loop only."""

    def __init__(self, store: Store, blobs: Blobs, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._blobs = blobs
        self._chunks = RecentChunks(kept_bytes // 2)
        self._contents = RecentBlobs(kept_bytes - kept_bytes // 2)

    # --- at a lease ---

    def quick(self, job: Job, task: Task) -> Input | None:
        """The input of a task when it can be told from memory; None: ask `lease_input`."""
        split = job.spec.split
        if isinstance(split, Range):
            return Input(tails=((str(split.start + task.start), str(split.start + task.stop)),))
        if isinstance(split, Items | Lines):
            slices = self._chunks.slices(job.number, task.start, task.stop)
            return self._inline(slices, joined=isinstance(split, Lines)) if slices else None
        if isinstance(split, Grid):
            tails = tuple(grid.tail(split, unit) for unit in range(task.start, task.stop))
            return Input(tails=tails) if len(packing.pack_tails(tails)) <= limits.INLINE_BYTES else None
        return Input(tails=((),))

    async def lease_input(self, job: Job, task: Task) -> Input:
        """The input of a task.

        Raises:
            NotFound: the store does not hold the task's units.
            Unavailable: the store or the blobs cannot be reached.
        """
        if (ready := self.quick(job, task)) is not None:
            return ready
        split = job.spec.split
        if isinstance(split, Grid):
            tails = [grid.tail(split, unit) for unit in range(task.start, task.stop)]
            return Input(tails_blob=await self._blobs.put_bytes(packing.pack_tails(tails)))
        joined = isinstance(split, Lines)
        slices = await self._find(job.number, task.start, task.stop)
        if await self._fits(slices) and (inline := self._inline(slices, joined=joined)) is not None:
            return inline
        return Input(parts=await self._parts(slices), joined=joined)

    # --- at an append ---

    async def add_items(self, job_number: int, first: int, items: Sequence[bytes]) -> Chunk:
        """The record of items appended to a job at position `first`; what is too long for it is put as a blob.

        Raises:
            BadInput: there are none.
            TooLarge: they are over `limits.CHUNK_BYTES` together, or the only one is over `limits.ITEM_BYTES`.
        """
        if not items:
            raise BadInput(
                "An append needs at least one item.",
                hint="Seal the job when there is nothing more to append.",
            )
        data = packing.pack_chunk(items)
        _check_size(len(data), len(items))
        return await self._chunk(job_number, first, data, len(items))

    async def add_blob_chunk(self, job_number: int, first: int, digest: str) -> Chunk:
        """The record of a packed chunk a client put as the blob `digest` and appends at position `first`.

        One larger than `limits.CHUNK_BYTES` holds one item: its header is all that is read.

        Raises:
            NotFound: the blob is not here.
            TooLarge: it is over `limits.CHUNK_BYTES` and holds several items, or one over `limits.ITEM_BYTES`.
            BadInput: it is not a packed chunk, or an empty one.
        """
        size = await self._blobs.size(digest)
        if size is None:
            raise NotFound(f"The blob {digest[:12]}… is not here.", hint="Put it to /v1/blobs first, then append it.")
        if size > limits.CHUNK_BYTES:
            head = b"".join([piece async for piece in self._blobs.read(digest, stop=packing.ITEM_HEAD_BYTES)])
            _check_size(size, packing.head_count(head, size))
            return Chunk(job_number, first, 1, size, blob=digest)
        data = await self._blobs.read_bytes(digest)
        count = await asyncio.to_thread(packing.check_chunk, data)
        if not count:
            raise BadInput("The appended chunk holds no items.")
        return await self._chunk(job_number, first, data, count, blob=digest)

    async def differs(self, chunk: Chunk, count: int) -> int:
        """The first of the chunk's first `count` units that is not what its job has there; −1 when all are the same."""
        at = 0
        async for other in self._stored(chunk.job, chunk.first, chunk.first + count):
            mine = Slice(chunk, at, at + other.stop - other.start)
            if (found := await self._difference(mine, other)) >= 0:
                return chunk.first + at + found
            at = mine.stop
        return -1

    async def _difference(self, mine: Slice, other: Slice) -> int:
        """Where two slices of as many units differ first, counted from their beginning; −1 nowhere."""
        a, b = mine.chunk, other.chunk
        if mine.whole and other.whole and (a.size, a.data, a.blob) == (b.size, b.data, b.blob):
            return -1
        if max(a.size, b.size) > limits.CHUNK_BYTES:  # one of them is a single large item, and the other is not that
            return 0
        units = packing.slice_chunk(await self._content(a), mine.start, mine.stop)
        others = packing.slice_chunk(await self._content(b), other.start, other.stop)
        if units == others:
            return -1
        return next(at for at, (unit, one) in enumerate(zip(units, others, strict=True)) if unit != one)

    async def rest(self, chunk: Chunk, known: int) -> Chunk:
        """The chunk without its first `known` units, as the record of another append."""
        data = packing.cut_chunk([(await self._content(chunk), known, chunk.count)])
        return await self._chunk(chunk.job, chunk.first + known, data, chunk.count - known)

    # --- read back ---

    async def units(self, job_number: int, start: int, stop: int) -> list[bytes] | str:
        """Units [start, stop) of a job, or the first of them: at most `limits.APPEND_ITEMS`, and `limits.CHUNK_BYTES`
        packed. A single one that is larger is not read: the digest of the chunk it is by itself.

        Raises:
            NotFound: the store does not hold them.
        """
        found: list[bytes] = []
        size = 0
        async for chunk, first, end in self._stored(job_number, start, min(stop, start + limits.APPEND_ITEMS)):
            if chunk.size > limits.CHUNK_BYTES:
                return found or chunk.blob
            for unit in packing.slice_chunk(await self._content(chunk), first, end):
                size += len(unit)
                if packing.packed_bytes(len(found) + 1, size) > limits.CHUNK_BYTES:
                    return found
                found.append(unit)
        return found

    def remember(self, chunk: Chunk) -> None:
        """Keep a committed chunk in memory: its units are likely to be leased next."""
        self._chunks.add(chunk)

    def forget(self, job_number: int) -> None:
        """Let go of the chunks of a job that has ended."""
        self._chunks.drop_job(job_number)

    async def _chunk(self, job: int, first: int, data: bytes, count: int, *, blob: str = "") -> Chunk:
        if len(data) <= limits.INLINE_BYTES:
            return Chunk(job, first, count, len(data), data=data)
        blob = blob or await self._blobs.put_bytes(data)
        if len(data) <= limits.CHUNK_BYTES:
            self._contents.add(blob, data)
        return Chunk(job, first, count, len(data), blob=blob)

    # --- finding and cutting ---

    async def _find(self, job: int, start: int, stop: int) -> list[Slice]:
        if (known := self._chunks.slices(job, start, stop)) is not None:
            return known
        chunks = await self._store.chunks(job, first=start, stop=stop + READ_AHEAD_UNITS)
        for chunk in reversed(chunks):  # the first ones are wanted first: they are the last to be let go
            self._chunks.add(chunk)
        return _cut(chunks, start, stop)

    async def _stored(self, job: int, start: int, stop: int) -> AsyncIterator[Slice]:
        """What holds [start, stop), some chunks at a time. Unlike `_find` for those who come this way once: what is
        leased next is not driven out of memory for it. Raises NotFound."""
        while start < stop:
            end = min(stop, start + READ_AHEAD_UNITS)
            known = self._chunks.slices(job, start, end)
            for chunk, first, _ in known or _cut(await self._store.chunks(job, first=start, stop=end), start, end):
                last = min(chunk.count, stop - chunk.first)
                yield Slice(chunk, first, last)
                start = chunk.first + last

    async def _content(self, chunk: Chunk) -> bytes:
        return chunk.data or self._contents.get(chunk.blob) or await self._blobs.read_bytes(chunk.blob)

    async def _fits(self, slices: Sequence[Slice]) -> bool:
        """Whether the items fit a message; reads a blob into memory only where its index must tell."""
        known = sum(s.chunk.size for s in slices if s.whole)
        if known > limits.INLINE_BYTES + packing.packed_bytes(0, 0) * len(slices):
            return False
        for piece in slices:
            if piece.chunk.blob:
                await self._load(piece.chunk.blob)
        return True

    async def _load(self, digest: str) -> bytes:
        content = self._contents.get(digest)
        if content is None:
            content = await self._blobs.read_bytes(digest)
            self._contents.add(digest, content)
        return content

    def _inline(self, slices: Sequence[Slice], *, joined: bool) -> Input | None:
        """The input inside a message; None when it does not fit, or a blob is not in memory."""
        if len(slices) == 1 and slices[0].whole and slices[0].chunk.data:
            chunk = slices[0].chunk
            return Input(parts=(Part(0, chunk.count, chunk.data),), joined=joined)
        pieces: list[tuple[bytes, int, int]] = []
        count = size = 0
        for chunk, start, stop in slices:
            data = chunk.data or self._contents.get(chunk.blob)
            if data is None:
                return None
            count += stop - start
            size += packing.slice_bytes(data, start, stop)
            if packing.packed_bytes(count, size) > limits.INLINE_BYTES:
                return None
            pieces.append((data, start, stop))
        return Input(parts=(Part(0, count, packing.cut_chunk(pieces)),), joined=joined)

    async def _parts(self, slices: Sequence[Slice]) -> tuple[Part, ...]:
        """Parts that name blobs: chunks kept as blobs by name, runs of small chunks gathered into new ones."""
        parts: list[Part] = []
        small: list[tuple[bytes, int, int]] = []
        size = 0
        for chunk, start, stop in slices:
            if small and (chunk.blob or size > limits.CHUNK_BYTES):
                parts.append(await self._gathered(small))
                small, size = [], 0
            if chunk.blob:
                parts.append(Part(start, stop, blob=chunk.blob))
            else:
                small.append((chunk.data, start, stop))
                size += chunk.size
        if small:
            parts.append(await self._gathered(small))
        return tuple(parts)

    async def _gathered(self, pieces: Sequence[tuple[bytes, int, int]]) -> Part:
        count = sum(stop - start for _, start, stop in pieces)
        return Part(0, count, blob=await self._blobs.put_bytes(packing.cut_chunk(pieces)))


def _cut(chunks: Sequence[Chunk], start: int, stop: int) -> list[Slice]:
    """`cut` of what must be there. Raises NotFound."""
    slices = cut(chunks, start, stop)
    if slices is None:
        raise NotFound(
            f"The store does not hold units {start:,} to {stop:,} of a job's input.",
            hint="The store is damaged; restore it from a backup or submit the job again.",
        )
    return slices


def _check_size(size: int, count: int) -> None:
    """Refuse a packed chunk that is too large for what it holds. Raises TooLarge."""
    if count == 1 and size > packing.packed_bytes(1, limits.ITEM_BYTES):
        raise TooLarge(
            f"An item of {size - packing.ITEM_HEAD_BYTES:,} bytes is over the limit of {limits.ITEM_BYTES:,}.",
            hint="Split it into several, or send a reference to it (an address, a path every node can read).",
        )
    if count > 1 and size > limits.CHUNK_BYTES:
        raise TooLarge(
            f"The items of one append have {size:,} bytes, over the limit of {limits.CHUNK_BYTES:,}.",
            hint="Append them in smaller groups.",
        )
