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

Runs come by the thousand and may take less than a microsecond each. So what they have in common is said once (`Group`),
and a result of which there is nothing to tell but its bytes is those bytes (`Result`). `Runs` and `Results` are sequences of
`Run` and `Finished` for whoever looks at one; whoever handles many takes their groups and items as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, Protocol, TypeAlias, overload

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


class Group(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Runs that differ in nothing but stdin: one for each of `stdins`, at least one."""

    argv: tuple[str, ...]
    stdins: list[bytes]
    limits: Limits
    env: dict[str, str] = {}

    def goes_with(self, other: Group) -> bool:
        """Whether the runs of both could be one group."""
        return self.argv == other.argv and self.limits == other.limits and self.env == other.env

    def part(self, start: int, stop: int) -> Group:
        """The runs [start, stop)."""
        if stop - start == len(self.stdins):
            return self
        return Group(self.argv, self.stdins[start:stop], self.limits, self.env)


class Runs(Sequence[Run]):
    """Runs, in order."""

    __slots__ = ("_count", "groups")

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self.groups = groups
        self._count = sum([len(group.stdins) for group in groups])

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Runs:
        """These runs; those next to one another that can be are one group."""
        if isinstance(runs, Runs):
            return runs
        return cls.joined(Runs([Group(run.argv, [run.stdin], run.limits, run.env)]) for run in runs)

    @classmethod
    def joined(cls, parts: Iterable[Runs]) -> Runs:
        """All the runs of `parts`, in order."""
        groups: list[Group] = []
        ours = False  # whether the last group's list is this sequence's alone
        for group in (group for part in parts for group in part.groups):
            if not groups or not groups[-1].goes_with(group):
                groups.append(group)
                ours = False
                continue
            if not ours:
                groups[-1] = Group(group.argv, groups[-1].stdins.copy(), group.limits, group.env)
                ours = True
            groups[-1].stdins.extend(group.stdins)
        return cls(groups)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> Runs: ...
    def __getitem__(self, at: int | slice) -> Run | Runs:
        if isinstance(at, slice):
            assert at.step is None, "a part is without gaps"
            return self._part(*at.indices(self._count)[:2])
        place = range(self._count)[at]
        for group in self.groups:
            if place < len(group.stdins):
                return Run(group.argv, group.stdins[place], group.limits, group.env)
            place -= len(group.stdins)
        raise IndexError(at)

    def _part(self, start: int, stop: int) -> Runs:
        if (start, stop) == (0, self._count):
            return self
        parts, before = [], 0
        for group in self.groups:
            first, last = max(0, start - before), min(len(group.stdins), stop - before)
            if first < last:
                parts.append(group.part(first, last))
            before += len(group.stdins)
        return Runs(parts)


Result: TypeAlias = Finished | bytes
"""What one run came to. Bytes are the stdout of a run that was ok and wrote nothing else, and whose time and memory are
not worth telling."""


class Results(Sequence[Finished]):
    """What runs came to, in order.

    Attributes:
        items: may be appended to.
    """

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Result] = ()) -> None:
        self.items: list[Result] = list(items)

    @property
    def told(self) -> list[Finished]:
        """The results of which more is told than that all went well."""
        return [item for item in self.items if type(item) is Finished]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Finished: ...
    @overload
    def __getitem__(self, at: slice) -> Results: ...
    def __getitem__(self, at: int | slice) -> Finished | Results:
        if isinstance(at, slice):
            return Results(self.items[at])
        item = self.items[at]
        return item if isinstance(item, Finished) else Finished(_OK, item)


_OK: Final = Outcome.OK


class Runtime(Protocol):
    """Runs programs of one kind."""

    name: str

    async def start(self) -> None:
        """Warm up. Raises `errors.Unavailable` with what is missing when this machine cannot run it."""
        ...

    async def run(self, program: str, path: str, runs: Sequence[Run], whose: str = "") -> Results:
        """Run `program` (hex SHA-256, stored at `path`) once for each of `runs`, one after another, in one
        worker; there are as many results as `runs`. One failed run does not stop the next.
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
