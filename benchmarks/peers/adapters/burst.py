"""Tasks under way while something is killed: submitted and watched on a thread, so that a client that hangs is seen."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from benchmarks.peers.adapters.peer import UNSETTLED, Handle, Peer, Work

PAUSE_SECONDS = 0.05


class Burst:
    """`count` tasks, each on its own.

    Args:
        durable: submit them so that another client may find them.
    """

    def __init__(self, peer: Peer, function: Work, count: int, *, durable: bool) -> None:
        self._peer, self._function, self._count, self._durable = peer, function, count, durable
        self._settled: Counter[str] = Counter()
        self._problem = self._raised = ""
        self._submitted = self._watched = False
        threading.Thread(target=self._run, daemon=True).start()

    def progress(self) -> dict[str, Any]:
        """What is known now.

        `watched`: whether there are handles to look at. `raised`: what asking for results raises at present; `problem`:
        why the tasks could not be submitted.
        """
        settled = dict(self._settled)
        return {
            "submitted": self._submitted,
            "settled": settled,
            "unsettled": self._count - sum(settled.values()),
            "problem": self._problem,
            "raised": self._raised,
            "watched": self._watched,
        }

    def _run(self) -> None:
        try:
            handles = self._submit()
        except Exception as error:  # noqa: BLE001 — whatever the client raises is what is to be told
            self._problem = f"{type(error).__name__}: {error}"[:300]
            return
        self._watched = bool(handles)
        self._submitted = True
        while handles:
            try:
                handles = self._look(handles)
                self._raised = ""
            except Exception as error:  # noqa: BLE001 — as above; who asks again may be answered
                self._raised = type(error).__name__
            time.sleep(PAUSE_SECONDS)

    def _submit(self) -> list[Handle]:
        if self._durable:
            return self._peer.leave(self._function, self._count)
        return [self._peer.submit(self._function, number) for number in range(self._count)]

    def _look(self, handles: list[Handle]) -> list[Handle]:
        """Count those that have settled; the others."""
        found = [self._peer.peek(handle) for handle in handles]
        self._settled.update(state for state in found if state != UNSETTLED)
        return [handle for handle, state in zip(handles, found, strict=True) if state == UNSETTLED]
