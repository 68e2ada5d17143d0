"""What functions do, well or badly, in runtime "python": each ends as the port says and harms no other call."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from crowdgrid import limits
from crowdgrid.protocol import functions, pickles
from crowdgrid.protocol.failures import Failure, unpack_failure
from crowdgrid.protocol.values import unpack_value
from crowdgrid.runtimes import Finished, Outcome, Run, errand
from crowdgrid.runtimes.pool import Pool
from crowdgrid.runtimes.python import PROGRAMS_LOADED, PythonRuntime
from tests.contracts.runtimes.adapters import alive, function, play, stop, store, until
from tests.contracts.runtimes.sending import DEEDS, HERE, MB, call, sent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers talk over Unix socketpairs")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")

T = TypeVar("T")


def results(folder: Path, name: str, *runs: Run) -> Sequence[Finished]:
    return play(PythonRuntime(), lambda runtime: runtime.run(*function(folder, name), runs or [call()]))


def result(folder: Path, name: str, *args: Any, **limited: int) -> Finished:
    [finished] = results(folder, name, call(*args, **limited))
    return finished


def value(finished: Finished) -> Any:
    assert finished.outcome is Outcome.OK, finished.error
    return unpack_value(finished.stdout)


def failure(finished: Finished) -> Failure:
    assert finished.outcome is Outcome.PROGRAM_ERROR
    return unpack_failure(finished.stdout)


def told(finished: Sequence[Finished]) -> list[Any]:
    """Values of those that went well, errors of those that did not."""
    return [value(each) if each.outcome is Outcome.OK else each.error for each in finished]


async def one(runtime: Pool, program: tuple[str, str], *args: Any, **limited: int) -> Finished:
    [finished] = await runtime.run(*program, [call(*args, **limited)])
    return finished


# --- results and failures ------------------------------------------------------------------------------


def test_each_call_has_its_own_result_failure_and_prints(tmp_path: Path) -> None:
    good, bad, after = results(tmp_path, "halve", call(3), call(-1), call(value=8))
    assert (value(good), good.stderr) == (1.5, b"halving 3\n")
    assert (bad.outcome, bad.exit_code, bad.error) == (Outcome.PROGRAM_ERROR, 1, "ValueError: ('negative', -1)")
    assert bad.stderr == b"halving -1\n"
    assert (failure(bad).type, unpack_value(failure(bad).args), failure(bad).output) == (
        "ValueError",
        ("negative", -1),
        "halving -1\n",
    )
    assert (value(after), after.stderr) == (4.0, b"halving 8\n")


def test_of_a_call_that_takes_no_time_only_its_result_is_told(tmp_path: Path) -> None:
    """A million of them are not to be taken apart one by one; what else there is to tell of one is still told, in order."""
    runs = [call(number, value=8) if number == 400 else call(number) for number in range(1_000)]
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*function(tmp_path, "same"), runs))
    plain = [item for item in finished.items if isinstance(item, bytes)]
    assert plain
    assert finished[400].error.startswith("TypeError")
    assert [value(each) for number, each in enumerate(finished) if number != 400] == [*range(400), *range(401, 1_000)]


def test_what_is_raised_names_lines_of_the_function_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    text = failure(result(tmp_path, "halve", -1)).traceback
    assert 'File "deeds.py"' in text
    assert 'raise ValueError("negative", value)' in text
    assert "crowdgrid" not in text


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("end", (3,), "SystemExit: 3"),
        ("interrupt", (), "KeyboardInterrupt"),
        ("raise_odd", (), "deeds.raise_odd.<locals>.Odd: <unlocked _thread.lock object>"),
        ("recurse", (), "RecursionError: maximum recursion depth exceeded"),
        ("halve", (), "TypeError: halve() missing 1 required positional argument: 'value'"),
    ],
)
def test_whatever_is_raised_is_the_calls_failure_and_the_worker_goes_on(
    tmp_path: Path, name: str, args: tuple[Any, ...], error: str
) -> None:
    async def story(runtime: Pool) -> Finished:
        finished = await one(runtime, function(tmp_path, name), *args)
        [pid] = runtime.pids
        assert value(await one(runtime, function(tmp_path, "same"), "after")) == "after"
        assert runtime.pids == (pid,)
        return finished

    finished = play(PythonRuntime(), story)
    assert finished.error == error
    assert error.startswith(failure(finished).type)


def test_a_result_that_cannot_travel_is_named(tmp_path: Path) -> None:
    finished = result(tmp_path, "give_socket")
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert "give_socket returned" in finished.error
    assert "which cannot travel" in finished.error


def test_a_result_over_its_limit_is_refused_with_advice(tmp_path: Path) -> None:
    over, within = results(tmp_path, "nothing_large", call(2 * MB, output_bytes=MB), call(MB - 5, output_bytes=MB))
    assert over.error == (
        "The result has 2,097,157 bytes; the limit is 1,048,576. "
        "Return less, keep it where other calls find it, or ask for more (output=…)."
    )
    assert len(value(within)) == MB - 5


def test_large_results_one_after_another_all_arrive(tmp_path: Path) -> None:
    finished = results(tmp_path, "nothing_large", *[call(8 * MB) for _ in range(8)])
    assert [len(each.stdout) for each in finished] == [8 * MB + 5] * 8


def test_calls_of_a_module_that_is_not_installed_are_for_another_node(tmp_path: Path) -> None:
    program = store(tmp_path, sent("same", text="import no_such_module_anywhere\n"))
    finished = play(PythonRuntime(), lambda runtime: one(runtime, program, 1))
    assert finished.outcome is Outcome.NODE_ERROR
    assert "no_such_module_anywhere" in finished.error


# --- workers -------------------------------------------------------------------------------------------


def test_no_process_is_started_before_there_is_work(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        assert runtime.pids == ()
        assert value(await one(runtime, function(tmp_path, "same"), 1)) == 1
        assert len(runtime.pids) == 1

    play(PythonRuntime(4), story)


def test_a_function_stays_loaded_with_what_it_left_for_its_environment_only(tmp_path: Path) -> None:
    here, there = (function(tmp_path, "remember", environment=name) for name in ("here", "there"))

    async def story(runtime: Pool) -> None:
        pid, *first = value(await one(runtime, here, 1))
        other, *second = value(await one(runtime, there, 2))
        again, *third = value(await one(runtime, here, 3))
        assert (first, second, third) == ([1], [2], [1, 3])
        assert (pid, other) == (again, value(await one(runtime, there, 4))[0])  # both stayed, though one may run
        assert pid != other
        assert set(runtime.pids) == {pid, other}

    play(PythonRuntime(), story)


def test_where_a_call_was_when_it_was_stopped_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    stopped = result(tmp_path, "wait_for_ever", timeout_ms=200)
    text = stopped.stderr.decode()
    assert 'File "deeds.py"' in text
    assert 'File "threading.py"' in text
    assert "/" not in text


@pytest.mark.parametrize("deed", ["use_up_files", "lose_modules"])
def test_a_worker_that_can_load_nothing_any_more_makes_room_for_one_that_can(tmp_path: Path, deed: str) -> None:
    """What one function left there must not be held against the machine by all that come after it."""
    after = store(tmp_path, sent("same", text=DEEDS + "\nimport colorsys\n"))

    async def story(runtime: Pool) -> None:
        assert (await one(runtime, function(tmp_path, deed))).outcome is Outcome.OK
        assert told(await runtime.run(*after, [call(1), call(2)])) == [1, 2]
        assert told(await runtime.run(*after, [call(3)])) == [3]

    play(PythonRuntime(), story)


@pytest.mark.parametrize("environment", ["", "guessed"])
def test_a_worker_serves_one_owner_only(tmp_path: Path, environment: str) -> None:
    """What one person's function does to its process, another's never meets: also where the client said nothing of an
    environment, or somebody has found out the name of another's."""
    program = function(tmp_path, "remember", environment=environment)

    async def remember(runtime: Pool, whose: str, word: str) -> list[Any]:
        [finished] = await runtime.run(*program, [call(word)], whose)
        found: list[Any] = value(finished)
        return found

    async def story(runtime: Pool) -> None:
        pid, *first = await remember(runtime, "alice", "secret")
        other, *second = await remember(runtime, "mallory", "hello")
        again, *third = await remember(runtime, "alice", "more")
        assert (first, second, third) == (["secret"], ["hello"], ["secret", "more"])
        assert (pid, pid != other) == (again, True)

    play(PythonRuntime(), story)


def test_environments_that_take_turns_never_have_more_than_twice_as_many_workers_as_run(tmp_path: Path) -> None:
    programs = [function(tmp_path, "same", environment=f"{number}") for number in range(5)]

    async def story(runtime: Pool) -> None:
        for program in programs * 2:
            assert value(await one(runtime, program, "x")) == "x"
            assert len(runtime.pids) <= 2

    play(PythonRuntime(), story)


def test_more_functions_than_stay_loaded_all_run_in_one_worker(tmp_path: Path) -> None:
    programs = [
        store(tmp_path, sent("same", text=DEEDS + f"\nsame = lambda value: {number}\n"))
        for number in range(PROGRAMS_LOADED + 4)
    ]

    async def story(runtime: Pool) -> None:
        for _ in range(2):
            assert [value(await one(runtime, program, 0)) for program in programs] == [*range(len(programs))]
        assert len(runtime.pids) == 1

    play(PythonRuntime(), story)


def test_the_worker_that_has_the_function_loaded_is_preferred(tmp_path: Path) -> None:
    first, second = (function(tmp_path, name) for name in ("remember", "where"))

    async def story(runtime: Pool) -> None:
        await asyncio.gather(one(runtime, first, 1), one(runtime, second))
        pid = value(await one(runtime, first, 2))[0]
        await one(runtime, second)
        assert [value(await one(runtime, first, 3))[0] for _ in range(3)] == [pid] * 3

    play(PythonRuntime(2), story)


def test_workers_that_have_nothing_to_do_end_but_for_one_and_come_back(tmp_path: Path) -> None:
    program = function(tmp_path, "same")

    async def story(runtime: Pool) -> None:
        await asyncio.gather(*(one(runtime, program, number) for number in range(3)))
        await until(lambda: len(runtime.pids) == 1)
        answers = await asyncio.gather(*(one(runtime, program, number) for number in range(3)))
        assert told([*answers]) == [0, 1, 2]

    play(PythonRuntime(3, idle_seconds=0.05), story)


def test_a_worker_has_a_folder_of_its_own_that_goes_with_it(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        folder, environment, _, argv, files = value(await one(runtime, function(tmp_path, "where")))
        assert Path(folder).is_relative_to(tmp_path / "scratch")
        assert (environment["TMPDIR"], files, argv) == (folder, [], [""])
        [pid] = runtime.pids
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not Path(folder).exists())
        assert value(await one(runtime, function(tmp_path, "where")))[0] != folder

    (tmp_path / "scratch").mkdir()
    play(PythonRuntime(folder=tmp_path / "scratch"), story)
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_nothing_of_the_agents_environment_reaches_a_function_but_what_python_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROWDGRID_TOKEN", "of the agent")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of its owner")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}relative{os.pathsep}{tmp_path}")
    monkeypatch.chdir(tmp_path)
    folder, environment, path, _, _ = value(result(tmp_path, "where"))
    assert not {"CROWDGRID_TOKEN", "AWS_SECRET_ACCESS_KEY"} & {*environment}
    assert environment["TZ"] == "Asia/Tokyo"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(tmp_path / "relative"), str(tmp_path)]
    assert not {"", ".", folder} & {*path}


def test_a_mess_is_gone_before_the_next_batch(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        folder = value(await one(runtime, function(tmp_path, "where")))[0]
        await one(runtime, function(tmp_path, "leave_a_mess"))
        assert value(await one(runtime, function(tmp_path, "where")))[0] == folder
        finished = await one(runtime, function(tmp_path, "halve"), 2)
        assert (value(finished), finished.stderr) == (1.0, b"halving 2\n")

    play(PythonRuntime(), story)


def test_an_alarm_that_goes_off_after_its_call_harms_no_other(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        for number in range(20):
            await one(runtime, function(tmp_path, "alarm_later"))
            assert value(await one(runtime, function(tmp_path, "same"), number)) == number

    play(PythonRuntime(), story)


def test_a_folder_a_function_removed_is_there_again(tmp_path: Path) -> None:
    program = store(tmp_path, sent("away", text="import os, shutil\ndef away():\n    shutil.rmtree(os.getcwd())\n"))

    async def story(runtime: Pool) -> None:
        await one(runtime, program)
        assert value(await one(runtime, function(tmp_path, "where")))[4] == []

    play(PythonRuntime(), story)


# --- time ----------------------------------------------------------------------------------------------


def test_a_call_that_takes_too_long_is_stopped_and_says_where_it_was(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        program = function(tmp_path, "sleep")
        await one(runtime, program, 0)
        [pid] = runtime.pids
        finished = await one(runtime, program, 3600, timeout_ms=100)
        assert (finished.outcome, finished.exit_code) == (Outcome.PROGRAM_ERROR, -1)
        assert finished.error == "The call ran longer than 0.1 s and was stopped."
        assert finished.stderr.startswith(b"sleeping\n")
        assert b'File "deeds.py"' in finished.stderr
        assert b"crowdgrid/runtimes" not in finished.stderr
        assert not psutil.pid_exists(pid)
        assert value(await one(runtime, program, 0)) == 0

    play(PythonRuntime(), story)


@pytest.mark.parametrize("name", ["compute_for_ever", "hog"])
def test_a_call_that_never_lets_go_is_stopped_from_outside(tmp_path: Path, name: str) -> None:
    finished = results(tmp_path, name, call(timeout_ms=100), call(timeout_ms=50))
    assert [each.error.split()[5] for each in finished] == ["0.1", "0.05"]


def test_each_call_has_its_own_time_however_long_the_others_take(tmp_path: Path) -> None:
    """Together the first calls take longer than one may."""
    finished = results(tmp_path, "sleep", *[call(0.2, timeout_ms=2000)] * 12, call(9, timeout_ms=50), call(0.01))
    assert told(finished) == [0.2] * 12 + ["The call ran longer than 0.05 s and was stopped.", 0.01]


def test_what_came_before_a_call_that_hangs_is_kept_and_what_comes_after_still_runs(tmp_path: Path) -> None:
    sleepers = {3, 4, 700}
    runs = [call(number, number, timeout_ms=100) if number in sleepers else call(number, -1) for number in range(1000)]
    finished = results(tmp_path, "sleep_if", *runs)
    late = "The call ran longer than 0.1 s and was stopped."
    assert told(finished) == [late if number in sleepers else number for number in range(1000)]


def test_loading_is_not_the_calls_time(tmp_path: Path) -> None:
    program = store(tmp_path, sent("same", text="import time\ntime.sleep(0.6)\ndef same(value):\n    return value\n"))
    assert value(play(PythonRuntime(), lambda runtime: one(runtime, program, 1, timeout_ms=500))) == 1


# --- what ends a worker --------------------------------------------------------------------------------


def test_a_call_that_ends_its_process_is_blamed_alone(tmp_path: Path) -> None:
    runs = [call(number, 3, 500) for number in range(1000)]
    finished = results(tmp_path, "leave", *runs)
    assert told(finished) == [
        "The function ended its worker process (exit code 3)." if number == 500 else number for number in range(1000)
    ]
    assert finished[500].stderr == b"leaving\n"
    assert {each.outcome for each in finished} == {Outcome.OK, Outcome.PROGRAM_ERROR}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_a_signal_a_function_sends_itself_is_named(tmp_path: Path, number: signal.Signals) -> None:
    finished = results(tmp_path, "die", *[call(index, int(number), 1) for index in range(3)])
    assert told(finished) == [0, f"The function ended its worker process (signal {number.name}).", 2]


def test_a_segmentation_fault_says_where_it_happened(tmp_path: Path) -> None:
    finished = result(tmp_path, "read_nothing")
    assert finished.error == "The function ended its worker process (signal SIGSEGV)."
    assert b"Segmentation fault" in finished.stderr
    assert b'File "deeds.py"' in finished.stderr


def test_a_worker_that_ends_once_costs_a_second_run_and_no_error(tmp_path: Path) -> None:
    finished = results(tmp_path, "die_once", call(str(tmp_path)))
    assert told(finished) == ["alive"]


def test_several_calls_that_end_their_process_are_each_their_own_error(tmp_path: Path) -> None:
    program = function(tmp_path, "leave")
    runs = [call(number, 4, number if number % 2 else -1) for number in range(5)]
    finished = play(PythonRuntime(2), lambda runtime: runtime.run(*program, runs))
    ended = "The function ended its worker process (exit code 4)."
    assert told(finished) == [0, ended, 2, ended, 4]


def test_a_function_that_closes_files_not_its_own_is_told_so(tmp_path: Path) -> None:
    finished = result(tmp_path, "close_files")
    assert finished.error == (
        "The function ended its worker process (it closed a file that was not its own: the worker's line to its pool)."
    )


def test_a_module_that_ends_the_process_while_it_is_loaded_is_the_programs_error(tmp_path: Path) -> None:
    program = store(tmp_path, sent("same", text="import os\nos._exit(5)\n"))
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*program, [call(1), call(2)]))
    assert told(finished) == ["The worker process ended while the function was loaded (exit code 5)."] * 2


@pytest.mark.parametrize("count", [0, 5], ids=["garbage", "more results than asked for"])
def test_a_function_that_speaks_for_its_worker_is_ended_with_it(tmp_path: Path, count: int) -> None:
    finished = results(tmp_path, "forge", call(count), call(count))
    assert {each.outcome for each in finished} == {Outcome.PROGRAM_ERROR}
    assert {each.error for each in finished} == {
        "The function ended its worker process (it closed a file that was not its own: the worker's line to its pool)."
    }


def test_a_worker_that_stops_answering_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "BETWEEN_SECONDS", 0.1)
    finished = results(tmp_path, "gag", call(1, timeout_ms=500))
    assert told(finished) == ["The function ended its worker process (it stopped answering)."]


def test_a_program_that_is_not_loaded_in_time_fails_all_its_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "LOAD_SECONDS", 0.2)
    program = store(tmp_path, sent("same", text="while True:\n    pass\n"))
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*program, [call(timeout_ms=50)] * 2))
    late = "The function was not ready to be called within 0.2 s: its imports or its initializer."
    assert told(finished) == [late] * 2


# --- memory and output ---------------------------------------------------------------------------------


@linux
def test_a_call_that_needs_too_much_memory_fails_with_its_limit_and_the_next_goes_on(tmp_path: Path) -> None:
    finished = results(tmp_path, "hoard", call(20, memory_bytes=64 * MB), call(900, memory_bytes=64 * MB), call(500))
    assert told(finished) == [20 * MB, "The call needed more than 64 MB of memory, its limit (memory=…).", 500 * MB]
    assert "hoard" in failure(finished[1]).traceback


@linux
def test_memory_that_earlier_calls_kept_is_not_held_against_a_later_one(tmp_path: Path) -> None:
    """Each keeps 40 MB of its 64: from the second on they would fail in the same process."""
    finished = results(tmp_path, "keep", *[call(40, memory_bytes=64 * MB)] * 5)
    assert {type(each) for each in told(finished)} == {int}


@linux
def test_the_smallest_limit_lets_a_call_run(tmp_path: Path) -> None:
    assert told(results(tmp_path, "same", *[call("x", memory_bytes=limits.MEMORY_BYTES_MIN)] * 3)) == ["x"] * 3


@linux
def test_numpy_works_within_a_limit(tmp_path: Path) -> None:
    import numpy as np

    finished = result(tmp_path, "add", np.arange(1000.0), memory_bytes=128 * MB)
    assert value(finished) == 499_500.0


def test_a_flood_of_output_blocks_nothing_and_fills_no_memory(tmp_path: Path) -> None:
    finished = result(tmp_path, "flood", 100_000, memory_bytes=64 * MB)  # 100 MB
    assert value(finished) == 100_000
    assert len(finished.stderr) == limits.STDERR_TAIL_BYTES
    assert finished.stderr.endswith(b"x\nthe end\n")


def test_raw_bytes_may_be_written_and_output_cannot_be_closed(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        finished = await one(runtime, function(tmp_path, "write_bytes"))
        assert (value(finished), finished.stderr) == (1, b"\xff\x00raw")
        assert (await one(runtime, function(tmp_path, "halve"), 2)).stderr == b"halving 2\n"

    play(PythonRuntime(), story)


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert value(result(tmp_path, "read_stdin")) == ""


# --- processes, threads, signals ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fork_and_return", "fork_and_raise"])
def test_a_forked_child_that_comes_back_from_the_call_never_answers(tmp_path: Path, name: str) -> None:
    assert told(results(tmp_path, name, *[call()] * 20)) == [1] * 20


def test_a_forked_child_may_say_how_it_ends(tmp_path: Path) -> None:
    assert told(results(tmp_path, "fork_and_exit", *map(call, (None, 0, 7, "text")))) == [0, 0, 7, 1]


def test_what_a_call_started_ends_with_its_worker(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        child = value(await one(runtime, function(tmp_path, "fork_and_stay"), str(tmp_path)))
        assert alive(child)
        program = function(tmp_path, "start_one_that_stays")
        same, group = [value(await one(runtime, program, 0, grouped)) for grouped in (False, True)]
        assert alive(same)
        assert alive(group)
        await runtime.close()
        # They were sent SIGKILL before the worker was reaped; how soon the kernel ends them is its own affair.
        await until(lambda: not any(alive(pid) for pid in (child, same, group)))

    play(PythonRuntime(), story)


def test_processes_that_keep_forking_end_with_their_worker(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        await one(runtime, function(tmp_path, "same"), 1)
        [pid] = runtime.pids
        finished = await one(runtime, function(tmp_path, "fly"), timeout_ms=200)
        assert finished.error == "The call ran longer than 0.2 s and was stopped."
        await until(lambda: not [each for each in psutil.pids() if session(each) == pid])

    play(PythonRuntime(), story)


def session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def test_cancelling_ends_the_worker_and_what_the_call_started(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        folder = Path(value(await one(runtime, function(tmp_path, "where")))[0])
        [pid] = runtime.pids
        running = asyncio.create_task(one(runtime, function(tmp_path, "start_one_that_stays"), 3600, True))
        await until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()))
        started = int((folder / "pid").read_text())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not psutil.pid_exists(pid)
        await until(lambda: not alive(started))

    play(PythonRuntime(), story)


def test_a_worker_that_ends_while_its_child_lives_is_noticed_at_once(tmp_path: Path) -> None:
    """The child has inherited the worker's line to its pool, and would keep it open."""
    text = "import os, time\ndef go():\n    if not os.fork():\n        time.sleep(3600)\n    os._exit(6)\n"
    program = store(tmp_path, sent("go", text=text))
    finished = play(PythonRuntime(), lambda runtime: one(runtime, program))
    assert finished.error == "The function ended its worker process (exit code 6)."


def test_a_worker_is_deaf_to_the_terminals_interrupt(tmp_path: Path) -> None:
    assert value(result(tmp_path, "interrupt_for_real")) == "deaf"


def test_threads_that_stay_harm_no_later_call(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        assert value(await one(runtime, function(tmp_path, "leave_threads"))) >= 3
        for number in range(50):
            assert value(await one(runtime, function(tmp_path, "same"), number)) == number
        assert len(runtime.pids) == 1

    play(PythonRuntime(), story)


def test_a_function_may_use_processes_of_its_own(tmp_path: Path) -> None:
    assert value(result(tmp_path, "use_processes", 4)) == [4, 3, 2, 1]


# --- programs ------------------------------------------------------------------------------------------


def test_a_stored_program_that_is_damaged_or_gone_is_the_nodes_error(tmp_path: Path) -> None:
    digest, path = function(tmp_path, "same")
    Path(path).write_bytes(sent("halve"))

    async def story(runtime: Pool) -> Sequence[Finished]:
        return [await one(runtime, (digest, path), 1), await one(runtime, ("0" * 64, str(tmp_path / "gone")), 1)]

    damaged, gone = play(PythonRuntime(), story)
    assert (damaged.outcome, gone.outcome) == (Outcome.NODE_ERROR, Outcome.NODE_ERROR)
    assert damaged.error == "The stored program is damaged: its digest is not its name."
    assert gone.error == "The stored program cannot be read: No such file or directory."


def test_what_is_no_function_is_a_program_error_for_all_its_calls(tmp_path: Path) -> None:
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*store(tmp_path, b"\0asm"), [call(1), call(2)]))
    assert told(finished) == ["This is not a Python function sent by crowdgrid."] * 2


@pytest.mark.parametrize(("runtime", "codec"), [("python", "pickle"), ("python-pickle", "msgpack")])
def test_neither_runtime_runs_what_is_the_others(tmp_path: Path, runtime: str, codec: Any) -> None:
    """A hub that says "python" of a pickle must not have it read: here the node decides for itself."""
    pickled = b"cposix\nsystem\n(S'touch " + str(tmp_path / "read").encode() + b"'\ntR."
    body = pickled if codec == "pickle" else functions.read(sent("same")).body
    program = functions.pack(functions.FunctionProgram(codec, "f", HERE, body))
    finished = play(PythonRuntime(name=runtime), lambda pool: one(pool, store(tmp_path, program), 1))
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.error == f"This runtime runs no functions that travel as {codec}."
    assert not (tmp_path / "read").exists()


def with_set_up(folder: Path, initializer: str) -> tuple[str, str]:
    return function(folder, "remember", environment="one", initializer=initializer)


def test_an_initializer_runs_once_in_each_worker(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        finished = [value(await one(runtime, with_set_up(tmp_path, "set_up"), number)) for number in range(2)]
        assert [seen for _, *seen in finished] == [["set up", 0], ["set up", 0, 1]]

    play(PythonRuntime(), story)


def test_an_initializer_that_raises_fails_every_call_and_says_so(tmp_path: Path) -> None:
    program = with_set_up(tmp_path, "fail_to_set_up")
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*program, [call(1), call(2)]))
    for each in finished:
        assert each.error == "The initializer raised ValueError: no luck"
        assert each.stderr == b"trying\n"
        assert (failure(each).type, failure(each).in_initializer, failure(each).output) == (
            "ValueError",
            True,
            "trying\n",
        )
    assert not failure(result(tmp_path, "halve", -1)).in_initializer


def test_an_initializer_that_ends_its_worker_is_the_programs_error(tmp_path: Path) -> None:
    program = with_set_up(tmp_path, "end_in_set_up")
    finished = play(PythonRuntime(), lambda runtime: runtime.run(*program, [call(1), call(2)]))
    assert told(finished) == ["The worker process ended while the function was loaded (exit code 7)."] * 2


def test_a_pickled_function_runs_in_its_own_runtime_with_the_senders_modules(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("FACTOR = 3\n\n\ndef triple(value):\n    return FACTOR * value\n")
    body = b"cmine\ntriple\n."  # a pickle: what `triple` is in the module `mine`
    program = functions.pack(functions.FunctionProgram("pickle", "triple", HERE, body, "session", (str(tmp_path),)))
    item = Run((), pickles.dumps(((7,), {})), call().limits)
    [finished] = play(
        PythonRuntime(name="python-pickle"), lambda runtime: runtime.run(*store(tmp_path, program), [item])
    )
    assert (finished.error, pickles.loads(finished.stdout)) == ("", 21)


def test_a_worker_that_was_stopped_is_not_taken_for_one_that_hangs_between_calls(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        program = function(tmp_path, "same")
        await one(runtime, program, 0)
        [pid] = runtime.pids
        stop(pid)
        running = asyncio.create_task(one(runtime, program, 1, timeout_ms=400))
        done, _ = await asyncio.wait([running], timeout=0.6)
        assert not done
        os.kill(pid, signal.SIGCONT)
        assert value(await running) == 1

    play(PythonRuntime(), story)
