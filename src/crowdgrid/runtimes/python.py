"""Runtimes "python" and "python-pickle": functions in processes of this machine's own Python.

**This is no sandbox.** A function can do whatever a program of the agent's user can: read and write files, use the
network, start processes. So an agent offers these runtimes only to people whose programs its owner would run by
hand. What is promised: limits on time, memory (Linux) and output hold; a function ends at worst its own worker
process; stopping it ends what it started in its session; its failure is its job's answer and nobody else's.
The two names differ in what travels: "python" runs functions whose arguments and results are msgpack,
"python-pickle" those that come as pickles, and neither runs the other's.

Workers start when they are first needed, and stay for what comes next: modules imported, functions loaded. All that
a function leaves behind in its process — modules, globals, what an initializer set — is seen by functions of the
same owner and environment only (see `protocol.functions`): a worker never changes from one to another. An
environment's name is whatever a client says, so it alone would keep nobody apart. So there may be twice
as many workers as run at once, for environments that take turns. One that has been idle for
`limits.IDLE_WORKER_SECONDS` ends, but for the one used last.

What a function sees: an empty working directory that is also TMPDIR and goes with the worker; the environment
`launch.ORDINARY` keeps; no stdin; of what it prints the end is kept. The worker's half is `interpreter`; who is
blamed for a worker's end is in `errand`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Final, TypeAlias

from crowdgrid import limits
from crowdgrid.errors import CrowdgridError, Unavailable
from crowdgrid.protocol import functions
from crowdgrid.runtimes import Results, Runs, scratch, sentences
from crowdgrid.runtimes.child import Child
from crowdgrid.runtimes.errand import Errand
from crowdgrid.runtimes.launch import Launch
from crowdgrid.runtimes.pool import Pool
from crowdgrid.runtimes.scratch import Scratch

PROCESSES: Final = 2  # times as many as run at once
PROGRAMS_LOADED: Final = 16  # by one worker; those used last stay
ENVIRONMENTS: Final = 1_000  # programs whose environment is remembered

Company: TypeAlias = tuple[str, str]  # (owner, environment): whose programs may share a process


class _Known:
    """What the pool knows of a worker."""

    __slots__ = ("company", "idle_since", "programs")

    def __init__(self, company: Company) -> None:
        self.company = company
        self.programs: OrderedDict[str, None] = OrderedDict()  # loaded in it, last used last
        self.idle_since = 0.0

    def loads(self, program: str) -> None:
        self.programs[program] = None
        self.programs.move_to_end(program)
        if len(self.programs) > PROGRAMS_LOADED:
            self.programs.popitem(last=False)


class PythonRuntime(Pool):
    """Functions in worker processes.

    Args:
        workers: how many run at once.
        name: "python" or "python-pickle".
        folder: where workers' folders are made; None: where the system keeps temporary files.
        idle_seconds: how long a worker may be idle before it is ended.
    """

    def __init__(
        self,
        workers: int = 1,
        name: str = "python",
        *,
        folder: Path | None = None,
        idle_seconds: float = limits.IDLE_WORKER_SECONDS,
    ) -> None:
        super().__init__(Launch(name, tracked=True, inside=True), workers)
        self.name = name
        self._scratch = Scratch(folder)
        self._idle_seconds = idle_seconds
        self._retiring: asyncio.TimerHandle | None = None
        self._known: dict[Child, _Known] = {}  # workers that have been given something to run
        self._environments: OrderedDict[str, str] = OrderedDict()  # of programs, by digest

    async def start(self) -> None:
        """See that workers can be started; none is, before it is needed. See the port."""
        if not os.access(sys.executable, os.X_OK):
            raise Unavailable("A worker process cannot be started: No such file or directory.")

    async def close(self) -> None:
        """End all workers and remove their folders. See the port."""
        if self._retiring:
            self._retiring.cancel()
        await super().close()
        await asyncio.to_thread(self._scratch.close)

    async def _run(self, program: str, path: str, runs: Runs, whose: str) -> Results:
        company = (whose, await self._environment_of(program, path))
        errand = Errand(program, path, runs)
        while part := errand.next_part():
            try:
                child = await self._checkout_for(program, company, errand.fresh)
            except CrowdgridError as error:
                errand.give_up(sentences.node_error(error.message))
                break
            reusable = False
            try:
                reusable = await errand.drive(child, part)
            finally:
                await self._checkin(child, reusable)
        return errand.done

    async def _environment_of(self, program: str, path: str) -> str:
        found = self._environments.get(program)
        if found is None:
            try:
                found = await asyncio.to_thread(_read_environment, path)
            except (OSError, CrowdgridError):
                return ""  # a worker says what is wrong with it
            self._environments[program] = found
            if len(self._environments) > ENVIRONMENTS:
                self._environments.popitem(last=False)
        return found

    # --- which worker ---

    async def _checkout_for(self, program: str, company: Company, fresh: bool) -> Child:
        if self._closed:
            raise Unavailable("This runtime is closed.")
        child = None if fresh else self._pick(program, company)
        if child is not None:
            self._idle.remove(child)
        else:
            if len(self._idle) + len(self._busy) + self._starting >= PROCESSES * self._target and self._idle:
                self._end(self._idle.pop(0))  # the one idle longest
            self._starting += 1
            try:
                child = await self._spawn()
            finally:
                self._starting -= 1
            self._known[child] = _Known(company)
        self._busy.add(child)
        self._known[child].loads(program)
        return child

    def _pick(self, program: str, company: Company) -> Child | None:
        """The idle worker of this owner and environment that has the program loaded, or else any; the one used last."""
        fitting = None
        for child in reversed(self._idle):
            known = self._known[child]
            if known.company == company:
                if program in known.programs:
                    return child
                fitting = fitting or child
        return fitting

    async def _checkin(self, child: Child, reusable: bool) -> None:
        await super()._checkin(child, reusable)
        if child in self._idle:
            loop = asyncio.get_running_loop()
            self._known[child].idle_since = loop.time()
            if not self._retiring:
                self._retiring = loop.call_later(self._idle_seconds, self._retire)

    def _retire(self) -> None:
        """End workers that have been idle for long, but for the one used last."""
        self._retiring = None
        loop = asyncio.get_running_loop()
        while len(self._idle) > 1:
            due = self._known[self._idle[0]].idle_since + self._idle_seconds
            if due > loop.time():
                self._retiring = loop.call_at(due, self._retire)
                return
            self._end(self._idle.pop(0))

    # --- processes ---

    def _balance(self) -> None:
        there = len(self._idle) + len(self._busy) + self._starting
        surplus = len(self._idle) if self._closed else min(len(self._idle), there - PROCESSES * self._target)
        for _ in range(surplus):
            self._end(self._idle.pop(0))

    async def _prepared(self) -> Launch:
        return self._launch._replace(folder=str(await asyncio.to_thread(self._scratch.new)))

    def _end(self, child: Child) -> asyncio.Task[None]:
        ended = super()._end(child)
        if self._known.pop(child, None):
            removal = asyncio.create_task(_remove_after(ended, Path(child.folder)))
            self._ends.add(removal)
            removal.add_done_callback(self._ends.discard)
        return ended


def _read_environment(path: str) -> str:
    return functions.read(Path(path).read_bytes()).environment


async def _remove_after(ended: asyncio.Task[None], folder: Path) -> None:
    await ended
    await asyncio.to_thread(scratch.remove, folder)
