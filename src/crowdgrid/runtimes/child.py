"""The pool's handle on one worker process: start it, talk to it, end it.

The process is started from the event loop's own thread: on Linux it dies with the *thread* that made
it (PR_SET_PDEATHSIG), which must be the one that lives as long as the pool.

Invariant: after `kill` returns, the process is gone and reaped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import msgspec

from crowdgrid.errors import Unavailable
from crowdgrid.runtimes import frames

START_SECONDS: Final = 60.0  # a cold disk under load; a worker needs about 0.1 s
KEPT_VARIABLES: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
)


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

    @classmethod
    async def spawn(cls, kind: str, cache: Path | None) -> Child:
        """Start a worker and wait until it is ready.

        Raises:
            Unavailable: it cannot start here, with its reason.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise Unavailable("Running programs here needs Linux or macOS.", hint="On Windows, use WSL 2.")
        child = cls()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child._process = _start(kind, theirs.fileno(), cache)
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
            child._check_hello(await child.receive(START_SECONDS))
        except BaseException:
            ours.close()
            await child.kill()
            raise
        return child

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
    def aborted(self) -> bool:
        """Whether native code in it gave up, as it does when it gets no memory. Known once `kill` has returned."""
        return self._process is not None and self._process.returncode == -signal.SIGABRT

    async def kill(self) -> None:
        """End the process at once and reap it."""
        self.signal()
        pause = 0.0005
        while self._process is not None and self._process.poll() is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)

    def signal(self) -> None:
        """Send the process SIGKILL and close the line to it."""
        if self._process is not None:
            self._process.kill()  # does nothing once it is reaped
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


def _start(kind: str, descriptor: int, cache: Path | None) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "crowdgrid.runtimes.worker",
        kind,
        str(descriptor),
        str(os.getpid()),
    ]
    try:
        return subprocess.Popen(
            [*command, str(cache or "")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            start_new_session=True,  # Ctrl-C in a terminal is the agent's to handle
        )
    except OSError as error:
        raise Unavailable(f"A worker process cannot be started: {error.strerror}.") from None
