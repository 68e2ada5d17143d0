"""Celery with Redis as broker and for results, two prefork workers.

Redis writes an append-only file and forces it to the disk every second, as its documentation recommends who wants to
keep what it holds: `kill -9` loses nothing, a power cut up to a second. By default it would keep nothing of the last
minutes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from benchmarks.peers.adapters.apart import Parts, answers, children, free_port, tool, wait_until
from benchmarks.peers.adapters.peer import GATHER_SECONDS, OK, UNSETTLED, WORKERS, Handle, Peer, Work, until_quiet
from benchmarks.peers.adapters.session import serve


class Celery(Peer):
    def start(self) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            raise FileNotFoundError("redis-server is not installed (Debian: apt-get install redis-server)")
        self._parts = Parts(self.folder)
        port = free_port()
        (self.folder / "port").write_text(str(port))
        words = [redis, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.folder), "--save", ""]
        self._parts.start("redis", [*words, "--appendonly", "yes", "--appendfsync", "everysec"])
        wait_until(lambda: answers(port), "Redis answers")
        self._take(port)
        words = ["-A", "benchmarks.peers.adapters.celery_tasks", "worker", "--concurrency", str(WORKERS)]
        self._parts.start("worker", [tool("celery"), *words, "--loglevel", "WARNING"])

    def attach(self) -> None:
        self._parts = Parts(self.folder)
        self._take(int((self.folder / "port").read_text()))

    def _take(self, port: int) -> None:
        os.environ["PEERS_REDIS"] = f"redis://127.0.0.1:{port}/0"
        from celery.result import AsyncResult  # type: ignore[import-not-found]

        from benchmarks.peers.adapters.celery_tasks import TASKS

        self._tasks, self._result = TASKS, AsyncResult

    def close(self) -> None:
        self._parts.stop()

    def parts(self) -> dict[str, list[int]]:
        worker = self._parts.pid("worker")
        return {
            "the broker (Redis)": [self._parts.pid("redis")],
            "a process of the worker": children(worker)[:1],
            "the worker": [worker, *children(worker)],
        }

    def restart(self, part: str) -> bool:
        if part == "a process of the worker":
            return False
        self._parts.start_again("redis" if "Redis" in part else "worker")
        return True

    # --- tasks -----------------------------------------------------------------------------------

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._tasks[function.__name__].delay(argument)

    def gather(self, handles: Sequence[Handle]) -> list[int]:
        """One `get` after another: `ResultSet.join_native` looks only twice a second."""
        return [handle.get(timeout=GATHER_SECONDS) for handle in handles]

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        group = self._tasks[function.__name__].chunks(((number,) for number in range(count)), chunk).group()
        return chain.from_iterable(group.apply_async().get(timeout=GATHER_SECONDS))

    def peek(self, handle: Handle) -> str:
        state = handle.state
        if state == "SUCCESS":
            return OK
        return type(handle.result).__name__ if state == "FAILURE" else UNSETTLED

    # --- results that outlive their client ----------------------------------------------------------

    def leave(self, function: Work, count: int) -> list[Handle]:
        """The client has to keep the ids itself."""
        handles = super().leave(function, count)
        (self.folder / "ids").write_text(json.dumps([handle.id for handle in handles]))
        return handles

    def recover(self, count: int, quiet: float) -> int | None:
        app = self._tasks["trivial"].app
        left = [self._result(id, app=app) for id in json.loads((self.folder / "ids").read_text())]

        def found() -> int:
            left[:] = [handle for handle in left if self.peek(handle) != OK]
            return count - len(left)

        return until_quiet(found, count, quiet)


if __name__ == "__main__":
    serve(Celery)
