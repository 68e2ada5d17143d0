"""Collect: the list of the outputs, in task order; what a job does when nothing else is asked for.

An answer given whole has no place for what failed: it is left out and counted. Who needs to know which item failed
reads the ordered stream (`hub/reduction.py`), which names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from crowdgrid.core.reducing import numbers

_LENGTH_BYTES: Final = 8


class Collect:
    """State: each output after its length (8 bytes, little endian). None is kept: the answer is an ordered read."""

    name = "collect"
    keeps_state = False
    takes_any = True

    def accepts(self, payload: bytes) -> str:
        return ""

    def empty(self) -> bytes:
        return b""

    def fold(self, state: bytes, payloads: Iterable[bytes]) -> bytes:
        return state + b"".join(len(p).to_bytes(_LENGTH_BYTES, "little") + p for p in payloads)

    def combine(self, left: bytes, right: bytes) -> bytes:
        return left + right

    def answer(self, state: bytes) -> object:
        return list(_outputs(state))


def _outputs(state: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(state):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(state[at:start], "little")
        if at > len(state):
            raise numbers.damaged()
        yield state[start:at]
