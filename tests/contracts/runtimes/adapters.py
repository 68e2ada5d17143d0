"""The adapters under test, and what their tests share."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil
import wasmtime

from crowdgrid import limits
from crowdgrid.protocol.calls import pack_call
from crowdgrid.protocol.values import pack_value
from crowdgrid.runtimes import Limits, Run, sentences
from crowdgrid.runtimes.echo import EchoRuntime
from crowdgrid.runtimes.pool import Pool
from crowdgrid.runtimes.python import PROCESSES, PythonRuntime
from crowdgrid.runtimes.wasm import WasmRuntime
from tests.contracts.runtimes import sending

PROGRAMS = Path(__file__).parent
NO_PROGRAM = ("0" * 64, "/nowhere")

Program = tuple[str, str]
T = TypeVar("T")


class Adapter(NamedTuple):
    """One runtime and the program in it that echoes.

    Attributes:
        given: stdin of a run that echoes these bytes. got: what it then writes to stdout.
        too_much: the sentence for so many bytes of output over the limit.
        forgives: a worker that was ended from outside costs a second run and no error.
        lazy: workers start when they are needed. spare: this many times as many may be there as run.
        limited: what /proc says a worker is limited to.
    """

    name: str
    open: Callable[[int], Pool]
    echo: Callable[[Path], Program]
    given: Callable[[bytes], bytes] = bytes
    got: Callable[[bytes], bytes] = bytes
    too_much: Callable[[int, int], str] = lambda count, limit: sentences.flooded(limit, b"").error
    forgives: bool = False
    lazy: bool = False
    spare: int = 1
    limited: dict[str, list[str]] = {"Max processes": ["0", "0"], "Max open files": ["64", "64"]}

    def run(self, data: bytes = b"", output_bytes: int = limits.OUTPUT_BYTES_DEFAULT) -> Run:
        """A run that echoes `data`."""
        return run(stdin=self.given(data), output_bytes=output_bytes)


def program(folder: Path, name: str) -> Program:
    """Digest and path of the WASM module made from `name`.wat, as an agent would have stored it."""
    return store(folder, bytes(wasmtime.wat2wasm((PROGRAMS / f"{name}.wat").read_text())))


def store(folder: Path, source: bytes) -> Program:
    """Digest and path of a program of these bytes."""
    digest = sha256(source).hexdigest()
    (folder / digest).write_bytes(source)
    return digest, str(folder / digest)


def function(folder: Path, name: str, **fields: str) -> Program:
    """Digest and path of a function of `deeds`, see `sending`."""
    return store(folder, sending.sent(name, **fields))


ADAPTERS = (
    Adapter("wasm", WasmRuntime, lambda folder: program(folder, "echo")),
    Adapter("echo", EchoRuntime, lambda folder: NO_PROGRAM),
    Adapter(
        "python",
        PythonRuntime,
        lambda folder: function(folder, "same"),
        lambda data: pack_call((data,), {}),
        pack_value,
        lambda count, limit: sentences.result_too_large(count, limit).error,
        forgives=True,
        lazy=True,
        spare=PROCESSES,
        limited={},
    ),
)


def run(
    *argv: str,
    stdin: bytes = b"",
    timeout_ms: int = limits.TIMEOUT_MS_DEFAULT,
    memory_bytes: int = limits.MEMORY_BYTES_DEFAULT,
    output_bytes: int = limits.OUTPUT_BYTES_DEFAULT,
    env: dict[str, str] | None = None,
) -> Run:
    """A run with limits that do not matter unless given."""
    return Run(argv, stdin, Limits(timeout_ms, memory_bytes, output_bytes), env or {})


def play(
    runtime: Pool, story: Callable[[Pool], Awaitable[T]], warm: Callable[[Pool], Awaitable[None]] | None = None
) -> T:
    """Play a story with a started (and warmed up) runtime; afterwards nothing of it may be left."""

    async def whole() -> T:
        await runtime.start()
        try:
            if warm:
                await warm(runtime)
            return await story(runtime)
        finally:
            pids = runtime.pids
            await runtime.close()
            assert not [pid for pid in pids if alive(pid)]
            assert runtime.pids == ()

    return asyncio.run(whole())


async def warm_up(adapter: Adapter, runtime: Pool, echo: Program, workers: int) -> None:
    """Have all workers running, also those of a runtime that starts them when they are needed."""
    if adapter.lazy:
        await asyncio.gather(*(runtime.run(*echo, [adapter.run()]) for _ in range(workers)))
    assert len(runtime.pids) == workers


def alive(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; the test's own time-out ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - processes end without telling us
        await asyncio.sleep(0.002)


def stop(pid: int) -> None:
    """Halt a process where it is, as a run that takes long would keep it busy."""
    os.kill(pid, signal.SIGSTOP)
