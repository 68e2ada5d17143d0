"""loky, the executor under joblib: processes like the standard library's, robust to those that die."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.peers.adapters.peer import WORKERS, Handle, Peer, Work
from benchmarks.peers.adapters.session import serve


class JoblibLoky(Peer):
    def start(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        self._executor = get_reusable_executor(max_workers=WORKERS, timeout=None)

    def close(self) -> None:
        self._executor.shutdown(kill_workers=True)

    def parts(self) -> dict[str, list[int]]:
        return {"a worker": list(self._executor._processes)[:1]}

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._executor.submit(function, argument)

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        results: Iterable[int] = self._executor.map(function, range(count), chunksize=chunk)
        return results


if __name__ == "__main__":
    serve(JoblibLoky)
