"""The worker process: takes batches of runs from its pool, does one after another, answers.

Started as `python -m crowdgrid.runtimes.worker KIND LINE PARENT FOLDER [PAGE]`; LINE is its end of a
socketpair, PAGE the file of its `progress` if its kind tells it. It imports only what its kind needs, because
how fast it starts is how fast a pool recovers.

The main thread runs programs; a second one, the outbox, sends results already made and notices that the pool
is gone.

Invariants: the process ends when its pool does; what a program does never raises here.
"""

from __future__ import annotations

import os
import socket
import sys

from crowdgrid.errors import BadProgram, CrowdgridError
from crowdgrid.runtimes import confine, frames, sentences
from crowdgrid.runtimes.kind import Kind, Runner, one_by_one
from crowdgrid.runtimes.outbox import Outbox


def main(kind: str, descriptor: int, parent: int, folder: str, page: int = -1) -> None:
    """Serve batches until the pool closes the socket."""
    confine.die_with_parent(parent)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    try:
        made, outbox = _ordinary(kind, sock, page) if page >= 0 else _sandboxed(kind, sock, folder)
    except CrowdgridError as error:
        sock.sendall(frames.encode(frames.Hello(error.message)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the pool must be able to say it
        sock.sendall(frames.encode(frames.Hello(f"The worker cannot start: {type(error).__name__}: {error}")))
    else:
        sock.sendall(frames.encode(frames.Hello()))
        while body := _read_frame(sock):
            batch = frames.decode(body)
            del body
            assert isinstance(batch, frames.Batch)
            _work(batch, made, outbox, sock if page < 0 else None)
            del batch
    os._exit(0)  # nothing here is worth an orderly end


def _sandboxed(kind: str, sock: socket.socket, folder: str) -> tuple[Kind, Outbox]:
    confine.give_up_rights()
    outbox = Outbox(sock)
    made: Kind
    if kind == "echo":
        from crowdgrid.runtimes.echoing import EchoKind

        made = EchoKind()
    else:
        from crowdgrid.runtimes.sandbox import WasmKind

        made = WasmKind(outbox.leave, folder)
    confine.no_more_processes()
    return made, outbox


def _ordinary(kind: str, sock: socket.socket, page: int) -> tuple[Kind, Outbox]:
    from crowdgrid.runtimes.interpreter import PythonKind
    from crowdgrid.runtimes.progress import Progress

    confine.stay_ordinary()
    os.set_inheritable(page, False)
    os.register_at_fork(after_in_child=sock.close)  # the pool must hear when this process ends, whatever it started
    outbox = Outbox(sock)
    return PythonKind(kind, Progress(page), page, outbox), outbox


def _work(batch: frames.Batch, kind: Kind, outbox: Outbox, announce: socket.socket | None) -> None:
    """Run one batch. `announce`: where to say that the program is loaded, for kinds that do not track it."""
    try:
        run = kind.load(batch.program, batch.path)
    except CrowdgridError as error:
        run = _refuse(error)
    if announce:
        announce.sendall(frames.encode(frames.Loaded()))
    for group in batch.groups:
        run(group, outbox)
    kind.rest()
    outbox.flush()


def _refuse(error: CrowdgridError) -> Runner:
    make = sentences.not_runnable if isinstance(error, BadProgram) else sentences.node_error
    finished = make(error.message)
    return one_by_one(lambda run: finished)


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
    kind, descriptor, parent, folder, *page = sys.argv[1:]
    main(kind, int(descriptor), int(parent), folder, *map(int, page))
