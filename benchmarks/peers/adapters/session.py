"""The line protocol between the driver and an adapter: one JSON object a line each way.

The driver writes `{"do": NAME, …}`; the adapter answers with `{"event": …}` lines while a measurement goes on and then
one `{"answer": …}` or `{"failed": "sentence"}`; an event that waits goes on after an empty line. The protocol has the standard output for itself: what a peer prints
goes to the log.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peers import work
from benchmarks.peers.adapters import loads
from benchmarks.peers.adapters.burst import Burst
from benchmarks.peers.adapters.peer import Peer


class Session:
    """An adapter's side of the conversation."""

    def __init__(self, peer: Peer, lines: TextIO, out: TextIO) -> None:
        self._peer, self._lines, self._out = peer, lines, out
        self._burst: Burst | None = None

    def run(self) -> None:
        """Until the driver has no more to say."""
        while line := self._lines.readline():
            order = json.loads(line)
            verb: Callable[..., Any] = getattr(self, "do_" + order.pop("do"))
            try:
                self._say(answer=verb(**order))
            except Exception as error:  # noqa: BLE001 — told to the driver, whose business it is
                traceback.print_exc()
                self._say(failed=f"{type(error).__name__}: {error}"[:500])

    def _say(self, **what: Any) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()

    def _mark(self, name: str, *, waits: bool = False) -> None:
        self._say(event=name, waits=waits)
        if waits:
            self._lines.readline()

    # --- what the driver may ask -------------------------------------------------------------------

    def do_start(self, how: str) -> dict[str, float]:
        """`how`: "whole", "apart" or "attach". Seconds until it is started, and until the first result."""
        began = time.perf_counter()
        {"whole": self._peer.start, "apart": self._peer.start_apart, "attach": self._peer.attach}[how]()
        started = time.perf_counter()
        if how != "attach":
            loads.first(self._peer)
        return {"started": started - began, "first": time.perf_counter() - began}

    def do_one_by_one(self, **load: Any) -> dict[str, float]:
        return loads.one_by_one(self._peer, loads.Load(**load), self._mark)

    def do_together(self, function: str, count: int) -> dict[str, float]:
        return loads.together(self._peer, function, count, self._mark)

    def do_map(self, function: str, count: int, chunk: int) -> dict[str, float]:
        return loads.mapped(self._peer, function, count, chunk, self._mark)

    def do_trips(self, warm: float, seconds: float) -> list[float]:
        return loads.trips(self._peer, warm, seconds)

    def do_burst(self, function: str, count: int, durable: bool) -> None:
        self._burst = Burst(self._peer, work.FUNCTIONS[function], count, durable=durable)

    def do_progress(self) -> dict[str, Any]:
        assert self._burst is not None, "no burst"
        return self._burst.progress()

    def do_parts(self, part: str) -> list[int]:
        return self._peer.parts()[part]

    def do_restart(self, part: str) -> bool:
        return self._peer.restart(part)

    def do_recover(self, count: int, quiet: float) -> int | None:
        return self._peer.recover(count, quiet)

    def do_close(self) -> None:
        self._peer.close()


def serve(peer: type[Peer]) -> None:
    """Serve the driver on standard input and output. Its arguments are the peer's two folders."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        Session(peer(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdin, out).run()
