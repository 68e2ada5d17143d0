"""What a worker is doing right now, in memory it shares with its pool.

Results travel in groups, so frames alone do not tell which run was under way when a worker died or was
ended. The worker writes it here before each run; its pool reads it from outside, also from a worker that
hangs in native code, and still when the worker is gone. What the run printed and the traceback of a fatal
signal are here for the same reason.

One word of 64 bits, written at once, holds the number of the run (from 1; 0: none of the batch has begun) and
since when it is under way (monotonic ms; 0: it has ended). Another counts the bytes the run printed, the last
of which are in a ring. The rest of the file is where `faulthandler` writes.

Invariants: the pool writes only while the worker is idle; everything read is only ever shown or used as the
index of a run after a check, for a worker may have been taken over by its program.
"""

from __future__ import annotations

import mmap
import os
import signal
import tempfile
import time
from typing import Final, NamedTuple

from crowdgrid import limits

PAGE_BYTES: Final = 4096
RING_BYTES: Final = limits.STDERR_TAIL_BYTES
NOTES_AT: Final = PAGE_BYTES + RING_BYTES  # where a fatal signal leaves its traceback
FILE_BYTES: Final = NOTES_AT + 4 * PAGE_BYTES
STATE: Final = 0
PRINTED: Final = 1
NUMBER_SHIFT: Final = 40
RUNS_MAX: Final = 1 << (63 - NUMBER_SHIFT)  # of one batch
WHERE_SIGNAL: Final = signal.SIGUSR1  # has a worker write where it is
_MS_MASK: Final = (1 << NUMBER_SHIFT) - 1  # 34 years of uptime


class Doing(NamedTuple):
    """What the worker was at.

    Attributes:
        run: index in the batch of the run that began last, -1 if none has begun.
        since_ms: since when it is under way, 0 when it has ended.
    """

    run: int
    since_ms: int


class Progress:
    """One worker's page, seen from either side.

    Args:
        descriptor: the file; stays open and the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, FILE_BYTES)
        view = memoryview(self._map)
        self.words = view[:PAGE_BYTES].cast("Q")
        self.ring = view[PAGE_BYTES:NOTES_AT]
        self._notes = view[NOTES_AT:]

    def clear(self) -> None:
        """None of the next batch has begun."""
        self.words[STATE] = 0
        self.words[PRINTED] = 0

    def read(self) -> Doing:
        """What the worker was doing at this moment."""
        state = self.words[STATE]
        return Doing((state >> NUMBER_SHIFT) - 1, state & _MS_MASK)

    def tail(self) -> bytes:
        """The end of what the run under way has printed."""
        printed = self.words[PRINTED]
        if printed <= RING_BYTES:
            return bytes(self.ring[:printed])
        at = printed % RING_BYTES
        return bytes(self.ring[at:]) + bytes(self.ring[:at])

    def notes(self) -> bytes:
        """The traceback a fatal signal left, b"" if there was none."""
        return bytes(self._notes).rstrip(b"\0")


def make() -> int:
    """A descriptor of a new file for `Progress`, of this process only; in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("progress")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, FILE_BYTES)
    return descriptor


def now_ms() -> int:
    """The clock of `Doing.since_ms`, the same for every process of this machine."""
    return time.monotonic_ns() // 1_000_000
