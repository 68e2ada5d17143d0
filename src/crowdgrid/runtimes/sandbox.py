"""The worker's half of runtime "wasm": loads modules and runs each run in a fresh instance.

A worker has one engine, one linker and a few loaded modules; a run has one store, thrown away with all
the run has touched, so that no run leaves anything to the next. Output goes through callbacks, which
count as it is written: a flood never reaches memory or disk.

Invariant: `Program.run` returns for everything a program can do, except running for ever (the pool ends
the process) and flooding its output (this process ends itself, after saying so).
"""

from __future__ import annotations

import ctypes
import time
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import wasmtime
from wasmtime import _ffi as ffi

from crowdgrid import limits
from crowdgrid.errors import BadProgram, Unavailable
from crowdgrid.runtimes import Finished, Limits, Outcome, Run, confine, sentences
from crowdgrid.runtimes.compiled import Compiled
from crowdgrid.runtimes.features import engine_config
from crowdgrid.runtimes.kind import Leave, Runner, one_by_one

PROGRAMS_LOADED: Final = 16
NAME: Final = "program"  # argv[0]
VARIABLES: Final = "CROWDGRID_"
PAGE_BYTES: Final = 64 * 1024
TABLE_ENTRIES: Final = 1_000_000  # 8 bytes each, outside of linear memory

TRAPS: Final = {
    wasmtime.TrapCode.STACK_OVERFLOW: "its call stack is exhausted",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "memory access out of bounds",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "table access out of bounds",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "indirect call to null",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call with the wrong type",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by zero",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "a float that fits no integer was converted to one",
    wasmtime.TrapCode.UNREACHABLE: "unreachable code was reached (abort or a failed assertion)",
}

# Two functions, to have them compiled in parallel; one write and one wait, to start wasmtime's own event loop.
WARM_UP: Final = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\40\\00\\00\\00\\01\\00\\00\\00")
  (func $wait (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256))))
  (func (export "_start")
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 256)))
    (call $wait)))"""


class WasmKind:
    """Loads programs; those used last stay loaded."""

    def __init__(self, leave: Leave, cache: str) -> None:
        self._leave = leave
        self._engine = wasmtime.Engine(engine_config())
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        self._compiled = Compiled(self._engine, cache)
        self._loaded: OrderedDict[str, Program] = OrderedDict()
        self._warm_up()

    def load(self, program: str, path: str) -> Runner:
        """See `kind.Kind`."""
        return one_by_one(self.program(program, path).run)

    def program(self, program: str, path: str) -> Program:
        """Compile the module or take it from the cache. Raises as `load`."""
        if program not in self._loaded:
            self._loaded[program] = self._open(self._module(program, path))
            if len(self._loaded) > PROGRAMS_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(program)
        return self._loaded[program]

    def rest(self) -> None:
        """Each run's store had bounds of its own."""

    def _module(self, digest: str, path: str) -> wasmtime.Module:
        module = self._compiled.get(digest)
        if module is None:
            module = self._compile(_read_program(digest, path))
            self._compiled.put(digest, module)
        return module

    def _compile(self, source: bytes) -> wasmtime.Module:
        from crowdgrid.runtimes.check import check_wasm

        check_wasm(source)
        try:
            with confine.bounded_memory(confine.COMPILE_BYTES):
                return wasmtime.Module(self._engine, source)
        except wasmtime.WasmtimeError as error:
            raise Unavailable(f"wasmtime cannot compile it: {sentences.one_line(str(error))}.") from None

    def _open(self, module: wasmtime.Module) -> Program:
        try:
            ready = self._linker.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:  # an import of the right name and the wrong type
            raise BadProgram(f"The program cannot be linked: {sentences.one_line(str(error))}.") from None
        return Program(self._engine, ready, _memory_min(module), self._leave)

    def _warm_up(self) -> None:
        """Run once, so that wasmtime has started every thread it will ever need."""
        program = self._open(wasmtime.Module(self._engine, WARM_UP))
        program.run(Run((), b"", Limits(limits.TIMEOUT_MS_DEFAULT, limits.MEMORY_BYTES_MIN, 0)))


def _read_program(digest: str, path: str) -> bytes:
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise Unavailable(f"The stored program cannot be read: {error.strerror}.") from None
    if sha256(source).hexdigest() != digest:
        raise Unavailable("The stored program is damaged: its digest is not its name.")
    return source


def _memory_min(module: wasmtime.Module) -> int:
    types = (export.type for export in module.exports)
    return max((each.limits.min * PAGE_BYTES for each in types if isinstance(each, wasmtime.MemoryType)), default=0)


class Program:
    """One loaded module.

    Args:
        engine: the engine it was compiled by.
        module: the module with its imports resolved.
        memory_min: bytes of linear memory it starts with.
        leave: called with the result of a run that floods its output; does not return.
    """

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.InstancePre, memory_min: int, leave: Leave) -> None:
        self._engine = engine
        self._module = module
        self._memory_min = memory_min
        self._leave = leave

    def run(self, run: Run) -> Finished:
        """Run it once, in an instance of its own."""
        if self._memory_min > run.limits.memory_bytes:
            return sentences.out_of_memory(run.limits.memory_bytes)
        if any("\0" in text for text in (*run.argv, *run.env, *run.env.values())):
            return sentences.not_runnable("An argument or a variable of this run contains a NUL character.")
        wall, cpu = time.monotonic_ns(), time.thread_time_ns()
        finished = _Once(run, self._leave).go(self._engine, self._module)
        return msgspec.structs.replace(
            finished,
            wall_ms=(time.monotonic_ns() - wall) // 1_000_000,
            cpu_ms=(time.thread_time_ns() - cpu) // 1_000_000,
        )


class _Once:
    """One run: what it was given and what it has written so far."""

    def __init__(self, run: Run, leave: Leave) -> None:
        self._run = run
        self._leave = leave
        self._stdout: list[bytes] = []
        self._written = 0
        self._stderr = b""
        self._memory_bytes = 0

    def go(self, engine: wasmtime.Engine, module: wasmtime.InstancePre) -> Finished:
        store = wasmtime.Store(engine)
        try:
            store.set_limits(self._run.limits.memory_bytes, TABLE_ENTRIES, 1, -1, 1)
            store.set_wasi(self._wasi())
            return self._finished(self._call(store, module))
        finally:
            store.close()

    def _call(
        self, store: wasmtime.Store, module: wasmtime.InstancePre
    ) -> wasmtime.Trap | wasmtime.WasmtimeError | None:
        """Run to the end; what ended it, None if it returned."""
        memory = None
        try:
            exports = module.instantiate(store).exports(store)
            memory, start = exports["memory"], exports["_start"]
            assert isinstance(start, wasmtime.Func)
            start(store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as end:
            return end
        finally:
            if isinstance(memory, wasmtime.Memory):
                self._memory_bytes = memory.data_len(store)
        return None

    def _finished(self, end: wasmtime.Trap | wasmtime.WasmtimeError | None) -> Finished:
        code = end.code if isinstance(end, wasmtime.ExitTrap) else 0 if end is None else -1
        if code == 0:
            return Finished(Outcome.OK, b"".join(self._stdout), stderr=self._stderr, memory_bytes=self._memory_bytes)
        return msgspec.structs.replace(self._failed(end, code), memory_bytes=self._memory_bytes)

    def _failed(self, end: wasmtime.Trap | wasmtime.WasmtimeError | None, code: int) -> Finished:
        # memory.grow just fails at the limit and what a program makes of it is its own affair: one that
        # fails with hardly any memory left to take is taken to have failed for the lack of it.
        if self._memory_bytes > self._run.limits.memory_bytes // 16 * 15:
            return sentences.out_of_memory(self._run.limits.memory_bytes, self._stderr)
        if isinstance(end, wasmtime.Trap):
            return sentences.trapped(_kind(end), self._stderr)
        if isinstance(end, wasmtime.ExitTrap):
            return sentences.exited(code, self._stderr)
        return sentences.not_runnable("The program asks for more tables or instances than the sandbox has.")

    def _wasi(self) -> wasmtime.WasiConfig:
        config = wasmtime.WasiConfig()
        config.argv = [NAME, *self._run.argv]
        if self._run.env:
            config.env = [pair for pair in self._run.env.items() if pair[0].startswith(VARIABLES)]
        config.stdout_custom = self._write_stdout
        config.stderr_custom = self._write_stderr
        _give_stdin(config, self._run.stdin)
        return config

    def _write_stdout(self, data: bytes) -> None:
        self._written += len(data)
        if self._written > self._run.limits.output_bytes:
            self._leave(sentences.flooded(self._run.limits.output_bytes, self._stderr))
        self._stdout.append(data)

    def _write_stderr(self, data: bytes) -> None:
        self._stderr = (self._stderr + data)[-limits.STDERR_TAIL_BYTES :]


def _kind(trap: wasmtime.Trap) -> str:
    code = trap.trap_code
    if code is None:
        return "the sandbox refused a call"
    return TRAPS.get(code, code.name.lower().replace("_", " "))


def _give_stdin(config: wasmtime.WasiConfig, data: bytes) -> None:
    """Make `data` all of stdin: in wasmtime's C API, but not in its Python class."""
    if not data:
        return
    vector, text = ffi.wasm_byte_vec_t(), ctypes.c_char_p(data)
    ffi.wasm_byte_vec_new(ctypes.byref(vector), len(data), ctypes.cast(text, ctypes.POINTER(ctypes.c_uint8)))
    ffi.wasi_config_set_stdin_bytes(config.ptr(), ctypes.byref(vector))  # takes the vector's memory
