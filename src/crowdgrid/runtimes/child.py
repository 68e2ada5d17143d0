"""The pool's handle on one worker process: start it, talk to it, end it.

The process is started from the event loop's own thread: on Linux it dies with the *thread* that made
it (PR_SET_PDEATHSIG), which must be the one that lives as long as the pool.

A worker leads a session of its own; with it end all processes of that session, those its program has
started. For that the worker must not be reaped before: until then nobody else gets its number.

Invariant: after `kill` returns, the process is gone and reaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import msgspec

from crowdgrid.errors import Unavailable
from crowdgrid.runtimes import frames, progress, sessions
from crowdgrid.runtimes.launch import Launch
from crowdgrid.runtimes.progress import Progress

START_SECONDS: Final = 60.0  # a cold disk under load; a worker needs about 0.1 s
LAST_WORDS_SECONDS: Final = 0.2  # between the end of the line to a process and the process's own


class Child(asyncio.Protocol):
    """One worker process. Make it with `spawn`."""

    def __init__(self) -> None:
        self._frames = frames.Frames()
        self._inbox: deque[frames.Message] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.gone = False
        self.on_gone: Callable[[Child], None] = lambda child: None
        self.progress: Progress | None = None
        self.folder = ""
        self._ended_before = 0

    @classmethod
    async def spawn(cls, launch: Launch) -> Child:
        """Start a worker and wait until it is ready.

        Raises:
            Unavailable: it cannot start here, with its reason.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise Unavailable("Running programs here needs Linux or macOS.", hint="On Windows, use WSL 2.")
        child = cls()
        child.folder = launch.folder
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child._start(launch, theirs.fileno())
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
            child._check_hello(await child.receive(START_SECONDS))
        except BaseException:
            ours.close()
            await child.kill()
            raise
        return child

    def _start(self, launch: Launch, line: int) -> None:
        if not launch.tracked:
            self._process = _start(launch, line)
            return
        page = progress.make()
        try:
            self.progress = Progress(page)
            self._ended_before = _ended_for_memory()
            self._process = _start(launch, line, page)
        finally:
            os.close(page)

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def receiving(self) -> bool:
        """Whether part of a message has arrived."""
        return self._frames.partial

    def send(self, message: frames.Message) -> None:
        """Send without waiting."""
        assert self._transport is not None
        self._transport.write(frames.encode(message))

    async def receive(self, seconds: float) -> frames.Message | None:
        """The next message; None when the process is gone.

        Raises:
            TimeoutError: nothing came within `seconds`.
        """
        if not self._inbox and not self.gone:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds, self._give_up, self._waiting)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return self._inbox.popleft() if self._inbox else None

    @property
    def status(self) -> int | None:
        """Its exit code, or −n when signal n ended it. Known once `kill` has returned."""
        return self._process.returncode if self._process else None

    @property
    def memory_ran_out(self) -> bool:
        """Whether the system has ended processes, of whomever, since this one started, because memory ran out."""
        return _ended_for_memory() > self._ended_before

    def ask_where(self) -> None:
        """Have a worker that tracks its runs write a traceback into its notes."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, progress.WHERE_SIGNAL)

    async def last_words(self) -> bool:
        """Let a process whose line has ended come to its own end, so that its status is its own. Whether it did."""
        pause = 0.001
        while pause < LAST_WORDS_SECONDS:
            if self._process is None or sessions.has_ended(self._process):
                return True
            await asyncio.sleep(pause)
            pause *= 2
        return False

    async def kill(self) -> None:
        """End the process at once, with all of its session, and reap it."""
        self.signal()
        pause = 0.0005
        while self._process is not None and self._process.poll() is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)

    def signal(self) -> None:
        """Send the process and its session SIGKILL and close the line to it."""
        if self._process is not None and self._process.returncode is None:
            sessions.kill(self._process.pid)
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        try:
            self._inbox.extend(self._frames.feed(data))
        except msgspec.DecodeError:  # a worker taken over by its program
            self._lost()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()

    def _lost(self) -> None:
        if not self.gone:
            self.gone = True
            self._wake()
            self.on_gone(self)

    def _wake(self) -> None:
        ready = self._inbox or self.gone  # part of a message wakes nobody
        if ready and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    @staticmethod
    def _give_up(waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            waiting.set_exception(TimeoutError())

    @staticmethod
    def _check_hello(message: frames.Message | None) -> None:
        if not isinstance(message, frames.Hello):
            raise Unavailable("A worker process ended while it was starting.", hint="`crowdgrid doctor` says more.")
        if message.error:
            raise Unavailable(message.error)


def _start(launch: Launch, line: int, page: int | None = None) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "crowdgrid.runtimes.worker",
        launch.kind,
        str(line),
        str(os.getpid()),
        launch.folder,
    ]
    try:
        return subprocess.Popen(
            command if page is None else [*command, str(page)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(line,) if page is None else (line, page),
            env=launch.environment(),
            cwd=launch.folder if launch.inside else None,
            start_new_session=True,  # Ctrl-C in a terminal is the agent's to handle
        )
    except OSError as error:
        raise Unavailable(f"A worker process cannot be started: {error.strerror}.") from None


def _ended_for_memory() -> int:
    """How many processes this machine has ended since it started because memory ran out; 0: it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
