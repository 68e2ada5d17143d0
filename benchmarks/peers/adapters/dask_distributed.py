"""Dask distributed: a `LocalCluster` of two worker processes of one thread; for the kills, scheduler and workers apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from benchmarks.peers.adapters.apart import Parts, answers, children, free_port, tool, wait_until
from benchmarks.peers.adapters.peer import (
    OK,
    UNSETTLED,
    WORKERS,
    Handle,
    Peer,
    Work,
    chunked_array,
    chunks,
    until_quiet,
)
from benchmarks.peers.adapters.session import serve

SETTLED = {"finished": OK, "cancelled": "CancelledError"}
BURST = "burst"


class Dask(Peer):
    def start(self) -> None:
        from distributed import Client, LocalCluster  # type: ignore[import-not-found]

        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )
        self._client = Client(self._cluster)

    def start_apart(self) -> None:
        self._parts = Parts(self.folder)
        port = free_port()
        self._address_file = self.folder / "address"
        self._address_file.write_text(f"127.0.0.1:{port}")
        words = [tool("dask"), "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        self._parts.start("scheduler", words)
        wait_until(lambda: answers(port), "the scheduler answers")
        words = [tool("dask"), "worker", f"tcp://127.0.0.1:{port}", "--host", "127.0.0.1", "--no-dashboard"]
        words += ["--nworkers", str(WORKERS), "--nthreads", "1", "--local-directory", str(self.folder)]
        self._parts.start("workers", words)
        self.attach()
        self._client.wait_for_workers(WORKERS, timeout=60)

    def attach(self) -> None:
        from distributed import Client

        self._parts = Parts(self.folder)
        self._client = Client("tcp://" + (self.folder / "address").read_text(), timeout=30)

    def close(self) -> None:
        self._client.close()
        if hasattr(self, "_cluster"):
            self._cluster.close()
        else:
            self._parts.stop()

    def parts(self) -> dict[str, list[int]]:
        workers = children(self._parts.pid("workers"))
        return {"the scheduler": [self._parts.pid("scheduler")], "a worker": workers[-1:]}

    def restart(self, part: str) -> bool:
        """The nanny starts workers again by itself."""
        if part != "the scheduler":
            return False
        self._parts.start_again("scheduler")
        return True

    # --- tasks -----------------------------------------------------------------------------------

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._client.submit(function, argument, pure=False)

    def gather(self, handles: Sequence[Handle]) -> list[int]:
        return list(self._client.gather(handles))

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        """A task a chunk, made by hand, its results an array: a bag takes ten times as long, and so does a list, which
        Dask serializes element by element.
        """
        parts = self._client.map(chunked_array, [function] * -(-count // chunk), chunks(count, chunk), pure=False)
        return chain.from_iterable(self._client.gather(parts))

    def peek(self, handle: Handle) -> str:
        if handle.status == "error":
            return type(handle.exception(timeout=5)).__name__
        return SETTLED.get(handle.status, UNSETTLED)

    # --- results that outlive their client ----------------------------------------------------------

    def leave(self, function: Work, count: int) -> list[Handle]:
        handles = super().leave(function, count)
        self._client.publish_dataset(handles, name=BURST)
        return handles

    def recover(self, count: int, quiet: float) -> int | None:
        handles = self._client.get_dataset(BURST)
        return until_quiet(lambda: sum(self.peek(handle) == OK for handle in handles), count, quiet)


if __name__ == "__main__":
    serve(Dask)
