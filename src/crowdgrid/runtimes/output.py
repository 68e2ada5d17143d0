"""Where a function's prints go: of each run the end is kept, in memory shared with the pool.

A function may print a gigabyte: it costs CPU and no memory, and nobody has to read it for it to go on. The
end is kept outside of the worker's own memory, so it is still there when the worker is not.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from crowdgrid.runtimes.progress import PRINTED, RING_BYTES, Progress

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT: Final = 1  # /dev/null in a worker


class Ring(io.BufferedIOBase):
    """Keeps the last bytes written, and counts them all."""

    name = "<output>"

    def __init__(self, progress: Progress) -> None:
        self._words = progress.words
        self._ring = progress.ring
        self.used = False  # by the run under way; asked for each run, and quicker to tell than how much was printed

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For those who hand it to a process of their own: the real stdout, which leads nowhere."""
        return STDOUT

    def write(self, data: ReadableBuffer) -> int:
        given = memoryview(data).cast("B")
        size, printed = len(given), self._words[PRINTED]
        kept = given[-RING_BYTES:]
        at = (printed + size - len(kept)) % RING_BYTES
        first = kept[: RING_BYTES - at]
        self._ring[at : at + len(first)] = first
        self._ring[: len(kept) - len(first)] = kept[len(first) :]
        self._words[PRINTED] = printed + size
        self.used = True
        return size

    def close(self) -> None:
        """Not done: the next run prints here too."""

    def as_text(self) -> io.TextIOWrapper:
        """A stream to stand for `sys.stdout` and `sys.stderr` both: what is printed stays in order."""
        return io.TextIOWrapper(self, encoding="utf-8", errors="backslashreplace", write_through=True)
