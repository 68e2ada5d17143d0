"""Parsl with its HighThroughputExecutor, two workers on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import Any

from benchmarks.peers.adapters.apart import children, running
from benchmarks.peers.adapters.peer import GATHER_SECONDS, WORKERS, Handle, Peer, Work, chunked, chunks
from benchmarks.peers.adapters.session import serve

RETRIES = 3  # none by default: the first loss of a worker would fail its task


class Parsl(Peer):
    def start(self) -> None:
        import parsl  # type: ignore[import-not-found]
        from parsl.executors import HighThroughputExecutor  # type: ignore[import-not-found]
        from parsl.providers import LocalProvider  # type: ignore[import-not-found]

        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            loopback_address="127.0.0.1",
            max_workers_per_node=WORKERS,
            provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )
        self._parsl = parsl
        self._executor = executor
        config = parsl.Config(executors=[executor], run_dir=str(self.folder / "runinfo"), retries=RETRIES)
        self._kernel = parsl.load(config)
        self._app = cache(parsl.python_app)

    def close(self) -> None:
        self._parsl.dfk().cleanup()
        self._parsl.clear()

    def parts(self) -> dict[str, list[int]]:
        (manager,) = running("process_worker_pool.py", str(self.folder))
        return {
            "the interchange": [self._executor.interchange_proc.pid],
            "the manager of the workers": [manager],
            "a worker": children(manager)[-1:],
        }

    # --- tasks -----------------------------------------------------------------------------------

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._app(function)(argument)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        futures = [self._app(chunked)(function, numbers) for numbers in chunks(count, chunk)]
        return chain.from_iterable(future.result(timeout=GATHER_SECONDS) for future in futures)


if __name__ == "__main__":
    serve(Parsl)
