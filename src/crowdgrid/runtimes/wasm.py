"""Runtime "wasm": WASI preview 1 command modules in wasmtime, in worker processes.

Programs are compiled without metering (fuel or epochs make a tight sieve 2.3–2.6 × slower), so the pool
enforces time-outs and stops by ending the worker. What a program can see: its arguments, stdin, stdout,
stderr, `CROWDGRID_*` variables, and the clocks and random numbers of WASI, which are real. A program that
uses the latter two gives different answers on different nodes and cannot be checked by voting;
everything else is the same bytes on every machine and in a browser's tab (NaN bit patterns excepted).
The worker's half is `sandbox`.
"""

from __future__ import annotations

from pathlib import Path

from crowdgrid.runtimes.launch import Launch
from crowdgrid.runtimes.pool import Pool


class WasmRuntime(Pool):
    """WASM in worker processes.

    Args:
        workers: how many run at once.
        cache: a folder for compiled programs, shared by workers and kept across restarts; made with mode
            0700, and only used if nobody else can write to it. None: each worker compiles for itself.
    """

    name = "wasm"

    def __init__(self, workers: int = 1, cache: Path | None = None) -> None:
        super().__init__(Launch(self.name, str(cache or "")), workers)
