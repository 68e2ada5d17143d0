"""The network between two processes, in the hands of a test: it can be cut, stalled, mended and led elsewhere."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tests.e2e.grid import free_port

_PIECE: Final = 1 << 16


class Forwarder:
    """Passes TCP connections from `port` to another port of this machine.

    Args:
        target: where they lead.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.target = target
        self.accepted = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.mend()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._flowing.set()

    def cut(self) -> None:
        """Refuse new connections and break those there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.reset()

    def reset(self) -> None:
        """Break the connections there are; new ones are welcome."""
        with self._lock:
            broken, self._open = self._open, set()
        for end in broken:
            _hang_up(end)

    def stall(self) -> None:
        """Nothing gets through and nobody is told: connections stay, new ones are taken and left waiting."""
        self._flowing.clear()

    def mend(self) -> None:
        """All is well again; what was stalled arrives now."""
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._flowing.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
        self._pump(far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                self._flowing.wait()
                sink.sendall(data)
        _hang_up(source)
        _hang_up(sink)
        with self._lock:
            self._open -= {source, sink}


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
