"""Start, signals, stop: the only place that wires the parts of the agent together.

Order of a start: the folder's lock and key, then at once and side by side the link and the worker
processes; everything else (facts, benchmarks, control) begins when the link is being made, so that the
first offer leaves as early as it can.

SIGTERM drains: nothing new is taken, what waits is given back, what runs may finish within
`drain_seconds`, a task of many runs ends between two of them and gives the rest back. A second signal, or
SIGINT twice, stops now: what runs is killed and given back. Answers not delivered stay in the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid.agent import joined, keys, trust
from crowdgrid.agent.agent import Agent
from crowdgrid.agent.link import Link, system_tls
from crowdgrid.agent.programs import Programs
from crowdgrid.agent.reporter import Reporter
from crowdgrid.agent.settings import AgentSettings, hub_address
from crowdgrid.agent.spool import Spool
from crowdgrid.agent.transfer import Transfer
from crowdgrid.agent.unsandboxed import Unsandboxed
from crowdgrid.core.model import UNSANDBOXED
from crowdgrid.errors import BadInput, Conflict, Unavailable
from crowdgrid.runtimes import Runtime

TICK_SECONDS: Final = 0.25
DELIVER_SECONDS: Final = 5.0  # for the last verdicts when draining

log = logging.getLogger(__name__)


def run(settings: AgentSettings) -> int:
    """Run an agent until it is told to stop; returns the process's exit status.

    Raises:
        CrowdgridError: it cannot start, or the hub refuses it for good.
    """
    logging.basicConfig(
        level=logging.WARNING if settings.quiet else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    logging.getLogger("websockets").setLevel(logging.ERROR)
    folder = keys.private_folder(settings.data)
    with _alone_on(folder):
        whole = trust.checked(joined.complete(settings, folder))
        key = keys.load_or_create(folder)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(House(whole, folder, key, joining=bool(settings.hub)).live())


class House:
    """One running agent: the parts, their tasks, and how it ends."""

    def __init__(self, settings: AgentSettings, folder: Path, key: Ed25519PrivateKey, *, joining: bool) -> None:
        from crowdgrid.agent.greeting import Greeting

        self._settings, self._folder, self._key = settings, folder, key
        tls = cache(lambda: system_tls(str(settings.ca) if settings.ca else None))
        address = hub_address(settings.hub)
        self._joining = joining
        self._transfer = Transfer(address, tls)
        self._programs = Programs(folder / "cache", self._transfer, settings.cache_bytes)
        trusts = settings.python or ()
        names = [name for name in settings.runtimes if name not in UNSANDBOXED]
        self._runtimes = {name: self._runtime(name) for name in dict.fromkeys([*names, *trust.runtimes(trusts)])}
        self._greeting = Greeting(settings, folder, key, self._runtimes)
        self.agent = Agent(
            self._greeting.hello,
            self._runtimes,
            self._programs,
            self._open_reporter,
            milli_cpus=settings.cores * 1000,
            memory_bytes=settings.memory,
        )
        self.agent.trusts = trusts
        self._unsandboxed = Unsandboxed(
            self._runtimes, self._runtime, lambda: self.agent.slots.workers, self.agent.greet_anew
        )
        self.link = Link(address, key, self, tls)
        self.agent.link = self.link
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._leaving = False

    async def live(self) -> int:
        """Run until told to stop."""
        with self._signals():
            tasks = [asyncio.create_task(work) for work in self._works()]
            stop = asyncio.create_task(self._stop.wait())
            try:
                await self._until_stopped(tasks, stop)
                await self._drain()
            finally:
                await self._end([*tasks, stop])
        return 0

    # --- events of the link, passed on ---

    def hello(self) -> Any:
        """See `link.Events`."""
        return self.agent.hello()

    def up(self, welcome: Any) -> None:
        """See `link.Events`."""
        self._transfer.token = welcome.blob_token
        if self._joining:
            self._keep()
        self.agent.up(welcome)

    def received(self, messages: Any) -> None:
        """See `link.Events`."""
        self.agent.received(messages)

    def down(self, refused: bool) -> None:
        """See `link.Events`."""
        self.agent.down(refused)

    # --- what runs side by side ---

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        return [self.link.run(), self._start_runtimes(), self._tick(), self._attend()]

    async def _until_stopped(self, tasks: list[asyncio.Task[None]], stop: asyncio.Task[Any]) -> None:
        """Wait for the signal to stop, or for a part that failed, whose error is raised."""
        waiting: set[asyncio.Task[Any]] = {*tasks, stop}
        while not stop.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _start_runtimes(self) -> None:
        await asyncio.gather(*(runtime.start() for runtime in self._runtimes.values()))
        self.agent.ready()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.agent.tick()

    async def _attend(self) -> None:
        """The owner's wishes and hands, and the benchmarks: nothing the first offer has to wait for."""
        from crowdgrid.agent.attendance import Attendance

        await Attendance(
            self._settings, self._folder, self.agent, self, self._greeting, self._runtimes, self._unsandboxed
        ).go()

    # --- the end ---

    def stop(self) -> None:
        """Drain; told again, stop now."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    def stop_now(self) -> None:
        """Give everything back and end."""
        self._stop.set()
        self._stop_now.set()

    def keep_python(self, trusts: tuple[str, ...]) -> None:
        """Keep whose Python runs here. Raises OSError."""
        self._settings = msgspec.structs.replace(self._settings, python=trusts)
        if not self._joining:
            joined.keep_python(trusts, self._folder)

    def leave(self) -> None:
        """Drain, and forget which hub this was."""
        self._leaving = True
        self._stop.set()

    async def _drain(self) -> None:
        log.info("Draining: giving back what waits, finishing what runs.")
        self.agent.drain()
        await self._within(self._settings.drain_seconds, self.agent.slots.idle())
        self.agent.slots.return_all("draining")
        if self.link.is_up:
            await self._within(DELIVER_SECONDS, self._all_settled())
        await self.link.close("draining")

    async def _all_settled(self) -> None:
        # Looked at again and again, at the end of a life only: an event would cost something with every result.
        while not self.agent.settled_all:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _within(self, seconds: float, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`, but not longer than `seconds` nor after the order to stop now."""
        task, now = asyncio.create_task(work), asyncio.create_task(self._stop_now.wait())
        await asyncio.wait([task, now], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        now.cancel()

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        self._transfer.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.agent.reporter is not None:
            self.agent.reporter.abandon()
        await self._programs.close()
        await self._unsandboxed.close()
        await asyncio.gather(*(runtime.close() for runtime in self._runtimes.values()))
        if self._leaving:
            joined.forget(self._folder)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self._settings.with_parent:
            _watch_parent(loop, self.stop_now)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _keep(self) -> None:
        try:
            joined.keep(self._settings, self._folder)
        except OSError as error:
            log.warning("What this machine was joined with could not be kept: %s.", error.strerror)
        else:
            self._joining = False

    def _runtime(self, name: str) -> Runtime:
        return _runtime(name, self._settings.cores, self._folder)

    def _open_reporter(self, grid: bytes) -> Reporter:
        spool = Spool(self._folder / "spool" / grid.hex())
        return Reporter(spool, self._key, grid, self.link.send, self._transfer.put, self._give_up)

    def _give_up(self, assignments: Any, reason: str) -> None:
        from crowdgrid.protocol.messages import Decline

        log.warning("A result could not be delivered: %s", reason)
        self.link.send(Decline(tuple(assignments), reason))


def _runtime(name: str, workers: int, folder: Path) -> Runtime:
    if name == "wasm":
        from crowdgrid.runtimes.wasm import WasmRuntime

        return WasmRuntime(workers, folder / "compiled")
    if name == "echo":
        from crowdgrid.runtimes.echo import EchoRuntime

        return EchoRuntime(workers)
    if name in UNSANDBOXED:
        from crowdgrid.runtimes.python import PythonRuntime

        return PythonRuntime(workers, name)
    raise BadInput(f"There is no runtime {name!r}.", hint="This agent can run: wasm, echo, and python by --python.")


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


def _watch_parent(loop: asyncio.AbstractEventLoop, gone: Any) -> None:
    def readable() -> None:
        try:
            data = os.read(0, 4096)
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(0)
            gone()

    try:
        loop.add_reader(0, readable)
    except (OSError, ValueError):
        raise BadInput("--with-parent needs a pipe on stdin.") from None


@contextlib.contextmanager
def _alone_on(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two agents with one key would throw each other off the hub for ever."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"The agent's folder {folder} cannot be used: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"An agent is already running on {folder}.", hint="Give a second one a folder of its own with --data."
            ) from None
        yield
    finally:
        os.close(descriptor)
