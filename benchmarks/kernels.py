"""Kernels: the example programs as WASM in crowdgrid's sandbox against the same C source, compiled natively."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from benchmarks.context import Context
from benchmarks.processes import ROOT, BenchmarkFailed, folder_for
from benchmarks.report import Figure, Section, at_least
from crowdgrid import kernels, limits
from crowdgrid.runtimes import Limits, Outcome, Run
from crowdgrid.runtimes.wasm import WasmRuntime

SOURCES = ROOT / "kernels"
TEXT = """
CPU time of one run, the best of {times}: in a worker of the `wasm` runtime, and as `gcc -O3` makes of the same source. The
figure is native time divided by WASM time: 1 is as fast as native. Both gave the same output.
"""
NO_COMPILER = "\nThere is no `gcc` on this machine, so nothing was compared."


class Kernel(NamedTuple):
    """A kernel, its arguments in a full run, what they are for people, and how fast it must be."""

    name: str
    arguments: tuple[str, ...]
    what: str
    least: float | None = None


def all_kernels(context: Context) -> list[Kernel]:
    blocks = json.loads((ROOT / "examples" / "data" / "bitcoin_headers.json").read_text())["blocks"]
    scale = context.of(2, 1)
    return [
        Kernel("primes", ("0", str(5_000_000_000 * scale)), "sieve", 0.7),
        Kernel("nonces", (blocks[0]["header"], "0", str(3_000_000 * scale)), "SHA-256d"),
        Kernel("montecarlo", ("7", "0", str(400_000_000 * scale)), "Monte Carlo"),
        Kernel("collatz", ("1", str(8_000_000 * scale)), "Collatz"),
    ]


def measure(context: Context) -> Section:
    times = context.of(3, 2)
    text = TEXT.format(times=times)
    if shutil.which("gcc") is None:
        return Section("Kernels", text + NO_COMPILER)
    found = []
    with folder_for("kernels") as folder:
        for kernel in all_kernels(context):
            native = min(_native(folder, kernel) for _ in range(times))
            wasm = asyncio.run(_wasm(folder, kernel, times))
            goal = at_least(kernel.least) if kernel.least else None
            title = f"{kernel.name} ({kernel.what}), {native:.2f} s natively"
            found.append(Figure(title, native / wasm, "", goal))
    return Section("Kernels", text, found)


def _native(folder: Path, kernel: Kernel) -> float:
    """CPU seconds of one run."""
    program = folder / kernel.name
    if not program.exists():
        words = ["gcc", "-O3", "-std=c11", "-D_GNU_SOURCE", "-o", str(program), str(SOURCES / f"{kernel.name}.c")]
        subprocess.run(words, check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run([str(program), *kernel.arguments], check=True, stdout=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (folder / f"{kernel.name}.out").write_bytes(told.stdout)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


async def _wasm(folder: Path, kernel: Kernel, times: int) -> float:
    runtime = WasmRuntime(1, folder / "compiled")
    await runtime.start()
    try:
        run = Run(kernel.arguments, b"", Limits(60_000, limits.MEMORY_BYTES_DEFAULT, 1 << 20))
        path = kernels.path(kernel.name)
        digest = sha256(path.read_bytes()).hexdigest()
        finished = await runtime.run(digest, str(path), [run] * times)
    finally:
        await runtime.close()
    expected = (folder / f"{kernel.name}.out").read_bytes()
    for one in finished:
        if one.outcome is not Outcome.OK or one.stdout != expected:
            raise BenchmarkFailed(f"The kernel {kernel.name} says {one.stdout!r} {one.error}, natively {expected!r}.")
    return min(one.cpu_ms for one in finished) / 1000
