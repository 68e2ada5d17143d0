"""First: the first output, in task order, that is not blank; None when there is none.

In a search most tasks find nothing and print nothing. The engine stops the job at a validated hit; this fold tells
the same for results read in order.
"""

from __future__ import annotations

from collections.abc import Iterable


class First:
    """State: the hit, or nothing."""

    name = "first"
    keeps_state = False
    takes_any = True

    def accepts(self, payload: bytes) -> str:
        return ""

    def empty(self) -> bytes:
        return b""

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        return state or next((payload for payload in payloads if payload.strip()), b"")

    def combine(self, left: bytes, right: bytes) -> bytes:
        return left or right

    def answer(self, state: bytes) -> object:
        return state or None
