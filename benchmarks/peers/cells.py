"""One peer under every load, one after another in one life of it."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from benchmarks.context import Context
from benchmarks.figures import percentile
from benchmarks.peers.catalogue import Kind
from benchmarks.peers.talk import Adapter, PeerFailed, Place
from benchmarks.peers.watch import used_between

T = TypeVar("T")

START_SECONDS: Final = 90.0
SILENT_SECONDS: Final = 200.0
REST_SECONDS: Final = 20.0
REST_PAUSE_SECONDS: Final = 1.0
REST_SHARE: Final = 0.1  # of a core: servers that wait are never quite idle
MILLION: Final = 1_000_000


@dataclass(frozen=True)
class Pace:
    """Tasks a second, each with a handle of its own.

    Attributes:
        name: of the figure. function: in `work`. size: bytes of the argument. in_flight: tasks.
    """

    name: str
    function: str
    size: int
    in_flight: int


@dataclass(frozen=True)
class Batch:
    """A map. `chunk`: for those that have to be told. `probe`: how many to learn from how many to run."""

    name: str
    function: str
    chunk: int
    probe: int


PACES: Final = (
    Pace("trivial", "trivial", 0, 1000),
    Pace("1 ms", "busy_1ms", 0, 400),
    Pace("10 ms", "busy_10ms", 0, 60),
    Pace("1 kB", "length", 1_000, 1000),
    Pace("1 MB", "length", 1_000_000, 20),
)
BATCHES: Final = (
    Batch("trivial, map", "trivial", 1000, 20_000),
    Batch("1 ms, map", "busy_1ms", 100, 400),
    Batch("10 ms, map", "busy_10ms", 10, 40),
)
IDEAL: Final = {"1 ms": 2000.0, "10 ms": 200.0, "1 s": 2.0}  # tasks a second that two workers could do


@dataclass
class Measured:
    """What one peer did.

    Attributes:
        rates: tasks a second by the name of the load. cpu: CPU seconds a task by load and role.
        p50, p99: seconds of one trivial task there and back. first: seconds from the import to the first result.
        memory: the most bytes in use at the end of a load. failures: what did not work, in sentences.
    """

    rates: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    mapped: int = 0
    p50: float | None = None
    p99: float | None = None
    first: float | None = None
    memory: int = 0
    failures: list[str] = field(default_factory=list)

    def cpu_of(self, load: str) -> float | None:
        return sum(self.cpu[load].values()) if load in self.cpu else None


def measure(kind: Kind, context: Context) -> Measured:
    """Every cell; one that fails is a sentence among the failures, and the next is tried."""
    measured = Measured()
    starts: list[float] = []
    with Place() as place, Adapter(kind, place) as adapter:
        if _tried(measured, "start", lambda: starts.append(started(adapter))):
            come_to_rest(adapter)
            cells = Cells(adapter, context, measured)
            for name, cell in cells.all(whole=kind.ours).items():
                _tried(measured, name, cell)
            _tried(measured, "end", adapter.close)
    for _ in range(context.of(2, 0) if starts else 0):
        with Place() as place, Adapter(kind, place) as adapter:
            _tried(measured, "start", lambda adapter=adapter: starts.append(started(adapter)))  # type: ignore[misc]
            _tried(measured, "end", adapter.close)
    measured.first = statistics.median(starts) if starts else None
    return measured


def started(adapter: Adapter) -> float:
    """Start the peer; seconds until its first result. Raises PeerFailed."""
    return float(adapter.ask("start", START_SECONDS, how="whole")["first"])


def come_to_rest(adapter: Adapter) -> None:
    """Until nothing of it computes any more: some still start workers, or measure the machine, after their first result."""
    give_up_at = time.monotonic() + REST_SECONDS
    before = sum(adapter.watch.cpu().values())
    while time.monotonic() < give_up_at:
        time.sleep(REST_PAUSE_SECONDS)
        now = sum(adapter.watch.cpu().values())
        if now - before < REST_PAUSE_SECONDS * REST_SHARE:
            return
        before = now


def _tried(measured: Measured, name: str, cell: Callable[[], object]) -> bool:
    try:
        cell()
    except PeerFailed as error:
        measured.failures.append(f"{name}: {error}")
        print(f"\n  {name}: {error}", file=sys.stderr)
        return False
    return True


class Cells:
    """The loads, put to one adapter."""

    def __init__(self, adapter: Adapter, context: Context, measured: Measured) -> None:
        self._adapter, self._measured = adapter, measured
        self._quick = context.quick
        self._warm, self._seconds = context.of(1.0, 0.3), context.of(4.0, 0.8)
        self._long_tasks = context.of(6, 2)

    def all(self, *, whole: bool) -> dict[str, Callable[[], object]]:
        """Every cell by its name. `whole`: map a million items however long that takes."""
        cells: dict[str, Callable[[], object]] = {"round trips": self.trips}
        for pace in PACES:
            cells[pace.name] = lambda pace=pace: self.pace(pace)  # type: ignore[misc]
        for batch in BATCHES:
            cells[batch.name] = lambda batch=batch: self.batch(batch, whole=whole)  # type: ignore[misc]
        cells["1 s"] = self.long_tasks
        return cells

    def named(self, name: str) -> None:
        """One cell."""
        self.all(whole=False)[name]()

    def pace(self, pace: Pace) -> None:
        load: dict[str, Any] = {"function": pace.function, "size": pace.size, "in_flight": pace.in_flight}
        self._run(pace.name, "one_by_one", **load, warm=self._warm, seconds=self._seconds)

    def batch(self, batch: Batch, *, whole: bool) -> None:
        """A probe first, then as many as take a cell's time, a million of them where that is not far."""
        options: dict[str, Any] = {"function": batch.function, "chunk": batch.chunk}
        probe = self._adapter.ask("map", SILENT_SECONDS, count=batch.probe, **options)
        count = wanted(batch, probe["tasks"] / probe["elapsed"], self._seconds, million=not self._quick, whole=whole)
        self._run(batch.name, "map", count=count, **options)
        if batch is BATCHES[0]:
            self._measured.mapped = count

    def long_tasks(self) -> None:
        self._run("1 s", "together", function="busy_1s", count=self._long_tasks)

    def trips(self) -> None:
        took = self._adapter.ask("trips", SILENT_SECONDS, warm=self._warm, seconds=self._seconds)
        self._measured.p50, self._measured.p99 = percentile(took, 0.5), percentile(took, 0.99)

    def _run(self, name: str, do: str, **order: Any) -> None:
        watch = self._adapter.watch
        used: dict[str, dict[tuple[int, str], float]] = {}

        def mark(event: str) -> None:
            used[event] = watch.cpu()
            if event == "end":
                self._measured.memory = max(self._measured.memory, watch.memory())

        found = self._adapter.ask(do, SILENT_SECONDS, mark, **order)
        self._measured.rates[name] = found["tasks"] / found["elapsed"]
        spent: Counter[str] = used_between(used["begin"], used["end"])
        self._measured.cpu[name] = {role: seconds / found["tasks"] for role, seconds in spent.items()}


def wanted(batch: Batch, rate: float, seconds: float, *, million: bool, whole: bool) -> int:
    """How many items to map: what takes `seconds` at `rate`, or a million trivial ones if they take less than thrice that.

    Args:
        million: whether a million is an aim at all. whole: whether it is one at any rate.
    """
    can = int(rate * seconds)
    if batch.function == "trivial" and million and (whole or can * 3 >= MILLION):
        return MILLION
    return max(batch.probe, min(MILLION, can - can % batch.chunk))
