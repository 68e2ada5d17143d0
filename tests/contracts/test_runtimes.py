"""The contract of port `Runtime`, over every adapter. What only programs can show is in `runtimes/`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from crowdgrid.errors import Unavailable
from crowdgrid.runtimes import Finished, Outcome
from crowdgrid.runtimes.pool import Pool
from tests.contracts.runtimes.adapters import ADAPTERS, Adapter, Program, alive, play, run, stop, until, warm_up

T = TypeVar("T")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers talk over Unix socketpairs")


@pytest.fixture(params=ADAPTERS, ids=[adapter.name for adapter in ADAPTERS])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    chosen: Adapter = request.param
    return chosen


@pytest.fixture
def echo(adapter: Adapter, tmp_path: Path) -> Program:
    return adapter.echo(tmp_path)


def with_workers(adapter: Adapter, workers: int, echo: Program, story: Callable[[Pool], Awaitable[T]]) -> T:
    """Play a story in which all workers are there from the start."""
    return play(adapter.open(workers), story, lambda runtime: warm_up(adapter, runtime, echo, workers))


def outcomes(results: Sequence[Finished]) -> list[Outcome]:
    return [finished.outcome for finished in results]


@pytest.mark.parametrize(
    "data", [b"hello", bytes(range(256)), b"\0", b"x" * 3_000_000], ids=["text", "bytes", "zero", "large"]
)
def test_stdin_goes_to_stdout_byte_by_byte(adapter: Adapter, echo: Program, data: bytes) -> None:
    [finished] = play(adapter.open(1), lambda runtime: runtime.run(*echo, [adapter.run(data)]))
    assert finished.outcome is Outcome.OK
    assert finished.exit_code == 0
    assert finished.error == ""
    assert finished.stdout == adapter.got(data)


@pytest.mark.parametrize("adapter", ADAPTERS[:2], ids=["wasm", "echo"])
def test_argv_arrives_in_order_with_any_text_in_it(adapter: Adapter, echo: Program) -> None:
    """Where programs are commands; a function has its arguments in stdin."""
    argv = ("0", "10000000000", "", "zwei Wörter", "--flag=ü", "'\"\\$HOME;")
    [finished] = play(adapter.open(1), lambda runtime: runtime.run(*echo, [run(*argv)]))
    assert finished.stdout.decode() == " ".join(argv)


def test_a_run_with_nothing_to_say_is_ok_and_empty(adapter: Adapter, echo: Program) -> None:
    [finished] = play(adapter.open(1), lambda runtime: runtime.run(*echo, [adapter.run()]))
    assert (finished.outcome, finished.stdout, finished.stderr) == (Outcome.OK, adapter.got(b""), b"")


def test_an_empty_batch_gives_no_results(adapter: Adapter, echo: Program) -> None:
    assert len(play(adapter.open(1), lambda runtime: runtime.run(*echo, []))) == 0


def test_a_batch_is_answered_in_order(adapter: Adapter, echo: Program) -> None:
    runs = [adapter.run(b"%d" % number) for number in range(1_000)]
    results = play(adapter.open(1), lambda runtime: runtime.run(*echo, runs))
    assert [finished.stdout for finished in results] == [adapter.got(b"%d" % number) for number in range(1_000)]


def test_output_up_to_the_limit_is_a_result_and_one_byte_more_a_program_error(adapter: Adapter, echo: Program) -> None:
    limit = len(adapter.got(b"x" * 4096))
    runs = [adapter.run(b"x" * 4096, limit), adapter.run(b"x" * 4097, limit)]
    exact, over = play(adapter.open(1), lambda runtime: runtime.run(*echo, runs))
    assert (exact.outcome, len(exact.stdout)) == (Outcome.OK, limit)
    assert (over.outcome, over.stdout, over.exit_code) == (Outcome.PROGRAM_ERROR, b"", -1)
    assert over.error == adapter.too_much(limit + 1, limit)


def test_one_failed_run_does_not_stop_the_next(adapter: Adapter, echo: Program) -> None:
    limit = len(adapter.got(b"xxxx"))
    runs = [adapter.run(b"xxxx", limit - (number in {0, 4, 5, 9})) for number in range(10)]
    results = play(adapter.open(1), lambda runtime: runtime.run(*echo, runs))
    failed = [number for number, finished in enumerate(results) if finished.outcome is Outcome.PROGRAM_ERROR]
    assert failed == [0, 4, 5, 9]
    assert {finished.stdout for finished in results if finished.outcome is Outcome.OK} == {adapter.got(b"xxxx")}


def test_as_many_runs_as_workers_go_on_at_once_and_more_wait_for_a_free_one(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        first, second = runtime.pids
        stop(first)
        stop(second)
        calls = [asyncio.create_task(runtime.run(*echo, [adapter.run(b"%d" % number)])) for number in range(3)]
        os.kill(first, signal.SIGCONT)
        done, busy = await asyncio.wait(calls[:2], return_when=asyncio.FIRST_COMPLETED)
        assert (await calls[2])[0].stdout == adapter.got(b"2")  # waited for the first worker; the second is still busy
        assert (len(done), len(busy)) == (1, 1)
        assert not busy.pop().done()
        os.kill(second, signal.SIGCONT)
        assert sorted([(await call)[0].stdout for call in calls]) == [
            adapter.got(b"%d" % number) for number in range(3)
        ]

    with_workers(adapter, 2, echo, story)


def test_cancelling_ends_the_worker_and_leaves_nothing_behind(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        [pid] = runtime.pids
        stop(pid)
        call = asyncio.create_task(runtime.run(*echo, [adapter.run(b"slow")] * 3))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not psutil.pid_exists(pid)  # killed and reaped, not even a zombie
        [finished] = await runtime.run(*echo, [adapter.run(b"next")])
        assert finished.stdout == adapter.got(b"next")

    with_workers(adapter, 1, echo, story)


def test_cancelling_a_call_that_still_waits_harms_no_other(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        [pid] = runtime.pids
        stop(pid)
        calls = [asyncio.create_task(runtime.run(*echo, [adapter.run(b"%d" % number)])) for number in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        os.kill(pid, signal.SIGCONT)
        assert [(await calls[number])[0].stdout for number in (0, 2)] == [adapter.got(b"0"), adapter.got(b"2")]
        assert runtime.pids == (pid,)

    with_workers(adapter, 1, echo, story)


def test_a_worker_killed_from_outside_is_never_the_programs_error(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        [pid] = runtime.pids
        stop(pid)
        call = asyncio.create_task(runtime.run(*echo, [adapter.run(b"a"), adapter.run(b"b")]))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        results = await call
        if adapter.forgives:
            assert [finished.stdout for finished in results] == [adapter.got(b"a"), adapter.got(b"b")]
        else:
            assert outcomes(results) == [Outcome.NODE_ERROR] * 2
            assert {finished.error for finished in results} == {"The worker process was ended from outside."}
        assert not psutil.pid_exists(pid)
        assert outcomes(await runtime.run(*echo, [adapter.run(b"c")])) == [Outcome.OK]

    with_workers(adapter, 1, echo, story)


def test_an_idle_worker_killed_from_outside_is_replaced_before_anybody_notices(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        killed = runtime.pids
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        there = 0 if adapter.lazy else 2
        await until(lambda: len(runtime.pids) == there and not set(runtime.pids) & set(killed))
        await until(lambda: not any(map(alive, killed)))  # its line ends before it does
        assert outcomes(await runtime.run(*echo, [adapter.run(b"a")])) == [Outcome.OK]

    with_workers(adapter, 2, echo, story)


def test_resizing_ends_the_surplus_after_what_it_runs_and_starts_what_is_missing(
    adapter: Adapter, echo: Program
) -> None:
    async def story(runtime: Pool) -> None:
        pids = runtime.pids
        for pid in pids:
            stop(pid)
        calls = [asyncio.create_task(runtime.run(*echo, [adapter.run(b"%d" % number)])) for number in range(3)]
        await asyncio.sleep(0)
        await runtime.resize(1)
        assert set(runtime.pids) == set(pids)  # all three are at work
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        assert outcomes([(await call)[0] for call in calls]) == [Outcome.OK] * 3
        await until(lambda: len(runtime.pids) == adapter.spare)
        await runtime.resize(2)
        if not adapter.lazy:
            await until(lambda: len(runtime.pids) == 2)

    with_workers(adapter, 3, echo, story)


def test_closing_ends_what_runs_and_later_calls_say_so(adapter: Adapter, echo: Program) -> None:
    async def story(runtime: Pool) -> None:
        pids = runtime.pids
        stop(pids[0])
        stop(pids[1])
        call = asyncio.create_task(runtime.run(*echo, [adapter.run(b"a")]))
        await asyncio.sleep(0)
        await runtime.close()
        assert not [pid for pid in pids if psutil.pid_exists(pid)]
        assert outcomes(await call) == [Outcome.NODE_ERROR]
        [late] = await runtime.run(*echo, [adapter.run(b"b")])
        assert (late.outcome, late.error) == (Outcome.NODE_ERROR, "This runtime is closed.")

    with_workers(adapter, 2, echo, story)


def test_start_says_what_is_missing_where_no_worker_can_start(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="cannot be started: No such file or directory"):
        asyncio.run(adapter.open(2).start())


def test_no_result_names_a_measured_time_a_path_or_a_process(adapter: Adapter, echo: Program) -> None:
    """Program errors are voted on: two honest nodes must say the same."""
    runs = [adapter.run(b"12345", output_bytes=2)]
    [one] = play(adapter.open(1), lambda runtime: runtime.run(*echo, runs))
    [other] = play(adapter.open(1), lambda runtime: runtime.run(*echo, runs))
    assert (one.outcome, one.exit_code, one.error) == (other.outcome, other.exit_code, other.error)


ORPHANS = """
import asyncio, sys
from pathlib import Path
from tests.contracts.runtimes.adapters import ADAPTERS, warm_up

async def main():
    adapter = next(each for each in ADAPTERS if each.name == sys.argv[1])
    runtime = adapter.open(2)
    await runtime.start()
    await warm_up(adapter, runtime, adapter.echo(Path(sys.argv[2])), 2)
    print(*runtime.pids, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_workers_die_with_the_agent_that_owns_them(adapter: Adapter, tmp_path: Path) -> None:
    """`kill -9` of an agent must not leave strangers' programs running on its owner's machine."""
    command = [sys.executable, "-c", ORPHANS, adapter.name, str(tmp_path)]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        pids = [int(word) for word in agent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
    finally:
        agent.kill()
        agent.communicate()
    asyncio.run(until(lambda: not any(alive(pid) for pid in pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_has_given_up_what_it_does_not_need(
    adapter: Adapter, echo: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SECRET", "hunter2")

    async def story(runtime: Pool) -> tuple[str, str, bytes, int]:
        [pid] = runtime.pids
        about = Path(f"/proc/{pid}")
        priority = psutil.Process(pid).nice()
        return (
            (about / "status").read_text(),
            (about / "limits").read_text(),
            (about / "environ").read_bytes(),
            priority,
        )

    status, limited, environment, priority = with_workers(adapter, 1, echo, story)
    assert "NoNewPrivs:\t1" in status
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limited.splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert {row: rows[row] for row in adapter.limited} == adapter.limited
    assert b"hunter2" not in environment
    assert priority >= 10
