"""Slots: what fits runs, oldest first; short tasks go together; what is cancelled, late or lost is dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from crowdgrid.agent import slots as module
from crowdgrid.agent.slots import Slots
from crowdgrid.agent.work import Held, JobQueue
from crowdgrid.errors import NotFound, Unavailable
from crowdgrid.protocol import packing
from crowdgrid.protocol.messages import Lease, LeaseSpec
from crowdgrid.protocol.packing import Input, Part
from crowdgrid.runtimes import Finished, Results, Run, Runtime
from crowdgrid.runtimes import Outcome as Ran


class Gate:
    """A runtime of the port whose runs end when the test says so; it echoes the arguments."""

    name = "gate"

    def __init__(self) -> None:
        self.calls: list[list[Run]] = []
        self.called = asyncio.Event()
        self.killed = 0
        self.gates: list[asyncio.Future[list[Finished] | None]] = []

    async def start(self) -> None: ...

    async def resize(self, workers: int) -> None: ...

    async def close(self) -> None: ...

    async def run(self, program: str, path: str, runs: Sequence[Run], whose: str = "") -> Results:
        self.calls.append(list(runs))
        self.called.set()
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            told = await gate
        except asyncio.CancelledError:
            self.killed += 1
            raise
        return Results(told or [Finished(Ran.OK, " ".join(run.argv).encode() or run.stdin) for run in runs])

    async def open(self, call: int = -1, told: list[Finished] | None = None) -> None:
        self.gates[call].set_result(told)
        await settle()


class Scene:
    """Slots with a gate, a clock that stands and a record of events."""

    def __init__(self, milli: int = 2000, memory: int = 1 << 30) -> None:
        self.gate = Gate()
        runtime: Runtime = self.gate
        self.now = 0.0
        self.log: list[tuple[str, list[int]]] = []
        self.finished: dict[int, Results] = {}
        self.blobs: dict[str, bytes] = {}
        self.slots = Slots({"gate": runtime}, self, self, milli_cpus=milli, memory_bytes=memory, clock=lambda: self.now)
        self.count = 0

    # inputs
    async def read(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        if any(digest not in self.blobs for digest in digests):
            raise NotFound("It is not there.")
        return {digest: self.blobs[digest] for digest in digests}

    # events
    def answered(self, held: Held) -> None:
        self.finished[number(held)] = held.finished
        self.log.append(("answered", [number(held)]))

    def stopped(self, held: Held) -> None:
        self.finished[number(held)] = held.finished
        self.log.append(("stopped", [number(held)]))

    def refused(self, held: Sequence[Held], reason: str) -> None:
        self.log.append((f"refused: {reason}", [number(one) for one in held]))

    def returned(self, held: Sequence[Held], reason: str) -> None:
        self.log.append((f"returned: {reason}", [number(one) for one in held]))

    def settled(self) -> None:
        self.slots.dispatch()

    # leases
    def queue(self, **changed: Any) -> JobQueue:
        fields: dict[str, Any] = {
            "job": "j",
            "program": "ab" * 32,
            "program_bytes": 1,
            "runtime": "gate",
            "args": (),
            "timeout_ms": 1000,
            "memory_bytes": 1 << 20,
            "output_bytes": 1 << 20,
            "milli_cpus": 1000,
            "split": "range",
        }
        queue = self.slots.queue_of(LeaseSpec(**(fields | changed)))
        queue.path = "/program"
        return queue

    def lease(self, queue: JobQueue, count: int = 1, deadline_ms: int = 60_000, **changed: Any) -> list[int]:
        added = []
        for _ in range(count):
            self.count += 1
            given = changed.get("given") or Input(tails=((str(self.count),),))
            size = changed.get("size", 1)
            self.slots.add(queue, Lease(self.count.to_bytes(16, "big"), 0, 10, 10 + size, given, deadline_ms))
            added.append(self.count)
        return added

    def items(self, queue: JobQueue, size: int) -> int:
        chunk = packing.pack_chunk([f"i{n}".encode() for n in range(size)])
        return self.lease(queue, given=Input(parts=(Part(0, size, chunk),)), size=size)[0]

    @property
    def held(self) -> list[int]:
        return [int.from_bytes(one, "big") for one in self.slots.held]

    def drop(self, *numbers: int) -> None:
        self.slots.drop([one.to_bytes(16, "big") for one in numbers])


def number(held: Held) -> int:
    return int.from_bytes(held.id, "big")


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def scene(**settings: Any) -> Callable[[Callable[[Scene], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Runs a test's story on an event loop, and checks at its end that nothing leaked."""

    def decorate(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def test() -> None:
            async def play() -> None:
                one = Scene(**settings)
                await story(one)
                one.slots.drop(one.slots.held)
                await settle()
                await asyncio.sleep(0)
                assert one.slots.busy == 0
                assert one.slots.cpu_left == one.slots.milli_cpus
                assert one.slots.memory_left == one.slots.memory_bytes

            asyncio.run(play())

        test.__doc__ = story.__doc__
        test.__name__ = story.__name__
        return test

    return decorate


@scene()
async def test_as_many_run_as_there_are_workers_the_oldest_first(s: Scene) -> None:
    s.lease(s.queue(), 4)
    s.slots.dispatch()
    await settle()
    assert [[run.argv for run in call] for call in s.gate.calls] == [[("1",)], [("2",)]]
    assert (s.slots.running, len(s.slots)) == (2, 4)
    await s.gate.open(0)
    assert s.gate.calls[2][0].argv == ("3",)
    assert s.finished[1][0].stdout == b"1"


@scene()
async def test_short_tasks_of_a_job_share_a_call_and_workers_share_the_queue(s: Scene) -> None:
    queue = s.queue()
    queue.run_seconds = 0.001
    s.lease(queue, 30)
    s.slots.dispatch()
    await settle()
    assert [len(call) for call in s.gate.calls] == [15, 15]
    await s.gate.open(0)
    assert sorted(s.finished) == list(range(1, 16))


@scene()
async def test_a_call_is_a_few_milliseconds_of_work(s: Scene) -> None:
    queue = s.queue()
    queue.run_seconds = 0.004
    s.lease(queue, 100)
    s.slots.dispatch()
    await settle()
    assert [len(call) for call in s.gate.calls] == [5, 5]


@scene()
async def test_tasks_not_measured_yet_go_one_by_one(s: Scene) -> None:
    """Nobody knows how long they take: one that runs for an hour must not hold others behind it."""
    s.lease(s.queue(), 30)
    s.slots.dispatch()
    await settle()
    assert [len(call) for call in s.gate.calls] == [1, 1]


@scene(milli=4000, memory=100 << 20)
async def test_memory_and_cores_are_lent_once(s: Scene) -> None:
    """A job whose next task does not fit lets a smaller one of another job pass; it is not forgotten."""
    big, small = s.queue(memory_bytes=60 << 20), s.queue(job="k", memory_bytes=10 << 20, milli_cpus=1000)
    s.lease(big, 2)
    s.lease(small, 2)
    s.slots.dispatch()
    await settle()
    assert [call[0].argv[0] for call in s.gate.calls] == ["1", "3", "4"]
    assert s.slots.memory_left == 20 << 20
    await s.gate.open(0)
    assert s.gate.calls[3][0].argv[0] == "2"


@scene(milli=4000)
async def test_a_task_of_three_cores_takes_three(s: Scene) -> None:
    s.lease(s.queue(milli_cpus=3000), 1)
    s.lease(s.queue(job="k"), 2)
    s.slots.dispatch()
    await settle()
    assert len(s.gate.calls) == 2
    assert s.slots.cpu_left == 0


@scene()
async def test_what_can_never_run_here_says_why(s: Scene) -> None:
    spec = s.queue().spec
    assert s.slots.why_not(spec) == ""
    for changed, reason in (
        ({"runtime": "container"}, "no runtime 'container'"),
        ({"memory_bytes": 2 << 30}, "2,048 MB of memory; this node lends 1,024 MB"),
        ({"milli_cpus": 3000}, "3 cores; this node lends 2"),
    ):
        assert reason in s.slots.why_not(s.queue(**changed).spec)


@scene()
async def test_nothing_starts_before_its_program_is_here(s: Scene) -> None:
    queue = s.queue()
    queue.path = ""
    s.lease(queue)
    s.lease(s.queue(job="k"))
    s.slots.dispatch()
    await settle()
    assert [call[0].argv for call in s.gate.calls] == [("2",)]


@scene()
async def test_a_cancelled_task_that_runs_ends_its_worker_at_once(s: Scene) -> None:
    s.lease(s.queue(), 3)
    s.slots.dispatch()
    await settle()
    s.drop(1)
    await settle()
    assert s.gate.killed == 1
    assert s.held == [2, 3]
    assert s.gate.calls[2][0].argv == ("3",)
    assert s.log == []


@scene()
async def test_a_task_cancelled_before_it_has_begun_gives_its_place_back(s: Scene) -> None:
    """Lease and withdrawal may come in one turn of the loop; the worker must not be lost with it."""
    queue = s.queue()
    s.lease(queue)
    s.slots.dispatch()
    s.drop(1)
    await settle()
    assert s.slots.running == 0
    assert s.slots.cpu_left == s.slots.milli_cpus
    assert not s.gate.calls
    s.lease(queue)
    s.slots.dispatch()
    await settle()
    await s.gate.open()
    assert s.log == [("answered", [2])]


@scene()
async def test_a_cancelled_task_that_waits_just_goes(s: Scene) -> None:
    s.lease(s.queue(), 4)
    s.slots.dispatch()
    await settle()
    s.drop(3, 99)
    await s.gate.open(0)
    assert [call[0].argv for call in s.gate.calls] == [("1",), ("2",), ("4",)]
    assert s.gate.killed == 0


@scene(milli=1000)
async def test_those_that_share_a_call_with_a_cancelled_task_run_again(s: Scene) -> None:
    """The call gets a moment to end by itself; then its worker is ended, and only the cancelled one is gone."""
    queue = s.queue()
    queue.run_seconds = 0.001
    s.lease(queue, 3)
    s.slots.dispatch()
    await settle()
    s.drop(2)
    await settle()
    assert s.gate.killed == 0
    await asyncio.sleep(module.GRACE_SECONDS * 1.2)
    await settle()
    assert s.gate.killed == 1
    assert [run.argv for run in s.gate.calls[1]] == [("1",), ("3",)]
    await s.gate.open(1)
    assert sorted(s.finished) == [1, 3]


@scene(milli=1000)
async def test_a_shared_call_that_ends_in_time_loses_nothing(s: Scene) -> None:
    queue = s.queue()
    queue.run_seconds = 0.001
    s.lease(queue, 3)
    s.slots.dispatch()
    await settle()
    s.drop(2)
    await s.gate.open(0)
    assert sorted(s.finished) == [1, 3]
    assert s.gate.killed == 0


@scene()
async def test_a_lease_past_its_deadline_is_dropped_in_silence_and_its_worker_ended(s: Scene) -> None:
    s.lease(s.queue(), 1, deadline_ms=5_000)
    s.lease(s.queue(), 1, deadline_ms=50_000)
    s.slots.dispatch()
    await settle()
    s.now = 4.9
    assert s.slots.expire() == 0
    s.now = 5.0
    assert s.slots.expire() == 1
    await settle()
    assert (s.held, s.gate.killed, s.log) == ([2], 1, [])


@scene()
async def test_a_task_whose_worker_died_is_run_again_once_and_then_reported(s: Scene) -> None:
    broken = [Finished(Ran.NODE_ERROR, error="The worker process was ended from outside.")]
    s.lease(s.queue())
    s.slots.dispatch()
    await settle()
    await s.gate.open(0, broken)
    assert s.log == []
    await s.gate.open(1, broken)
    assert s.log == [("answered", [1])]
    assert s.finished[1][-1].outcome is Ran.NODE_ERROR


@scene()
async def test_after_a_worker_died_only_the_runs_not_done_are_done_again(s: Scene) -> None:
    queue = s.queue(split="items")
    queue.run_seconds = 0.001
    one = s.items(queue, 3)
    s.slots.dispatch()
    await settle()
    gone = Finished(Ran.NODE_ERROR, error="gone")
    await s.gate.open(0, [Finished(Ran.OK, b"i0"), gone, gone])
    assert [run.stdin for run in s.gate.calls[1]] == [b"i1", b"i2"]
    await s.gate.open(1)
    assert [finished.stdout for finished in s.finished[one]] == [b"i0", b"i1", b"i2"]


@scene()
async def test_a_task_of_many_runs_goes_in_slices_that_grow_with_what_is_known(s: Scene) -> None:
    s.items(s.queue(split="items"), 200)
    s.slots.dispatch()
    await settle()
    assert len(s.gate.calls[0]) == 1
    s.now += 0.002
    await s.gate.open(0)
    assert len(s.gate.calls[1]) == 50
    s.now += 0.1
    await s.gate.open(1)
    assert len(s.gate.calls) == 3


@scene()
async def test_draining_ends_a_task_of_many_runs_between_two_of_them(s: Scene) -> None:
    queue = s.queue(split="items")
    queue.run_seconds = 0.01
    one = s.items(queue, 30)
    single = s.lease(s.queue())[0]
    s.slots.dispatch()
    await settle()
    s.slots.stop_at_boundary()
    await s.gate.open(0)
    assert s.log == [("stopped", [one])]
    assert len(s.finished[one]) == 10
    await s.gate.open(1)
    assert s.log[-1] == ("answered", [single])
    assert s.held == []


@scene()
async def test_a_task_that_was_done_when_draining_began_is_an_answer(s: Scene) -> None:
    queue = s.queue(split="items")
    queue.run_seconds = 0.001
    one = s.items(queue, 3)
    s.slots.dispatch()
    await settle()
    s.slots.stop_at_boundary()
    await s.gate.open(0)
    assert s.log == [("answered", [one])]


@scene()
async def test_what_waits_or_everything_is_given_back(s: Scene) -> None:
    s.lease(s.queue(), 5)
    s.slots.dispatch()
    await settle()
    s.slots.return_waiting("paused", keep=1)
    assert s.log == [("returned: paused", [4, 5])]
    s.slots.return_all("stopped")
    await settle()
    assert s.log[1:] == [("returned: stopped", [1, 2, 3])]
    assert (s.held, s.gate.killed, len(s.gate.calls)) == ([], 2, 2)


@scene()
async def test_an_input_that_cannot_be_had_is_refused_and_harms_no_other(s: Scene) -> None:
    queue = s.queue(split="items")
    s.lease(queue, given=Input(parts=(Part(0, 1, blob="cd" * 32),)))
    s.lease(queue, given=Input(parts=(Part(0, 1, packing.pack_chunk([b"good"])),)))
    s.slots.dispatch()
    await settle()
    assert s.log == [("refused: It is not there.", [1])]
    await s.gate.open(-1)
    assert s.finished[2][0].stdout == b"good"


@scene()
async def test_a_lease_that_comes_twice_is_held_once(s: Scene) -> None:
    queue = s.queue()
    s.lease(queue)
    s.count = 0
    s.lease(queue)
    assert s.held == [1]
    assert len(queue.waiting) == 1


@scene()
async def test_less_lent_lets_what_runs_go_on_and_gives_back_what_no_longer_fits(s: Scene) -> None:
    s.lease(s.queue(memory_bytes=800 << 20), 2)
    s.lease(s.queue(job="k"), 2)
    s.slots.dispatch()
    await settle()
    s.slots.lend(1000, 500 << 20)
    assert s.log == [("refused: It needs 800 MB of memory; this node lends 500 MB.", [2])]
    await s.gate.open(0)
    await s.gate.open(1)
    assert s.slots.busy == 1
    s.slots.lend(2000, 1 << 30)
    s.slots.dispatch()
    await settle()


@scene(milli=500)
async def test_less_than_a_core_is_one_worker_that_rests_as_long_as_it_works(s: Scene) -> None:
    s.slots.rest_share = 0.5
    s.lease(s.queue(), 2)
    s.slots.dispatch()
    await settle()
    s.now += 0.05
    await s.gate.open(0)
    assert len(s.gate.calls) == 1
    s.gate.called.clear()
    async with asyncio.timeout(10):  # the rest takes real time, and a busy machine more of it
        await s.gate.called.wait()
    assert len(s.gate.calls) == 2
    s.slots.rest_share = 0.0


@scene()
async def test_a_task_that_never_gets_to_its_end_is_refused(s: Scene) -> None:
    """A runtime that cannot work must not be asked for ever, nor the task be kept from other nodes."""
    s.lease(s.queue())
    s.slots.dispatch()
    await settle()
    for call in range(module.TRIES_MAX):
        s.gate.gates[call].set_exception(Unavailable("This runtime is closed."))
        await settle()
    assert s.log == [("refused: It could not be run to its end here.", [1])]


def test_the_runtimes_in_these_tests_are_runtimes() -> None:
    runtime: Runtime = Gate()
    assert runtime.name == "gate"
