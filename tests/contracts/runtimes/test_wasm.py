"""What programs do, well or badly, in runtime "wasm": each ends as the port says and harms no other run."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
import wasmtime

from crowdgrid import kernels, limits
from crowdgrid.runtimes import Finished, Outcome, Run
from crowdgrid.runtimes.pool import Pool
from crowdgrid.runtimes.wasm import WasmRuntime
from tests.contracts.runtimes.adapters import play, program, run, store, until

MB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers talk over Unix socketpairs")


def results(folder: Path, name: str, *runs: Run) -> Sequence[Finished]:
    return play(WasmRuntime(), lambda runtime: runtime.run(*program(folder, name), runs or [run()]))


def result(folder: Path, name: str, *runs: Run) -> Finished:
    [finished] = results(folder, name, *runs)
    return finished


def test_exit_code_3_is_a_program_error_with_stderr_and_without_stdout(tmp_path: Path) -> None:
    finished = result(tmp_path, "exit3")
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.exit_code == 3
    assert finished.error == "The program exited with code 3."
    assert finished.stderr == b"it broke"
    assert finished.stdout == b""


def test_exit_code_0_is_a_result_wherever_the_program_exits(tmp_path: Path) -> None:
    finished = result(tmp_path, "exit0")
    assert (finished.outcome, finished.exit_code, finished.stdout) == (Outcome.OK, 0, b"done")


def test_of_stderr_the_end_is_kept(tmp_path: Path) -> None:
    finished = result(tmp_path, "stderr")
    assert len(finished.stderr) == limits.STDERR_TAIL_BYTES
    assert finished.stderr.endswith(b"0123456\nthe end")


def test_a_program_that_loops_is_stopped_at_its_time_limit_and_its_worker_is_gone(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> Finished:
        [pid] = runtime.pids
        [finished] = await runtime.run(*program(tmp_path, "loop"), [run(timeout_ms=50)])
        assert not psutil.pid_exists(pid)
        [after] = await runtime.run(*program(tmp_path, "echo"), [run("after")])
        assert after.stdout == b"after"
        return finished

    finished = play(WasmRuntime(), story)
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.exit_code == -1
    assert finished.error == "The program ran longer than 0.05 s and was stopped."


def test_the_time_limit_is_each_runs_own(tmp_path: Path) -> None:
    finished = results(tmp_path, "loop", *[run(timeout_ms=30), run(timeout_ms=40), run(timeout_ms=1000)])
    assert [each.error.split()[5] for each in finished] == ["0.03", "0.04", "1"]


def test_what_came_before_a_run_that_hangs_is_kept_and_what_comes_after_still_runs(tmp_path: Path) -> None:
    hang = run("hang", timeout_ms=100)
    finished = results(tmp_path, "hang", run("a", "b"), run(), hang, run(), hang, run("a", "b"))
    assert [each.outcome is Outcome.OK for each in finished] == [True, True, False, True, False, True]
    assert {each.outcome for each in finished} == {Outcome.OK, Outcome.PROGRAM_ERROR}


def test_cancelling_in_mid_computation_ends_the_worker(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        [pid] = runtime.pids
        worker = psutil.Process(pid)
        before = worker.cpu_times().user
        call = asyncio.create_task(runtime.run(*program(tmp_path, "loop"), [run()]))
        await until(lambda: worker.cpu_times().user > before + 0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not psutil.pid_exists(pid)

    play(WasmRuntime(), story)


@pytest.mark.parametrize("megabytes", [1, 2, 64])
def test_a_memory_bomb_ends_at_its_limit(tmp_path: Path, megabytes: int) -> None:
    finished = result(tmp_path, "bomb", run(memory_bytes=megabytes * MB))
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.error == f"The program used more than {megabytes} MB of memory."
    assert finished.memory_bytes == megabytes * MB


def test_a_program_that_needs_more_than_its_limit_from_the_start_says_so(tmp_path: Path) -> None:
    enough, little = results(tmp_path, "big", run(memory_bytes=64 * MB), run(memory_bytes=63 * MB))
    assert (enough.outcome, enough.memory_bytes) == (Outcome.OK, 64 * MB)
    assert (little.outcome, little.error) == (Outcome.PROGRAM_ERROR, "The program used more than 63 MB of memory.")


def test_a_flood_is_stopped_as_it_is_written_and_fills_no_memory(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> Sequence[Finished]:
        [pid] = runtime.pids
        finished = await runtime.run(*program(tmp_path, "flood"), [run(output_bytes=MB)] * 2)
        assert not psutil.pid_exists(pid)
        return finished

    for finished in play(WasmRuntime(), story):
        assert (finished.outcome, finished.stdout) == (Outcome.PROGRAM_ERROR, b"")
        assert finished.error == "The program wrote more than 1 MB to stdout and was stopped."


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("trap", "The program trapped: integer division by zero."),
        ("recursion", "The program trapped: its call stack is exhausted."),
        ("outside", "The program trapped: memory access out of bounds."),
    ],
)
def test_a_trap_is_named_in_plain_words_without_addresses(tmp_path: Path, name: str, error: str) -> None:
    finished = result(tmp_path, name)
    assert (finished.outcome, finished.exit_code, finished.error) == (Outcome.PROGRAM_ERROR, -1, error)


def test_there_is_no_network(tmp_path: Path) -> None:
    """The program exits with the number of descriptors it can accept, receive or send on."""
    assert result(tmp_path, "network").outcome is Outcome.OK


def test_there_is_no_host_file(tmp_path: Path) -> None:
    """The program exits with the number of ways it found to open a file or folder of this machine."""
    assert result(tmp_path, "files").outcome is Outcome.OK


def test_there_is_no_environment_but_the_grids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDGRID_TOKEN", "of the agent, not of the run")
    given = {"CROWDGRID_TASK": "7", "HOME": "/root", "PATH": "/bin"}
    finished = results(tmp_path, "environment", run(), run(env=given))
    assert [each.stdout for each in finished] == [b"", b"CROWDGRID_TASK=7\0"]


def test_a_programs_own_name_tells_nothing(tmp_path: Path) -> None:
    assert result(tmp_path, "name").stdout == b"program"


def test_no_run_leaves_anything_to_the_next(tmp_path: Path) -> None:
    finished = results(tmp_path, "remember", *[run()] * 5)
    assert [each.stdout for each in finished] == [b"fresh"] * 5


def threads(pid: int) -> list[str]:
    return sorted(thread.name for thread in Path(f"/proc/{pid}/task").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_is_ready_never_starts_another_thread(tmp_path: Path) -> None:
    """It may not: processes and threads are forbidden to it then, and wasmtime would end the process."""

    async def story(runtime: Pool) -> None:
        [pid] = runtime.pids
        before = threads(pid)
        for name in ("echo", "sleep", "environment", "files", "network", "stderr", "bomb"):
            await runtime.run(*program(tmp_path, name), [run(stdin=b"x" * 100_000, memory_bytes=64 * MB)])
        await runtime.run(*store(tmp_path, kernels.path("nonces").read_bytes()), [run()])
        assert threads(pid) == before

    play(WasmRuntime(), story)


def test_a_program_may_wait(tmp_path: Path) -> None:
    assert result(tmp_path, "sleep").stdout == b"slept"


def test_usage_is_reported(tmp_path: Path) -> None:
    finished = result(tmp_path, "echo", run(stdin=b"x"))
    assert finished.memory_bytes == MB
    assert 0 <= finished.cpu_ms <= finished.wall_ms + 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"#!/bin/sh\necho hi\n", "The program is not WebAssembly: it looks like a script."),
        (b"\x7fELF\2\1\1", "The program is not WebAssembly: it looks like a native Linux program (ELF)."),
        (
            b"\0asm\1\0\0\0\x0b",
            "The program is not a valid WebAssembly module: unexpected end-of-file (at offset 0x9).",
        ),
    ],
)
def test_what_is_no_program_is_a_program_error_for_all_its_runs(tmp_path: Path, source: bytes, error: str) -> None:
    finished = play(WasmRuntime(), lambda runtime: runtime.run(*store(tmp_path, source), [run(), run()]))
    assert [each.outcome for each in finished] == [Outcome.PROGRAM_ERROR] * 2
    assert {each.error for each in finished} == {error}


def test_a_module_without_start_is_a_program_error(tmp_path: Path) -> None:
    assert result(tmp_path, "library").error == "The program has no _start: it is a library, not a command."


def test_an_import_of_the_wrong_type_is_a_program_error(tmp_path: Path) -> None:
    source = wasmtime.wat2wasm(
        '(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))'
        ' (memory (export "memory") 1) (func (export "_start")))'
    )
    [finished] = play(WasmRuntime(), lambda runtime: runtime.run(*store(tmp_path, bytes(source)), [run()]))
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.error.startswith("The program cannot be linked: ")


def test_a_start_function_that_traps_is_a_program_error(tmp_path: Path) -> None:
    source = wasmtime.wat2wasm(
        '(module (memory (export "memory") 1) (func $f unreachable) (start $f) (func (export "_start")))'
    )
    [finished] = play(WasmRuntime(), lambda runtime: runtime.run(*store(tmp_path, bytes(source)), [run()]))
    assert finished.error == "The program trapped: unreachable code was reached (abort or a failed assertion)."


def test_a_huge_table_is_refused(tmp_path: Path) -> None:
    """Tables live outside of linear memory, so the memory limit alone would not hold them."""
    source = wasmtime.wat2wasm(
        '(module (table 100000000 funcref) (memory (export "memory") 1) (func (export "_start")))'
    )
    [finished] = play(WasmRuntime(), lambda runtime: runtime.run(*store(tmp_path, bytes(source)), [run()]))
    assert finished.outcome is Outcome.PROGRAM_ERROR
    assert finished.error == "The program asks for more tables or instances than the sandbox has."


def test_an_argument_that_c_cannot_hold_is_refused_and_not_cut(tmp_path: Path) -> None:
    cut, fine = results(tmp_path, "echo", run("a\0b"), run("ab"))
    assert (cut.outcome, cut.error) == (
        Outcome.PROGRAM_ERROR,
        "An argument or a variable of this run contains a NUL character.",
    )
    assert fine.stdout == b"ab"


def test_a_stored_program_that_is_damaged_or_gone_is_the_nodes_error(tmp_path: Path) -> None:
    digest, path = program(tmp_path, "echo")
    Path(path).write_bytes(b"\0asm")
    damaged = (digest, path)
    gone = ("0" * 64, str(tmp_path / "gone"))

    async def story(runtime: Pool) -> Sequence[Finished]:
        return [*await runtime.run(*damaged, [run()]), *await runtime.run(*gone, [run()])]

    one, two = play(WasmRuntime(), story)
    assert (one.outcome, two.outcome) == (Outcome.NODE_ERROR, Outcome.NODE_ERROR)
    assert one.error == "The stored program is damaged: its digest is not its name."
    assert two.error == "The stored program cannot be read: No such file or directory."


def test_more_programs_than_stay_loaded_all_run(tmp_path: Path) -> None:
    async def story(runtime: Pool) -> None:
        for number in [*range(20), *range(20)]:
            source = wasmtime.wat2wasm(
                '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
                f' (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {number}))))'
            )
            [finished] = await runtime.run(*store(tmp_path, bytes(source)), [run()])
            assert finished.exit_code == number

    play(WasmRuntime(), story)


def test_compiled_programs_are_kept_and_used_by_the_next_worker(tmp_path: Path) -> None:
    """Only the cache can answer when the program's own file is gone."""
    digest, path = program(tmp_path, "echo")
    cache = tmp_path / "cache"
    play(WasmRuntime(1, cache), lambda runtime: runtime.run(digest, path, [run("a")]))
    Path(path).unlink()
    [finished] = play(WasmRuntime(1, cache), lambda runtime: runtime.run(digest, path, [run("b")]))
    assert finished.stdout == b"b"


def test_a_real_kernel_runs(tmp_path: Path) -> None:
    """The primes below 10⁶ in four ranges, as a range job would ask."""
    path = kernels.path("primes")
    digest = sha256(path.read_bytes()).hexdigest()
    runs = [run(str(start), str(start + 250_000)) for start in range(0, 1_000_000, 250_000)]
    finished = play(WasmRuntime(2), lambda runtime: runtime.run(digest, str(path), runs))
    assert sum(json.loads(each.stdout) for each in finished) == 78_498


def test_a_program_made_to_eat_memory_while_it_is_compiled_ends_its_worker_and_not_the_machine(tmp_path: Path) -> None:
    """Protects whoever lends a machine: 600 kB of well-formed program want some 10 GB to be compiled."""
    ifs, variables = 60_000, 40_000
    sets = b"".join(b"\x41\1\x04\x40\x41\1\x21" + _leb(at % variables) + b"\x0b" for at in range(ifs))
    body = b"\1" + _leb(variables) + b"\x7f" + sets + b"\x0b"
    sections = {1: b"\1\x60\0\0", 3: b"\1\0", 5: b"\1\0\1", 7: b"\2\6_start\0\0\6memory\2\0", 10: b"\1" + _sized(body)}
    source = b"\0asm\1\0\0\0" + b"".join(bytes([number]) + _sized(content) for number, content in sections.items())
    bomb = store(tmp_path, source)

    async def story(runtime: Pool) -> Sequence[Finished]:
        ended = await runtime.run(*bomb, [run()])
        return [*ended, *await runtime.run(*program(tmp_path, "echo"), [run("after")])]

    ended, after = play(WasmRuntime(), story)
    assert ended.outcome is Outcome.NODE_ERROR
    assert "compiled" in ended.error
    assert after.stdout == b"after"


def _sized(content: bytes) -> bytes:
    return _leb(len(content)) + content


def _leb(number: int) -> bytes:
    """An unsigned integer as WebAssembly writes it."""
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + _leb(number >> 7)
