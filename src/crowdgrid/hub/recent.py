"""Recently used chunks and blobs of input, in memory within a limit of bytes; the oldest go first.

Chunks and blobs never change, so what is here is never stale; dropping it costs a read, nothing else.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from crowdgrid.core.model import Chunk

_CHUNK_COST: Final = 400  # bytes of a record around its data, roughly


class Slice(NamedTuple):
    """Items [start, stop) of one chunk, counted from the chunk's first."""

    chunk: Chunk
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        return self.stop - self.start == self.chunk.count


def cut(chunks: Sequence[Chunk], start: int, stop: int) -> list[Slice] | None:
    """Slices that hold [start, stop), from chunks in order; None when they leave a gap."""
    slices: list[Slice] = []
    at = start
    for chunk in chunks:
        if at >= stop or chunk.first > at:
            break
        end = min(stop, chunk.first + chunk.count)
        if end > at:
            slices.append(Slice(chunk, at - chunk.first, end - chunk.first))
            at = end
    return slices if at >= stop else None


class RecentChunks:
    """Recently used chunks, found by job and position; the oldest go when they are over `bytes_max` together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._age: OrderedDict[tuple[int, int], Chunk] = OrderedDict()
        self._firsts: dict[int, list[int]] = {}

    def add(self, chunk: Chunk) -> None:
        key = (chunk.job, chunk.first)
        if key in self._age:
            self._drop(key)
        self._age[key] = chunk
        self._bytes += len(chunk.data) + _CHUNK_COST
        insort(self._firsts.setdefault(chunk.job, []), chunk.first)
        while self._bytes > self._bytes_max and len(self._age) > 1:
            self._drop(next(iter(self._age)))

    def slices(self, job: int, start: int, stop: int) -> list[Slice] | None:
        """The slices that hold [start, stop), or None when some of it is not here."""
        firsts = self._firsts.get(job)
        if not firsts:
            return None
        found: list[Slice] = []
        index = bisect_right(firsts, start) - 1
        while 0 <= index < len(firsts):
            key = (job, firsts[index])
            chunk = self._age[key]
            end = chunk.first + chunk.count
            if chunk.first > start or end <= start:
                return None
            self._age.move_to_end(key)
            found.append(Slice(chunk, start - chunk.first, min(stop, end) - chunk.first))
            if end >= stop:
                return found
            start = end
            index += 1
        return None

    def drop_job(self, job: int) -> None:
        for first in list(self._firsts.get(job, ())):
            self._drop((job, first))

    def _drop(self, key: tuple[int, int]) -> None:
        chunk = self._age.pop(key)
        self._bytes -= len(chunk.data) + _CHUNK_COST
        firsts = self._firsts[chunk.job]
        del firsts[bisect_right(firsts, chunk.first) - 1]
        if not firsts:
            del self._firsts[chunk.job]


class RecentBlobs:
    """Recently used blobs by digest; the oldest go when they are over `bytes_max` together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._age: OrderedDict[str, bytes] = OrderedDict()

    def add(self, digest: str, content: bytes) -> None:
        if digest not in self._age:
            self._age[digest] = content
            self._bytes += len(content)
        while self._bytes > self._bytes_max and len(self._age) > 1:
            self._bytes -= len(self._age.popitem(last=False)[1])

    def get(self, digest: str) -> bytes | None:
        content = self._age.get(digest)
        if content is not None:
            self._age.move_to_end(digest)
        return content
