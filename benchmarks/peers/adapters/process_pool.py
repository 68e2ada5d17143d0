"""`concurrent.futures.ProcessPoolExecutor`: this machine only, nothing durable; the least that processes cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.peers.adapters.peer import WORKERS, Handle, Peer, Work
from benchmarks.peers.adapters.session import serve


class ProcessPool(Peer):
    def start(self) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(WORKERS)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def parts(self) -> dict[str, list[int]]:
        return {"a worker": list(self._pool._processes)[:1]}

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._pool.submit(function, argument)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        return self._pool.map(function, range(count), chunksize=chunk)


if __name__ == "__main__":
    serve(ProcessPool)
