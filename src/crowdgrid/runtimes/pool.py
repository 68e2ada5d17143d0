"""A pool of worker processes: the part of every runtime that does not know what runs.

A call of `run` takes one worker for as long as its batch lasts. Time-out, stop and flood end the worker;
the rest of the batch goes on in a fresh one. Only a worker that was ended from outside, or that broke,
makes a node error, and then for all runs of the batch not yet answered; runtime `python`, whose programs can end
their workers, goes about it differently.

Invariants: never more processes than workers asked for (when shrunk, as soon as the surplus is done);
a worker is idle, busy in one call, or being ended; when `close` returns no process is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from crowdgrid.errors import CrowdgridError, Unavailable
from crowdgrid.runtimes import Results, Run, Runs, sentences
from crowdgrid.runtimes.child import Child
from crowdgrid.runtimes.driving import drive
from crowdgrid.runtimes.launch import Launch

START_TRIES: Final = 3


class Pool:
    """Runs batches in worker processes of one kind. The base of the adapters; see the port for `run`.

    Args:
        launch: how to start a worker.
        workers: how many processes.
    """

    def __init__(self, launch: Launch, workers: int) -> None:
        self._launch = launch
        self._target = workers
        self._idle: list[Child] = []  # the last one used is used next: its program is loaded
        self._busy: set[Child] = set()
        self._taken = 0  # calls that hold a place; each has at most one worker, busy or starting
        self._queue: deque[asyncio.Future[None]] = deque()
        self._starting = 0  # workers being started by calls that wait for them
        self._fills: set[asyncio.Task[None]] = set()  # workers being started in advance
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of all workers."""
        return tuple(child.pid for child in (*self._idle, *self._busy))

    async def start(self) -> None:
        """Start all workers; those that were ended from outside meanwhile are started again. See the port."""
        for tries_left in reversed(range(START_TRIES)):
            children = await asyncio.gather(*(self._spawn() for _ in range(self._target)), return_exceptions=True)
            self._idle += [child for child in children if isinstance(child, Child)]
            failed = [child for child in children if isinstance(child, BaseException)]
            if self._idle or not failed:
                self._settle()  # what is missing is started in the background
                return
            if not tries_left or not isinstance(failed[0], CrowdgridError):
                await self.close()
                raise failed[0]

    async def run(self, program: str, path: str, runs: Sequence[Run], whose: str = "") -> Results:
        """Run a batch in one worker. See the port."""
        await self._take_place()
        try:
            return await self._run(program, path, Runs.of(runs), whose)
        finally:
            self._give_place_back()

    async def resize(self, workers: int) -> None:
        """Change the number of workers. See the port."""
        self._target = workers
        self._settle()

    async def close(self) -> None:
        """End all workers. See the port."""
        self._closed = True
        for fill in self._fills:
            fill.cancel()
        while self._idle:
            self._end(self._idle.pop())
        for child in self._busy:
            self._end(child)
        await asyncio.gather(*self._fills, *self._ends, return_exceptions=True)

    # --- one batch ---

    async def _run(self, program: str, path: str, runs: Runs, whose: str) -> Results:
        # `whose` does not matter: a sandbox is between the programs of a worker.
        done = Results()
        while len(done) < len(runs):
            try:
                child = await self._checkout()
            except CrowdgridError as error:
                return Results(done.items + [sentences.node_error(error.message)] * (len(runs) - len(done)))
            reusable = False
            try:
                reusable = await drive(child, program, path, runs, done)
            finally:
                await self._checkin(child, reusable)
        return done

    async def _checkout(self) -> Child:
        while not self._idle and self._fills:
            await asyncio.wait(self._fills, return_when=asyncio.FIRST_COMPLETED)
        if self._idle:
            child = self._idle.pop()
        else:
            self._starting += 1
            try:
                child = await self._spawn()
            finally:
                self._starting -= 1
        self._busy.add(child)
        return child

    async def _checkin(self, child: Child, reusable: bool) -> None:
        self._busy.discard(child)
        if reusable and not child.gone and not self._closed:
            self._idle.append(child)
        else:
            await asyncio.shield(self._end(child))

    # --- places and processes ---

    async def _take_place(self) -> None:
        if self._taken < self._target and not self._queue:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove(turn)
            else:  # the place came at the same moment
                self._give_place_back()
            raise

    def _give_place_back(self) -> None:
        self._taken -= 1
        self._settle()

    def _settle(self) -> None:
        """Give free places to those who wait, and see that there are as many workers as there should be."""
        while self._queue and self._taken < self._target:
            self._taken += 1
            self._queue.popleft().set_result(None)
        self._balance()

    def _balance(self) -> None:
        there = len(self._idle) + len(self._busy) + self._starting + len(self._fills)
        surplus = len(self._idle) if self._closed else min(len(self._idle), there - self._target)
        for _ in range(surplus):
            self._end(self._idle.pop(0))
        for _ in range(0 if self._closed else self._target - there):
            fill = asyncio.create_task(self._fill())
            self._fills.add(fill)
            fill.add_done_callback(self._fills.discard)

    async def _fill(self) -> None:
        # Should it fail, the next run tries again and reports why.
        with contextlib.suppress(CrowdgridError):
            child = await self._spawn()
            self._fills.remove(cast(asyncio.Task[None], asyncio.current_task()))
            self._idle.append(child)
            self._settle()  # the pool may have shrunk meanwhile

    async def _spawn(self) -> Child:
        child = await Child.spawn(await self._prepared())
        if self._closed:
            await child.kill()
            raise Unavailable("This runtime is closed.")
        child.on_gone = self._on_gone
        return child

    async def _prepared(self) -> Launch:
        """How to start the next worker."""
        return self._launch

    def _end(self, child: Child) -> asyncio.Task[None]:
        """Kill it now, reap it in the background."""
        child.signal()
        end = asyncio.create_task(child.kill())
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)
        return end

    def _on_gone(self, child: Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
            self._end(child)
            self._settle()
