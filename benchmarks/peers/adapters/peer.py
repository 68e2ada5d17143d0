"""What an adapter is: the few verbs in which all peers are alike.

A handle is whatever the peer gives for a task under way. An adapter whose handles are futures as the standard library
has them needs `start`, `submit`, `map` and `close` only.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Work = Callable[[Any], int]
Handle = Any

WORKERS = 2
UNSETTLED = "unsettled"
OK = "ok"
GATHER_SECONDS = 120.0


class Peer(ABC):
    """One peer, in the process that plays its client.

    Args:
        folder: for what its parts keep, and for their logs; on a disk.
        short: a folder with a short path, for those whose Unix sockets need one.
    """

    def __init__(self, folder: Path, short: Path) -> None:
        self.folder, self.short = folder, short

    # --- its life --------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Import it and start everything it needs, with two workers."""

    def start_apart(self) -> None:
        """Start its parts as processes of their own where it has that form, so that each can be killed alone."""
        self.start()

    def attach(self) -> None:
        """Be another client of the parts that run already."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Let go of it; whatever still runs then is ended by who started this process."""

    def parts(self) -> dict[str, list[int]]:
        """Process ids by what they are, those whose end is worth a look; the client, this process, is not told."""
        return {}

    def restart(self, part: str) -> bool:
        """Start a killed part again as its operator would. False: there is no way, or it comes back by itself."""
        del part
        return False

    # --- tasks -----------------------------------------------------------------------------------

    @abstractmethod
    def submit(self, function: Work, argument: Any) -> Handle:
        """One task, with a handle of its own."""

    def gather(self, handles: Sequence[Handle]) -> list[int]:
        """Wait for them all, in the way the peer's users are told to."""
        return [handle.result(timeout=GATHER_SECONDS) for handle in handles]

    @abstractmethod
    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        """The results of 0 … count-1, run in the way that is best for many small tasks.

        Args:
            chunk: how many to put together, where the peer has to be told.
        """

    def peek(self, handle: Handle) -> str:
        """OK, UNSETTLED, or the name of the error it ended with; never waits."""
        if not handle.done():
            return UNSETTLED
        if handle.cancelled():
            return "CancelledError"
        error = handle.exception()
        return OK if error is None else type(error).__name__

    # --- results that outlive their client ----------------------------------------------------------

    def leave(self, function: Work, count: int) -> list[Handle]:
        """Submit tasks 0 … count-1 so that another client may find them, where the peer has a way."""
        return [self.submit(function, number) for number in range(count)]

    def recover(self, count: int, quiet: float) -> int | None:
        """How many results of tasks left by a client that is gone can be had; None: there is no way.

        Args:
            quiet: give up when for so many seconds none was added.
        """
        del count, quiet
        return None


def until_quiet(found: Callable[[], int], count: int, quiet: float) -> int:
    """What `found()` comes to: `count`, or what it was when it had not changed for `quiet` seconds."""
    last, changed_at = -1, time.monotonic()
    while (now := found()) < count and time.monotonic() < changed_at + quiet:
        if now != last:
            last, changed_at = now, time.monotonic()
        time.sleep(0.1)
    return now


def chunked(function: Work, numbers: range) -> list[int]:
    """A chunk as one task, for peers without batches of their own."""
    return [function(number) for number in numbers]


def chunked_array(function: Work, numbers: range) -> array[int]:
    """The same for peers that look at every element of a list before they send it."""
    return array("q", map(function, numbers))


def chunks(count: int, chunk: int) -> list[range]:
    """0 … count-1 in ranges of `chunk`."""
    return [range(start, min(start + chunk, count)) for start in range(0, count, chunk)]
