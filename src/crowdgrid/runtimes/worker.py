"""The worker process: takes batches of runs from its pool, runs them one by one, answers.

Started as `python -m crowdgrid.runtimes.worker KIND FD PARENT [CACHE]`; FD is its end of a socketpair.
It imports only what its kind needs, because how fast it starts is how fast a pool recovers.

The main thread runs programs; while native code computes it does not hold the interpreter lock, so a
second thread, the outbox, can send results already made (at most `FLUSH_SECONDS` late: many short runs
share a frame, and a result is never held back by a long run behind it) and notice that the pool is gone.

Invariants: the process ends when its pool does; what a program does never raises here.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from typing import Final, NoReturn

from crowdgrid.errors import BadProgram, CrowdgridError
from crowdgrid.runtimes import Finished, confine, frames, sentences
from crowdgrid.runtimes.kind import Kind, Runner

FLUSH_SECONDS: Final = 0.002
# On Linux the kernel ends this process with its pool (see `confine`); elsewhere it has to look.
WATCH_SECONDS: Final = None if sys.platform == "linux" else 1.0


class Outbox:
    """Sends results soon, and together where they come fast."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._made: list[Finished] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._send_soon, daemon=True).start()

    def add(self, finished: Finished) -> None:
        """Take one result; it leaves within `FLUSH_SECONDS`."""
        with self._lock:
            self._made.append(finished)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self, leaving: bool = False) -> None:
        """Send all there is, now."""
        with self._lock:
            made, self._made = self._made, []
            if made or leaving:
                self._sock.sendall(frames.encode(frames.Done(made, leaving)))

    def leave(self, finished: Finished) -> NoReturn:
        """Send `finished` as the last result and end this process: the program in it cannot be stopped otherwise."""
        self.add(finished)
        self.flush(leaving=True)
        os._exit(0)

    def _send_soon(self) -> None:
        gone = select.poll()
        gone.register(self._sock, 0)  # reports only that the other end is closed
        while True:
            self._wake.wait(WATCH_SECONDS)
            if gone.poll(0):
                os._exit(0)
            if self._wake.is_set():
                time.sleep(FLUSH_SECONDS)
                self._wake.clear()
                self.flush()


def main(kind: str, descriptor: int, parent: int, cache: str) -> None:
    """Serve batches until the pool closes the socket."""
    confine.die_with_parent(parent)
    sock = socket.socket(fileno=descriptor)
    try:
        confine.give_up_rights()
        outbox = Outbox(sock)
        made = _make(kind, outbox, cache)
        confine.no_more_processes()
    except CrowdgridError as error:
        sock.sendall(frames.encode(frames.Hello(error.message)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the pool must be able to say it
        sock.sendall(frames.encode(frames.Hello(f"The worker cannot start: {type(error).__name__}: {error}")))
    else:
        sock.sendall(frames.encode(frames.Hello()))
        _serve(sock, made, outbox)
    os._exit(0)  # nothing here is worth an orderly end


def _make(kind: str, outbox: Outbox, cache: str) -> Kind:
    if kind == "echo":
        from crowdgrid.runtimes.echoing import EchoKind

        return EchoKind()
    from crowdgrid.runtimes.sandbox import WasmKind

    return WasmKind(outbox.leave, cache)


def _serve(sock: socket.socket, kind: Kind, outbox: Outbox) -> None:
    while body := _read_frame(sock):
        batch = frames.decode(body)
        assert isinstance(batch, frames.Batch)
        try:
            run = kind.load(batch.program, batch.path)
        except CrowdgridError as error:
            run = _refuse(error)
        sock.sendall(frames.encode(frames.Loaded()))
        for one in batch.runs:
            outbox.add(run(one))
        outbox.flush()


def _refuse(error: CrowdgridError) -> Runner:
    make = sentences.not_runnable if isinstance(error, BadProgram) else sentences.node_error
    finished = make(error.message)
    return lambda run: finished


def _read_frame(sock: socket.socket) -> bytearray | None:
    header = _read_exactly(sock, frames.HEADER_BYTES)
    return header and _read_exactly(sock, int.from_bytes(header, "little"))


def _read_exactly(sock: socket.socket, count: int) -> bytearray | None:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return data


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
