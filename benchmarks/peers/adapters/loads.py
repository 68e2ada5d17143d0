"""The loads, the same for every peer, and the clock. Every result is looked at: what answers wrongly has no rate."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

from benchmarks.peers import work
from benchmarks.peers.adapters.peer import Handle, Peer

TRIPS_LEAST = 20
PARTS = 5  # a fifth of what is in flight is gathered at a time


class Mark(Protocol):
    """Tells the driver that a measurement begins or ends; `waits`: go on when it has taken its accounts."""

    def __call__(self, name: str, *, waits: bool = False) -> None: ...


class WrongResult(Exception):
    """A peer gave something else than the function does."""


class Load(NamedTuple):
    """One task a handle, so many in flight.

    Attributes:
        function: its name in `work`. size: bytes of each argument, 0 for a number.
        warm, seconds: seconds before and of the measurement.
    """

    function: str
    size: int
    in_flight: int
    warm: float
    seconds: float


def one_by_one(peer: Peer, load: Load, mark: Mark) -> dict[str, float]:
    """Keep so many tasks in flight; count from one gathering to another, so that no start and no end is in it."""
    stream = _gathered(peer, load)
    until = time.perf_counter() + load.warm
    while next(stream) and time.perf_counter() < until:
        pass
    mark("begin")
    tasks, began = 0, time.perf_counter()
    while (now := time.perf_counter()) < began + load.seconds or not tasks:
        tasks += next(stream)
    now = time.perf_counter()
    mark("end")
    stream.close()
    return {"tasks": tasks, "elapsed": now - began}


def _gathered(peer: Peer, load: Load) -> Generator[int, None, None]:
    """Yields how many results have come, each time some have; what is left is waited for in the end."""
    part = max(1, load.in_flight // PARTS)
    under_way: deque[tuple[int, list[Handle]]] = deque()
    number = 0
    try:
        while True:
            while len(under_way) < PARTS:
                under_way.append((number, _submitted(peer, load, number, part)))
                number += part
            yield _checked(peer, load, *under_way.popleft())
    except GeneratorExit:
        for start, handles in under_way:
            _checked(peer, load, start, handles)


def _submitted(peer: Peer, load: Load, start: int, count: int) -> list[Handle]:
    function = work.FUNCTIONS[load.function]
    return [peer.submit(function, work.argument(number, load.size)) for number in range(start, start + count)]


def _checked(peer: Peer, load: Load, start: int, handles: list[Handle]) -> int:
    for number, result in enumerate(peer.gather(handles), start):
        if result != work.expected(load.function, number, load.size):
            raise WrongResult(f"{load.function} of task {number} gave {result!r}")
    return len(handles)


def together(peer: Peer, function: str, count: int, mark: Mark) -> dict[str, float]:
    """So many tasks at once, from the first submission to the last result: for tasks that are long."""
    load = Load(function, 0, count, 0, 0)
    mark("begin", waits=True)
    began = time.perf_counter()
    _checked(peer, load, 0, _submitted(peer, load, 0, count))
    elapsed = time.perf_counter() - began
    mark("end")
    return {"tasks": count, "elapsed": elapsed}


def mapped(peer: Peer, function: str, count: int, chunk: int, mark: Mark) -> dict[str, float]:
    """One map over so many numbers, from the call to the last result."""
    mark("begin", waits=True)
    began = time.perf_counter()
    number = total = 0
    for result in peer.map(work.FUNCTIONS[function], count, chunk):
        total += result
        number += 1
    elapsed = time.perf_counter() - began
    mark("end")
    wanted = count * (count - 1) // 2 + work.expected(function, 0, 0) * count
    if number != count or total != wanted:
        raise WrongResult(f"a map of {function} over {count:,} gave {number:,} results with the sum {total:,}")
    return {"tasks": count, "elapsed": elapsed}


def trips(peer: Peer, warm: float, seconds: float) -> list[float]:
    """Seconds of single trivial tasks there and back, nothing else under way; a few at least, however long that takes."""
    took: list[float] = []
    began = time.perf_counter()
    number = 0
    while (now := time.perf_counter()) < began + warm + seconds or len(took) < TRIPS_LEAST:
        (result,) = peer.gather([peer.submit(work.trivial, number)])
        if now > began + warm:
            took.append(time.perf_counter() - now)
        if result != number + 1:
            raise WrongResult(f"trivial of {number} gave {result!r}")
        number += 1
    return took


def first(peer: Peer) -> Any:
    """The first result."""
    return peer.gather([peer.submit(work.trivial, 1)])
