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
from crowdgrid.runtimes import Limits, Run
from crowdgrid.runtimes.echo import EchoRuntime
from crowdgrid.runtimes.pool import Pool
from crowdgrid.runtimes.wasm import WasmRuntime

PROGRAMS = Path(__file__).parent
NO_PROGRAM = ("0" * 64, "/nowhere")

Program = tuple[str, str]
T = TypeVar("T")


class Adapter(NamedTuple):
    """One runtime and the program in it that echoes."""

    name: str
    open: Callable[[int], Pool]
    echo: Callable[[Path], Program]


def program(folder: Path, name: str) -> Program:
    """Digest and path of the WASM module made from `name`.wat, as an agent would have stored it."""
    return store(folder, bytes(wasmtime.wat2wasm((PROGRAMS / f"{name}.wat").read_text())))


def store(folder: Path, source: bytes) -> Program:
    """Digest and path of a program of these bytes."""
    digest = sha256(source).hexdigest()
    (folder / digest).write_bytes(source)
    return digest, str(folder / digest)


ADAPTERS = (
    Adapter("wasm", WasmRuntime, lambda folder: program(folder, "echo")),
    Adapter("echo", EchoRuntime, lambda folder: NO_PROGRAM),
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


def play(runtime: Pool, story: Callable[[Pool], Awaitable[T]]) -> T:
    """Play a story with a started runtime; afterwards nothing of it may be left."""

    async def whole() -> T:
        await runtime.start()
        try:
            return await story(runtime)
        finally:
            pids = runtime.pids
            await runtime.close()
            assert not [pid for pid in pids if alive(pid)]
            assert runtime.pids == ()

    return asyncio.run(whole())


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
