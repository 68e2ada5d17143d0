"""Ray tasks on two CPUs. Batches are tasks of a whole chunk, which is what Ray's own advice against tiny tasks says."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.peers.adapters.apart import Parts, answers, children, command, free_port, tool, wait_until
from benchmarks.peers.adapters.peer import GATHER_SECONDS, OK, UNSETTLED, WORKERS, Handle, Peer, Work, chunked, chunks
from benchmarks.peers.adapters.session import serve

STORE_BYTES = 512 << 20


class Ray(Peer):
    def start(self) -> None:
        self._begin(
            num_cpus=WORKERS,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(self.short),
        )

    def _begin(self, **options: Any) -> None:
        import ray  # type: ignore[import-not-found]

        ray.init(log_to_driver=False, **options)
        self._ray = ray
        self._remote = cache(ray.remote)

    def start_apart(self) -> None:
        self._parts = Parts(self.folder)
        self._port = free_port()
        token = self.folder / "token"  # else one is made in the user's home
        token.write_text(secrets.token_hex(32))
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        words = [tool("ray"), "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(self._port)]
        words += ["--num-cpus", str(WORKERS), "--object-store-memory", str(STORE_BYTES), "--include-dashboard", "false"]
        words += ["--temp-dir", str(self.short), "--disable-usage-stats"]
        self._parts.start("head", words)
        wait_until(lambda: answers(self._port), "the head answers")
        wait_until(lambda: "raylet" in self._named(), "the raylet is up")
        self._begin(address=f"127.0.0.1:{self._port}", _node_ip_address="127.0.0.1")

    def close(self) -> None:
        self._ray.shutdown()
        if hasattr(self, "_parts"):
            self._parts.stop()

    def _named(self) -> dict[str, int]:
        """The head's processes by the name of their program."""
        return {_program(pid): pid for pid in children(self._parts.pid("head"))}

    def parts(self) -> dict[str, list[int]]:
        named = self._named()
        workers = [pid for pid in children(named["raylet"]) if not _program(pid).endswith("Agent")]
        return {"the head's GCS": [named["gcs_server"]], "the raylet": [named["raylet"]], "a worker": workers[:1]}

    def restart(self, part: str) -> bool:
        """The head is started as a whole; what is left of the old one ends first, else its port is taken."""
        if part == "a worker":
            return False
        self._parts.stop()
        self._parts.start_again("head")
        return True

    # --- tasks -----------------------------------------------------------------------------------

    def submit(self, function: Work, argument: Any) -> Handle:
        return self._remote(function).remote(argument)

    def gather(self, handles: Sequence[Handle]) -> list[int]:
        return list(self._ray.get(list(handles), timeout=GATHER_SECONDS))

    def map(self, function: Work, count: int, chunk: int) -> Iterable[int]:
        remote = self._remote(chunked)
        parts = [remote.remote(function, numbers) for numbers in chunks(count, chunk)]
        return chain.from_iterable(self._ray.get(parts, timeout=GATHER_SECONDS))

    def peek(self, handle: Handle) -> str:
        ready, _ = self._ray.wait([handle], timeout=0)
        if not ready:
            return UNSETTLED
        try:
            self._ray.get(handle, timeout=5)
        except Exception as error:  # noqa: BLE001 — whatever it is, is what is to be told
            return type(error).__name__
        return OK


def _program(pid: int) -> str:
    return Path(command(pid).split(" ")[0]).name


if __name__ == "__main__":
    serve(Ray)
