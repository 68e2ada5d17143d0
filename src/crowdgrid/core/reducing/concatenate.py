"""Concatenate: the outputs one after another, in task order, nothing put between them."""

from __future__ import annotations

from collections.abc import Iterable


class Concatenate:
    """State: the outputs so far. None is kept: the answer is an ordered read."""

    name = "concatenate"
    keeps_state = False
    takes_any = True

    def accepts(self, payload: bytes) -> str:
        return ""

    def empty(self) -> bytes:
        return b""

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        return state + b"".join(payloads)

    def combine(self, left: bytes, right: bytes) -> bytes:
        return left + right

    def answer(self, state: bytes) -> object:
        return state
