"""The client of a dispatch measurement, in a process of its own: appends items, waits for their results.

`python -m benchmarks.submitter '{"url": …}'`. It keeps `in_flight` entries (Appends) of `per_entry` items each under
way: when the last row of one has come, the next is appended. After `warm_seconds` it says `begin` on standard
output, after `seconds` more it says what it measured, as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from benchmarks.figures import percentile
from crowdgrid import kernels
from crowdgrid.client.address import Address
from crowdgrid.client.joblink import WINDOW_ROWS, JobLink
from crowdgrid.client.link import Link
from crowdgrid.client.rest import Rest
from crowdgrid.core.model import Items
from crowdgrid.protocol import messages as m


class Order(msgspec.Struct):
    """What to do. `consensus`, `error_bound`: when an answer stands."""

    url: str
    token: str
    runtime: str
    in_flight: int
    per_entry: int
    warm_seconds: float
    seconds: float
    consensus: str = "single"
    error_bound: float = 1e-3


class Measured(msgspec.Struct):
    """What came of it. Times in seconds; a round trip is from an Append to the last of its rows."""

    tasks: int
    elapsed: float
    cpu: float
    p50: float
    p99: float
    longest: float
    failed: int


class Stream:
    """Entries under way on one job."""

    def __init__(self, job: JobLink, order: Order) -> None:
        self._job = job
        self._order = order
        self._item = [b"%064d" % number for number in range(order.per_entry)]
        self._left: list[int] = []  # rows to come, by entry
        self._sent_at: list[float] = []
        self._owed = 0
        self.trips: list[float] = []
        self.tasks = self.failed = 0
        self.last = -1  # the highest unit whose row came
        self.stopping = False
        self.idle = asyncio.Event()
        self._window = 4 * max(WINDOW_ROWS, order.in_flight * order.per_entry)
        job.read(self._came, window=self._window)

    def start(self) -> None:
        for _ in range(self._order.in_flight):
            self._append()

    def _append(self) -> None:
        self._left.append(self._order.per_entry)
        self._sent_at.append(time.perf_counter())
        self._job.append(self._item)

    def _came(self, rows: Sequence[m.ResultRow]) -> None:
        self.tasks += len(rows)
        self._owed += len(rows)
        if self._owed > self._window // 4:
            self._job.grant(self._owed)
            self._owed = 0
        for row in rows:
            self.failed += row.outcome != 0 or row.errors > 0
            self.last = max(self.last, row.start)
            entry = row.start // self._order.per_entry
            self._left[entry] -= 1
            if not self._left[entry]:
                self._done(entry)

    def _done(self, entry: int) -> None:
        self.trips.append(time.perf_counter() - self._sent_at[entry])
        if not self.stopping:
            self._append()
        elif not any(self._left):
            self.idle.set()


async def measure(order: Order) -> Measured:
    address = Address(order.url, order.token)
    link, rest = Link(address), Rest(address)
    await link.start(patience=10)
    digest = await rest.put_program(kernels.path("echo").read_bytes(), order.runtime)
    request = m.JobRequest(
        program=digest,
        split=Items(1),
        runtime=order.runtime,
        key=os.urandom(8).hex(),
        consensus=order.consensus,
        error_bound=order.error_bound,
    )
    job = await link.open(request)
    stream = Stream(job, order)
    stream.start()
    await asyncio.sleep(order.warm_seconds)
    if not stream.tasks:
        raise SystemExit(f"no result came within {order.warm_seconds:g} s")
    print("begin", flush=True)
    stream.trips.clear()
    tasks, began, cpu = stream.tasks, time.perf_counter(), time.process_time()
    await asyncio.sleep(order.seconds)
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    tasks, trips = stream.tasks - tasks, list(stream.trips)
    print("end", flush=True)
    stream.stopping = True
    async with asyncio.timeout(30):
        await stream.idle.wait()
    await job.cancel()
    await link.close()
    await rest.close()
    return Measured(
        tasks, elapsed, cpu, percentile(trips, 0.5), percentile(trips, 0.99), max(trips, default=0.0), stream.failed
    )


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(msgspec.json.encode(runner.run(measure(order))).decode(), flush=True)


if __name__ == "__main__":
    main()
