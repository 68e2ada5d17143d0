"""A worker's way to its pool: results are sent soon, and together where they come fast.

While native code computes in the main thread it does not hold the interpreter lock, so a second thread can send
results already made, at most `FLUSH_SECONDS` late: many short runs share a frame, and a result is never held
back by a long run behind it. The same thread notices that the pool is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from typing import Final, NoReturn

from crowdgrid.runtimes import Finished, Result, frames

FLUSH_SECONDS: Final = 0.002
# On Linux the kernel ends this process with its pool (see `confine`); elsewhere it has to look.
WATCH_SECONDS: Final = None if sys.platform == "linux" else 1.0


class Outbox:
    """Sends results soon, and together where they come fast.

    Attributes:
        made: what is not sent yet. Appended to by one thread, which then calls `rouse` unless this is `roused`; whoever
            sends takes from its beginning.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pid, self._parent = os.getpid(), os.getppid()
        self.made: list[Result] = []
        self.roused = False
        self._sending = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._send_soon, name="outbox", daemon=True).start()

    def add(self, result: Result) -> None:
        """Take one result; it leaves within `FLUSH_SECONDS`."""
        self.made.append(result)
        if not self.roused:
            self.rouse()

    def rouse(self) -> None:
        """Have what is made sent within `FLUSH_SECONDS`."""
        self.roused = True
        self._wake.set()

    def flush(self, leaving: bool = False) -> None:
        """Send all there is, now. Raises MemoryError, and has sent nothing, where there is no memory for that."""
        with self._sending:
            count = len(self.made)
            if count or leaving:
                frame = frames.encode(frames.Done(self.made[:count], leaving))
                del self.made[:count]
                self._send(frame)

    def leave(self, last: Finished | None) -> NoReturn:
        """See `kind.Leave`."""
        if last is not None:
            self.add(last)
        self.flush(leaving=True)
        os._exit(0)

    def _send(self, frame: bytearray) -> None:
        if os.getpid() != self._pid:  # forked by the program in a way that Python does not notice
            os._exit(0)
        try:
            self._sock.sendall(frame)
        except OSError:
            # Either the pool has gone; or the program has closed the line, and the pool, which hears of it, ends
            # this process when it finds that it does not end by itself.
            while os.getppid() == self._parent:
                time.sleep(1)
            os._exit(0)

    def _send_soon(self) -> None:
        gone = select.poll()
        gone.register(self._sock, 0)  # reports only that the other end is closed
        while True:
            self._wake.wait(WATCH_SECONDS)
            if events := gone.poll(0):
                if events[0][1] & select.POLLNVAL:  # closed here, not there: see `_send`
                    return
                os._exit(0)
            if self._wake.is_set():
                time.sleep(FLUSH_SECONDS)
                self._wake.clear()
                self.roused = False  # after that: a result made between the two is sent now
                with contextlib.suppress(MemoryError):  # what bounds the run under way; the main thread sends later
                    self.flush()
