"""Port `Runtime`: runs one program, the same contract for every kind of program.

A program is a command. It gets `argv`, bytes on stdin and read-only files under /in; its result is
what it writes to stdout (and, later, leaves under /out). Exit code ≠ 0, a trap, a time-out, too much
memory or too much output is a *program error*: an answer like any other, voted on like any other.
Only what the machine did wrong (a worker that died of outside causes, a full disk) is a node error.

There is no network, no host file, no environment but `CROWDGRID_*`; time, memory and output always
have a limit. `tests/contracts/test_runtimes.py` is this contract, run over every adapter.

A runtime object is used by the agent's event loop. It owns worker *processes*: the agent never runs a
stranger's code in its own process, and ending the process is how time-out, stop and memory are
enforced.

Runtimes `python` and `python-pickle` differ, see `python`: a program is a function, stdin one call of it and stdout
the result; and they are **no sandbox**. A function has the network, the files and the rights of the agent's
user, so only people its owner trusts may send one. A function can end its worker, so that is a program error there,
once it has happened twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class Outcome(StrEnum):
    """How one run ended."""

    OK = "ok"
    PROGRAM_ERROR = "program_error"
    NODE_ERROR = "node_error"


class Limits(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one run may use."""

    timeout_ms: int
    memory_bytes: int
    output_bytes: int


class Run(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One run to do: `argv` without the program's name, all of stdin, extra environment, limits."""

    argv: tuple[str, ...]
    stdin: bytes
    limits: Limits
    env: dict[str, str] = {}


class Finished(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one run came to.

    Attributes:
        outcome: see `Outcome`.
        stdout: the result; empty unless `outcome` is ok, or a packed `protocol.failures.Failure` of what a function
            raised.
        exit_code: the program's exit code; 0 when ok; -1 when it did not get to exit by itself.
        error: one sentence for people when not ok, e.g. "The program ran longer than 2 s and was stopped."
            Deterministic (no addresses, times measured or paths), because program errors are voted on.
        stderr: the last bytes of stderr, of a function's prints too, at most `limits.STDERR_TAIL_BYTES`.
        cpu_ms: CPU time used, in ms. wall_ms: elapsed, in ms. memory_bytes: peak of linear memory, or of the process
            that called the function, or 0.
    """

    outcome: Outcome
    stdout: bytes = b""
    exit_code: int = 0
    error: str = ""
    stderr: bytes = b""
    cpu_ms: int = 0
    wall_ms: int = 0
    memory_bytes: int = 0


class Runtime(Protocol):
    """Runs programs of one kind."""

    name: str

    async def start(self) -> None:
        """Warm up. Raises `errors.Unavailable` with what is missing when this machine cannot run it."""
        ...

    async def run(self, program: str, path: str, runs: Sequence[Run], whose: str = "") -> list[Finished]:
        """Run `program` (hex SHA-256, stored at `path`) once for each of `runs`, one after another, in one
        worker; the list of results is as long as `runs`. One failed run does not stop the next.
        `whose`: the owner of the job. Where no sandbox is between programs, no process serves two of them.
        As many calls may be in flight as there are workers; more wait for a free one.
        Cancelling the awaiting task kills the worker within 200 ms and leaves nothing behind.
        Never raises for what a program does; returns NODE_ERROR for what the machine did."""
        ...

    async def resize(self, workers: int) -> None:
        """Change the number of workers; those over the number finish what they run first."""
        ...

    async def close(self) -> None:
        """Kill all workers and release everything."""
        ...
